"""From a valid configuration to a plan: pure, the same input gives the same plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from grpo_launch.base import resources
from grpo_launch.base.shipped_files import located, relative
from grpo_launch.config import schema
from grpo_launch.config.endpoint import Endpoint, endpoints, server_names
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.engines.swift import serve
from grpo_launch.errors import ConfigError
from grpo_launch.learners.swift import arguments, timing
from grpo_launch.plan import (
    LEARNER,
    SERVER,
    Deadlines,
    LaunchPlan,
    PlannedFile,
    Probe,
    ProcessSpec,
    Recovery,
    Watchdog,
)
from grpo_launch.planning.devices import Devices
from grpo_launch.planning.listening import listening
from grpo_launch.runtimes.enter import enter
from grpo_launch.tracking import upload, variables


def build(
    config: LaunchConfig,
    devices: Devices,
    parts: Sequence[str],
    run_dir: str,
    cwd: Path,
    run_id: str = "",
) -> LaunchPlan:
    """The plan of a valid configuration.

    Args:
        config: a configuration without errors.
        devices: who gets which devices.
        parts: the processes to start, of ``server`` and ``learner``.
        run_dir: the run directory, absolute or relative to ``cwd``.
        cwd: the working directory of the processes.
        run_id: names the run for trackers; empty: the name of its directory.

    Raises:
        ConfigError: the learner has no device, or batch sizes contradict each other.
    """
    run_id = run_id or Path(run_dir).name
    processes: list[ProcessSpec] = []
    files: list[PlannedFile] = []
    output_dir = str(config.get("training.output_dir", f"{run_dir}/output"))
    if SERVER in parts:
        processes += _servers(config, devices, run_dir, cwd)
    if LEARNER in parts:
        if not devices.learner:
            raise ConfigError(
                config.where("gpus.learner"),
                "is not set, and no visible device is left for the learner",
                "set gpus.learner=[...]",
            )
        file = _arguments_file(config, devices, run_dir, output_dir, cwd)
        files.append(file)
        processes.append(_learner(config, devices, run_dir, file.path, cwd, run_id))
        if variables.WANDB in variables.trackers(config):
            files.append(_facts(config, devices, processes, run_dir))
    return LaunchPlan(
        experiment=config.experiment,
        role=config.role,
        run_dir=run_dir,
        output_dir=output_dir,
        processes=tuple(processes),
        gates=_gates(config, starts_servers=SERVER in parts),
        files=tuple(files),
        deadlines=Deadlines(config.shutdown.term_s, config.shutdown.kill_s),
        groups=config.shutdown.cgroup is schema.CgroupUse.auto,
        ports=tuple(port for port, _ in listening(config, parts)),
        recovery=_recovery(config, files),
        watchdog=_watchdog(config),
        console=config.console.learner.value,
        afterwards=(upload.upload(config, run_id, run_dir, cwd),)
        if LEARNER in parts and variables.uploads(config)
        else (),
    )


def _servers(
    config: LaunchConfig, devices: Devices, run_dir: str, cwd: Path
) -> Iterator[ProcessSpec]:
    addresses = endpoints(config)
    tracked = variables.of_server(config, str(cwd / run_dir))
    for number, name in enumerate(server_names(config)):
        own = devices.of_server(number, len(addresses))
        entered = enter(config.runtime, serve.argv(config, addresses[number], cwd), cwd)
        visible = {"CUDA_VISIBLE_DEVICES": _visible(own, devices)}
        yield ProcessSpec(
            name=name,
            half=SERVER,
            argv=entered.argv,
            cwd=str(cwd),
            log=f"{run_dir}/logs/{name}.log",
            env={**entered.env, **visible, **tracked.said, **config.env.set},
            env_defaults={**tracked.defaults, **config.env.defaults},
            path=entered.path,
            devices=own,
            alarms=serve.ALARMS,
        )


def _learner(
    config: LaunchConfig, devices: Devices, run_dir: str, file: str, cwd: Path, run_id: str
) -> ProcessSpec:
    tracked = variables.of_learner(config, run_id, str(cwd / run_dir))
    script = relative(resources.path("scripts/train.sh"), cwd)
    entered = enter(config.runtime, ["bash", script, *config.learner.entry], cwd)
    visible = _visible(devices.learner, devices)
    env = {**entered.env, "CUDA_VISIBLE_DEVICES": visible, "config": file, "gpus": visible}
    if config.learner.debug:
        env["debug"] = "true"
    if config.learner.master_port is not None:
        env["MASTER_PORT"] = str(config.learner.master_port)
    return ProcessSpec(
        name=LEARNER,
        half=LEARNER,
        argv=entered.argv,
        cwd=str(cwd),
        log=f"{run_dir}/logs/{LEARNER}.log",
        env={**env, **tracked.said, **config.env.set},
        env_defaults={**tracked.defaults, **config.env.defaults},
        path=entered.path,
        devices=devices.learner,
    )


def _arguments_file(
    config: LaunchConfig, devices: Devices, run_dir: str, output_dir: str, cwd: Path
) -> PlannedFile:
    flat = arguments.flatten(config, len(devices.learner), output_dir)
    found = {key: located(key, value, cwd) for key, value in flat.items()}
    if config.learner.timing:
        found["external_plugins"] = timing.with_plugin(found.get("external_plugins"), cwd)
    text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=10_000)
    return PlannedFile(f"{run_dir}/learner_arguments.yaml", text)


def _facts(
    config: LaunchConfig, devices: Devices, processes: Sequence[ProcessSpec], run_dir: str
) -> PlannedFile:
    """The launcher's part of the configuration of the W&B run."""
    body = {
        "run": run_dir,
        "gpus": {SERVER: list(devices.server), LEARNER: list(devices.learner)},
        "accelerator": config.accelerator.kind.value,
        "server_urls": [address.url for address in endpoints(config)],
        "processes": {spec.name: list(spec.argv) for spec in processes},
        "rollout_server": dict(config.rollout_server),
    }
    return PlannedFile(f"{run_dir}/{variables.CONFIG_FILE}", variables.facts(config, body))


