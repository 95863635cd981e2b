"""Run by the interpreter of an installed LLaMA-Factory: print the keys of its training files.

    PYTHON ask_flags.py

Prints JSON, from the parser that ``llamafactory-cli train`` itself makes, in the form of a
``FlagQuestion``'s script. A file is read without that parser's command line, so that beyond it a
text that LLaMA-Factory splits at its commas may be a list as well, and so may what its type calls
one; ``template`` has the names of all templates as choices.

Needs nothing of the launcher, only LLaMA-Factory 0.9.
"""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import inspect
import json
import os
import pathlib
import re
import sys
import typing

# What imports print must not get into the answer.
ANSWER = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
HERE = pathlib.Path(__file__).resolve().parent
SHARED = str(HERE.parents[1] / "engines")
sys.path.insert(0, SHARED)
from hf_flags import answer  # noqa: E402

# The modules beside this file are the launcher's: they must not hide the learner's.
sys.path[:] = [entry for entry in sys.path if entry not in (str(HERE), SHARED)]

from llamafactory.data import template  # noqa: E402
from llamafactory.hparams.parser import _TRAIN_ARGS  # noqa: E402
from transformers import HfArgumentParser  # noqa: E402

PROGRAM = "llamafactory-cli train"


def split_at_commas(cls):
    """The names of a class's texts that ``__post_init__`` splits, where they are no lists yet."""
    own = [base for base in cls.__mro__ if "__post_init__" in vars(base)]
    sources = [inspect.getsource(base.__post_init__) for base in own]
    return {name for source in sources for name in re.findall(r"split_arg\(self\.(\w+)\)", source)}


def lists_in(cls):
    """The names of a class's fields whose type has a list beside a text."""
    hints = typing.get_type_hints(cls).items()
    return {n for n, hint in hints if list in [*map(typing.get_origin, typing.get_args(hint))]}


said = answer(HfArgumentParser(_TRAIN_ARGS), _TRAIN_ARGS)
flags = said["flags"]
listed = {name for cls in _TRAIN_ARGS for name in (*split_at_commas(cls), *lists_in(cls))}
for name in listed & flags.keys():
    if isinstance(flags[name], str):
        flags[name] = re.sub(r"^str(?!\[)", "str[]", flags[name])
flags["template"] = ["str?", *sorted(template.TEMPLATES)]
said["files"]["llamafactory/data/template.py"] = inspect.getfile(template)
json.dump({PROGRAM: said}, ANSWER)
ANSWER.close()
