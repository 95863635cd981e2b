"""The fields of a job as data: what each is, what its value must be, and its other names."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

Key = tuple[str, ...]
"""Where a field stands: ``("training", "num_steps")``."""

SFT, RL = "sft", "rl"


@dataclass(frozen=True)
class JobProblem:
    """One thing that is wrong with a job: in which field, what, and what to do about it."""

    key: Key
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{'.'.join(self.key) or 'job'}: {self.what}, {self.fix}"


class JobError(ValueError):
    """A job is wrong; ``str()`` has one line for each of its ``problems``."""

    def __init__(self, problems: Sequence[JobProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, problems)))


class WrongError(Exception):
    """A value is wrong.

    Args:
        what: is wrong with it.
        fix: what to do about it.
    """

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what, fix)
        self.what, self.fix = what, fix


Check = Callable[[Any], Any]
"""From a value to the one that the field holds; raises ``WrongError``."""


@dataclass(frozen=True)
class Field:
    """What a field means, beside its name and default, which its dataclass has.

    Attributes:
        check: what its value must be.
        text: what it is, in words.
        aliases: other names that a file may use for it.
        optional: whether it may be None.
    """

    check: Check
    text: str
    aliases: tuple[str, ...] = ()
    optional: bool = False

    def problem(self, key: Key, value: Any) -> JobProblem | None:
        """What is wrong with a value; None where nothing is."""
        if value is None:
            missing = JobProblem(key, "is missing", f"set it ({self.text})")
            return None if self.optional else missing
        try:
            self.check(value)
        except WrongError as wrong:
            return JobProblem(key, wrong.what, wrong.fix)
        return None

    def held(self, value: Any) -> Any:
        """A value that nothing is wrong with, as the field holds it."""
        return None if value is None else self.check(value)


def shown(value: Any) -> str:
    """A value for a message."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise WrongError(f"is {shown(value)}", "write text")
    if not value.strip():
        raise WrongError("is empty", "write a name or a path")
    if value != value.strip() or not value.isprintable():
        raise WrongError(f"is {shown(value)}", "remove blanks around it and line ends")
    return str(value)


def _count(at_least: int = 1, at_most: int | None = None) -> Check:
    limits = f"of at least {at_least}" if at_most is None else f"from {at_least} to {at_most}"

    def check(value: Any) -> int:
        said = _number(value)
        whole = isinstance(said, float) and said.is_integer()  # JSON's 1e3
        try:
            number = int(said) if whole else operator.index(cast("Any", said))
        except TypeError:
            number = at_least - 1
        wrong = isinstance(value, bool) or number < at_least
        if wrong or (at_most is not None and number > at_most):
            raise WrongError(f"is {shown(value)}", f"write an integer {limits}")
        return number

    return check


def _number(value: Any) -> Any:
    """A text that is a number as that: YAML takes 1e-4 for one."""
    if isinstance(value, str) and len(value) <= 100:
        for kind in (int, float):
            with contextlib.suppress(ValueError):
                return kind(value)
    return value


def _rate(value: Any) -> float:
    said = _number(value)
    is_number = isinstance(said, int | float) and not isinstance(said, bool)
    with contextlib.suppress(OverflowError):
        if is_number and math.isfinite(rate := float(said)) and rate > 0:
            return rate
    raise WrongError(f"is {shown(value)}", "write a number above 0")


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise WrongError(f"is {shown(value)}", "write true or false (True or False in Python)")


def _one_of(*names: str, **aliases: str) -> Check:
    def check(value: Any) -> str:
        name = aliases.get(value, value) if isinstance(value, str) else None
        if name in names:
            return name
        choices = f"{', '.join(names[:-1])} or {names[-1]}"
        raise WrongError(f"is {shown(value)}", f"write {choices}")

    return check


_id = _count(0)


