"""What an experiment declares of a command's steps and checkpoints, as the plan has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, cast

from grpo_launch.config import kinds
from grpo_launch.learners.command.places import Faults
from grpo_launch.plan import CheckpointLayout, Metrics
from grpo_launch.signs import JSON, PAIRS, REGEX

_NUMBERS = ("reward", "loss", "completion_length", "seconds")
_NAMES = ("step", "max_steps", *_NUMBERS)
PROGRESS = ("files", "format", "pattern", "event", "value", "first_step", *_NAMES)
CHECKPOINTS = ("path", "marker", "step", "tracker", "ignored")
NO_MARKER = "none"
STEP = "{step}"


def metrics(said: Any, config: Mapping[str, Any], faults: Faults) -> Metrics | None:
    """Where and how it logs its steps; None: nobody knows."""
    if said is None:
        return None
    body = faults.mapping({"progress": said}, "progress")
    if body is None:
        return None
    before = len(faults.found)
    faults.known(body, "progress", PROGRESS)
    patterns = _patterns(body.get("pattern"), faults)
    form = faults.choice(body, "progress.format", (JSON, PAIRS, REGEX))
    form = form or (REGEX if patterns else JSON)
    if (form == REGEX) != bool(patterns) and len(faults.found) == before:
        what = "is regex, but there is no pattern" if form == REGEX else "has no use for a pattern"
        faults.add("progress.format", what, "say both, or remove one of them")
    names = _names(body, patterns, faults)
    steps, max_steps = _max_steps(body.get("max_steps"), config, faults)
    if "max_steps" in names and max_steps is None and not steps:
        max_steps = "max_steps"  # a group of a pattern
    first, firsts = _first_step(body.get("first_step"), faults)
    event = faults.text(body, "progress.event", None)
    value = faults.text(body, "progress.value", None)
    if (event is None) != (value is None):
        what = "one of event and value is set without the other"
        faults.add("progress", what, "name the fields with the name and with the number")
    if firsts and event is None:
        faults.add(
            "progress.first_step", "goes by the names in event", "set event, or write 0 or 1"
        )
    files = _globs(body.get("files"), "progress.files", faults)
    if len(faults.found) > before:
        return None
    told = [names[name] for name in _NUMBERS if name in names]
    return Metrics(
        files=files,
        step=names["step"],
        max_steps=max_steps or "",
        reward=names.get("reward", ""),
        loss=names.get("loss", ""),
        completion_length=names.get("completion_length", ""),
        step_time=(names["seconds"],) if "seconds" in names else (),
        trained=tuple(told) or (names["step"],),
        form=form,
        patterns=patterns,
        event=event or "",
        value=value or "",
        steps=steps,
        first_step=first,
        first_steps=firsts,
        # A log is written by people for people: a step may take several lines.
        merges=event is not None or not files,
    )


def checkpoint_layout(said: Any, faults: Faults) -> CheckpointLayout | None:
    """How its checkpoints lie; None: nobody knows."""
    if said is None:
        return None
    body = faults.mapping({"checkpoints": said}, "checkpoints")
    if body is None:
        return None
    before = len(faults.found)
    faults.known(body, "checkpoints", CHECKPOINTS)
    path = faults.text(body, "checkpoints.path", None)
    if not path or PurePath(path).name.count(STEP) != 1 or path.count(STEP) != 1:
        what = f"{kinds.said(path)} has no {STEP} in its last part"
        faults.add("checkpoints.path", what, f"write for example checkpoint-{STEP}")
    elif _leads_out(path):
        what = f"{path!r} leads out of the output directory"
        faults.add("checkpoints.path", what, "write it relative to output_dir")
    marker = faults.text(body, "checkpoints.marker", None)
    if marker is None:
        what = "does not say how a complete checkpoint is told from a torn one"
        fix = f"name the file that is written last, or write {NO_MARKER}"
        if body.get("tracker") is None:
            faults.add("checkpoints.marker", what, fix)
    elif _leads_out(marker):
        what = f"{marker!r} leads out of the checkpoint"
        faults.add("checkpoints.marker", what, "name a file inside it")
    step = faults.text(body, "checkpoints.step", None)
    if step and marker in (None, NO_MARKER):
        faults.add("checkpoints.step", "is a field of the marker, which is none", "name a marker")
    tracker = faults.text(body, "checkpoints.tracker", None)
    ignored = _globs(body.get("ignored"), "checkpoints.ignored", faults)
    if len(faults.found) > before or path is None:
        return None
    prefix, _, suffix = PurePath(path).name.partition(STEP)
    return CheckpointLayout(
        directories=(_glob(path),),
        prefix=prefix,
        state="" if marker in (None, NO_MARKER) else marker,
        step=step or "",
        weights=(),
        suffix=suffix,
        tracker=tracker or "",
        ignored=ignored,
    )


def _glob(path: str) -> str:
    before, _, after = path.rpartition(STEP)
    return f"{before}*{after}"


def _patterns(said: Any, faults: Faults) -> tuple[str, ...]:
    items = [said] if isinstance(said, str) else said
    if said is None:
        return ()
    if not isinstance(items, list) or not items or not all(isinstance(i, str) for i in items):
        what = f"{kinds.said(said)} is neither a regular expression nor a list of them"
        faults.add("progress.pattern", what, r"write for example 'step=(?P<step>\d+)'")
        return ()
    patterns = tuple(cast("list[str]", items))
    for pattern in patterns:
        if why := _no_expression(pattern):
            what = f"{pattern!r} is no regular expression ({why})"
            faults.add("progress.pattern", what, "correct it, or quote it in single quotes")
            return ()
    return patterns


def _no_expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return str(error)
    return ""


def _names(body: Mapping[str, Any], patterns: tuple[str, ...], faults: Faults) -> dict[str, str]:
    """The field of each number: as said; of a pattern the group of that name."""
    groups = {name for pattern in patterns for name in re.compile(pattern).groupindex}
    names = {name: name for name in _NAMES if name in groups}
    for name in ("step", *_NUMBERS):
        if (said := faults.text(body, f"progress.{name}", None)) is not None:
            names[name] = said
            if patterns and said not in groups:
                what = f"no pattern has a group {said}"
                faults.add(f"progress.{name}", what, f"write (?P<{said}>...) in a pattern")
    if "step" not in names:
        if patterns:
            fix = "write (?P<step>\\d+) in a pattern"
            faults.add("progress.pattern", "has no group step", fix)
        names["step"] = "step"
    return names


def _max_steps(said: Any, config: Mapping[str, Any], faults: Faults) -> tuple[int, str | None]:
    """The number of steps, 0 where it is not known, and the field that says it, or None."""
    key = "progress.max_steps"
    if said is None:
        return 0, None
    if isinstance(said, int) and not isinstance(said, bool) and said > 0:
        return said, None
    if isinstance(said, str) and said:
        return 0, said
    if isinstance(said, dict) and [*said] == ["config"]:
        value: Any = config
        for part in str(cast("dict[str, Any]", said)["config"]).split("."):
            value = cast("dict[str, Any]", value).get(part) if isinstance(value, dict) else None
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value, None
        what = f"config has no number of steps there, but {kinds.said(value)}"
        faults.add(key, what, "correct the dotted key, or write the number itself")
        return 0, None
    what = f"{kinds.said(said)} is no number of steps and no place of one"
    faults.add(key, what, "write 100, the name of a field, or {config: DOTTED.KEY}")
    return 0, None


def _first_step(said: Any, faults: Faults) -> tuple[int, dict[str, int]]:
    """What the first step is called, and the same for some events."""
    if said is None:
        return 1, {}
    firsts = cast("dict[Any, Any]", said) if isinstance(said, dict) else {"*": said}
    if all(type(first) is int and first in (0, 1) for first in firsts.values()):
        if isinstance(said, dict):
            return 1, {str(name): first for name, first in firsts.items()}
        return firsts["*"], {}
    what = f"{kinds.said(said)} is not what a first step is called"
    faults.add("progress.first_step", what, "write 0, 1, or a mapping of names to 0 or 1")
    return 1, {}


def _globs(said: Any, key: str, faults: Faults) -> tuple[str, ...]:
    if said is None:
        return ()
    items = [said] if isinstance(said, str) else said
    if not isinstance(items, list) or not all(isinstance(i, str) and i for i in items):
        what = f"{kinds.said(said)} is neither a pattern nor a list of them"
        faults.add(key, what, "write for example '*.jsonl'")
        return ()
    patterns = cast("list[str]", items)
    for pattern in patterns:
        if _leads_out(pattern):
            what = f"{pattern!r} leads out of the output directory"
            faults.add(key, what, "write it relative to output_dir")
            return ()
    return tuple(patterns)


def _leads_out(path: str) -> bool:
    return path.startswith("/") or ".." in path.split("/") or not path.strip("./")
