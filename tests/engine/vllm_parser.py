"""Runs in the engine's environment: what vLLM's own parser makes of values and lines.

    python vllm_parser.py ASK_FLAGS.py REQUEST.json ANSWER.json

Standard output is that of ASK_FLAGS.py, which imports vLLM once for all.
REQUEST: ``{"words": {NAME: [[word, ...], ...]}, "lines": [[word, ...], ...]}``.
ANSWER: ``accepted`` (for each flag, one boolean for each of its lists of words), ``parsed`` (for
each line: the fields that are not the default, or the error).
"""

from __future__ import annotations

import contextlib
import io
import json
import pathlib
import runpy
import sys

asked = runpy.run_path(sys.argv[1])
parser = asked["make_arg_parser"](asked["FlexibleArgumentParser"]())


def parsed(words: list[str]) -> dict[str, object]:
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            fields = vars(parser.parse_args(words))
        except (SystemExit, Exception) as error:
            return {"error": errors.getvalue() or repr(error)}
    usual = {action.dest: action.default for action in parser._actions}
    return {"fields": {k: str(v) for k, v in fields.items() if v != usual.get(k)}}


request = json.loads(pathlib.Path(sys.argv[2]).read_text())
accepted = {
    name: ["fields" in parsed(words) for words in lines] for name, lines in request["words"].items()
}
answer = {"accepted": accepted, "parsed": [parsed(words) for words in request["lines"]]}
pathlib.Path(sys.argv[3]).write_text(json.dumps(answer))
