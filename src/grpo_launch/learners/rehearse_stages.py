"""The stages of a rehearsal; part of the learners' ``rehearse.py``, which run elsewhere."""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import contextlib
import io
import json
import os
import pathlib
import shutil
import socket
import sys
import time
import traceback

from rehearse_verdict import verdict_on


def answers():
    """Where answers go; what imports print is none, and goes to standard error."""
    own = os.dup(1)
    os.dup2(2, 1)
    os.nice(19)
    return own


def rehearse(rehearsal, stages, answers):
    """Call the stages one after the other, print the answer of each, and end the process."""
    for stage in stages:
        answer = judged(stage, rehearsal)
        if stage is stages[-1] and answer["verdict"] == "ok":
            answer["verdict"] = "passed"
        os.write(answers, f"\nrehearsal {json.dumps(answer, default=str)}\n".encode())
        if answer["verdict"] != "ok":
            break
    os._exit(0)  # whatever threads plugins have started


def become_the_interpreter_of(entry):
    """Go on in the interpreter that a console script names, where that is another one."""
    command = shutil.which(entry[0]) if entry else None
    if command is None or pathlib.Path(command).name.startswith("python"):
        return
    beside = pathlib.Path(command).with_name("python")
    with open(command, "rb") as file:
        first = file.readline(4096)
    words = first.removeprefix(b"#!").decode("utf-8", "replace").split()
    named = words[0] if first.startswith(b"#!") and words else ""
    python = str(beside) if beside.exists() else named
    if pathlib.Path(python).name.startswith("python") and python != sys.executable:
        # Only once: an interpreter may call itself by another name.
        os.execv(python, [python, *sys.argv[: -len(entry)]])  # noqa: S606


def judged(stage, rehearsal):
    """The answer of a stage: ``ok``, ``refused``, or ``unknown``."""
    started, printed = time.perf_counter(), io.StringIO()
    answer = {"stage": stage.__name__, "verdict": "ok"}
    try:
        with contextlib.redirect_stderr(printed):
            answer |= stage() or {}
    except BaseException as error:  # a plugin may raise anything
        traceback.print_exception(error)
        answer |= verdict_on(error, stage.__name__, printed.getvalue(), rehearsal.given)
    finally:
        print(printed.getvalue(), end="", file=sys.stderr, flush=True)
    return {**answer, "seconds": round(time.perf_counter() - started, 2)}


def put(owner, name, value):
    """Replace what must be there."""
    getattr(owner, name)
    setattr(owner, name, value)


def no_network():
    """No connection leaves this process, whoever wants one: a learner's rehearsal is its own."""

    def refuse(*_, **__):
        raise ConnectionRefusedError("no connections in a rehearsal")

    for name in ("connect", "connect_ex"):
        setattr(socket.socket, name, refuse)
    socket.getaddrinfo = refuse
