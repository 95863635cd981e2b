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

import json
import os
import pathlib
import sys
from unittest import mock

# What imports print must not get into the answer.
ANSWER = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from hf_flags import answer  # noqa: E402

# The modules beside this file are the launcher's: they must not hide the engine's.
sys.path[:] = [entry for entry in sys.path if entry not in (str(HERE), str(HERE.parent))]

from swift.utils import parse_args  # noqa: E402
from transformers import HfArgumentParser  # noqa: E402

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


json.dump({program: answer(parser_of(cls), [cls]) for program, cls in PROGRAMS.items()}, ANSWER)
ANSWER.close()
