"""The report of ``role=check`` for people: a screen of 80 columns and 24 lines.

Everything comes from the report's own data (``report.py``), so that a person and a machine are told
the same.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from grpo_launch.base import terminal
from grpo_launch.config import kinds
from grpo_launch.config.formats.forms import Form
from grpo_launch.config.problem import Severity

_TITLE = 10
"""Columns of a title, the space behind it included."""

_FEW = 4
"""Lines for what an accelerator replaced, unless everything is asked for."""

_BOLD, _RED, _GREEN, _YELLOW, _FAINT = "1", "31", "32", "33", "2"
_OF_LEARNER = ("model", "tuner", "data", "rewards", "training")
_APART = (*_OF_LEARNER, "accelerator", "parallel", "devices", "ports", "batches", "tracking")
"""Titles that have a place of their own; the others follow as they are."""

_RULE = re.compile(r"\[checks\.warn:.\w+\]$")
_NO_BREAK = "\N{NO-BREAK SPACE}"
_USUAL_FORMS = (Form.SECTIONS.value, Form.NATIVE.value)
_OPTIONAL = ("resume", "engine", "defaults")


@dataclass(frozen=True)
class Look:
    """How it is written.

    Attributes:
        width: columns; 0: lines are as long as they are.
        colour: whether the words that matter have one.
        verbose: whether everything is listed.
    """

    width: int = 80
    colour: bool = False
    verbose: bool = False


def problem(severity: Severity, text: str, look: Look) -> str:
    """A warning or an error; broken between words where the width is limited."""
    code = _RED if severity is Severity.ERROR else _YELLOW
    whole = _RULE.sub(lambda tag: tag[0].replace(" ", _NO_BREAK), f"{severity.value}: {text}")
    if look.width:
        whole = "\n".join(_wrapped(whole, look.width, indent="  "))
    whole = _RULE.sub(lambda tag: _painted(tag[0], _FAINT, look), whole.replace(_NO_BREAK, " "))
    return _painted(severity.value, code, look) + whole.removeprefix(severity.value)


def text(body: Mapping[str, Any], look: Look, *, checked: bool) -> str:
    """The report, without the problems: those go to standard error.

    Args:
        body: what the check found.
        look: how it is written.
        checked: whether preflight ran.
    """
    return terminal.Painted("\n".join(_lines(body, look, checked)) + "\n")


def _lines(body: Mapping[str, Any], look: Look, checked: bool) -> Iterator[str]:
    for path in body["shadowed"]:
        yield from _line("note", [f"{path}: the same name, not used: an earlier root has it"], look)
    if body["form"] not in _USUAL_FORMS:
        yield from _line("note", [f"the file is read as {body['form']}"], look)
    yield from _environment(body["environment"])
    yield from _summary(body["summary"] or {}, look)
    yield from _checks(body, look, checked)
    is_ready = body["status"] == 0
    verdict = "ready to launch" if is_ready else "would not start"
    if is_ready and body["unchecked"]:
        verdict += ", if the GPUs are there"
    verdict = _painted(verdict, f"{_BOLD};{_GREEN if is_ready else _RED}", look)
    yield f"{terminal.escaped(body['experiment'])}: {verdict}"


def _summary(summary: Mapping[str, Any], look: Look) -> Iterator[str]:
    for title in _OF_LEARNER:
        yield from _section(title, summary.get(title), look)
    yield from _batch(summary.get("batches"), look)
    yield from _halves(summary, look)
    for title, values in summary.items():
        if title not in _APART:
            yield from _section(title, values, look)
            if not values and title not in _OPTIONAL:
                yield from _line(title, ["not known"], look)
    yield from _section("tracking", summary.get("tracking"), look)
    yield from _replaced(summary.get("accelerator"), look)


def _section(title: str, values: Mapping[str, Any] | None, look: Look) -> Iterator[str]:
    """``title  VALUE, NAME VALUE, ...``; the value that is called as the title has no name."""
    if not values:
        return
    said = [_value(v) if name == title else f"{name} {_value(v)}" for name, v in values.items()]
    yield from _line(title, said, look, "; " if any("," in name for name in values) else ", ")


def _batch(sizes: Mapping[str, Any] | None, look: Look) -> Iterator[str]:
    if not sizes:
        return
    step, group = sizes["completions a step"], sizes["completions a prompt"]
    devices = kinds.counted(sizes["world size"], "device")
    prompts, whole = sizes["prompts a step"], sizes["generation batch"]
    lasts = "1 step" if whole == step else f"{whole / step:g} steps"
    said = [
        f"{sizes['per device']} a device x {devices} x {sizes['accumulation steps']} accumulated",
        f"= {kinds.counted(step, 'completion')} a step",
        f"= {prompts} prompt{'' if prompts == '1' else 's'} x {group};",
        f"a generation of {whole} lasts for {lasts}",
    ]
    yield from _line("batch", said, look, " ")


def _halves(summary: Mapping[str, Any], look: Look) -> Iterator[str]:
    """Each server and the learner: devices, parallelism, ports."""
    ports = dict(summary.get("ports") or {})
    sizes = summary.get("parallel") or {}
    split = ", ".join(
        f"{n} {sizes[k]}" for n, k in (("TP", "tensor"), ("DP", "data")) if sizes.get(k)
    )
    torchrun = ports.pop("torchrun", None)
    devices: Mapping[str, str] = summary.get("devices") or {}
    for name in [name for name in devices if name != "learner"]:
        at = ports.get(name)
        if at is None and "http" in ports:
            group = f", weight sync {ports['weight sync']}" if "weight sync" in ports else ""
            at = f"{ports['http']}{group}"
        yield from _line(name, [*filter(None, (_short(devices[name]), split, at))], look, "; ")
    if "learner" in devices:
        master = f"torchrun port {torchrun}" if isinstance(torchrun, int) else None
        yield from _line(
            "learner", [*filter(None, (_short(devices["learner"]), master))], look, "; "
        )


def _short(devices: str) -> str:
    """``GPU 0-5`` for ``GPU 0, 1, 2, 3, 4, 5``."""
    kind, ids = re.split(r" (?=\S+(?:, |$))", devices, maxsplit=1)
    numbers = [int(number) if number.isdecimal() else -1 for number in ids.split(", ")]
    if len(numbers) < 3 or numbers != [*range(numbers[0], numbers[-1] + 1)]:
        return devices
    return f"{kind} {numbers[0]}-{numbers[-1]}"


def _replaced(accelerator: Mapping[str, Any] | None, look: Look) -> Iterator[str]:
    """As it would be typed; what stands in the sections of the experiment comes first."""
    values: Mapping[str, Mapping[str, Any]] = (accelerator or {}).get("replaced") or {}
    if not accelerator or not values:
        return
    ordered = sorted(values.items(), key=lambda item: not item[0].startswith("train."))
    head = f"by accelerator={accelerator['kind']}: "
    said = [
        f"{key.removeprefix('train.')}={_typed(value['is'])}"
        + ("" if value["was"] is None else f" (was {_typed(value['was'])})")
        for key, value in ordered
    ]
    said[0] = head + said[0]
    shown = len(said)
    while not look.verbose and len(_line("replaced", _cut(said, shown), look)) > _FEW:
        shown -= 1
    yield from _line("replaced", _cut(said, shown), look)


def _cut(said: Sequence[str], count: int) -> list[str]:
    rest = len(said) - count
    return [*said[:count], *([f"{rest} more with verbose=true"] if rest else [])]


def _checks(body: Mapping[str, Any], look: Look, checked: bool) -> Iterator[str]:
    if look.verbose:
        for rule in body["passed"]:
            yield from _line("passed", [rule], look)
        for skipped in body["skipped"]:
            yield from _line("skipped", [f"{skipped['rule']}: {skipped['missing']}"], look)
    for rule in body["failed"]:
        yield from _line("failed", [rule], look)
    if body["rehearsal"]:
        yield from _line("rehearsal", [_verdict(body["rehearsal"])], look)
    for rule in body["downgraded"]:
        yield from _line("warned", [f"{rule} (checks.warn)"], look)
    passed = [f"{kinds.counted(len(body['passed']), 'rule')} passed"]
    if checked and not any(p["severity"] == Severity.ERROR.value for p in body["preflight"]):
        passed.append(f"preflight passed{', without the GPUs' if body['unchecked'] else ''}")
    yield from _line("checks", passed, look)
    if not look.verbose:
        missing = sorted(skipped["missing"] for skipped in body["skipped"])
        for why, rules in itertools.groupby(missing):
            count = kinds.counted(len([*rules]), "rule")
            yield from _line("", [f"{count} skipped: {why}"], look)


def _verdict(rehearsal: Mapping[str, Any]) -> str:
    from grpo_launch.runs.rehearsals import Verdict  # not where nothing was rehearsed

    line = Verdict(**rehearsal).line.removeprefix("rehearsal: ")
    return line or f"{rehearsal['verdict']}, see above"


def _environment(said: Mapping[str, Any] | None) -> Iterator[str]:
    """What variables said; not wrapped, it is there to be copied."""
    if said is None:
        return
    for variable, overrides in said["taken"].items():
        yield _row(variable, " ".join(overrides))
    for variable, key in said["beaten"].items():
        yield _row(variable, f"not used, the command line says {key}")
    if said["typed"]:
        yield _row("all of it, typed", said["typed"])
    elif not said["beaten"]:
        yield f"{'env':{_TITLE}}no variable of the old scripts counts"


def _row(name: str, text: str) -> str:
    return f"{'env':{_TITLE}}{name:24} {terminal.escaped(text)}"


def _line(title: str, items: Sequence[str], look: Look, separator: str = ", ") -> list[str]:
    """A title and what belongs to it, further lines below; broken between items where they fit."""
    width = max(20, look.width - _TITLE)
    bound = [
        item.replace(" ", _NO_BREAK) if len(item) < width else item
        for item in (terminal.escaped(" ".join(item.split())) for item in items)
    ]
    lines = _wrapped(separator.join(bound), width)
    head = _painted(title, _FAINT, look) + " " * (_TITLE - len(title))
    return [(" " * _TITLE if number else head) + line for number, line in enumerate(lines)]


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    lines = textwrap.wrap(
        text,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_NO_BREAK, " ") for line in lines]


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if value is None:
        return "unset"
    if isinstance(value, list):
        return ", ".join(map(_value, cast("list[Any]", value)))
    return _typed(value)


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else kinds.said(value)


def _painted(text: str, code: str, look: Look) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if look.colour else text
