"""What other settings than the split of the devices would change: pure arithmetic.

All of it is for the devices as they are, in seconds of one optimizer step. What changes the
completions that a step learns from, or how old they are, says so: GRPO's batch is never changed
for speed alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from grpo_launch.advice import model
from grpo_launch.advice.situation import Situation
from grpo_launch.runs.shares import Split

IDLE = 0.1
"""Below this share of the time a half waits too little for a change to be worth it."""


@dataclass(frozen=True)
class Knob:
    """One setting.

    Attributes:
        override: what to write.
        low, high: seconds of an optimizer step then; equal where there is no range.
        arithmetic: where they come from.
        learning: what changes about the learning, or None.
        caution: what may stand against it, or None.
    """

    override: str
    low: float
    high: float
    arithmetic: str
    learning: str | None
    caution: str | None = None


def found(split: Split, situation: Situation) -> list[Knob]:
    """The settings that could make a step shorter, those that change no learning first."""
    knobs = [*_max_num_seqs(split, situation), *_async_generate(split, situation)]
    if split.learner_waits >= IDLE:
        knobs += [*_steps_per_generation(split, situation), *_num_iterations(split, situation)]
    return knobs


def _max_num_seqs(split: Split, situation: Situation) -> Iterator[Knob]:
    asked = model.in_flight(split.asked_at_once, situation.replicas)
    limit = situation.max_num_seqs
    waves = model.waves(split.asked_at_once, situation.replicas, limit)
    if waves == 1 or situation.keys.max_num_seqs is None:
        return
    now = model.present(split, situation)
    then = replace(now, generate=now.generate / waves)
    text = f"{asked} completions of a replica in {limit} places are {waves} waves; in one wave "
    text += f"generate {now.generate:.2f} / {waves} = {then.generate:.2f} at best"
    yield Knob(
        override=f"rollout_server.{situation.keys.max_num_seqs}={asked}",
        low=then.seconds,
        high=now.seconds,
        arithmetic=text,
        learning=None,
        caution="the KV cache must hold so many; where it does not, vLLM preempts sequences",
    )


def _async_generate(split: Split, situation: Situation) -> Iterator[Knob]:
    now = model.present(split, situation)
    # It is refused for conversations.
    if now.overlaps or situation.is_multi_turn:
        return
    then = replace(now, overlaps=True)
    if now.seconds - then.seconds < model.WORTH * now.seconds:
        return
    text = f"sync {now.sync:.2f} + the longer of generate {now.generate:.2f} "
    text += f"and learn + other {now.learn + now.other:.2f}"
    yield Knob(
        override="train.rlhf.async_generate=true",
        low=then.seconds,
        high=then.seconds,
        arithmetic=text,
        learning="completions come from the weights of one generation before",
    )


def _steps_per_generation(split: Split, situation: Situation) -> Iterator[Knob]:
    sizes = situation.sizes
    if sizes is None:
        return
    now = model.present(split, situation)
    before, after = (
        model.waves(split.asked_at_once * n, situation.replicas, situation.max_num_seqs)
        for n in (1, 2)
    )
    least = min(1.0, after / before / 2)
    ends = [replace(now, generate=n * now.generate, sync=now.sync / 2) for n in (least, 1.0)]
    override = f"train.rlhf.steps_per_generation={2 * (sizes.generation // sizes.batch)}"
    if sizes.generation_said:
        override += f" train.rlhf.generation_batch_size={2 * sizes.generation}"
    text = f"generate {now.generate:.2f} x {least:.2f} to 1, sync {now.sync:.2f} / 2, "
    text += f"learn + other {now.learn + now.other:.2f}"
    yield Knob(
        override=override,
        low=ends[0].seconds,
        high=ends[1].seconds,
        arithmetic=text,
        learning="the later steps of a generation learn from completions of older weights",
    )


def _num_iterations(split: Split, situation: Situation) -> Iterator[Knob]:
    if situation.sizes is None:
        return
    now = model.present(split, situation)
    count = situation.sizes.iterations
    share = count / (count + 1)
    then = replace(
        now, generate=share * now.generate, sync=share * now.sync, other=share * now.other
    )
    text = f"(generate {now.generate:.2f} + sync {now.sync:.2f} + other {now.other:.2f}) "
    text += f"x {count}/{count + 1}, learn {now.learn:.2f}"
    yield Knob(
        override=f"train.rlhf.num_iterations={count + 1}",
        low=then.seconds,
        high=then.seconds,
        arithmetic=text,
        learning=f"each completion is learned from {count + 1} times",
    )
