"""What a script does besides its launches, and what the reader of it did not understand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

from grpo_launch.base import redaction
from grpo_launch.bash.script import About, Call, Remark, Script
from grpo_launch.importing.findings import Finding, Sort
from grpo_launch.importing.launches import Sorted, elsewhere, is_training_script, serves
from grpo_launch.importing.reading import ENGINE
from grpo_launch.importing.wrappers import base

ENVIRONMENT = re.compile(
    r"((source|\.)\s+(\S*activate\b|.*conda\.sh\b)|(conda|mamba|micromamba) activate"
    r"|(eval \W*|(source|\.) <\()\S*(conda|mamba|CONDA_EXE)\S* (shell|init))\b"
)
"""What enters an environment, which is the runtime's."""

_OF_CALLER = re.compile(r"(source|\.)\s+\S*(/\.bashrc|/\.bash_profile|/\.profile|/etc/profile)\b")
_PAUSES = ("sleep", "wait")
_JOB = re.compile(r"#\s*(SBATCH|PBS|BSUB|\$)\b")


def of_script(script: Script, made: Sorted) -> Iterator[Finding]:
    """A line for each: unknown where a launch may depend on what was not understood."""
    last = max((launch.at for launch in made.launches), default=-1)
    for remark in script.remarks:
        if (sort := _sort(remark, last)) is not None:
            file = remark.file or script.name
            yield Finding(file, remark.line, f"{remark.what}: {remark.text}", sort)
    for variable, value in script.defaults.items():
        taken = f"its default, {value}" if value.parts else "empty"
        yield Finding(script.name, 0, f"${variable} is taken to be {taken}")
    for variable, value in script.decided.items():
        what = f"${variable} is taken to be {value}; the script computes it"
        yield Finding(script.name, 0, what)
    where = PurePath(script.name).parent
    if script.is_placed and made.launches and where != PurePath():
        what = f"looks for files beside itself: start the experiment in {where} as well"
        yield Finding(script.name, 0, what)
    for step in made.others:
        if base(step.bare.words[0]).startswith("-"):  # a missing backslash: the trap says it
            continue
        words = _told(step.call)
        if started := elsewhere(step.call.words):
            what = f"what it starts elsewhere is not read ({started}): {words}"
            yield Finding(script.name, step.call.line, what, Sort.UNKNOWN)
            continue
        if made.launches and is_training_script(made, step):
            what = f"what it starts is not read, put the script beside this one: {words}"
            yield Finding(script.name, step.call.line, what, Sort.UNKNOWN)
            continue
        if made.launches and (step.call.background or serves(step.bare.words)):
            what = f"runs beside this and is not imported, add it to services: {words}"
            yield Finding(script.name, step.call.line, what, Sort.DIFFERENCE)
            continue
        when = "before" if step.at <= last or last < 0 else "afterwards"
        yield Finding(script.name, step.call.line, f"not imported, run it yourself {when}: {words}")
    if made.waits and made.launches:
        yield Finding(script.name, 0, f"its waiting is left out{_why(made)}")


def _told(call: Call) -> str:
    """A call for people: stars for what it gives to log in."""
    environ = {name: value.known for name, value in call.environ.items() if value.known}
    hidden = redaction.secrets(environ)
    words = [redaction.masked(str(word), hidden) for word in call.words]
    told: list[str] = []
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        is_key = (at > 0 and _is_secret_flag(words[at - 1])) or "login" in words[1:at]
        if equals and _is_secret_flag(name):
            told.append(f"{name}={'*' * len(value)}")
        elif is_key and not word.startswith(("-", "$")):
            told.append("*" * len(word))
        else:
            told.append(str(redaction.without_named(word)))
    return " ".join(told)


def _is_secret_flag(word: str) -> bool:
    return redaction.is_secret_name(word.lstrip("-").replace("-", "_"))


def _why(made: Sorted) -> str:
    """Why nobody need wait as a script does; empty: it waits for no server."""
    asks = any(base(step.bare.words[0]) not in _PAUSES for step in made.waits)
    is_served = any(launch.kind == ENGINE for launch in made.launches)
    return ": the learner starts when the server is ready" if asks or is_served else ""


def _sort(remark: Remark, last: int) -> Sort | None:
    """What a remark means for the proof; None: nothing at all.

    Args:
        remark: the remark.
        last: the number of the last launch among the calls: what is behind it decides nothing.
    """
    if remark.about is About.TRAP:
        return Sort.TRAP
    if remark.about is About.WRONG:
        return Sort.DIFFERENCE
    if ENVIRONMENT.match(remark.text) or _JOB.match(remark.text):
        return None  # it is the runtime's, or the scheduler's
    notes = (About.COMMENT, About.END, About.FILE, About.LEFT)
    if remark.about in notes or _OF_CALLER.match(remark.text):
        return Sort.NOTE
    return Sort.UNKNOWN if remark.calls <= last else Sort.NOTE