def _gates(config: LaunchConfig, *, starts_servers: bool) -> tuple[Probe, ...]:
    named = zip(server_names(config), endpoints(config), strict=True)
    return tuple(_gate(config, name, at, starts_servers=starts_servers) for name, at in named)


def _gate(config: LaunchConfig, server: str, address: Endpoint, *, starts_servers: bool) -> Probe:
    flags = config.rollout_server
    return Probe(
        server=server,
        url=address.url,
        health_path=config.health.path,
        world_size_path=serve.WORLD_SIZE_PATH,
        world_size=flags["vllm_tensor_parallel_size"] * flags["vllm_data_parallel_size"],
        generate=config.health.probe is schema.HealthProbe.generate,
        generate_path=serve.GENERATE_PATH,
        generate_request=serve.generate_request(),
        timeout_s=config.health.timeout_s,
        advice="look at its log" if starts_servers else "start it with role=server",
        model=str(config.get("model.model")),
    )


def _recovery(config: LaunchConfig, files: Sequence[PlannedFile]) -> Recovery:
    checkpoint = config.get("training.resume_from_checkpoint") if files else None
    return Recovery(
        on_failure=config.on_failure.value,
        restarts=config.restart.budget,
        backoff_s=config.restart.backoff_s,
        max_backoff_s=config.restart.max_backoff_s,
        arguments_file=files[0].path if files else None,
        versioned=is_versioned(config),
        resumed_from=None if checkpoint is None else str(checkpoint),
    )


def is_versioned(config: LaunchConfig) -> bool:
    """Whether each start of the learner writes into a directory of its own.

    ms-swift makes ``v<N>-<time>/`` in ``output_dir`` (``add_version`` in its
    ``SftArguments``).
    """
    return config.get("training.add_version", True) is not False


def _watchdog(config: LaunchConfig) -> Watchdog:
    said = config.watchdog
    return Watchdog(
        health_s=said.health_s,
        probe_s=said.probe_s,
        stall_s=said.stall_s,
        on_stall=said.on_stall.value,
        served=serve.SERVED,
        vital=serve.VITAL,
    )


def _visible(ids: Sequence[str], devices: Devices) -> str:
    return ",".join(ids) if devices.cuda else ""
