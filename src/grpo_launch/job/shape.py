"""A job and its sections: dataclasses that are right, or are not made."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from grpo_launch.job.fields import FIELDS, RL, SFT, JobError, JobProblem, Key, shown, unknown


class _Checked:
    """Checks the fields of a dataclass, and holds them as they were checked."""

    def __post_init__(self) -> None:
        section = type(self).__name__.lower()
        rules = FIELDS[section]
        found = (rule.problem((section, name), getattr(self, name)) for name, rule in rules.items())
        if problems := [problem for problem in found if problem is not None]:
            raise JobError(problems)
        for name, rule in rules.items():
            object.__setattr__(self, name, rule.held(getattr(self, name)))
        if problem := self._together():
            raise JobError([problem])

    def _together(self) -> JobProblem | None:
        """What is wrong with fields that are right by themselves."""
        return None


@dataclass(frozen=True)
class Model(_Checked):
    """What to train.

    Raises:
        JobError: a field is wrong.
    """

    id: str
    dtype: str = "bfloat16"
    device: str = "cuda"
    trust_remote_code: bool = False

    def _together(self) -> JobProblem | None:
        if (self.device, self.dtype) != ("cpu", "float16"):
            return None
        what, fix = "is float16, which is not trained on a CPU", "write float32 or bfloat16"
        return JobProblem(("model", "dtype"), what, fix)


@dataclass(frozen=True)
class Data(_Checked):
    """What to train on.

    Raises:
        JobError: a field is wrong.
    """

    id: str
    split: str = "train"
    num_samples: int | None = None
    sequence_length: int = 2048


@dataclass(frozen=True)
class Training(_Checked):
    """How to train.

    Raises:
        JobError: a field is wrong.
    """

    num_steps: int
    batch_size: int = 32
    learning_rate: float = 1e-4
    log_interval: int = 100
    checkpoint_interval: int = 500


@dataclass(frozen=True)
class Deployment(_Checked):
    """Where to train.

    Raises:
        JobError: a field is wrong.
    """

    gpu_ranks: tuple[int, ...] = (0,)
    gpu_type: str = "H100"
    sglang_port: int = 30000
    tensor_parallel_size: int = 1

    def _together(self) -> JobProblem | None:
        there, tp = len(self.gpu_ranks), self.tensor_parallel_size
        if tp <= there:
            return None
        fix = f"set it to {there} or less, or name more GPUs"
        return JobProblem(_TP, f"is {tp}, but gpu_ranks names {_gpus(there)}", fix)


_TP = ("deployment", "tensor_parallel_size")
SECTIONS: Mapping[str, type[_Checked]] = {
    "model": Model,
    "data": Data,
    "training": Training,
    "deployment": Deployment,
}
"""The sections of a job, in order."""


@dataclass(frozen=True)
class Job:
    """A job; a mapping of its fields may stand for a section.

    Raises:
        JobError: something is wrong; it names every field that is.
    """

    mode: str
    model: Model
    data: Data
    training: Training
    deployment: Deployment = field(default_factory=Deployment)

    def __post_init__(self) -> None:
        wrong_mode = FIELDS[""]["mode"].problem(("mode",), self.mode)
        problems = [wrong_mode] if wrong_mode else []
        spelled: dict[Key, Key] = {}
        for name in SECTIONS:
            section, found = _section(name, getattr(self, name))
            problems += found.problems
            spelled |= found.spelled
            object.__setattr__(self, name, section)
        if not problems and (problem := self._together()):
            problems = [_respelled(problem, spelled)]
        if problems:
            raise JobError(problems)

    @property
    def server_ranks(self) -> tuple[int, ...]:
        """The GPUs that serve rollouts: the first ones, for ``rl``."""
        count = self.deployment.tensor_parallel_size if self.mode == RL else 0
        return self.deployment.gpu_ranks[:count]

    @property
    def learner_ranks(self) -> tuple[int, ...]:
        """The GPUs that train."""
        return self.deployment.gpu_ranks[len(self.server_ranks) :]

    def _together(self) -> JobProblem | None:
        there, tp = len(self.deployment.gpu_ranks), self.deployment.tensor_parallel_size
        if self.mode == SFT and tp > 1:
            what = f"is {tp}, but mode sft starts no server, and each GPU trains a copy of its own"
            return JobProblem(_TP, what, "remove it")
        batch, ranks = self.training.batch_size, len(self.learner_ranks)
        if not ranks:
            what = f"names {_gpus(there)}, of which the server takes {tp} and none is left to train"
            fix = f"name more GPUs{' or lower tensor_parallel_size' if tp > 1 else ''}"
            return JobProblem(("deployment", "gpu_ranks"), what, fix)
        if batch % ranks:
            sizes = [
                size for size in (batch - batch % ranks, batch - batch % ranks + ranks) if size
            ]
            what = f"{batch} is not divisible by the {_gpus(ranks)} that train"
            fix = f"set it to {' or '.join(map(str, sizes))}"
            return JobProblem(("training", "batch_size"), what, fix)
        return None

    def as_dict(self) -> dict[str, Any]:
        """The job as JSON has it; :meth:`from_dict` is the inverse."""
        plain = dataclasses.asdict(self)
        plain["deployment"]["gpu_ranks"] = [*self.deployment.gpu_ranks]
        return plain

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Job:
        """The job that a mapping says; its fields may have their other names.

        Raises:
            JobError: something is wrong; it names every field that is, as ``said`` spells it.
        """
        from grpo_launch.job.reading import read

        return read(said).job

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the job as JSON; the file is replaced in one step."""
        target = Path(path)
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            draft.write_text(json.dumps(self.as_dict(), indent=2) + "\n", encoding="utf-8")
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Job:
        """Read a job that was saved, or written by hand.

        Raises:
            JobError: it is no JSON, or the job is wrong.
            OSError: it cannot be read.
        """
        from grpo_launch.job.reading import parsed

        return cls.from_dict(parsed(Path(path).read_bytes()))


