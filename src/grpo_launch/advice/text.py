"""The advice for people: the figures, the arithmetic, and what it does not know."""

from __future__ import annotations

from collections.abc import Iterator

from grpo_launch.advice import model
from grpo_launch.advice.findings import FEWEST, Findings
from grpo_launch.advice.knobs import Knob
from grpo_launch.advice.model import Choice
from grpo_launch.runs.shares import Seconds, Split

_TURNS = (
    "a completion is a conversation: the seconds of a generation hold those of its environment,",
    "and how many of its requests are under way at a time is not known",
)
_CPU = (
    "split: on a CPU the devices only count processes, and both halves share the cores:",
    "  no split of GPUs can be advised from this run, and what overlaps below gains less",
)
_NO_REPLICAS = "split: no setting of this run's engine says how many replicas, so none is advised"
_NOT_KNOWN = (
    "  not known: how the generation scales (the range goes from as the model says to not at all,",
    "  but for the waves that {limit} makes); whether the learner fits into fewer GPUs",
)


def of(found: Findings) -> str:
    """All of it, lines with a break at the end."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Findings) -> Iterator[str]:
    yield f"{found.name}  {found.state}"
    split, now = found.split, found.situation
    if split is None:
        yield "  no whole generation behind the first of a start of the learner, which warms up"
        yield f"advice: none yet, {FEWEST} generations are needed"
        return
    per = f"{split.cycles} generations for {split.steps} optimizer steps"
    yield f"  looked at {per}; the first of each start of the learner warms up and is left out"
    yield f"  {_generation(split)}"
    yield ""
    yield from _seconds(split, multi_turn=now.is_multi_turn)
    yield ""
    yield from _shares(split, now.server_count, len(now.learner), now.cuda)
    if split.cycles < FEWEST:
        yield ""
        yield f"advice: none yet, {FEWEST} generations are needed"
        return
    yield ""
    yield from _splits(found)
    yield ""
    yield from _knobs(found)


def _generation(split: Split) -> str:
    text = f"a generation: {split.completions:g} completions"
    if split.tokens is not None:
        text += f" of {split.tokens:.0f} tokens on the mean"
    if split.longest is not None:
        text += f", the longest {split.longest:.0f}"
    if split.tokens is not None and split.generating.median:
        rate = split.completions * split.tokens / split.generating.median
        text += f"; {rate:.0f} tokens/s"
    return text


def _seconds(split: Split, *, multi_turn: bool) -> Iterator[str]:
    parts = {
        "generate": split.generating,
        "sync": split.sync,
        "learn": split.learning,
        "other": split.other,
        "whole": split.seconds,
    }
    yield f"{'seconds of a generation':<24}{'median':>9}  middle half"
    for name, part in parts.items():
        yield f"  {name:<22}{part.median:>9.2f}  {_middle(part)}{_MEANINGS.get(name, '')}"
    if split.overlaps:
        yield "  generation and learning overlap (async_generate)"
    if split.steps and split.cycles != split.steps:
        yield f"  a generation lasts for {split.steps / split.cycles:.2g} optimizer steps"
    if multi_turn:
        yield from (f"  {line}" for line in _TURNS)


_MEANINGS = {"other": "  rewards, checkpoints, evaluation"}


def _middle(part: Seconds) -> str:
    return f"{part.low:.2f} to {part.high:.2f}"


def _shares(split: Split, server: int, learner: int, cuda: bool) -> Iterator[str]:
    noun = "GPU" if cuda else "CPU process"
    halves = [
        ("server", server, (split.server_generates, "generates"), (split.server_syncs, "syncs")),
        (
            "learner",
            learner,
            (split.learner_learns, "learns"),
            (split.learner_syncs, "syncs"),
            (split.learner_other, "other"),
        ),
    ]
    idle = {"server": split.server_idle, "learner": split.learner_waits}
    yield "share of the time"
    for name, count, *busy in halves:
        shares = ", ".join(f"{word} {share:.0%}" for share, word in busy)
        devices = f"{count} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"
        waits = "idle" if name == "server" else "waits for rollouts"
        yield f"  {name:<8} {devices:<16} {waits} {idle[name]:.0%}; {shares}"


def _splits(found: Findings) -> Iterator[str]:
    now = found.situation
    if not now.cuda:
        yield from _CPU
        return
    if now.keys.data_parallel is None:
        yield _NO_REPLICAS
        return
    if found.best is None:
        yield "split: the learner's batches cannot be read from learner_arguments.yaml, so none"
        yield "  can be advised"
        return
    least, present = found.best
    tp = now.tensor_parallel
    yield f"splits of {now.devices} GPUs (server + learner), seconds of an optimizer step"
    yield (
        f"  generate {present.cost.generate:.2f} x {now.replicas} / replicas (of {tp} GPU"
        f"{'' if tp == 1 else 's'}), learn {present.cost.learn:.2f} x {present.learner} / learner"
        f" GPUs; sync {present.cost.sync:.2f} and other {present.cost.other:.2f} stay"
    )
    yield "  batch: of a device x learner GPUs x accumulation, the completions of a step"
    yield from (_choice(choice, present, least) for choice in found.choices)
    yield from _verdict(found, least, present)
    yield from (line.format(limit=now.keys.max_num_seqs or "max_num_seqs") for line in _NOT_KNOWN)


def _choice(choice: Choice, present: Choice, least: Choice) -> str:
    head = f"  {choice.server:>2} + {choice.learner:<2}"
    if choice.problem is not None or choice.sizes is None:
        return f"{head}  not possible: {choice.problem}"
    cost, sizes = choice.cost, choice.sizes
    joined = "sync {:.2f} + max(generate {:.2f}, learn {:.2f} + other {:.2f})"
    summed = "sync {:.2f} + generate {:.2f} + learn {:.2f} + other {:.2f}"
    form = joined if cost.overlaps else summed
    terms = form.format(cost.sync, cost.generate, cost.learn, cost.other)
    middle = f"{choice.low:.2f} to {choice.high:.2f}"
    batch = f"batch {sizes.per_device} x {choice.learner} x {sizes.accumulation}"
    marks = [word for word, it in (("now", present), ("best", least)) if it is choice]
    return (
        f"{head}  {cost.seconds:>7.2f} = {terms}  ({middle})  {batch}  {' '.join(marks)}".rstrip()
    )


def _verdict(found: Findings, least: Choice, present: Choice) -> Iterator[str]:
    before, after = present.cost.seconds, least.cost.seconds
    other = f"{least.server} + {least.learner}"
    if least is present:
        yield "advice: keep this split, under the model none is faster"
        return
    gain = f"{before:.2f} s -> {after:.2f} s a step ({least.low:.2f} to {least.high:.2f})"
    if not model.is_worth(least, present):
        yield f"advice: keep this split, {other} would gain little: {gain}"
        return
    yield f"advice: {other} in place of {present.server} + {present.learner}"
    yield f"  {gain}, {(before - after) / before:.0%} less; the completions of a step are the same"
    yield f"  {' '.join(found.overrides)}"
    if len(found.situation.server) < found.situation.server_count:
        which = "the server" if found.situation.servers == 1 else "a server"
        yield f"  and gpus.server, gpus.learner: {which} is of another run, which knows its GPUs"
    if found.situation.servers > 1:
        yield f"  and {least.replicas} replicas in all, over {found.situation.servers} servers"


def _knobs(found: Findings) -> Iterator[str]:
    now, split = found.situation, found.split
    assert split is not None, "without a split there is no advice at all"
    yield "other settings, with the devices as they are"
    asked = model.in_flight(split.asked_at_once, now.replicas)
    said = "" if now.max_num_seqs_said else ", the engine's default"
    if now.max_num_seqs is not None and asked <= now.max_num_seqs:
        name = now.keys.max_num_seqs or "max_num_seqs"
        yield f"  {name} {now.max_num_seqs}{said}: no limit, a replica gets {asked}"
        yield "    completions at a time"
    for knob in found.knobs:
        yield from _knob(knob)
    yield "  num_generations and the batch: they balance nothing by themselves. Both halves take"
    yield "    completions, of however many prompts, and a larger batch lengthens both"


def _knob(knob: Knob) -> Iterator[str]:
    middle = f"{knob.low:.2f}" if knob.low == knob.high else f"{knob.low:.2f} to {knob.high:.2f}"
    yield f"  {knob.override}: {middle} s a step"
    yield f"    {knob.arithmetic}"
    if knob.learning is None:
        yield "    what is learned stays the same"
    else:
        yield f"    changes what is learned: {knob.learning}"
    if knob.caution is not None:
        yield f"    {knob.caution}"
