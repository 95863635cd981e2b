"""What the servers of a run are doing, by their own counters."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from grpo_launch.monitor.view import View
from grpo_launch.plan import LaunchPlan
from grpo_launch.runs import record
from grpo_launch.supervise import counters

TIMEOUT_S = 0.5
"""For one server: somebody waits for the answer."""

_ASKED_IN = (record.SERVING, record.TRAINING)

Counts = Mapping[str, Mapping[str, float]]
"""The counters of each server that answers, by its name."""


def counts(view: View, plan: LaunchPlan) -> Counts:
    """Ask the servers of a run that is going on."""
    if not view.is_supervised or view.state not in _ASKED_IN:
        return {}
    found: dict[str, Mapping[str, float]] = {}
    for gate in plan.gates:
        if gate.counters is not None:
            with contextlib.suppress(OSError, ValueError):  # it will be asked again
                found[gate.server] = counters.read(gate.url, gate.counters, TIMEOUT_S)
    return {name: values for name, values in found.items() if values}


def words(counts: Counts) -> str:
    """``2 running, 0 waiting, 1024 generated tokens``, with the name of each of several servers."""
    said = {
        name: ", ".join(f"{value:.0f} {label}" for label, value in values.items())
        for name, values in counts.items()
    }
    if len(said) == 1:
        return next(iter(said.values()))
    return "; ".join(f"{name}: {text}" for name, text in said.items())
