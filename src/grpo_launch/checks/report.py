"""What ``role=check`` says of a configuration: problems, and what a launch would be."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grpo_launch.checks import replaced
from grpo_launch.config import loops, schema
from grpo_launch.config.endpoint import Endpoint, endpoints, here
from grpo_launch.config.facts import Facts, WorldSize
from grpo_launch.config.formats import document, forms
from grpo_launch.config.hydra import lookup, source
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Outcome
from grpo_launch.engines.base import engine
from grpo_launch.engines.flag_facts import LearnerFlags, ServerFlags
from grpo_launch.errors import InvalidConfigError, LaunchError
from grpo_launch.learners.base import learner
from grpo_launch.learners.batches import BatchArithmetic, given
from grpo_launch.plan import LEARNER
from grpo_launch.planning.devices import Devices
from grpo_launch.tracking import variables


def of_outcomes(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What the rules found, as plain data; each rule by its name in words."""
    errors = {o.rule for o in outcomes for p in o.problems if p.severity is Severity.ERROR}
    return {
        "passed": [o.title for o in outcomes if not o.problems and o.skipped is None],
        "skipped": [{"rule": o.title, "missing": o.skipped} for o in outcomes if o.skipped],
        "failed": [o.title for o in outcomes if o.rule in errors],
        "downgraded": [o.title for o in outcomes if o.downgraded],
        "problems": [of_problem(problem, o.title) for o in outcomes for problem in o.problems],
    }


def title(name: str) -> str | None:
    """The name of a rule, or of a check of preflight, in words; None where there is none."""
    return name.replace("_", " ") or None


def downgraded(warnings: Sequence[Problem]) -> list[str]:
    """The checks of preflight whose errors became these warnings, in words."""
    return [*dict.fromkeys(filter(None, (title(warning.rule) for warning in warnings)))]


def of_problem(problem: Problem, rule: str | None = None) -> dict[str, str | None]:
    """A problem as plain data, with the rule that found it, if one did."""
    return {
        "rule": rule,
        "severity": problem.severity.value,
        "where": problem.where,
        "what": problem.what,
        "fix": problem.fix,
    }


def of_failure(error: LaunchError) -> str:
    """What ``role=check output=json`` prints where nothing could be composed."""
    found = [{"where": error.where, "what": error.what, "fix": error.fix}]
    if isinstance(error, InvalidConfigError):
        found = [{"where": error.where, "what": line, "fix": ""} for line in error.lines()]
    body = {
        "experiment": None,
        "form": None,
        "status": error.status,
        "passed": [],
        "skipped": [],
        "failed": [],
        "downgraded": [],
        "problems": [{"rule": None, "severity": "error", **problem} for problem in found],
        "shadowed": [],
        "preflight": [],
        "rehearsal": None,
        "unchecked": [],
        "environment": None,
        "summary": None,
    }
    return json.dumps(body, indent=2, ensure_ascii=False)


def form(config: LaunchConfig) -> str:
    """What the experiment's file was taken for."""
    return (config.legacy.form if config.legacy else forms.Form.NATIVE).value


def shadowed(config: LaunchConfig) -> list[str]:
    """Files of the same name that a root searched later offers and that are not used."""
    if config.path.stem != config.experiment:  # a record keeps the name of its experiment
        return []
    found = (lookup.Base(base, Path.cwd()).find(config.experiment) for base in source.bases())
    others = {path.resolve(): path for path in found if path is not None}
    others.pop(config.path.resolve(), None)
    return [document.shown(path) for path in others.values()]


def environment(config: LaunchConfig) -> dict[str, Any] | None:
    """What ``compat=env`` took, by variable, and the same as typed; None without it."""
    if config.compat is schema.Compat.none:
        return None
    said = config.environment
    sets: dict[str, list[str]] = {}
    for taken in said.taken:
        sets.setdefault(taken.source, []).append(taken.override)
    return {
        "taken": sets,
        "beaten": {taken.variable: taken.key for taken in said.covered},
        "typed": shlex.join(said.overrides),
    }


def summary(config: LaunchConfig, facts: Facts) -> dict[str, Any]:
    """Who gets what: devices, ports, batches, and what the engine tells of a valid configuration.

    Numbers that cannot be known (a model that is not local, say) are absent.
    """
    context = Context(config, facts)
    trains = dict(learner(config.learner.name).summary(context))
    serves = dict(engine(config.engine.name).summary(context))
    defaults = {**serves.pop("defaults", {}), **trains.pop("defaults", {})}
    return {
        **trains,
        "accelerator": {
            "kind": config.accelerator.kind.value,
            "replaced": replaced.by_accelerator(config),
        },
        "parallel": _parallel(config),
        "devices": _devices(config, facts),
        "ports": _ports(config),
        **_services(config),
        "batches": _batches(config, facts),
        **serves,
        "defaults": defaults,
        "tracking": _tracking(config),
        "resume": _resume(config),
        **_loop(config),
        "engine": _engine(facts),
    }