@dataclass(frozen=True)
class ByName:
    """The fields of a section by their own names.

    Attributes:
        values: what is said of them; null is not said.
        spelled: where each stands, by where it stands in a job.
        problems: names that no field has, and fields that are said twice, differently.
    """

    values: dict[str, Any]
    spelled: dict[Key, Key]
    problems: list[JobProblem]


def by_name(section: str, said: Mapping[Any, Any]) -> ByName:
    """The fields of a section under whatever names they are said."""
    known = FIELDS[section]
    names = {alias: name for name, one in known.items() for alias in (name, *one.aliases)}
    found = ByName({}, {}, [])
    for word, value in said.items():
        name = names.get(word) if isinstance(word, str) else None
        if name is None:
            found.problems.append(unknown((section,), word, [*names], [*known]))
        elif value is None:
            continue
        elif name not in found.values:
            found.values[name] = value
            found.spelled[section, name] = (section, word)
        elif shown(value) != shown(before := found.values[name]):
            other = found.spelled[section, name][-1]
            what = f"is {shown(value)}, but {other}, another name of it, is {shown(before)}"
            found.problems.append(JobProblem((section, word), what, "keep one of them"))
    return found


def _section(name: str, value: Any) -> tuple[Any, ByName]:
    """A section from what is given for it, and what is wrong with that."""
    kind = SECTIONS[name]
    if isinstance(value, kind):
        return value, ByName({}, {}, [])
    if not isinstance(value, Mapping):
        what = "is missing" if value is None else f"is {shown(value)}"
        fix = f"write its fields: {', '.join(FIELDS[name])}"
        return value, ByName({}, {}, [JobProblem((name,), what, fix)])
    found = by_name(name, cast("Mapping[Any, Any]", value))
    every = dataclasses.fields(cast("Any", kind))
    needed = [one.name for one in every if one.default is dataclasses.MISSING]
    try:
        return kind(**{**dict.fromkeys(needed), **found.values}), found
    except JobError as error:
        found.problems.extend(_respelled(problem, found.spelled) for problem in error.problems)
    return value, found


def _respelled(problem: JobProblem, spelled: Mapping[Key, Key]) -> JobProblem:
    return dataclasses.replace(problem, key=spelled.get(problem.key, problem.key))


def _gpus(number: int) -> str:
    return f"{number} GPU{'' if number == 1 else 's'}"
