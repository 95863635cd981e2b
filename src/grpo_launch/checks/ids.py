"""The rule on ids of devices, and what the caller's environment allows of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

from grpo_launch.base.host import nvidia_smi
from grpo_launch.config import kinds
from grpo_launch.config.problem import Problem
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.plan import LaunchPlan

_ID = re.compile(r"\d+|(GPU|MIG)-[\w/-]+", re.ASCII)
_NONE = ("-1", "NoDevFiles", "none", "void")
"""What people, and programs, write for no device."""

_VISIBLE = "CUDA_VISIBLE_DEVICES"


@rule
def device_ids_are_ids(context: Context) -> Iterator[Problem]:
    """``gpus.*`` lists indices or UUIDs, one an item; on a CPU indices that count processes.

    Source: ``CUDA_VISIBLE_DEVICES`` in NVIDIA's programming guide: of a wrong id, and of those
    behind it, CUDA sees no device.
    """
    config = context.config
    for half in ("server", "learner"):
        for device in getattr(config.gpus, half) or ():
            if _ID.fullmatch(device):
                continue
            parts = device.split(",")
            fix = "write an index, 0, or a UUID of nvidia-smi -L"
            if len(parts) > 1 and all(_ID.fullmatch(part.strip()) for part in parts):
                fix = f"write {len(parts)} items, [{', '.join(part.strip() for part in parts)}]"
            what = f"{kinds.said(device)} is not the id of a device"
            yield Problem(config.where(f"gpus.{half}"), what, fix)


ID_RULES: Sequence[Rule] = (device_ids_are_ids,)


def outside(plan: LaunchPlan, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What of the plan's devices the caller may not use: the half, and what is wrong.

    Ids in a plan are those of the machine, as in ``CUDA_VISIBLE_DEVICES`` itself: a scheduler that
    gave GPU 4 and 5 did not give 0. An index and a UUID are compared where nvidia-smi tells both.
    """
    said = environ.get(_VISIBLE)
    if said is None:
        return
    given = [item.strip() for item in said.split(",") if item.strip()]
    # Of a wrong one, and of those behind it, CUDA sees none.
    allowed = [*itertools.takewhile(lambda item: item not in _NONE, given)]
    names = _names() if _mixed(plan, allowed) else {}
    if names is None:
        return
    for part in dict.fromkeys(spec.part for spec in plan.processes):
        devices = [d for spec in plan.processes if spec.part == part for d in spec.devices]
        absent = [d for d in devices if not any(_is_same(d, item, names) for item in allowed)]
        if absent:
            shown = ", ".join(allowed) or "none"
            yield part, f"names GPU {', '.join(absent)}, but {_VISIBLE} allows {shown}"


def _mixed(plan: LaunchPlan, allowed: Sequence[str]) -> bool:
    ids = [*allowed, *(device for spec in plan.processes for device in spec.devices)]
    return len({item.isdecimal() for item in ids}) > 1


def _names() -> dict[str, str] | None:
    """The UUID of each index; None where nobody knows."""
    rows = (line.split(", ") for line in nvidia_smi("index", "uuid"))
    found = {row[0]: row[1] for row in rows if len(row) == 2}
    return found or None


def _is_same(device: str, allowed: str, names: Mapping[str, str]) -> bool:
    """Whether two ids are of one device; a UUID may be cut short, as CUDA lets it be."""
    first, second = names.get(device, device), names.get(allowed, allowed)
    if first.isdecimal() or second.isdecimal():
        return first == second
    return first.startswith(second) or second.startswith(first)
