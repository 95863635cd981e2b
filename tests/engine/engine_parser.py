"""Runs in the engine's environment: what the imported classes of ms-swift and their parser say.

    python engine_parser.py REQUEST.json ANSWER.json

REQUEST: ``{"samples": [value, ...], "lines": [[program, [word, ...]], ...], "each": boolean}``;
without ``each``, flags whose actions differ in name and default alone are parsed once for all.
ANSWER: ``flags`` of both programs, ``accepted`` (for each program and flag, one boolean a
sample), ``parsed`` (for each line: the fields that were set, or the error).

Lines are parsed by ``swift.utils.parse_args`` itself, the function that
``SwiftPipeline._parse_args`` calls. It makes an object of the dataclass, and only
``__post_init__`` downloads, connects and binds ports; here it is replaced on the class,
where the generated ``__init__`` looks it up.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import enum
import io
import json
import pathlib
import sys
import tempfile
import typing

from swift.arguments import RLHFArguments, RolloutArguments
from swift.cli.main import parse_yaml_args
from swift.utils import parse_args
from swift.utils.utils import _patch_get_type_hints
from transformers import HfArgumentParser
from transformers.hf_argparser import string_to_bool

PROGRAMS = {"rollout": RolloutArguments, "rlhf": RLHFArguments}
SCALARS = {int: "int", float: "float", str: "str", pathlib.Path: "str", string_to_bool: "bool"}


def parser_of(cls: type) -> HfArgumentParser:
    with _patch_get_type_hints():
        return HfArgumentParser([cls])


def flags_of(cls: type) -> dict[str, object]:
    """Kind, list or not, optional or not, and choices, from the parser's actions."""
    hints = typing.get_type_hints(cls)
    names = {f.name for f in dataclasses.fields(cls) if f.init}
    found: dict[str, object] = {}
    for action in parser_of(cls)._actions:
        if action.dest == "help" or f"--{action.dest}" not in action.option_strings:
            continue
        members = typing.get_args(hints[action.dest])
        choices = action.choices
        kind = SCALARS.get(action.type, "object")
        if isinstance(action.type, type) and issubclass(action.type, enum.Enum):
            choices, kind = [member.value for member in action.type], "str"
        elif choices is not None:
            kind = "str"
        if str in members and any((typing.get_origin(m) or m) is dict for m in members):
            kind = "json"
        found[action.dest] = {
            "kind": kind,
            "is_list": action.nargs == "+",
            "optional": type(None) in members,
            "choices": None if choices is None else [str(choice) for choice in choices],
        }
    assert set(found) == names
    return found


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
    request = json.loads(pathlib.Path(sys.argv[1]).read_text())
    answer: dict[str, object] = {"flags": {}, "accepted": {}, "parsed": []}
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory, "arguments.json")
        for program, cls in PROGRAMS.items():
            parser = parser_of(cls)
            answer["flags"][program] = flags_of(cls)
            verdicts = answer["accepted"][program] = {}
            judged: dict[tuple[object, ...], list[bool]] = {}
            for name in answer["flags"][program]:
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
    pathlib.Path(sys.argv[2]).write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
