"""Run by the interpreter of an installed vLLM: print the flags of its server.

    PYTHON ask_flags.py

Prints JSON, from the parser that vLLM itself makes: the flags of ``vllm serve``, encoded as in
the shipped ``flags.json``, their defaults, and the files that define them, by their names below
the directory that vLLM is installed in::

    {"vllm serve": {"flags": {"port": "int", ...}, "defaults": {"port": 8000, ...},
                    "files": {"vllm/...": "/..."}}}

Needs nothing of the launcher, only vLLM.
"""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import argparse
import enum
import json
import os
import pathlib
import sys

# What imports print must not get into the answer.
ANSWER = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
# The modules beside this file are the launcher's: they must not hide the engine's.
sys.path[:] = [entry for entry in sys.path if entry != str(pathlib.Path(__file__).parent)]
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.pop("VLLM_SERVER_DEV_MODE", None)  # it changes a default

import vllm  # noqa: E402
import vllm.engine.arg_utils as arg_utils  # noqa: E402

try:
    from vllm.utils.argparse_utils import FlexibleArgumentParser
except ImportError:
    from vllm.utils import FlexibleArgumentParser

try:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
except ImportError:
    from vllm.entrypoints.openai.cli_args import make_arg_parser

PROGRAM = "vllm serve"
DEFINING = ("vllm.config", "vllm.engine.arg_utils", "vllm.utils.argparse_utils")
"""Modules, with what is below them, that define flags besides the one with the parser."""


def name_of(action):
    """The name of a flag as a key, or None for what is no flag with a name of its own."""
    name = action.dest
    is_flag = f"--{name.replace('_', '-')}" in action.option_strings
    return name if is_flag and name != "help" else None


def reads(read, text):
    """Whether what argparse calls for a word takes this one."""
    try:
        read(text)
    except Exception:
        return False
    return True


def kind(action):
    """What one word of a flag's value is read as, found by letting the flag read some."""
    if isinstance(action, argparse.BooleanOptionalAction):
        return "bool"
    if isinstance(action, argparse._StoreTrueAction):
        return "switch"
    read = action.type or str
    if reads(read, "a"):
        return "str" if reads(read, "{a}") else "json"
    if not reads(read, "1") or reads(read, "{}"):
        return "json"
    if reads(read, "1k"):
        return "size"
    return "float" if reads(read, "1.5") else "int"


def flag(action):
    """What one flag takes: ``"int"``, ``"float?"`` (optional), ``"str[]"``, a list with choices."""
    is_list = action.nargs in ("+", "*") or (isinstance(action.nargs, int) and action.nargs > 0)
    is_optional = action.default is None and action.nargs != 0
    code = kind(action) + ("[]" if is_list else "") + ("?" if is_optional else "")
    if action.choices is None:
        return code
    return [code, *(str(choice) for choice in action.choices if choice is not None)]


def default(action):
    """The default of a flag as plain data; None also where it is no such data."""
    value = action.default
    if isinstance(value, enum.Enum):
        value = value.value
    try:
        return None if value == argparse.SUPPRESS else json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return None


def files():
    """The source files that define the flags, by their names below vLLM's directory."""
    above = pathlib.Path(vllm.__path__[0]).parent
    names = (*DEFINING, make_arg_parser.__module__)
    found = {}
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and (name in names or name.startswith("vllm.config.")):
            found[pathlib.Path(file).relative_to(above).as_posix()] = file
    return found


# Plug-ins of other packages register models; one that cannot be imported would end this.
arg_utils.load_general_plugins = lambda: None
actions = make_arg_parser(FlexibleArgumentParser())._actions
own = {name: action for action in actions if (name := name_of(action))}
defaults = {name: said for name, action in own.items() if (said := default(action)) is not None}
flags = {name: flag(action) for name, action in own.items()}
json.dump({PROGRAM: {"flags": flags, "defaults": defaults, "files": files()}}, ANSWER)
ANSWER.close()
