"""The legacy batch plan, ``custom.grpo.batch_plan``: one block that sets every batch size.

A plan says what a device learns from at a time, how many completions one
generation gives, and optionally the rollout server's shape. It is expanded once,
after all merging, to the keys that the engines read. What is written wrong is left
out and reported; whether the sizes divide depends on the number of learner devices
and is a rule of validation, the learner's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, cast

from grpo_launch.config import kinds
from grpo_launch.config.formats import lift
from grpo_launch.config.mistake import Mistake
from grpo_launch.errors import ConfigError

KeyPath = tuple[str, ...]

PLAN: KeyPath = ("custom", "grpo", "batch_plan")
"""Where a legacy experiment keeps its plan."""


@dataclass
class BatchPlan:
    """The keys of a plan. Mutable, and None for "not said", as the nodes of the schema."""

    enabled: bool | None = None
    """Whether the plan applies; without it no other key may be there."""
    per_device_train_batch_size: int | None = None
    """Completions that one learner device takes forward and backward at a time. Required."""
    per_device_eval_batch_size: int | None = None
    """The same for evaluation; unset: as for training."""
    unified_batch_size: int | None = None
    """Completions of one generation, and of one optimizer step. Required."""
    rollout_server: Any = None
    """A :class:`ServerPlan`, or nothing."""


@dataclass
class ServerPlan:
    """The rollout server's part of a plan; all three are required."""

    force_vllm_tensor_parallel_size: int | None = None
    """TP of the rollout server."""
    force_vllm_data_parallel_size: int | None = None
    """DP of the rollout server."""
    max_num_seqs_per_gpu: int | None = None
    """Becomes ``vllm_max_num_seqs`` as it is; vLLM counts it for each replica."""


_TARGETS: Mapping[str, tuple[KeyPath, ...]] = {
    "per_device_train_batch_size": (("training", "per_device_train_batch_size"),),
    "per_device_eval_batch_size": (("training", "per_device_eval_batch_size"),),
    "unified_batch_size": (
        ("training", "effective_batch_size"),
        ("rlhf", "generation_batch_size"),
    ),
}
_SERVER_TARGETS: Mapping[str, KeyPath] = {
    "force_vllm_tensor_parallel_size": (*lift.SERVER_BLOCK, "vllm_tensor_parallel_size"),
    "force_vllm_data_parallel_size": (*lift.SERVER_BLOCK, "vllm_data_parallel_size"),
    "max_num_seqs_per_gpu": (*lift.SERVER_BLOCK, "vllm_max_num_seqs"),
}


@dataclass(frozen=True)
class Expansion:
    """What a plan writes; empty where there is no plan or it is not enabled.

    Attributes:
        values: the value for each key of the legacy tree.
        sources: the plan's key that each of them comes from.
        mistakes: what is wrong with the plan, or with a value that it contradicts.
    """

    values: Mapping[KeyPath, int] = field(default_factory=dict)
    sources: Mapping[KeyPath, KeyPath] = field(default_factory=dict)
    mistakes: tuple[Mistake, ...] = ()

    def applied_to(self, train: Mapping[Any, Any]) -> dict[Any, Any]:
        """A copy of ``train`` with the values written; ``train`` itself is not changed."""
        expanded = dict(train)
        for keys, value in self.values.items():
            node = expanded
            for key in keys[:-1]:
                node[key] = dict(node.get(key) or {})
                node = node[key]
            node[keys[-1]] = value
        return expanded


@dataclass(frozen=True)
class Plan:
    """The sizes of an enabled plan by their key path, and what is wrong with it."""

    sizes: Mapping[KeyPath, int] = field(default_factory=dict)
    mistakes: tuple[Mistake, ...] = ()


def expand(train: Mapping[Any, Any], where: lift.Where) -> Expansion:
    """The expansion of the plan in a legacy tree that has been merged.

    A value of the tree that contradicts the plan stays and is a mistake.

    Args:
        train: the merged tree.
        where: names the file and key for messages.
    """
    plan = read(train, where)
    values: dict[KeyPath, int] = {}
    sources: dict[KeyPath, KeyPath] = {}
    mistakes = list(plan.mistakes)
    for key, value in plan.sizes.items():
        for target in targets(key):
            if fault := _another_value(train, target, key, value, where):
                mistakes.append(Mistake(fault, (target,)))
            else:
                values[target], sources[target] = value, key
    return Expansion(values, sources, tuple(mistakes))


def targets(key: KeyPath) -> tuple[KeyPath, ...]:
    """The keys of the legacy tree that a plan's ``key`` sets; none where it is no size."""
    server = _SERVER_TARGETS.get(key[-1])
    return (server,) if server else _TARGETS.get(key[-1], ())


