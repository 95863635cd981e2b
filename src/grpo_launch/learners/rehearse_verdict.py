"""What an exception means that a rehearsal met; part of ``rehearse.py``, which runs elsewhere."""

# pyright: basic

from __future__ import annotations

import json
import re

REFUSALS = (
    *(ValueError, TypeError, AssertionError, ImportError, SyntaxError, LookupError),
    *(AttributeError, NotImplementedError, FileNotFoundError, IsADirectoryError),
)
"""What is raised because of the arguments; another exception may be of this rehearsal."""

NOT_HERE = re.compile(
    r"\b(cuda|gpus?|nvidia|nccl|devices?|offline|cached?|connect\w*|http\w*|network|hub)\b|"
    r"huggingface|modelscope|SimpleNamespace|local_files_only",
    re.IGNORECASE,
)
"""What an exception speaks of that the rehearsal does not have: devices, a network."""


SUBJECT = 160
"""Characters of a message that say what it is about; a list of choices may follow."""


class Refused(Exception):  # noqa: N818
    """The learner will not take this; the argument that it is about, and why."""

    def __init__(self, key, message):
        super().__init__(message)
        self.key = key


class Missing(Exception):  # noqa: N818
    """A name that is replaced is not there: another version."""


def verdict_on(error, stage, printed, given):
    """What an exception of a stage means, and which argument it is about."""
    if isinstance(error, Missing):
        return {"verdict": "unknown", "message": f"not for this version ({said(error)})"}
    if isinstance(error, Refused):
        return {"verdict": "refused", "key": error.key, "message": str(error)}
    if isinstance(error, SystemExit):
        last = (printed.strip().splitlines() or [str(error.code)])[-1]
        message = last.rpartition("error: ")[2]
        known = error.code == 2  # argparse's
    else:
        message = said(error)
        known = isinstance(error, REFUSALS) and not NOT_HERE.search(message[:SUBJECT])
    if stage != "parse" or not known:
        return {"verdict": "unknown", "message": f"{stage}: {message}"}
    key, why = about(error, message, given)
    return {"verdict": "refused", "key": key, "message": why}


def about(error, message, given):
    """The argument that a message is about, and the message; empty where it names none."""
    for key, value in given.items():
        if value in unread(error):
            return key, f"{value} is no preset, no file, and no JSON"
    for word in re.findall(r"\w+", message):  # the first is what the sentence is about
        if word in given:
            return word, message
    # An argument may be known by what it says.
    said_so = [k for k, v in given.items() if len(v) > 3 and v in message]
    return max(said_so, key=lambda k: len(given[k]), default=""), message


def unread(error):
    """The texts that were to be JSON; where one is mended and read again, the first is told."""
    texts = []
    while error is not None:
        if isinstance(error, json.JSONDecodeError):
            texts.append(error.doc)
        error = error.__context__
    return texts


def said(error):
    """An exception in one line; its type where the message alone says nothing."""
    text = " ".join(str(error).split())
    speaks = isinstance(error, (ValueError, AssertionError)) and len(text.split()) > 2
    return text if speaks or isinstance(error, Missing) else f"{type(error).__name__}: {text}"
