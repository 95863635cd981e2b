"""What the real bash calls: scripts are run with a recorder in place of programs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.bash import read
from grpo_launch.bash.script import Call, Script

NAMES = ("A", "B", "C", "X")
"""Variables whose values in the environment are compared."""

UNSET = "<not set>"

RECORDER = """#!/bin/sh
printf '%s\\0' "$PWD" {names} "$#" "$@" >> "$RECORD"
"""


@dataclass(frozen=True)
class Seen:
    """A call of the recorder."""

    words: tuple[str, ...]
    cwd: str
    environ: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """A script, and what it is started with."""

    text: str
    arguments: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()


ASKED = """#!/bin/sh
read -r answers < "$RECORD.answers"
printf '%s\\n' "${answers#?}" > "$RECORD.answers"
case $answers in 1*) exit 0;; esac
exit 1
"""
"""A program whose status nobody knows."""


def by_bash(folder: Path, cases: Sequence[Case], answers: str = "") -> list[list[Seen]]:
    """Run scripts, all by one shell that starts them.

    Args:
        folder: that is written to.
        cases: the scripts.
        answers: how ``maybe`` ends, each time that it is called: 1 is success.
    """
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    recorder = programs / "show"
    values = " ".join(f'"${{{name}-{UNSET}}}"' for name in NAMES)
    recorder.write_text(RECORDER.format(names=values))
    recorder.chmod(0o755)
    asked = programs / "maybe"
    asked.write_text(ASKED)
    asked.chmod(0o755)
    driver = ""
    for index, case in enumerate(cases):
        place = folder / str(index)
        place.joinpath(*["sub"] * 10).mkdir(parents=True, exist_ok=True)
        (place / "sub" / "deep").mkdir(exist_ok=True)
        (place / "script.sh").write_text(case.text)
        quoted = " ".join(quote(x) for x in case.arguments)
        settings = " ".join(f"{key}={quote(value)}" for key, value in case.settings)
        (place / "record.answers").write_text(answers + "\n")
        driver += (
            f"(cd {quote(str(place))} && RECORD=$PWD/record {settings} "
            f"timeout 10 bash ./script.sh {quoted}) </dev/null >/dev/null 2>errors\n"
        )
    environ = {
        "PATH": f"{programs}{os.pathsep}/usr/bin:/bin",
        "HOME": "/home/me",
        "LC_ALL": "C.UTF-8",
    }
    (folder / "driver").write_text(driver)
    subprocess.run(["bash", "driver"], env=environ, cwd=folder, check=False, timeout=250)
    return [_seen(folder / str(index)) for index in range(len(cases))]


def quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _seen(place: Path) -> list[Seen]:
    path = place / "record"
    if not path.exists():
        return []
    parts = path.read_bytes().decode("utf-8", "surrogateescape").split("\0")
    calls: list[Seen] = []
    at = 0
    while at < len(parts) - 1:
        cwd, environ = parts[at], tuple(parts[at + 1 : at + 1 + len(NAMES)])
        at += 1 + len(NAMES)
        count = int(parts[at])
        calls.append(Seen(tuple(parts[at + 1 : at + 1 + count]), cwd, environ))
        at += 1 + count
    return [Seen(c.words, _relative(c.cwd, place), c.environ) for c in calls]


def _relative(cwd: str, place: Path) -> str:
    return os.path.relpath(cwd, place) if cwd.startswith(str(place)) else cwd


def calls_of(case: Case) -> list[Call]:
    """The calls of the recorder that were read."""
    return [call for call in read_(case).calls if call.words and call.words[0].known == "show"]


def read_(case: Case) -> Script:
    settings = {"HOME": "/home/me", **dict(case.settings)}
    return read(case.text.encode(), "script.sh", arguments=case.arguments, settings=settings)


def seen_as(call: Call) -> Seen:
    """A call as the recorder would see it; what is not known is said as the script says it."""
    environ = tuple(str(call.environ[name]) if name in call.environ else UNSET for name in NAMES)
    words = tuple(str(word) for word in call.words[1:])
    return Seen(words, os.path.normpath(str(call.cwd)), environ)


def by_reading(case: Case) -> tuple[list[Seen], Script]:
    """What reading says of the recorder's calls."""
    script = read_(case)
    calls: list[Seen] = []
    for call in script.calls:
        if not call.words or call.words[0].known != "show":
            continue
        if any(c.text.startswith("not") and "show" in c.text for c in call.conditions):
            continue  # the recorder never fails, which the reader cannot know
        calls.append(seen_as(call))
    return calls, script