def integer(value: Any) -> int | None:
    """``value`` as an integer, in the spellings that pass for one; None for anything else.

    Integral floats and numeric strings pass, booleans do not (see ``kinds.fits``).
    """
    if value is None or not kinds.fits(int, value):
        return None
    return value if isinstance(value, int) else int(float(value))


def read(train: Mapping[Any, Any], where: lift.Where) -> Plan:
    """The plan of a legacy tree; empty where there is none or it is not enabled.

    Its mistakes: it is no mapping, has an unknown key, lacks one, holds something else
    than positive integers, or has keys without being enabled.
    """
    parent = lift.block(train, PLAN[:-1]) or {}
    given = parent.get(PLAN[-1])
    if given is None:
        return Plan()
    mistakes: list[Mistake] = []
    plan = _typed(BatchPlan, given, where, PLAN, mistakes)
    unread = {keys for mistake in mistakes for keys in mistake.unread}
    if not plan.pop("enabled", None):
        others = [key for key, value in plan.items() if value is not None]
        if others and (*PLAN, "enabled") not in unread:
            what = f"is not enabled, but sets {', '.join(others)}"
            error = ConfigError(where(*PLAN), what, "set enabled: true or remove the block")
            mistakes.append(Mistake(error, _all_targets(others)))
        return Plan(mistakes=tuple(mistakes))
    server = plan.pop("rollout_server", None)
    sizes = {(*PLAN, key): value for key, value in plan.items() if value is not None}
    required = [(*PLAN, "per_device_train_batch_size"), (*PLAN, "unified_batch_size")]
    if server is not None:
        keys = (*PLAN, "rollout_server")
        flags = _typed(ServerPlan, server, where, keys, mistakes)
        sizes |= {(*keys, key): value for key, value in flags.items() if value is not None}
        if isinstance(server, dict):
            required += [(*keys, key) for key in _SERVER_TARGETS]
    return _checked(sizes, required, mistakes, where)


def _checked(
    sizes: dict[KeyPath, int],
    required: Iterable[KeyPath],
    mistakes: list[Mistake],
    where: lift.Where,
) -> Plan:
    """The plan with these sizes, without those that are not positive."""
    unread = {keys for mistake in mistakes for keys in mistake.unread}
    for key in required:
        if key not in sizes and not unread & {key, *targets(key)}:
            error = ConfigError(where(*key), "is required", "set it to a positive integer")
            mistakes.append(Mistake(error, targets(key)))
    for key, value in [*sizes.items()]:
        if value < 1:
            error = ConfigError(where(*key), f"{value} is below 1", "use a positive integer")
            mistakes.append(Mistake(error, targets(key)))
            del sizes[key]
    train, evaluation = ((*PLAN, f"per_device_{kind}_batch_size") for kind in ("train", "eval"))
    if train in sizes and evaluation not in sizes:
        sizes[evaluation] = sizes[train]
    return Plan(sizes, tuple(mistakes))


def _typed(
    node_type: type, given: Any, where: lift.Where, keys: KeyPath, mistakes: list[Mistake]
) -> dict[str, Any]:
    """The keys that could be read; the mistakes of the others are appended."""
    if not isinstance(given, dict):
        what = f"is {kinds.said(given)}, not a mapping"
        error = ConfigError(where(*keys), what, "write 'key: value' lines below")
        mistakes.append(Mistake(error, _all_targets(f.name for f in fields(node_type))))
        return {}
    found = lift.typed(node_type, cast("dict[Any, Any]", given), where, keys)
    for mistake in found.mistakes:
        unread = [target for keys in mistake.unread for target in (keys, *targets(keys))]
        mistakes.append(Mistake(mistake.error, tuple(unread)))
    return found.values


def _all_targets(names: Iterable[str]) -> tuple[KeyPath, ...]:
    inner = [*_SERVER_TARGETS] if "rollout_server" in (names := list(names)) else []
    return tuple(target for name in (*names, *inner) for target in targets((name,)))


def _another_value(
    train: Mapping[Any, Any], target: KeyPath, source: KeyPath, value: int, where: lift.Where
) -> ConfigError | None:
    """What is wrong where the tree says something else than the plan."""
    node: Any = train
    for depth, key in enumerate(target):
        if node is None:
            return None
        if not isinstance(node, dict):
            return ConfigError(
                where(*target[:depth]),
                f"is {kinds.said(node)}, not a mapping, and {where(*source)} sets a key below it",
                "write 'key: value' lines below",
            )
        node = cast("dict[Any, Any]", node).get(key)
    if node is None or integer(node) == value:
        return None
    return ConfigError(
        where(*target),
        f"is {kinds.said(node)}, but the batch plan says {value} ({where(*source)})",
        "remove it or make the two equal",
    )