def _ranks(value: Any) -> tuple[int, ...]:
    fix = "write a list of GPU ids, [0, 1]"
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise WrongError(f"is {shown(value)}", fix)
    items = [*cast("Sequence[Any]", value)]
    try:
        ranks = tuple(map(_id, items))
    except WrongError:
        raise WrongError(f"is {shown(value)}", fix) from None
    if not ranks:
        raise WrongError("is empty", fix)
    if len(set(ranks)) < len(ranks):
        raise WrongError(f"is {shown(value)}", "name each GPU once")
    return ranks


_TYPES = {
    "bf16": "bfloat16",
    "fp16": "float16",
    "half": "float16",
    "fp32": "float32",
    **{f"torch.{name}": name for name in ("bfloat16", "float16", "float32")},
}

FIELDS: Mapping[str, Mapping[str, Field]] = {
    "": {
        "mode": Field(_one_of(SFT, RL), "`sft`, supervised fine-tuning, or `rl`, GRPO"),
    },
    "model": {
        "id": Field(
            _name,
            "a directory, or a name on the Hugging Face hub",
            ("model_id", "model", "name", "model_name", "model_name_or_path", "path"),
        ),
        "dtype": Field(
            _one_of("bfloat16", "float16", "float32", **_TYPES),
            "the type of the weights",
            ("torch_dtype", "precision"),
        ),
        "device": Field(_one_of("cuda", "cpu", gpu="cuda"), "`cuda` or `cpu`"),
        "trust_remote_code": Field(_flag, "whether code of the model's repository may run"),
    },
    "data": {
        "id": Field(
            _name,
            "a file of rows, or a name on the Hugging Face hub",
            ("data_id", "dataset", "name", "dataset_id", "dataset_name", "path"),
        ),
        "split": Field(_name, "the split of a data set of the hub"),
        "num_samples": Field(
            _count(), "how many of the rows; unset: all", ("max_samples", "n_samples"), True
        ),
        "sequence_length": Field(
            _count(),
            "tokens of a row at most; for `rl` of prompt and completion together",
            ("max_length", "max_seq_length", "max_seq_len", "seq_length", "seq_len"),
        ),
    },
    "training": {
        "num_steps": Field(_count(), "the number of optimizer steps", ("max_steps", "steps")),
        "batch_size": Field(
            _count(),
            "rows of a step, over all GPUs that train",
            ("batch", "global_batch_size", "effective_batch_size"),
        ),
        "learning_rate": Field(_rate, "the highest of its schedule", ("lr",)),
        "log_interval": Field(
            _count(),
            "steps from one line of metrics to the next",
            ("log", "log_every", "logging_steps"),
        ),
        "checkpoint_interval": Field(
            _count(),
            "steps from one checkpoint to the next",
            ("checkpoint", "checkpoint_every", "save_steps", "save_interval", "save_every"),
        ),
    },
    "deployment": {
        "gpu_ranks": Field(
            _ranks,
            "the GPUs; for `rl` the first serve and the rest train",
            ("gpus", "gpu_ids", "ranks"),
        ),
        "gpu_type": Field(_name, "what they are, for the memory estimate", ("gpu",)),
        "sglang_port": Field(
            _count(1, 65535), "the port of the rollout server", ("port", "server_port")
        ),
        "tensor_parallel_size": Field(
            _count(),
            "GPUs of the rollout server",
            ("tp", "tp_size", "TP", "tensor_parallel", "sglang_tp"),
        ),
    },
}
"""By section and name; ``""`` holds what stands beside the sections."""


def unknown(above: Key, name: Any, known: Sequence[str], usual: Sequence[str] = ()) -> JobProblem:
    """A field that there is not.

    Args:
        above: where it stands.
        name: its name.
        known: every name that there is.
        usual: those to list where it is like none; empty: all.
    """
    from difflib import get_close_matches

    near = get_close_matches(str(name), known, n=1)
    fix = f"did you mean {near[0]}?" if near else f"use one of {', '.join(usual or known)}"
    return JobProblem(
        (*above, name if isinstance(name, str) else shown(name)), "unknown field", fix
    )
