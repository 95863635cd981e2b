"""What another split of the devices would take, under a simple model: pure arithmetic.

The model, in seconds of one optimizer step (its share of a generation that lasts for several):

- *generate* = completions x tokens / (replicas x throughput of one replica). So it grows and
  shrinks with the number of replicas: n times as many take 1/n of the seconds. Decoding few
  sequences is limited by memory bandwidth, not by arithmetic, and the longest completion has to
  be waited for however many replicas there are. At the other end of the range the seconds stay
  as they are, times the waves that a replica's ``max_num_seqs`` makes of them. Both ends are
  given; the truth lies between them.
- *learn* = completions x seconds of one / learner devices.
- *sync* and *other* (rewards, checkpoints, evaluation) stay as they are.
- In turn they add up; with ``async_generate`` generation and learning go on at the same time:
  sync + max(generate, learn + other).

The batches stay what they are: completions of an optimizer step, completions of a generation.
A split whose learner devices do not divide them is not possible without changing what is learned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from grpo_launch.advice.situation import Situation
from grpo_launch.learners.batches import Sizes
from grpo_launch.runs.shares import Split

WORTH = 0.05
"""A gain below this share of the seconds is not worth a change: the model is not that good."""


@dataclass(frozen=True)
class Cost:
    """Seconds of one optimizer step.

    Attributes:
        generate, sync, learn, other: its parts.
        overlaps: whether generation and learning go on at the same time.
    """

    generate: float
    sync: float
    learn: float
    other: float
    overlaps: bool = False

    @property
    def seconds(self) -> float:
        """All of it."""
        if self.overlaps:
            return self.sync + max(self.generate, self.learn + self.other)
        return self.generate + self.sync + self.learn + self.other


@dataclass(frozen=True)
class Choice:
    """One split of the devices.

    Attributes:
        server, learner: numbers of devices.
        replicas: of the model, on the server's devices.
        sizes: the batches; None where they do not divide.
        problem: why it is not possible, or None.
        cost: what it takes where generation scales with the replicas.
        low, high: seconds at the two ends of the range for generation.
    """

    server: int
    learner: int
    replicas: int
    sizes: Sizes | None
    problem: str | None
    cost: Cost
    low: float
    high: float


def present(split: Split, situation: Situation) -> Cost:
    """What a step takes now: the medians of its parts."""
    share = split.per_step
    return Cost(
        generate=share * split.generating.median,
        sync=share * split.sync.median,
        learn=share * split.learning.median,
        other=share * split.other.median,
        overlaps=split.overlaps or situation.is_async,
    )


def waves(completions: int, replicas: int, max_num_seqs: int | None) -> int:
    """How often a replica has to fill its ``max_num_seqs`` places, at least once."""
    if max_num_seqs is None:
        return 1
    return max(1, math.ceil(in_flight(completions, replicas) / max_num_seqs))


def in_flight(completions: int, replicas: int) -> int:
    """Completions that are asked of one replica at a time (``chunk_list``, rollout.py)."""
    return math.ceil(completions / replicas)


def choices(split: Split, situation: Situation) -> list[Choice]:
    """Every split of the run's devices, fewest server devices first.

    Empty without batches, and where no setting of the engine says how many replicas it has.

    The server's devices are whole replicas of the same tensor parallel size, as many for each
    of several servers, and each half has at least one device.
    """
    if situation.sizes is None or situation.keys.data_parallel is None:
        return []
    step = situation.tensor_parallel * situation.servers
    return [
        _choice(split, situation, server, situation.sizes)
        for server in range(step, situation.devices, step)
    ]


def best(found: Sequence[Choice], situation: Situation) -> tuple[Choice, Choice] | None:
    """The split that takes least, and the present one; None where that is none of them.

    Among equals the present one is the best.
    """
    now = next((c for c in found if c.server == situation.server_count), None)
    if now is None or now.problem is not None:
        return None
    possible = [choice for choice in found if choice.problem is None]
    least = min(possible, key=lambda choice: choice.cost.seconds)
    return (least if least.cost.seconds < now.cost.seconds else now), now


def is_worth(least: Choice, now: Choice) -> bool:
    """Whether the best split gains more than the model can tell apart."""
    return now.cost.seconds - least.cost.seconds > WORTH * now.cost.seconds


def batches(sizes: Sizes, learner: int) -> Sizes | None:
    """The same optimizer step and the same generation on ``learner`` devices, or None.

    The batch of a device stays what it is where that divides; else it is the greatest smaller
    one that does, since a greater one may not fit into its memory.
    """
    step = sizes.batch * sizes.accumulation
    for per_device in range(sizes.per_device, 0, -1):
        batch = per_device * learner
        if step % batch == 0 and sizes.generation % batch == 0:
            return replace(
                sizes,
                world_size=learner,
                per_device=per_device,
                accumulation=step // batch,
                steps=sizes.generation // batch,
            )
    return None


def _choice(split: Split, situation: Situation, server: int, sizes: Sizes) -> Choice:
    learner, replicas = situation.devices - server, server // situation.tensor_parallel
    now = present(split, situation)
    linear = now.generate * situation.replicas / replicas
    fills = (
        waves(split.asked_at_once, count, situation.max_num_seqs)
        for count in (replicas, situation.replicas)
    )
    waited = now.generate * next(fills) / next(fills)
    learn = now.learn * len(situation.learner) / learner
    ends = [replace(now, generate=end, learn=learn).seconds for end in (linear, waited)]
    divided = sizes if server == situation.server_count else batches(sizes, learner)
    return Choice(
        server=server,
        learner=learner,
        replicas=replicas,
        sizes=divided,
        problem=None if divided is not None else _problem(sizes, learner),
        cost=replace(now, generate=linear, learn=learn),
        low=min(ends),
        high=max(ends),
    )


def _problem(sizes: Sizes, learner: int) -> str:
    step = sizes.batch * sizes.accumulation
    if step % learner:
        return f"{step} completions of a step do not divide by {learner} learner devices"
    what = f"{sizes.generation} completions of a generation do not divide"
    return f"{what} by {learner} learner devices"
