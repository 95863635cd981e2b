"""Runs in the engine's environment: what the imported classes of ms-swift and their parser say.

    python engine_parser.py ASK_FLAGS.py REQUEST.json ANSWER.json

Standard output is that of ASK_FLAGS.py, which imports the engine once for all.
REQUEST: ``{"samples": [value, ...], "lines": [[program, [word, ...]], ...], "each": boolean}``;
without ``each``, flags whose actions differ in name and default alone are parsed once for all.
ANSWER: ``names`` (for each program the fields of its class), ``accepted`` (for each program
and flag, one boolean a sample), ``parsed`` (for each line: the fields that were set, or the
error).

Lines are parsed by ``swift.utils.parse_args`` itself, the function that
``SwiftPipeline._parse_args`` calls. It makes an object of the dataclass, and only
``__post_init__`` downloads, connects and binds ports; here it is replaced on the class,
where the generated ``__init__`` looks it up.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import pathlib
import runpy
import sys
import tempfile

asked = runpy.run_path(sys.argv[1])

from swift.cli.main import parse_yaml_args  # noqa: E402
from swift.utils import parse_args  # noqa: E402
from transformers import HfArgumentParser  # noqa: E402

PROGRAMS, parser_of = asked["PROGRAMS"], asked["parser_of"]


def accepted(parser: HfArgumentParser, words: list[str]) -> bool:
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            return not parser.parse_known_args(words)[1]
        except (SystemExit, Exception):
            return False


def shape(action: argparse.Action) -> tuple[object, ...]:
    """What argparse looks at when it judges the words of a flag."""
    choices = None if action.choices is None else tuple(action.choices)
    return type(action), action.type, action.nargs, repr(action.const), choices


def expanded(words: list[str]) -> list[str]:
    words = list(words)
    parse_yaml_args(words)
    return words


def parsed(program: str, words: list[str]) -> dict[str, object]:
    cls = PROGRAMS[program]
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        try:
            made, remaining = parse_args(cls, expanded(words))
        except SystemExit:
            return {"error": errors.getvalue().splitlines()[-1]}
    return {"remaining": remaining, "fields": {k: str(v) for k, v in vars(made).items()}}


def main() -> None:
    request = json.loads(pathlib.Path(sys.argv[2]).read_text())
    answer: dict[str, object] = {"names": {}, "accepted": {}, "parsed": []}
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory, "arguments.json")
        for program, cls in PROGRAMS.items():
            parser = parser_of(cls)
            names = [field.name for field in dataclasses.fields(cls) if field.init]
            answer["names"][program] = names
            verdicts = answer["accepted"][program] = {}
            judged: dict[tuple[object, ...], list[bool]] = {}
            for name in names:
                alike = shape(parser._option_string_actions[f"--{name}"])
                if request["each"] or alike not in judged:
                    judged[alike] = []
                    for sample in request["samples"]:
                        file.write_text(json.dumps({name: sample}))
                        judged[alike].append(accepted(parser, expanded([str(file)])))
                verdicts[name] = judged[alike]
    for cls in PROGRAMS.values():
        cls.__post_init__ = lambda self: None
    answer["parsed"] = [parsed(program, words) for program, words in request["lines"]]
    pathlib.Path(sys.argv[3]).write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
