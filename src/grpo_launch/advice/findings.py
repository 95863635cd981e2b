"""All that is found out about one run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo_launch.advice import knobs, model, situation
from grpo_launch.advice.knobs import Knob
from grpo_launch.advice.model import Choice
from grpo_launch.advice.situation import Situation
from grpo_launch.errors import PreflightError
from grpo_launch.runs import shares, timing
from grpo_launch.runs.shares import Split

FEWEST = 5
"""Generations that must be known before anything is advised: medians of fewer say little."""

FORMAT = 1
"""The version of the JSON form; fields may be added within a version."""


@dataclass(frozen=True)
class Findings:
    """What is known of a run, and what follows.

    Attributes:
        name: of the run.
        state: as its record says it.
        situation: what it computes on.
        split: what its seconds went into; None where no whole cycle is known.
        choices: every split of its devices; empty where none can be advised.
        best: the best one and the present one, or None.
        overrides: what to write for the best one; empty where it is not worth it.
        knobs: other settings.
    """

    name: str
    state: str
    situation: Situation
    split: Split | None
    choices: tuple[Choice, ...] = ()
    best: tuple[Choice, Choice] | None = None
    overrides: tuple[str, ...] = ()
    knobs: tuple[Knob, ...] = ()


def of_run(name: str, state: str, directory: Path) -> Findings:
    """Look at the run in ``directory``.

    Args:
        name: of the run, for messages.
        state: as its record says it.
        directory: absolute.

    Raises:
        PreflightError: it has no learner, no timing, or no configuration that can be read.
    """
    now = situation.read(directory)
    if now is None:
        what = "its plan.json or config.yaml cannot be read"
        raise PreflightError(name, what, "choose another run")
    if not now.learns:
        raise PreflightError(name, "is a rollout server alone", "name the run of its learner")
    starts = timing.read(directory)
    if not starts:
        raise PreflightError(name, *_why_untimed(now, directory))
    split = shares.split(starts)
    if split is None or split.cycles < FEWEST:
        return Findings(name, state, now, split)
    choices = model.choices(split, now) if now.cuda else []
    best = model.best(choices, now)
    return Findings(
        name=name,
        state=state,
        situation=now,
        split=split,
        choices=tuple(choices),
        best=best,
        overrides=overrides(*best, now) if best and model.is_worth(*best) else (),
        knobs=tuple(knobs.found(split, now)),
    )


def overrides(least: Choice, present: Choice, now: Situation) -> tuple[str, ...]:
    """What makes a run out of the best split, with the batches of the present one.

    The devices are named where this run knows them all; several servers share them evenly.
    """
    said: list[str] = []
    ids = (*now.server, *now.learner)
    if len(ids) == now.devices:
        said.append(f"gpus.server=[{','.join(ids[: least.server])}]")
        said.append(f"gpus.learner=[{','.join(ids[least.server :])}]")
    said.append(f"rollout_server.{now.keys.data_parallel}={least.replicas // now.servers}")
    before, after = present.sizes, least.sizes
    if before is None or after is None:
        return tuple(said)
    if after.per_device != before.per_device:
        said.append(f"train.training.per_device_train_batch_size={after.per_device}")
    if after.accumulation != before.accumulation and not now.accumulation_follows:
        said.append(f"train.training.gradient_accumulation_steps={after.accumulation}")
    steps = after.generation // after.batch
    if now.steps_said and steps != before.generation // before.batch:
        said.append(f"train.rlhf.steps_per_generation={steps}")
    return tuple(said)


def as_json(found: Findings) -> dict[str, Any]:
    """All of it as plain data; see docs/advise.md for the fields."""
    now, split = found.situation, found.split
    least, present = found.best or (None, None)
    return {
        "format": FORMAT,
        "run": found.name,
        "state": found.state,
        "split": None if split is None else dataclasses.asdict(split),
        "enough": split is not None and split.cycles >= FEWEST,
        "devices": {
            "cuda": now.cuda,
            "server": now.server_count,
            "learner": len(now.learner),
            "servers": now.servers,
            "tensor_parallel": now.tensor_parallel,
            "max_num_seqs": now.max_num_seqs,
        },
        "choices": [_choice(choice) for choice in found.choices],
        "now": None if present is None else _choice(present),
        "best": None if least is None else _choice(least),
        "overrides": list(found.overrides),
        "settings": [dataclasses.asdict(knob) for knob in found.knobs],
    }


def _choice(choice: Choice) -> dict[str, Any]:
    sizes, cost = choice.sizes, choice.cost
    return {
        "server": choice.server,
        "learner": choice.learner,
        "replicas": choice.replicas,
        "problem": choice.problem,
        "seconds": cost.seconds,
        "low": choice.low,
        "high": choice.high,
        "generate": cost.generate,
        "sync": cost.sync,
        "learn": cost.learn,
        "other": cost.other,
        "per_device_train_batch_size": sizes.per_device if sizes else None,
        "gradient_accumulation_steps": sizes.accumulation if sizes else None,
        "steps_per_generation": sizes.generation // sizes.batch if sizes else None,
    }


def _why_untimed(now: Situation, directory: Path) -> tuple[str, str]:
    if not now.is_timed:
        return "was started with learner.timing=false", "start one without it"
    if (directory / timing.FILE).exists():
        return f"its {timing.FILE} holds no timing", "choose another run"
    fix = "wait for its first step, or look for 'no timing' in learner.log"
    return f"has no {timing.FILE}: its learner has not begun, or could not write it", fix
