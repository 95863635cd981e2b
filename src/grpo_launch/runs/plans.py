"""``plan.json`` of a run, whatever version of the launcher wrote it.

An older plan is brought into today's form; what stood in code then, and is data now, comes
from ``format3.json``. Of a newer one as much is read as is understood.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grpo_launch.base import codec, files
from grpo_launch.plan import FORMAT, LEARNER, SERVER, LaunchPlan

NAME = "plan.json"


def read(directory: Path) -> tuple[LaunchPlan, tuple[str, ...]]:
    """The plan of the run in ``directory``, and a line for each thing that is not understood.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no plan.
    """
    return parse(files.text(directory / NAME))


def parse(text: str) -> tuple[LaunchPlan, tuple[str, ...]]:
    """The plan that ``LaunchPlan.to_json`` wrote, of any version; see :func:`read`.

    Raises:
        ValueError: it is no plan.
    """
    return _plan(codec.parse(text))


def known(directory: Path) -> tuple[LaunchPlan, tuple[str, ...]]:
    """As :func:`read`; a plan that cannot be read starts nothing and has the usual places."""
    try:
        return read(directory)
    except OSError as error:
        note = f"cannot be read ({error.strerror})"
    except ValueError as error:
        note = str(error)
    return _plan({"format": 0})[0], (note,)


def output_dir(directory: Path, plan: LaunchPlan) -> Path:
    """Where the learner of a run writes, absolute.

    Args:
        directory: the run directory, absolute; it may have been moved since.
        plan: of the run.
    """
    path = Path(plan.output_dir)
    if path.is_relative_to(plan.run_dir):
        return directory / path.relative_to(plan.run_dir)
    cwd = next((spec.cwd for spec in plan.processes if spec.cwd), str(directory))
    return Path(cwd) / path


def pattern(expression: str) -> re.Pattern[str] | None:
    """A regular expression of a plan; None where it is empty, or of another version's kind."""
    try:
        return re.compile(expression) if expression else None
    except re.error:
        return None


def _plan(body: Mapping[str, Any]) -> tuple[LaunchPlan, tuple[str, ...]]:
    body, notes = dict(body), list[str]()
    version = body.pop("format", None)
    if type(version) is not int:
        raise ValueError("format: is missing")
    if version != FORMAT:
        usual = codec.read(Path(__file__).with_name("format3.json"))
        body = {**usual["missing"], **body}
        if version > FORMAT:
            notes.append(f"format {version}: this launcher knows {FORMAT}")
        else:
            try:
                body = _migrated(body, usual)
            except (TypeError, KeyError, ValueError, AttributeError) as error:
                raise ValueError(f"no plan of format {version} ({error!r})") from None
    plan = codec.decode(LaunchPlan, body, notes)
    return plan, tuple(notes)


def _migrated(body: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    """A plan of format 3 or older in the form of format 4."""
    watchdog = {**usual["watchdog"], **body["watchdog"]}
    signs = {"served": watchdog.pop("served", ""), "vital": watchdog.pop("vital", [])}
    signs["moves"] = usual["moves"]
    processes = [_process(spec, signs, usual["process"]) for spec in body["processes"]]
    return {
        **body,
        "processes": processes,
        "job": next((spec["name"] for spec in processes if spec["part"] == LEARNER), None),
        "gates": [_gate(gate, usual) for gate in body["gates"]],
        "recovery": {**usual["recovery"], **body["recovery"]},
        "watchdog": watchdog,
        "metrics": usual["metrics"],
        "checkpoints": usual["checkpoints"],
        "afterwards": [_process(s, signs, usual["process"]) for s in body.get("afterwards", ())],
    }


def _process(
    spec: Mapping[str, Any], signs: Mapping[str, Any], usual: Mapping[str, Any]
) -> dict[str, Any]:
    spec = {**usual, **spec}
    part = spec.pop("half", LEARNER if spec["name"] == LEARNER else SERVER)
    alarms = spec.pop("alarms", {})
    own = {**signs, "alarms": alarms} if part == SERVER else {"alarms": alarms}
    return {**spec, "part": part, "signs": own}


def _gate(gate: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    gate = {**usual["gate"], **gate}
    checks = [{"name": "health", "path": gate.pop("health_path")}]
    size = {"path": gate.pop("world_size_path"), "value": gate.pop("world_size")}
    checks.append({**usual["world_size"], **size})
    body = {"body": gate.pop("generate_request"), "path": gate.pop("generate_path")}
    generation = {"name": "token", **body, "generates": True}
    checks += [generation] if gate.pop("generate") else []
    return {**gate, "checks": checks, "generation": generation}
