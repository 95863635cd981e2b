"""A plan as text that a shell could run: what ``dry_run=true`` prints."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from grpo_launch.plan import LEARNER, SERVER, LaunchPlan, PlannedFile, Probe, ProcessSpec

_END_OF_FILE = "END_OF_FILE"


def render(plan: LaunchPlan) -> str:
    """The plan as commands: files first, then one process after the other."""
    lines: list[str] = [f"# {plan.experiment}, role={plan.role}; run directory {plan.run_dir}"]
    for file in plan.files:
        lines += ["", *_write(file)]
    for spec in plan.processes:
        lines += ["", *_comments(plan, spec), f"cd {shlex.quote(spec.cwd)}", command(spec)]
    for spec in plan.afterwards:
        lines += [
            "",
            f"# {spec.name}: runs once the learner has ended with status 0; log {spec.log}",
        ]
        lines += [f"cd {shlex.quote(spec.cwd)}", command(spec)]
    return "\n".join(lines) + "\n"


def command(spec: ProcessSpec) -> str:
    """One process as one line: ``env``, its variables, and the argv, quoted."""
    words = ["env"]
    if spec.path:
        words.append(f'PATH={shlex.quote(":".join(spec.path))}:"$PATH"')
    for key, value in spec.env_defaults.items():
        if key not in spec.env:
            words.append(f'{key}="${{{key}-{_in_double_quotes(value)}}}"')
    words += [f"{key}={shlex.quote(value)}" for key, value in spec.env.items()]
    if "=" in spec.argv[0]:  # env would take it for a variable
        words.append('sh -c \'exec "$0" "$@"\'')
    return " ".join([*words, shlex.join(spec.argv)])


def _comments(plan: LaunchPlan, spec: ProcessSpec) -> Iterator[str]:
    if spec.half == SERVER:
        yield f"# {spec.name}: log {spec.log}"
    if spec.half == LEARNER:
        conditions = "; and ".join(map(_condition, plan.gates))
        yield f"# {spec.name}: starts when {conditions}; log {spec.log}"


def _condition(gate: Probe) -> str:
    text = f"{gate.url}{gate.health_path} answers 200 and {gate.world_size_path} says "
    text += str(gate.world_size)
    return text + (" and one token is generated" if gate.generate else "")


def _write(file: PlannedFile) -> Iterator[str]:
    path = shlex.quote(file.path)
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
