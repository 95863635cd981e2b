"""The legacy batch plan, ``custom.grpo.batch_plan``: one block that sets every batch size.

A plan says what a device learns from at a time, how many completions one
generation gives, and optionally the rollout server's shape. It is expanded once,
after all merging, to the keys that the engines read. What is written wrong is an
error when the file is loaded; whether the sizes divide depends on the number of
learner devices and is a rule of validation (``validate/grpo.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from grpo_launch.compose import lift
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
    """

    values: Mapping[KeyPath, int] = field(default_factory=dict)
    sources: Mapping[KeyPath, KeyPath] = field(default_factory=dict)

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


def expand(train: Mapping[Any, Any], where: lift.Where) -> Expansion:
    """The expansion of the plan in a legacy tree that has been merged.

    Args:
        train: the merged tree.
        where: names the file and key for messages.

    Raises:
        ConfigError: the plan is no mapping, has an unknown key, lacks one, holds
            something else than positive integers, has keys without being enabled, or
            contradicts a value that the tree already has.
    """
    plan = read(train, where)
    values: dict[KeyPath, int] = {}
    sources: dict[KeyPath, KeyPath] = {}
    for key, value in plan.items():
        for target in targets(key):
            _refuse_another_value(train, target, key, value, where)
            values[target], sources[target] = value, key
    return Expansion(values, sources)


def targets(key: KeyPath) -> tuple[KeyPath, ...]:
    """The keys of the legacy tree that a plan's ``key`` sets."""
    return _TARGETS.get(key[-1]) or (_SERVER_TARGETS[key[-1]],)


def integer(value: Any) -> int | None:
    """``value`` as an integer, in the spellings that pass for one; None for anything else.

    Integral floats and numeric strings pass, booleans do not (see ``lift.fits``).
    """
    if value is None or not lift.fits(int, value):
        return None
    return value if isinstance(value, int) else int(float(value))


def read(train: Mapping[Any, Any], where: lift.Where) -> dict[KeyPath, int]:
    """The sizes of an enabled plan by their key path; empty where there is none.

    Raises:
        ConfigError: the plan itself is wrong; see :func:`expand`.
    """
    parent = lift.block(train, PLAN[:-1]) or {}
    given = parent.get(PLAN[-1])
    if given is None:
        return {}
    plan = _typed(BatchPlan, given, where, PLAN)
    if not plan.pop("enabled", None):
        if others := [key for key, value in plan.items() if value is not None]:
            what = f"is not enabled, but sets {', '.join(others)}"
            raise ConfigError(where(*PLAN), what, "set enabled: true or remove the block")
        return {}
    server = plan.pop("rollout_server", None)
    _require(plan, ("per_device_train_batch_size", "unified_batch_size"), where, PLAN)
    if plan.get("per_device_eval_batch_size") is None:
        plan["per_device_eval_batch_size"] = plan["per_device_train_batch_size"]
    sizes = {(*PLAN, key): value for key, value in plan.items()}
    if server is not None:
        keys = (*PLAN, "rollout_server")
        flags = _typed(ServerPlan, server, where, keys)
        _require(flags, _SERVER_TARGETS, where, keys)
        sizes |= {(*keys, key): value for key, value in flags.items()}
    for key, value in sizes.items():
        if value < 1:
            raise ConfigError(where(*key), f"{value} is below 1", "use a positive integer")
    return sizes


def _typed(node_type: type, given: Any, where: lift.Where, keys: KeyPath) -> dict[str, Any]:
    if not isinstance(given, dict):
        what = f"is {shown(given)}, not a mapping"
        raise ConfigError(where(*keys), what, "write 'key: value' lines below")
    return lift.typed(node_type, cast("dict[Any, Any]", given), where, keys)


def _require(
    given: Mapping[str, Any], names: Mapping[str, Any] | tuple[str, ...], where: lift.Where,
    keys: KeyPath,
) -> None:  # fmt: skip
    for name in names:
        if given.get(name) is None:
            raise ConfigError(where(*keys, name), "is required", f"set {'.'.join(keys)}.{name}")


def _refuse_another_value(
    train: Mapping[Any, Any], target: KeyPath, source: KeyPath, value: int, where: lift.Where
) -> None:
    node: Any = train
    for depth, key in enumerate(target):
        if node is None:
            return
        if not isinstance(node, dict):
            raise ConfigError(
                where(*target[:depth]),
                f"is {shown(node)}, not a mapping, and {where(*source)} sets a key below it",
                "write 'key: value' lines below",
            )
        node = cast("dict[Any, Any]", node).get(key)
    if node is None or integer(node) == value:
        return
    raise ConfigError(
        where(*target),
        f"is {shown(node)}, but the batch plan says {value} ({where(*source)})",
        "remove it or make the two equal",
    )


def shown(value: Any) -> str:
    """``value`` for a message."""
    try:
        return repr(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        return "a number too long to print"
