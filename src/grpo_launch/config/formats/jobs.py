"""A job (``grpo_launch.job``) as an experiment: what each of its fields becomes, as data.

The sections are those of the learner that trains jobs, the one that is chosen where nothing is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from grpo_launch.config.formats import blocks
from grpo_launch.config.formats.document import SELF, shown
from grpo_launch.config.mistake import KeyPath
from grpo_launch.errors import ConfigError, InvalidConfigError
from grpo_launch.job.fields import RL, SFT, JobError, Key
from grpo_launch.job.reading import TOP, read
from grpo_launch.job.shape import Job

LAUNCH = ".".join(blocks.LAUNCH_BLOCK)
SERVER = ".".join(blocks.SERVER_BLOCK)

TOKENS_PER_DEVICE = 8192
"""Tokens of one forward pass at most, where the batch can be divided so: logits take the memory."""

LARGEST_GROUP = 8
"""Completions for a prompt at most: the learner's own default, where it divides the batch."""

_SOLD_WITH = {
    16: ("T4", "V100 16GB"),
    24: ("A10", "A30", "L4", "RTX 3090", "RTX 4090"),
    32: ("V100", "V100 32GB", "RTX 5090"),
    40: ("A100 40GB",),
    48: ("A40", "A6000", "RTX A6000", "RTX 6000 Ada", "L40", "L40S"),
    80: ("A100", "A100 80GB", "A800", "A800 80GB", "H100", "H100 80GB", "H800"),
    94: ("H100 NVL",),
    96: ("H20", "GH200"),
    141: ("H200",),
    180: ("B200",),
}


def _plain(gpu_type: str) -> str:
    name = "".join(c for c in gpu_type.upper() if c.isalnum())
    for word in _NO_TYPE:
        name = name.replace(word, "")
    return name


_NO_TYPE = ("NVIDIA", "TESLA", "GEFORCE", "SXM5", "SXM4", "SXM", "PCIE", "HBM3E", "HBM3", "HBM2E")
MEMORY_GIB: Mapping[str, int] = {
    _plain(n): size for size, names in _SOLD_WITH.items() for n in names
}
"""Memory of a device in GiB by its type, as it is sold."""


@dataclass(frozen=True)
class Row:
    """What a field becomes.

    Attributes:
        field: of the job, dotted.
        target: the key of the experiment, dotted.
        value: from the job to the value, where None says nothing; None: the field's own.
        modes: of the jobs that it is about.
        text: in words, where the value is not the field's own.
    """

    field: str
    target: str
    value: Callable[[Job], Any] | None = None
    text: str = ""
    modes: tuple[str, ...] = (SFT, RL)

    def of(self, job: Job) -> Any:
        """The value for a job; None says nothing."""
        if job.mode not in self.modes:
            return None
        section, _, name = self.field.partition(".")
        return self.value(job) if self.value else getattr(getattr(job, section), name)


def gpu_memory_gib(gpu_type: str) -> int | None:
    """Memory of a type of GPU, however it is spelled; None where it is not known."""
    return MEMORY_GIB.get(_plain(gpu_type))