def _engine(facts: Facts) -> dict[str, str]:
    tables = (facts.get(ServerFlags), facts.get(LearnerFlags))
    products = (table.product.rpartition(" ") for table in tables if table)
    return {name: version for name, _, version in products}


def _parallel(config: LaunchConfig) -> dict[str, int | None]:
    sizes = engine(config.engine.name).sizes(config.rollout_server)
    return {"tensor": sizes.tensor_parallel, "data": sizes.data_parallel}


def _devices(config: LaunchConfig, facts: Facts) -> dict[str, str]:
    devices = facts.get(Devices)
    if devices is None:
        return {}
    kind = "GPU" if devices.cuda else "CPU process"
    local = here(config)
    named = zip(local, devices.of_servers(len(local)), strict=True)
    split = {address.name: ids for address, ids in named} | {LEARNER: devices.learner}
    listed = {name: f"{kind} {', '.join(ids) or 'none'}" for name, ids in split.items()}
    learns = config.learner.name != schema.NO_PLUGIN
    names = [*(address.name for address in endpoints(config)), *([LEARNER] if learns else [])]
    found = {name: listed.get(name, "on another machine") for name in names}
    if devices.nodes > 1:
        found[LEARNER] += f" on each of {devices.nodes} nodes"
    return found


def _services(config: LaunchConfig) -> dict[str, Any]:
    cuda = config.accelerator.kind is schema.AcceleratorKind.cuda
    said: dict[str, str] = {}
    for name, service in config.services.items():
        devices = f"GPU {', '.join(service.devices)}" if cuda and service.devices else "no GPU"
        said[name] = f"on {devices}, {service.check.url or 'without a check'}"
    return {"services": said} if said else {}


def _ports(config: LaunchConfig) -> dict[str, Any]:
    """By name; those of several servers carry the server's."""
    addresses = endpoints(config)
    master = config.learner.master_port or "probed when the learner starts"
    if len(addresses) == 1:
        one = addresses[0]
        http = f"{one.host}:{one.port}"
        group = {} if one.group_port is None else {"weight sync": one.group_port}
        return {"http": http, **group, "torchrun": master}
    said = {at.name: f"{at.host}:{at.port}{_group(at)}" for at in addresses}
    return {**said, "torchrun": master}


def _group(address: Endpoint) -> str:
    return "" if address.group_port is None else f", weight sync {address.group_port}"


def _batches(config: LaunchConfig, facts: Facts) -> dict[str, Any]:
    world_size = facts.get(WorldSize)
    if world_size is None:
        return {}
    sizes = learner(config.learner.name).batches(given(config), world_size.processes)
    batch = BatchArithmetic.of(sizes)
    if batch is None:
        return {}
    return {
        "world size": batch.world_size,
        "per device": batch.per_device,
        "accumulation steps": batch.gradient_accumulation_steps,
        "steps per generation": batch.steps_per_generation,
        "generation batch": batch.generation_batch_size,
        "completions a prompt": batch.num_generations,
        "completions a step": batch.completions_per_step,
        "prompts a step": f"{batch.prompts_per_step:g}",
    }


def _tracking(config: LaunchConfig) -> dict[str, Any]:
    names = variables.trackers(config)
    if not names:
        return {}
    found: dict[str, Any] = {"reports to": ", ".join(names)}
    if variables.WANDB in names:
        found["W&B run"] = variables.run_name(config)
        found["W&B artifact"] = (
            variables.artifact_name(config) if variables.uploads(config) else None
        )
    return {name: value for name, value in found.items() if value is not None}


def _loop(config: LaunchConfig) -> dict[str, Any]:
    """How it goes round."""
    if not loops.is_loop(config):
        return {}
    settings, collector = config.loop, config.collector
    every = settings.eval_interval
    facts = {
        "iterations": settings.iterations or "until it is stopped",
        "tasks": collector.train_tasks,
        "evaluates": f"every {every} on {collector.eval_tasks}" if every else "never",
        "selects": config.update.select.value,
        "swap": settings.swap.value,
        "survives": f"{settings.max_failures} failed updates",
    }
    return {"loop": {name: value for name, value in facts.items() if value is not None}}


def _resume(config: LaunchConfig) -> dict[str, Any]:
    checkpoint = config.get("training.resume_from_checkpoint")
    return {} if checkpoint is None else {"checkpoint": document.shown(Path(str(checkpoint)))}
