"""Run by the interpreter of an installed ms-swift: print the flags of its programs.

    PYTHON ask_flags.py

Prints JSON, from the parser that ms-swift itself makes: for each program its flags, encoded
as in the shipped ``flags.json``, their defaults, and the files that define them, by their names
below the directory that their package is installed in::

    {"swift rollout": {"flags": {"port": "int", ...}, "defaults": {"port": 8000, ...},
                       "files": {"swift/...": "/..."}}}

Needs nothing of the launcher, only ms-swift 3 or 4.
"""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import enum
import inspect
import json
import os
import pathlib
import sys
import typing
from unittest import mock

# What imports print must not get into the answer.
ANSWER = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
# The modules beside this file are the launcher's: they must not hide the engine's.
sys.path[:] = [entry for entry in sys.path if entry != str(pathlib.Path(__file__).parent)]

from swift.utils import parse_args  # noqa: E402
from transformers import HfArgumentParser  # noqa: E402
from transformers.hf_argparser import string_to_bool  # noqa: E402

try:
    import swift.arguments as arguments
except ImportError:  # ms-swift 3
    import swift.llm.argument as arguments

CLASSES = {
    "swift rollout": ("RolloutArguments",),
    "swift rlhf": ("RLHFArguments",),
    "swift sft": ("SftArguments", "TrainArguments"),
    "swift pt": ("PretrainArguments", "TrainArguments"),
}
"""``args_class`` of ``swift/pipelines/infer/rollout.py`` and ``train/``; some have another name in
ms-swift 3, and a program whose class is not there has no flags."""

PROGRAMS = {
    program: getattr(arguments, found[0])
    for program, names in CLASSES.items()
    if (found := [name for name in names if hasattr(arguments, name)])
}

KINDS = {int: "int", float: "float", str: "str", pathlib.Path: "str", string_to_bool: "bool"}
TEXTS = ("1", "a", "true", "{}")


class ParserMade(Exception):  # noqa: N818
    """Ends ``parse_args`` where it would parse: its argument is the parser."""


def raise_parser(self, *_, **__):
    """Stands for ``HfArgumentParser.parse_args_into_dataclasses``."""
    raise ParserMade(self)


def parser_of(cls):
    """The parser that ms-swift makes for a class of arguments."""
    with mock.patch.object(HfArgumentParser, "parse_args_into_dataclasses", raise_parser):
        try:
            parse_args(cls, [])
        except ParserMade as made:
            return made.args[0]
    raise RuntimeError("swift.utils.parse_args made no HfArgumentParser")


def reads_text(read):
    """Whether what argparse calls for a word takes any text at all."""
    for text in TEXTS:
        try:
            read(text)
        except Exception:  # noqa: S112
            continue
        return True
    return False


def flag(action, hint):
    """What one flag takes: ``"int"``, ``"float?"`` (optional), ``"str[]"``, a list with choices."""
    members = typing.get_args(hint)
    choices = action.choices
    if isinstance(action.type, type) and issubclass(action.type, enum.Enum):
        choices = [member.value for member in action.type]
    if choices is not None:
        kind = "str"
    elif str in members and any((typing.get_origin(m) or m) is dict for m in members):
        kind = "json"
    else:
        kind = KINDS.get(action.type) or ("any" if reads_text(action.type or str) else "object")
    code = kind + ("[]" if action.nargs in ("+", "*") else "")
    code += "?" if type(None) in members else ""
    return code if choices is None else [code, *map(str, choices)]


def default(action):
    """The default of a flag as plain data; None also where it is no such data."""
    value = getattr(action.default, "value", action.default)  # of an enumeration
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return None


def classes_in(hint):
    """The enumerations that a type hint names."""
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        yield hint
    for member in typing.get_args(hint):
        yield from classes_in(member)


def files_of(classes):
    """The source files of classes, by their names below the directory of their package."""
    files = {}
    for cls in classes:
        top = sys.modules[cls.__module__.partition(".")[0]]
        if getattr(top, "__path__", None):
            file = inspect.getfile(cls)
            above = pathlib.Path(top.__path__[0]).parent
            files[pathlib.Path(file).relative_to(above).as_posix()] = file
    return files


def answer(cls):
    """The flags of a program, the defaults that are not None, and the files that define them."""
    hints = typing.get_type_hints(cls)
    own = [a for a in parser_of(cls)._actions if f"--{a.dest}" in a.option_strings]
    own = [a for a in own if a.dest != "help"]
    flags = {a.dest: flag(a, hints.get(a.dest)) for a in own}
    defaults = {a.dest: said for a in own if (said := default(a)) is not None}
    enums = [found for name in flags for found in classes_in(hints.get(name))]
    files = files_of([*cls.__mro__, HfArgumentParser, *enums])
    return {"flags": flags, "defaults": defaults, "files": files}


json.dump({program: answer(cls) for program, cls in PROGRAMS.items()}, ANSWER)
ANSWER.close()
