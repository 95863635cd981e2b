"""The plan: what would be started, as data.

A plan is pure: the same configuration, devices and run directory give the same
plan, and it goes to JSON and back unchanged. Backends execute or render it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from grpo_launch import resources, schema
from grpo_launch.compose.config import LaunchConfig
from grpo_launch.devices import Devices
from grpo_launch.endpoint import endpoint
from grpo_launch.engines import swift
from grpo_launch.errors import ConfigError
from grpo_launch.learners import arguments
from grpo_launch.runtime import enter

SERVER = "server"
LEARNER = "learner"

FORMAT = 1
"""The version of the JSON form."""


@dataclass(frozen=True)
class ProcessSpec:
    """One process to start.

    Attributes:
        name: ``server`` or ``learner``.
        argv: the whole command; never a shell string.
        cwd: the working directory, absolute.
        log: the file for standard output and error.
        env: variables that are set whatever the caller's environment says.
        env_defaults: variables that yield to the caller's environment.
        path: directories to put before the caller's PATH.
        devices: the device ids that it gets.
        alarms: text in its log that means harm, and what it means.
    """

    name: str
    argv: tuple[str, ...]
    cwd: str
    log: str
    env: Mapping[str, str] = field(default_factory=dict)
    env_defaults: Mapping[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    alarms: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Probe:
    """How the gate asks whether the rollout server is ready.

    Attributes:
        url: the server's base URL.
        health_path: must answer 200.
        world_size_path: must answer ``{"world_size": TP x DP}``.
        world_size: TP x DP.
        generate_path: asked for one token when ``generate`` is true.
        generate_request: the body of that request.
        timeout_s: seconds until the gate gives up.
        advice: what to do when it never becomes healthy.
    """

    url: str
    health_path: str
    world_size_path: str
    world_size: int
    generate: bool
    generate_path: str
    generate_request: Mapping[str, Any]
    timeout_s: float
    advice: str


@dataclass(frozen=True)
class PlannedFile:
    """A file that is written before a process starts.

    Attributes:
        path: absolute, or relative to the working directory.
        text: its content.
    """

    path: str
    text: str


@dataclass(frozen=True)
class Deadlines:
    """Seconds of a teardown's two stages (see ``shutdown`` in the schema)."""

    term_s: float
    kill_s: float


