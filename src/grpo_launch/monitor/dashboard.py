"""What ``grpo-runs watch`` shows of one moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.text import Text

from grpo_launch.errors import one_line
from grpo_launch.monitor import serving
from grpo_launch.monitor.detail import Detail
from grpo_launch.monitor.gpus import Gpu
from grpo_launch.monitor.listing import remarks
from grpo_launch.monitor.spark import sparkline
from grpo_launch.monitor.words import addresses, age, fit, idle, number, size, split, table
from grpo_launch.runs import pace, record
from grpo_launch.runs.metrics import Step

_COLOURS = {
    record.TRAINING: "green",
    record.SERVING: "green",
    record.DONE: "green",
    record.FAILED: "red",
    record.LOST: "red",
    record.INTERRUPTED: "yellow",
    record.RESTARTING: "yellow",
    record.UPLOADING: "green",
    record.STOPPING: "yellow",
}

_LINES_OF_A_LOG = 6
_FEWEST_LINES = 2
_WIDEST = 60


@dataclass(frozen=True)
class Scene:
    """All that is shown of one moment.

    Attributes:
        detail: the run.
        gpus: its GPUs, where NVML tells of them.
        gpu_problem: why it does not, where the run has GPUs.
        tails: the last lines of each log, by process.
    """

    detail: Detail
    gpus: Sequence[Gpu]
    gpu_problem: str | None
    tails: Mapping[str, Sequence[str]]


def draw(scene: Scene, now: float, width: int, height: int | None = None) -> list[Text]:
    """The scene as lines.

    Args:
        scene: what to show.
        now: seconds since the epoch.
        width: characters of a line; what is longer is cut.
        height: lines; None: as many as it takes.
    """
    above = [*_head(scene.detail, now, width), *_training(scene.detail, width)]
    above += [*_processes(scene.detail), *_gpus(scene)]
    tails = [(name, lines) for name, lines in scene.tails.items() if lines]
    room = _LINES_OF_A_LOG
    if height is not None and tails:
        room = max(_FEWEST_LINES, (height - len(above)) // len(tails) - 2)
    lines = [*above, *_logs(tails, room)]
    for line in lines:
        line.no_wrap = True
        line.rstrip()
        line.truncate(width, overflow="ellipsis")
    return lines


def _head(shown: Detail, now: float, width: int) -> Iterable[Text]:
    view = shown.view
    line = Text()
    line.append(one_line(view.found.name), style="bold")
    line.append(f"  {one_line(view.state)}", style=_COLOURS.get(view.state, "cyan"))
    if view.recorded is not None:
        if view.recorded.attempt > 1:
            line.append(f"  attempt {view.recorded.attempt}")
        took = view.duration_s(now)
        line.append("" if took is None else f"  {age(took)}")
        line.append(f"  {addresses(view.recorded.urls)}", style="dim")
    yield line
    if shown.serving:
        yield Text(f"  {serving.words(shown.serving)}")
    for remark in remarks(view):
        yield Text(f"  {remark}", style="yellow")
    if view.recorded is not None and view.recorded.reason:
        yield from map(Text, fit(f"  {one_line(view.recorded.reason)}", width))


def _training(shown: Detail, width: int) -> Iterable[Text]:
    if not shown.steps:
        return
    last = shown.steps[-1]
    yield Text()
    share = last.step / last.max_steps if last.max_steps else 0.0
    line = _fact("step", last.of_all)
    across = max(10, min(_WIDEST, width - 50))
    full = round(across * min(1.0, share))
    line.append("━" * full, style="green").append("─" * (across - full), style="dim")
    line.append(f"  {share:.0%}")
    line.append(f"  {age(shown.eta_s)} left" if shown.eta_s else "")
    yield line
    yield from _curve(shown.steps, across)
    yield from _figures(shown)
    if shown.step_s is not None:
        line = _fact("time", f"{shown.step_s:.1f} s/step")
        if shown.split is None:
            rewarded = any(step.reward is not None for step in shown.steps)
            yield line.append("generation and learning together" if rewarded else "", style="dim")
        else:
            yield line.append(split(shown.split))
            yield _fact("", "").append(idle(shown.split), style="dim")
    length = next((s.completion_length for s in reversed(shown.steps) if s.completion_length), None)
    if length is not None:
        yield _fact("length", f"{length:.0f} tokens")


def _curve(steps: Sequence[Step], across: int) -> Iterable[Text]:
    """The rewards as a curve; where there are none the losses."""
    name, written, values = "reward", pace.written_reward, [step.reward for step in steps]
    if not any(value is not None for value in values):
        name, written, values = "loss", pace.written_loss, [step.loss for step in steps]
    known = [value for value in values if value is not None]
    if known:
        line = _fact(name, written(known[-1])).append(sparkline(values, across), style="green")
        yield line.append(f"  {written(min(known))} to {written(max(known))}")


def _figures(shown: Detail) -> Iterable[Text]:
    """The spread of the rewards, the mean of each reward function, and KL, where logged."""
    metrics, latest = shown.planned.plan.metrics, shown.latest
    if metrics is None:
        return
    before, star, behind = metrics.each_reward.partition("*")
    own = {
        name[len(before) : len(name) - len(behind)]: value
        for name, value in latest.items()
        if star and len(name) > len(before + behind)
        if name.startswith(before) and name.endswith(behind)
    }
    parts = [f"std {number(latest[metrics.reward_std])}"] if metrics.reward_std in latest else []
    parts += [f"{one_line(name)} {number(value)}" for name, value in own.items()]
    if parts:
        yield Text().append(" " * len(_fact("", ""))).append("  ".join(parts), style="dim")
    if metrics.kl in latest:
        yield _fact("kl", number(latest[metrics.kl]))


def _fact(name: str, value: str) -> Text:
    return Text().append(f"{name:<8}", style="dim").append(f"{value:<12} ")


def _processes(shown: Detail) -> Iterable[Text]:
    recorded = shown.view.recorded
    rows: list[tuple[str, ...]] = []
    for name, process in recorded.processes.items() if recorded else ():
        others = shown.children(name, process)
        fate = process.fate or ("alive" if shown.is_alive(process) else "gone")
        gpus = shown.planned.gpus.get(name, ())
        rows.append(
            (
                one_line(name).ljust(6),
                fate,
                f"pid {process.pid}",
                f"and {len(others)} more" if others else "",
                f"GPU {','.join(gpus)}" if gpus else "",
            )
        )
    if rows:
        yield Text()
        yield from (Text(line) for line in table(rows[0], rows[1:]))


def _gpus(scene: Scene) -> Iterable[Text]:
    owners = {gpu: name for name, ids in scene.detail.planned.gpus.items() for gpu in ids}
    if not owners or not scene.detail.view.is_here or scene.detail.view.is_over:
        return
    yield Text()
    if scene.gpu_problem is not None:
        yield Text(scene.gpu_problem, style="dim")
        return
    rows = [
        (
            f"GPU {gpu.id}",
            owners.get(gpu.id, ""),
            f"{size(gpu.used)} of {size(gpu.total)}",
            "" if gpu.use is None else f"{gpu.use}% busy",
        )
        for gpu in scene.gpus
    ]
    if rows:
        yield from (Text(line) for line in table(rows[0], rows[1:]))


def _logs(tails: Sequence[tuple[str, Sequence[str]]], room: int) -> Iterable[Text]:
    for name, lines in tails:
        yield Text()
        yield Text(f"{name}.log", style="bold")
        yield from (Text(f"  {line.expandtabs()}") for line in lines[-room:])
