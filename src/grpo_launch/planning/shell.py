"""A plan as text that a shell could run: what ``dry_run=true`` prints."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace

from grpo_launch.base.terminal import CONTROL
from grpo_launch.plan import (
    COLLECT_EVAL,
    Gate,
    HttpCheck,
    LaunchPlan,
    Loop,
    PlannedFile,
    ProcessSpec,
    Stage,
    called,
)
from grpo_launch.planning import marks

_END_OF_FILE = "END_OF_FILE"


def render(plan: LaunchPlan) -> str:
    """The plan as commands: files first, then one process after the other.

    Of a loop, its servers and the stages of the first iteration.
    """
    lines: list[str] = [f"# {plan.experiment}, role={plan.role}; run directory {plan.run_dir}"]
    lines += _commands(plan if plan.loop is None else marks.filled(plan, 0, 0, plan.loop.model))
    if plan.loop is not None:
        for stage in plan.loop.every:
            own = marks.filled(stage.plan, 0, 0, plan.loop.model)
            own = replace(own, processes=own.team)
            lines += ["", f"# stage {stage.name}{_when(plan.loop, stage)}", *_commands(own)[1:]]
    return "\n".join(lines) + "\n"


def _when(loop: Loop, stage: Stage) -> str:
    """When a stage is done, where that is not once an iteration."""
    if stage is loop.reload:
        return ", when there is a new model"
    if stage is loop.free:
        return ", before servers or learner start"
    if stage.name == COLLECT_EVAL and loop.eval_interval is not None:
        return f", every {loop.eval_interval} iterations"
    return ""


def _commands(plan: LaunchPlan) -> list[str]:
    lines: list[str] = []
    for file in plan.files:
        lines += ["", *_write(file)]
    rehearsed = (plan.rehearsal.process,) if plan.rehearsal else ()
    for spec in (*rehearsed, *plan.of_attempt, *plan.afterwards):
        lines += ["", _comment(plan, spec), f"cd {quoted(spec.cwd)}", command(spec)]
    return lines


def command(spec: ProcessSpec) -> str:
    """One process as one line: ``env``, its variables, and the argv, quoted."""
    words = ["env"]
    if spec.path:
        words.append(f'PATH={quoted(":".join(spec.path))}:"$PATH"')
    for key, value in spec.env_defaults.items():
        if key not in spec.env:
            words.append(f'{key}="${{{key}-{_in_double_quotes(value)}}}"')
    words += [f"{key}={quoted(value)}" for key, value in spec.env.items()]
    words += _without_proxy(spec)
    if "=" in spec.argv[0]:  # env would take it for a variable
        words.append('sh -c \'exec "$0" "$@"\'')
    return " ".join([*words, " ".join(map(quoted, spec.argv))])


def _without_proxy(spec: ProcessSpec) -> Iterator[str]:
    """Variables that keep clients from a proxy, see ``supervise/proxies.py``."""
    for name, other in (("no_proxy", "NO_PROXY"), ("NO_PROXY", "no_proxy")):
        value = spec.env.get(name, spec.env.get(other))
        hosts = ",".join(spec.direct_hosts)
        if not hosts:
            return
        if value is not None:
            yield f"{name}={quoted(f'{value},{hosts}')}"
        else:
            usual = spec.env_defaults.get(name, spec.env_defaults.get(other, ""))
            yield f'{name}="${{{name}:-${{{other}-{_in_double_quotes(usual)}}}}},{hosts}"'


def quoted(text: str) -> str:
    """One word for ``sh``; what would act on a terminal is said in octal numbers."""
    if not CONTROL.search(text):
        return shlex.quote(text)
    said = CONTROL.sub(_octal, text.replace("\\", "\\\\"))
    return f'"$(printf %b {shlex.quote(said)})"'


def _octal(match: re.Match[str]) -> str:
    return "".join(f"\\0{byte:03o}" for byte in match[0].encode())


def _comment(plan: LaunchPlan, spec: ProcessSpec) -> str:
    when = ""
    if spec.name == plan.job and plan.gates:
        when = f"starts when {'; and '.join(map(_condition, plan.gates))}; "
    elif plan.rehearsal and spec is plan.rehearsal.process:
        when = f"tries {called(plan.job or '')}'s arguments meanwhile; "
    elif spec in plan.afterwards:
        when = f"runs once {called(plan.job or '')} has ended with status 0; "
    return f"# {spec.name}: {when}log {spec.log}"


def _condition(gate: Gate) -> str:
    return gate.url + " and ".join(map(_passed, gate.checks))


def _passed(check: HttpCheck) -> str:
    if check.generates:
        return "one token is generated"
    return f"{check.path} " + ("answers 200" if check.field is None else f"says {check.value}")


def _write(file: PlannedFile) -> Iterator[str]:
    path = quoted(file.path)
    yield f'mkdir -p "$(dirname {path})"'
    end = _END_OF_FILE
    while end in file.text.split("\n"):
        end += "_"
    yield f"cat > {path} <<'{end}'"
    if file.text:
        yield file.text.removesuffix("\n")
    yield end


def _in_double_quotes(text: str) -> str:
    for character in '\\"$`}':
        text = text.replace(character, "\\" + character)
    return text
