"""What a script does besides its launches, and what the reader of it did not understand."""

from __future__ import annotations

import re
from collections.abc import Iterator

from grpo_launch.bash.script import About, Remark, Script
from grpo_launch.importing.findings import Finding, Sort
from grpo_launch.importing.launches import Sorted

ENVIRONMENT = re.compile(r"((source|\.)\s+\S*(/activate|conda\.sh)|(conda|mamba) activate)\b")
"""What enters an environment, which is the runtime's."""

_OF_CALLER = re.compile(r"(source|\.)\s+\S*(/\.bashrc|/\.bash_profile|/\.profile|/etc/profile)\b")
_JOB = re.compile(r"#\s*(SBATCH|PBS|BSUB|\$)\b")


def of_script(script: Script, made: Sorted) -> Iterator[Finding]:
    """A line for each: unknown where a launch may depend on what was not understood."""
    last = max((launch.at for launch in made.launches), default=-1)
    for remark in script.remarks:
        if (sort := _sort(remark, last)) is not None:
            file = remark.file or script.name
            yield Finding(file, remark.line, f"{remark.what}: {remark.text}", sort)
    for variable, value in script.defaults.items():
        yield Finding(script.name, 0, f"${variable} is taken to be its default, {value}")
    for call in made.others:
        words = " ".join(map(str, call.words))
        what = f"not imported, run it yourself before: {words}"
        yield Finding(script.name, call.line, what)
    if made.waits and made.launches:
        what = "its waiting is left out: the learner starts when the server is ready"
        yield Finding(script.name, 0, what)


def _sort(remark: Remark, last: int) -> Sort | None:
    """What a remark means for the proof; None: nothing at all.

    Args:
        remark: the remark.
        last: the number of the last launch among the calls: what is behind it decides nothing.
    """
    if remark.about is About.TRAP:
        return Sort.TRAP
    if ENVIRONMENT.match(remark.text) or _JOB.match(remark.text):
        return None  # it is the runtime's, or the scheduler's
    if remark.about in (About.COMMENT, About.END) or _OF_CALLER.match(remark.text):
        return Sort.NOTE
    return Sort.UNKNOWN if remark.calls <= last else Sort.NOTE
