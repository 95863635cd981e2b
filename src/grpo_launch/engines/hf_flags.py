"""What an ``HfArgumentParser`` takes, as plain data: for scripts that ask a program itself.

Loaded by the interpreter of the program: it needs nothing of the launcher, only transformers. The
encoding is that of ``FlagTable``, see ``flags.py``.
"""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import enum
import inspect
import json
import pathlib
import sys
import typing

TEXTS = ("1", "a", "true", "{}")


def answer(parser, classes):
    """The flags of a program, the defaults that are not None, and the files that define them.

    Args:
        parser: an ``HfArgumentParser``.
        classes: the dataclasses that it was made of.
    """
    hints = {}
    for cls in classes:
        hints |= typing.get_type_hints(cls)
    own = [a for a in parser._actions if f"--{a.dest}" in a.option_strings]
    own = [a for a in own if a.dest != "help"]
    flags = {a.dest: flag(a, hints.get(a.dest)) for a in own}
    defaults = {a.dest: said for a in own if (said := default(a)) is not None}
    enums = [found for name in flags for found in classes_in(hints.get(name))]
    bases = [base for cls in classes for base in cls.__mro__]
    return {"flags": flags, "defaults": defaults, "files": files_of([*bases, type(parser), *enums])}


def readers():
    """What argparse may call for a word, and the kind of flag that this makes."""
    from transformers.hf_argparser import string_to_bool

    return {int: "int", float: "float", str: "str", pathlib.Path: "str", string_to_bool: "bool"}


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
    members, kinds = typing.get_args(hint), readers()
    choices = action.choices
    if isinstance(action.type, type) and issubclass(action.type, enum.Enum):
        choices = [member.value for member in action.type]
    if choices is not None:
        kind = "str"
    elif str in members and any((typing.get_origin(m) or m) is dict for m in members):
        kind = "json"
    else:
        kind = kinds.get(action.type) or ("any" if reads_text(action.type or str) else "object")
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
