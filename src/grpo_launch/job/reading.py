"""Read a job from a mapping, and a mapping from JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from grpo_launch.job.fields import JobError, JobProblem, Key, shown, unknown
from grpo_launch.job.shape import SECTIONS, Job, by_name

TOP = ("mode", *SECTIONS)
"""What stands at the top of a job."""


@dataclass(frozen=True)
class Read:
    """A job that was read.

    Attributes:
        job: it.
        spelled: where each field that is said stands, by where it stands in the job.
    """

    job: Job
    spelled: Mapping[Key, Key]


def read(said: Any) -> Read:
    """Read a mapping as a job.

    Raises:
        JobError: see :meth:`Job.from_dict`.
    """
    if not isinstance(said, Mapping):
        what, fix = f"is {shown(said)}, no mapping", "write mode, model, data and training"
        raise JobError([JobProblem((), what, fix)])
    said = cast("Mapping[Any, Any]", said)
    problems = [unknown((), name, TOP) for name in said if name not in TOP]
    values = {
        name: said.get(name) for name in TOP if name != "deployment" or said.get(name) is not None
    }
    spelled: dict[Key, Key] = {("mode",): ("mode",)}
    for section in SECTIONS:
        if isinstance(block := said.get(section), Mapping):
            spelled |= by_name(section, cast("Mapping[Any, Any]", block)).spelled
    try:
        job = Job(**cast("Any", values))
    except JobError as error:
        raise JobError([*problems, *error.problems]) from None
    if problems:
        raise JobError(problems)
    return Read(job, spelled)


def parsed(text: bytes) -> Any:
    """The value of a file of JSON.

    Raises:
        JobError: it is no JSON.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{twice[0]} is given twice in one object")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=once)
    except ValueError as error:
        raise JobError([JobProblem((), f"is not JSON ({error})", "correct it")]) from None
    except RecursionError:
        raise JobError([JobProblem((), "is nested too deeply", "flatten it")]) from None
