"""The flags of the installed version of a program: shipped, remembered, or asked for once.

The launcher ships the flags of the version that it is written for (a ``Snapshot``).
For any other version, a fork, or an edited file, the program's own parser is asked, in its
own interpreter; see docs/adr/0018.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from grpo_launch.base.shipped_files import relative
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.engines.flags import FlagTable
from grpo_launch.engines.remembered import Memory
from grpo_launch.engines.snapshot import FlagQuestion, Snapshot, digest
from grpo_launch.runtimes import installed

TIMEOUT_S = 120.0
"""For the import of an engine, which takes some seconds, a minute on a busy machine."""

FAILURE_COUNTS_S = 900.0
"""How long a parser that could not be asked is not asked again, unless packages change."""


class FlagAnswer(NamedTuple):
    """The flags to judge by.

    Attributes:
        table: the flags.
        note: a warning where they are a guess: the installed version could not be asked.
    """

    table: FlagTable
    note: Problem | None = None


class Told(NamedTuple):
    """What a program told of itself.

    Attributes:
        flags: its flags, encoded as in ``FlagTable``.
        files: where the files are that define them, by name as in ``Snapshot``.
        defaults: of its flags, as in ``FlagTable``.
    """

    flags: dict[str, Any]
    files: dict[str, Path]
    defaults: dict[str, Any]


def flags_of(
    question: FlagQuestion,
    python: Path | None,
    environ: Mapping[str, str],
    cache: Path,
    say: Callable[[str], None],
) -> FlagAnswer:
    """The flags of what is installed for ``python``; the shipped ones where nothing is.

    Args:
        question: the program.
        python: its interpreter, links not followed, or None where there is none.
        environ: the environment of the interpreter.
        cache: a directory for what is remembered; need not exist.
        say: told, in one line, before a parser is asked.
    """
    shipped = question.shipped()
    table = shipped.table
    if python is None or not python.exists():
        return FlagAnswer(table)
    roots = installed.roots(python, environ)
    version = installed.version(roots, question.package, question.distribution)
    if version is None:
        return FlagAnswer(table)
    others = [installed.version(roots, name, name) for name in question.others]
    memory = Memory(cache, str(python), *map(str, roots), version, *map(str, others))
    if version == table.version and _is_shipped(question, shipped, roots, memory):
        return FlagAnswer(table)
    place = relative(python.parent.parent, Path.cwd())
    key = f"{question.package}-{version}"
    answer = _lasting(memory.recall(key))
    if answer is None:
        say(f"asking {table.product} {version} in {place} for its flags, once (some seconds)")
        answer, files = _asked(question.script, python, environ)
        memory.remember(key, answer, [question.script, *(files or roots)])
    try:
        codes = answer["flags"][question.program]
        defaults = answer.get("defaults", {}).get(question.program)
        return FlagAnswer(FlagTable.of(question.program, table.product, version, codes, defaults))
    except (KeyError, ValueError) as error:
        why = answer.get("failure", repr(error))
    what = f"the flags of {table.product} {version} could not be asked for ({why})"
    fix = f"those of {table.version} are assumed; see '{python} {question.script}'"
    return FlagAnswer(table, Problem(place, what, fix, Severity.WARNING))


def ask(script: Path, python: Path, environ: Mapping[str, str]) -> dict[str, Told]:
    """What a ``FlagQuestion``'s script prints, by program.

    Raises:
        OSError: the interpreter cannot be run.
        ValueError: it fails, prints something else, or takes longer than ``TIMEOUT_S``.
    """
    try:
        programs = json.loads(_output([str(python), str(script)], environ))
        return {
            program: Told(
                body["flags"],
                {k: Path(v) for k, v in body["files"].items()},
                body.get("defaults", {}),
            )
            for program, body in programs.items()
        }
    except (AttributeError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{script.name} printed something else: {error!r}") from None


def _is_shipped(
    question: FlagQuestion, shipped: Snapshot, roots: tuple[Path, ...], memory: Memory
) -> bool:
    """Whether the files that define the flags are those of the shipped snapshot."""
    key = f"shipped {question.program}"
    same = memory.recall(key)
    if isinstance(same, bool):
        return same
    paths = [next((r / f for r in roots if (r / f).is_file()), None) for f in shipped.digests]
    files = [path for path in paths if path is not None]
    if len(files) < len(paths):
        return False
    try:
        same = [digest(path) for path in files] == list(shipped.digests.values())
    except OSError:
        return False
    memory.remember(key, same, [*files, question.snapshot])
    return same


def _asked(
    script: Path, python: Path, environ: Mapping[str, str]
) -> tuple[dict[str, Any], list[Path]]:
    """What is to be remembered, which may be a failure, and the files that define the flags."""
    try:
        programs = ask(script, python, environ)
    except (OSError, ValueError) as error:
        return {"failure": str(error), "at": time.time()}, []
    files = [file for told in programs.values() for file in told.files.values()]
    flags = {program: told.flags for program, told in programs.items()}
    return {"flags": flags, "defaults": {p: told.defaults for p, told in programs.items()}}, files


def _lasting(value: Any) -> dict[str, Any] | None:
    """A remembered answer, unless it is a failure of long ago."""
    answer = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    lasts = "flags" in answer or time.time() - answer.get("at", 0) < FAILURE_COUNTS_S
    return answer if lasts else None


def _output(command: list[str], environ: Mapping[str, str]) -> str:
    """What a command prints.

    Raises:
        OSError, ValueError: see :func:`ask`.
    """
    import os
    import signal
    import subprocess

    with subprocess.Popen(
        command,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # what imports start must not outlive a timeout
    ) as process:
        try:
            output, errors = process.communicate(timeout=TIMEOUT_S)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise ValueError(f"no answer within {TIMEOUT_S:.0f} s") from None
            raise
    if process.returncode:
        last = errors.strip().rpartition("\n")[2]
        raise ValueError(last or f"status {process.returncode}")
    return output