@dataclass(frozen=True)
class LaunchPlan:
    """All that one invocation would start.

    Attributes:
        experiment: the experiment's name.
        role: the role's name.
        run_dir: the run directory.
        output_dir: where the learner writes.
        processes: in the order of their start.
        gate: what the learner waits for.
        files: what is written first.
        deadlines: of the teardown.
    """

    experiment: str
    role: str
    run_dir: str
    output_dir: str
    processes: tuple[ProcessSpec, ...]
    gate: Probe
    files: tuple[PlannedFile, ...]
    deadlines: Deadlines

    def process(self, name: str) -> ProcessSpec | None:
        """The process called ``name``, or None where the plan does not have it."""
        return next((spec for spec in self.processes if spec.name == name), None)

    def to_json(self) -> str:
        """The plan as JSON, indented, with a newline at the end."""
        body = {"format": FORMAT, **dataclasses.asdict(self)}
        return json.dumps(body, indent=2, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str) -> LaunchPlan:
        """The plan that :meth:`to_json` wrote.

        Raises:
            ValueError: it is not such a text, or of another version.
        """
        body: Any = json.loads(text)
        if not isinstance(body, dict) or cast("dict[str, Any]", body).get("format") != FORMAT:
            raise ValueError(f"not a plan of format {FORMAT}")
        try:
            return LaunchPlan(
                experiment=body["experiment"],
                role=body["role"],
                run_dir=body["run_dir"],
                output_dir=body["output_dir"],
                processes=tuple(
                    ProcessSpec(**{k: _tuples(v) for k, v in p.items()}) for p in body["processes"]
                ),
                gate=Probe(**body["gate"]),
                files=tuple(PlannedFile(**f) for f in body["files"]),
                deadlines=Deadlines(**body["deadlines"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a plan: {error}") from None


def build(
    config: LaunchConfig,
    devices: Devices,
    parts: Sequence[str],
    run_dir: str,
    cwd: Path,
) -> LaunchPlan:
    """The plan of a valid configuration.

    Args:
        config: a configuration without errors.
        devices: who gets which devices.
        parts: the processes to start, of ``server`` and ``learner``.
        run_dir: the run directory, absolute or relative to ``cwd``.
        cwd: the working directory of the processes.

    Raises:
        ConfigError: the learner has no device, or batch sizes contradict each other.
    """
    processes: list[ProcessSpec] = []
    files: list[PlannedFile] = []
    output_dir = str(config.get("training.output_dir", f"{run_dir}/output"))
    if SERVER in parts:
        processes.append(_server(config, devices, run_dir, cwd))
    if LEARNER in parts:
        if not devices.learner:
            raise ConfigError(
                config.where("gpus.learner"),
                "is not set, and no visible device is left for the learner",
                "set gpus.learner=[...]",
            )
        file = _arguments_file(config, devices, run_dir, output_dir, cwd)
        files.append(file)
        processes.append(_learner(config, devices, run_dir, file.path, cwd))
    return LaunchPlan(
        experiment=config.experiment,
        role=config.role,
        run_dir=run_dir,
        output_dir=output_dir,
        processes=tuple(processes),
        gate=_gate(config, next((spec for spec in processes if spec.name == SERVER), None)),
        files=tuple(files),
        deadlines=Deadlines(config.shutdown.term_s, config.shutdown.kill_s),
    )


def _server(config: LaunchConfig, devices: Devices, run_dir: str, cwd: Path) -> ProcessSpec:
    entered = enter(config.runtime, swift.argv(config), cwd)
    return ProcessSpec(
        name=SERVER,
        argv=entered.argv,
        cwd=str(cwd),
        log=f"{run_dir}/logs/{SERVER}.log",
        env={**entered.env, "CUDA_VISIBLE_DEVICES": _visible(devices, SERVER), **config.env.set},
        env_defaults=dict(config.env.defaults),
        path=entered.path,
        devices=devices.server,
        alarms=swift.ALARMS,
    )


def _learner(
    config: LaunchConfig, devices: Devices, run_dir: str, file: str, cwd: Path
) -> ProcessSpec:
    script = _relative(resources.path("scripts/train.sh"), cwd)
    entered = enter(config.runtime, ["bash", script, *config.learner.entry], cwd)
    visible = _visible(devices, LEARNER)
    env = {**entered.env, "CUDA_VISIBLE_DEVICES": visible, "config": file, "gpus": visible}
    if config.learner.debug:
        env["debug"] = "true"
    if config.learner.master_port is not None:
        env["MASTER_PORT"] = str(config.learner.master_port)
    return ProcessSpec(
        name=LEARNER,
        argv=entered.argv,
        cwd=str(cwd),
        log=f"{run_dir}/logs/{LEARNER}.log",
        env={**env, **config.env.set},
        env_defaults=dict(config.env.defaults),
        path=entered.path,
        devices=devices.learner,
    )


def _arguments_file(
    config: LaunchConfig, devices: Devices, run_dir: str, output_dir: str, cwd: Path
) -> PlannedFile:
    flat = arguments.flatten(config, len(devices.learner), output_dir)
    located = {key: arguments.located(key, value, cwd) for key, value in flat.items()}
    text = yaml.safe_dump(located, sort_keys=False, allow_unicode=True, width=10_000)
    return PlannedFile(f"{run_dir}/learner_arguments.yaml", text)


def _gate(config: LaunchConfig, server: ProcessSpec | None) -> Probe:
    flags = config.rollout_server
    return Probe(
        url=endpoint(config).url,
        health_path=config.health.path,
        world_size_path=swift.WORLD_SIZE_PATH,
        world_size=flags["vllm_tensor_parallel_size"] * flags["vllm_data_parallel_size"],
        generate=config.health.probe is schema.HealthProbe.generate,
        generate_path=swift.GENERATE_PATH,
        generate_request=swift.generate_request(),
        timeout_s=config.health.timeout_s,
        advice="look at its log" if server is not None else "start it with role=server",
    )


def _visible(devices: Devices, half: str) -> str:
    ids = devices.server if half == SERVER else devices.learner
    return ",".join(ids) if devices.cuda else ""


def _relative(path: Path, cwd: Path) -> str:
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)


def _tuples(value: Any) -> Any:
    return tuple(cast("list[Any]", value)) if isinstance(value, list) else value
