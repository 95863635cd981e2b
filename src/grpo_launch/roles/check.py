"""``role=check``: everything a launch would judge, and a summary; start nothing, leave nothing."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, TextIO

from grpo_launch import plan
from grpo_launch.backends import registry
from grpo_launch.base import redaction
from grpo_launch.base.host import Host
from grpo_launch.checks import gather, report, screen
from grpo_launch.checks.downgrade import blamed_on, downgraded
from grpo_launch.config import endpoint, loops
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.schema import NO_PLUGIN, OutputFormat, Part
from grpo_launch.errors import LaunchError
from grpo_launch.roles._launch import PARTS
from grpo_launch.settle.preparation import Aim, Preparation
from grpo_launch.settle.prepare import prepare

if TYPE_CHECKING:
    from grpo_launch.runs.rehearsals import Verdict

_USUAL = 80
"""Columns of what is no terminal."""

_WIDEST = 100
"""Columns; longer lines are hard to read, however wide the terminal is."""


def run(config: LaunchConfig, host: Host) -> int:
    """Check; returns 0 when a launch could start now, else the status of what is in its way.

    With ``output=json`` everything is on standard output; otherwise the problems are on
    standard error, before the rest.
    """
    config = of_part(config)
    backend = registry.of(config)
    with contextlib.ExitStack() as stack:
        ready = prepare(stack, config, host, parts(config), Aim.CHECK, backend.check)
    verdict = None
    if ready.run is not None and ready.run.plan.rehearsal is not None and ready.error is None:
        from grpo_launch.checks import rehearsal

        verdict = rehearsal.rehearse(ready.run.plan, ready.run.plan.rehearsal, ready.run.environ)
        ready = _rehearsed(ready, ready.run.plan.rehearsal, verdict)
    checked = config.preflight and ready.is_valid
    unchecked = gather.unchecked(ready.config) if checked else []
    body = _body(ready, unchecked)
    body["rehearsal"] = None if verdict is None else asdict(verdict)
    if config.output is OutputFormat.json:
        sys.stdout.write(json.dumps(body, indent=2, ensure_ascii=False, default=str) + "\n")
        return body["status"]
    _print_problems(ready, unchecked, host.environ)
    look = _look(sys.stdout, host.environ)
    look = replace(look, width=look.width or _USUAL, verbose=config.verbose)
    sys.stdout.write(screen.text(body, look, checked=checked))
    return body["status"]


def _rehearsed(ready: Preparation, rehearsed: plan.Rehearsal, verdict: Verdict) -> Preparation:
    """``ready`` with what a rehearsal found."""
    error = verdict.error(rehearsed)
    fix = "a launch would go on"
    warnings = (Problem("rehearsal", w, fix, Severity.WARNING) for w in verdict.warnings)
    failures = (*ready.failures, *([error] if error else []))
    return replace(ready, failures=failures, warnings=(*ready.warnings, *warnings))


def _print_problems(
    ready: Preparation, unchecked: Iterable[Problem], environ: Mapping[str, str]
) -> None:
    """Errors and warnings, before anything else."""
    look, hidden = _look(sys.stderr, environ), redaction.secrets(environ)
    errors = ready.error.lines() if ready.error else []
    found = [p for p in ready.problems if p.severity is Severity.WARNING]
    warnings = [p.line for p in (*found, *ready.warnings, *_waits(ready), *unchecked)]
    with contextlib.suppress(OSError):  # whoever read them is gone
        for severity, lines in ((Severity.ERROR, errors), (Severity.WARNING, warnings)):
            for line in lines:
                text = redaction.masked(line, hidden)
                print(screen.problem(severity, text, look), file=sys.stderr)


def _look(stream: TextIO, environ: Mapping[str, str]) -> screen.Look:
    """How it is written to a stream: in colour to a terminal that shows any and may."""
    on_terminal = stream.isatty()
    colour = on_terminal and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"
    width = min(shutil.get_terminal_size().columns, _WIDEST) if on_terminal else 0
    return screen.Look(width, colour)


def of_part(config: LaunchConfig) -> LaunchConfig:
    """``config`` as the role that ``part`` names would launch it; of a loop, all of it."""
    if config.part is Part.both:
        return replace(config, role=loops.LOOP) if loops.collects(config) else config
    return replace(config, role=config.part.value, part=Part.both)


def parts(config: LaunchConfig) -> tuple[str, ...]:
    """The processes that are checked: of a role, or of both halves those that there are."""
    if config.role in PARTS:
        return PARTS[config.role]
    halves = {
        plan.SERVER: endpoint.has_servers(config),
        plan.LEARNER: config.learner.name != NO_PLUGIN,
    }
    return tuple(part for part, is_there in halves.items() if is_there)


def _body(ready: Preparation, unchecked: list[Problem]) -> dict[str, Any]:
    """The report as data; ``preflight`` lists all that a launch would wait for or fail of."""
    failures = (Problem.of(failure) for failure in ready.failures)
    preflight = [*failures, *ready.warnings, *_waits(ready)]
    found = report.of_outcomes(ready.outcomes)
    return {
        "experiment": ready.config.experiment,
        "form": report.form(ready.config),
        "status": ready.error.status if ready.error else 0,
        **found,
        "downgraded": [*found["downgraded"], *report.downgraded(ready.warnings)],
        "shadowed": report.shadowed(ready.config),
        "preflight": [report.of_problem(p, report.title(p.rule)) for p in preflight],
        "unchecked": [report.of_problem(problem) for problem in unchecked],
        "environment": report.environment(ready.config),
        "summary": _summary(ready),
    }


def _summary(ready: Preparation) -> dict[str, Any] | None:
    """What a launch would be; None where rules that are warnings keep it from being known."""
    if not ready.is_valid:
        return None
    try:
        with blamed_on(downgraded(ready.outcomes)):
            return redaction.without_named(report.summary(ready.config, ready.facts))
    except LaunchError:
        return None


def _waits(ready: Preparation) -> Iterator[Problem]:
    """A warning for each port that a launch would wait for."""
    if not ready.closing:
        return
    from grpo_launch.supervise import sockets

    for port in ready.closing:
        what = f"port {port.number} is still in TIME_WAIT"
        fix = f"a launch waits up to {sockets.TIME_WAIT_S:.0f} s for it"
        yield Problem(port.where, what, fix, Severity.WARNING)
