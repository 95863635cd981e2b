"""Which files of other runs a run needs: the checkpoint that it goes on from, a model."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from grpo_launch.monitor import planned
from grpo_launch.plan import LaunchPlan
from grpo_launch.runs.reading import Record

_WORD = re.compile(r"""[^\s"'=,\[\]{}]*/[^\s"'=,\[\]{}]*""")
"""What may be a path: with a slash, alone, as --name=path, or in a list of YAML or JSON."""


def paths(directory: Path, recorded: Record) -> frozenset[str]:
    """The files that a run was told of, absolute, links resolved; there may be too many.

    Args:
        directory: of the run.
        recorded: its record.
    """
    plan = planned.read(directory).plan
    cwds = {spec.cwd for spec in plan.of_attempt}
    return frozenset(
        os.path.realpath(Path(cwd, word))
        for text in _texts(plan, recorded)
        for word in (text, *_WORD.findall(text))
        if "/" in word and "\0" not in word
        for cwd in cwds
    )


def _texts(plan: LaunchPlan, recorded: Record) -> Iterator[str]:
    for spec in plan.of_attempt:
        yield from spec.argv
        yield from spec.env.values()
    for file in plan.files:
        yield file.text
    yield plan.recovery.resumed_from or ""
    for attempt in recorded.attempts:
        yield attempt.resumed_from or ""


def is_below(path: str, directory: str) -> bool:
    """Whether ``path`` is ``directory`` or in it; both resolved."""
    return path == directory or path.startswith(f"{directory}{os.sep}")