def per_device(job: Job) -> int:
    """Rows of one forward pass on one device: the largest number that divides its share."""
    share = job.training.batch_size // len(job.learner_ranks)
    most = max(1, TOKENS_PER_DEVICE // job.data.sequence_length)
    return max(size for size in range(1, min(share, most) + 1) if share % size == 0)


def group(job: Job) -> int:
    """Completions for a prompt: the largest number that divides the batch."""
    batch = job.training.batch_size
    return max(size for size in range(1, min(batch, LARGEST_GROUP) + 1) if batch % size == 0)


def dataset(job: Job) -> list[str]:
    """The data set, with the number of its rows where that is limited."""
    limit = "" if job.data.num_samples is None else f"#{job.data.num_samples}"
    return [f"{job.data.id}{limit}"]


def _completion(job: Job) -> int:
    return job.data.sequence_length // 2


def _on_gpus(job: Job, value: Any) -> Any:
    return value if job.model.device == "cuda" else None


def _ids(ranks: tuple[int, ...]) -> list[str]:
    return [*map(str, ranks)]


TABLE: tuple[Row, ...] = (
    Row("mode", f"{LAUNCH}.learner.stage", lambda _: SFT, "`sft`", (SFT,)),
    Row("mode", f"{LAUNCH}.engine", lambda _: "none", "`none`", (SFT,)),
    Row("mode", "rlhf.rlhf_type", lambda _: "grpo", "`grpo`", (RL,)),
    Row("mode", "rlhf.use_vllm", lambda _: True, "`true`", (RL,)),
    Row("mode", "rlhf.vllm_mode", lambda _: "server", "`server`", (RL,)),
    Row("mode", "rlhf.vllm_server_host", lambda _: ["127.0.0.1"], "this machine", (RL,)),
    Row("mode", "rlhf.reward_funcs", lambda _: ["accuracy"], "`accuracy`", (RL,)),
    Row("mode", "tuner.tuner_type", lambda _: "full", "`full`: every weight"),
    Row("model.id", "model.model"),
    Row("model.id", "model.use_hf", lambda _: True, "`true`: names are of that hub"),
    Row("model.dtype", "model.torch_dtype"),
    Row(
        "model.dtype",
        "training.bf16",
        lambda job: job.model.device == "cuda" and job.model.dtype == "bfloat16",
        "whether it is `bfloat16`, on GPUs",
    ),
    Row(
        "model.dtype",
        "training.fp16",
        lambda job: job.model.dtype == "float16",
        "whether it is `float16`",
    ),
    Row(
        "model.device",
        f"{LAUNCH}.accelerator",
        lambda job: "cpu_native" if job.model.device == "cpu" else None,
        "`cpu_native` for `cpu`",
    ),
    Row("data.id", "data.dataset", dataset, "the one data set"),
    Row("data.num_samples", "data.dataset", dataset, "`ID#N`"),
    Row("data.sequence_length", "template.max_length", modes=(SFT,)),
    Row(
        "data.sequence_length",
        "template.max_length",
        lambda job: job.data.sequence_length - _completion(job),
        "what the completion leaves",
        (RL,),
    ),
    Row("data.sequence_length", "rlhf.max_completion_length", _completion, "half of it", (RL,)),
    Row("data.sequence_length", f"{SERVER}.vllm_max_model_len", modes=(RL,)),
    Row("training.num_steps", "training.max_steps"),
    Row("training.batch_size", "training.effective_batch_size"),
    Row(
        "training.batch_size",
        "training.per_device_train_batch_size",
        per_device,
        f"the largest divisor of a GPU's share with at most {TOKENS_PER_DEVICE} tokens",
    ),
    Row(
        "training.batch_size",
        "rlhf.num_generations",
        group,
        f"the largest divisor up to {LARGEST_GROUP}",
        (RL,),
    ),
    Row("training.learning_rate", "training.learning_rate"),
    Row("training.log_interval", "training.logging_steps"),
    Row("training.checkpoint_interval", "training.save_steps"),
    Row(
        "deployment.gpu_ranks",
        f"{LAUNCH}.gpus.server",
        lambda job: _ids(job.server_ranks),
        "the first, as many as `tensor_parallel_size`",
        (RL,),
    ),
    Row(
        "deployment.gpu_ranks",
        f"{LAUNCH}.gpus.learner",
        lambda job: _ids(job.learner_ranks),
        "all; for `rl` the rest",
    ),
    Row(
        "deployment.gpu_type",
        f"{LAUNCH}.accelerator.memory_gib",
        lambda job: _on_gpus(job, gpu_memory_gib(job.deployment.gpu_type)),
        "as it is sold",
    ),
    Row(
        "deployment.sglang_port",
        "rlhf.vllm_server_port",
        lambda job: [job.deployment.sglang_port],
        "the one port",
        (RL,),
    ),
    Row("deployment.tensor_parallel_size", f"{SERVER}.vllm_tensor_parallel_size", modes=(RL,)),
    Row(
        "deployment.tensor_parallel_size",
        f"{SERVER}.vllm_data_parallel_size",
        lambda _: 1,
        "1: one replica",
        (RL,),
    ),
)
"""Every field; one that is not here is reported by ``checks/jobs.py``."""


@dataclass(frozen=True)
class Mapped:
    """A job in the one form.

    Attributes:
        path: its file.
        job: it.
        data: the experiment.
        sources: where the file says, or would say, what stands at each of its keys.
        fields: where the file says each field of the job that it says.
    """

    path: Path
    job: Job
    data: Mapping[str, Any]
    sources: Mapping[KeyPath, KeyPath]
    fields: Mapping[Key, Key]

    def where(self, field: str) -> str:
        """``FILE: FIELD`` for messages, as the file spells it."""
        key = tuple(field.split("."))
        return f"{shown(self.path)}: {'.'.join(self.fields.get(key, key))}"

    def spelled(self, *keys: Any) -> KeyPath:
        """Keys of the one form as the file says them, or as the command line would."""
        for depth in range(len(keys), 0, -1):
            if (source := self.sources.get(keys[:depth])) is not None:
                return source
        for above, left in ((blocks.LAUNCH_BLOCK, 3), (blocks.SERVER_BLOCK, 2)):
            if keys[: len(above)] == above and len(keys) > len(above):
                return keys[left:]
        return ("train", *keys)

    def of_origins(self, origins: Mapping[Any, Any]) -> dict[Any, Any]:
        """A tree of origins as ``document.read_origins`` gives it, in the one form."""

        def at(keys: KeyPath) -> Any:
            node: Any = origins
            for key in self.sources.get(keys, ()):
                if not isinstance(node, dict) or key not in node:
                    break  # a default: the section's place, or the file's
                node = cast("dict[Any, Any]", node)[key]
            return cast("dict[Any, Any]", node)[SELF] if isinstance(node, dict) else node

        def tree(node: Any, keys: KeyPath) -> Any:
            if not isinstance(node, dict):
                return at(keys)
            items = cast("dict[Any, Any]", node).items()
            return {SELF: at(keys), **{key: tree(value, (*keys, key)) for key, value in items}}

        return tree(self.data, ())


def is_job(said: Mapping[Any, Any]) -> bool:
    """Whether a file has the shape of a job: ``mode`` or ``deployment``, beside its sections."""
    sections = [name for name in TOP[1:] if isinstance(said.get(name), dict)]
    named = "mode" in said or "deployment" in sections
    return named and bool({*sections} - {"deployment"}) and _OTHERS.isdisjoint(said)


_OTHERS = frozenset(("template", "tuner", "rlhf", "custom", "train"))
"""What an experiment of sections has at its top, and no job."""


def mapped(path: Path, said: Mapping[Any, Any], *, extends: bool = False) -> Mapped:
    """A job as an experiment.

    Args:
        path: its file.
        said: what it says.
        extends: whether it names a base.

    Raises:
        ConfigError: the job is wrong; each of its fields that is gets a line.
    """
    if extends:
        what = "cannot stand in a job, which says every field or takes its default"
        fix = "write the fields here, or an experiment of YAML that extends this job"
        raise ConfigError(f"{shown(path)}: extends", what, fix)
    try:
        found = read(said)
    except JobError as error:
        problems = [
            ConfigError(": ".join((shown(path), *filter(None, [".".join(p.key)]))), p.what, p.fix)
            for p in error.problems
        ]
        if len(problems) == 1:
            raise problems[0] from None
        raise InvalidConfigError(map(str, problems)) from None
    data: dict[str, Any] = {}
    sources: dict[KeyPath, KeyPath] = {}
    for row in TABLE:
        if (value := row.of(found.job)) is not None:
            field, target = tuple(row.field.split(".")), tuple(row.target.split("."))
            node = data
            for key in target[:-1]:
                node = cast("dict[str, Any]", node.setdefault(key, {}))
            node[target[-1]] = value
            sources.setdefault(target, found.spelled.get(field, field))
    return Mapped(path, found.job, data, sources, found.spelled)
