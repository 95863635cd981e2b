"""From a valid configuration to a plan: pure, the same input gives the same plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from grpo_launch import runtimes
from grpo_launch.config import arguments, encoding, schema
from grpo_launch.config.endpoint import (
    Endpoint,
    address_key,
    direct_hosts,
    endpoints,
    here,
    keys,
    urls,
)
from grpo_launch.config.env import of_half
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.engines.base import Engine, Own, Reloading, ServeRequest, engine
from grpo_launch.errors import ConfigError
from grpo_launch.learners.base import Learner, Member, Particular, TrainRequest, learner
from grpo_launch.plan import (
    LEARNER,
    REHEARSAL,
    SERVER,
    Deadlines,
    Gate,
    LaunchPlan,
    PlannedFile,
    ProcessSpec,
    Rehearsal,
    Signs,
)
from grpo_launch.planning import recovery, side
from grpo_launch.planning.devices import Devices
from grpo_launch.planning.listening import listening
from grpo_launch.tracking import upload, variables

_REHEARSAL_S = 120.0
"""How long a rehearsal may take: 10 s on a quiet machine, four times that on a busy one."""


@dataclass(frozen=True)
class _Stage:
    """What one plan starts, see :func:`build`."""

    parts: Sequence[str]
    devices: Devices
    run_dir: str
    cwd: Path
    run_id: str
    own_ports: Sequence[int]

    @property
    def directory(self) -> str:
        """The run directory, absolute."""
        return str(self.cwd / self.run_dir)


def build(
    config: LaunchConfig,
    devices: Devices,
    parts: Sequence[str],
    run_dir: str,
    cwd: Path,
    run_id: str = "",
    downgraded: Sequence[str] = (),
    own_ports: Sequence[int] = (),
) -> LaunchPlan:
    """The plan of a valid configuration.

    Args:
        config: a configuration without errors.
        devices: who gets which devices.
        parts: the processes to start, of ``server`` and ``learner``.
        run_dir: the run directory, absolute or relative to ``cwd``.
        cwd: the working directory of the processes.
        run_id: names the run for trackers; empty: the name of its directory.
        downgraded: names of the rules whose errors were taken as warnings.
        own_ports: the first of the ports that each server gives to itself; none: as it likes.

    Raises:
        ConfigError: the settings of the server do not say how many devices it takes, or no
            device is left for the learner.
    """
    stage = _Stage(parts, devices, run_dir, cwd, run_id or Path(run_dir).name, own_ports)
    served, trained = engine(config.engine.name), learner(config.learner.name)
    output_dir = trained.output_dir(config, f"{stage.run_dir}/output")
    learns = LEARNER in stage.parts
    request = _training(config, stage, output_dir)
    serves = SERVER in stage.parts and config.starts_servers
    services = [*_servers(config, served, stage)] if serves else []
    job = [*_learner(config, trained, request, stage)] if learns else []
    files = [*trained.files(request)] if learns else []
    arguments_file = files[0].path if files else None
    cuda = stage.devices.cuda
    beside = [*side.processes(config, stage.run_dir, stage.cwd, cuda=cuda)] if learns else []
    processes = (*beside, *services, *job)
    if learns and variables.WANDB in variables.trackers(config):
        files.append(_facts(config, stage, processes))
    return LaunchPlan(
        experiment=config.experiment,
        role=config.role,
        run_dir=stage.run_dir,
        output_dir=output_dir,
        processes=processes,
        job=LEARNER if learns else None,
        gates=(*_gates(config, served, trained, stage), *(side.gates(config) if learns else ())),
        files=tuple(files),
        deadlines=Deadlines(config.shutdown.term_s, config.shutdown.kill_s),
        groups=config.shutdown.cgroup is schema.CgroupUse.auto,
        ports=tuple(port for port, _ in listening(config, stage.parts)),
        recovery=recovery.of(config, trained, request, arguments_file),
        watchdog=recovery.watchdog(config, trained),
        console=config.console.learner.value,
        metrics=trained.metrics(config),
        checkpoints=trained.checkpoints(config),
        afterwards=(upload.upload(config, stage.run_id, stage.run_dir, stage.cwd),)
        if learns and trained.checkpoints(config) and variables.uploads(config)
        else (),
        rehearsal=_rehearsal(config, served, trained, request, job[0], arguments_file)
        if job and arguments_file and _is_rehearsed(config, trained)
        else None,
        downgraded=tuple(downgraded),
        members=tuple(spec.name for spec in job[1:]),
    )


def serve_requests(config: LaunchConfig, cwd: Path) -> list[ServeRequest]:
    """What each rollout server of this machine is asked to serve, and where."""
    return [_serving(config, address, cwd) for address in here(config)]


def _serving(config: LaunchConfig, address: Endpoint, cwd: Path, run_dir: str = "") -> ServeRequest:
    return ServeRequest(
        entry=tuple(config.engine.entry),
        model=str(config.model),
        host=address.host,
        port=address.port,
        group_port=address.group_port,
        settings=config.rollout_server,
        encoding=encoding.of(config),
        cwd=cwd,
        url=address.base,
        run_dir=run_dir,
    )


def _training(config: LaunchConfig, stage: _Stage, output_dir: str) -> TrainRequest:
    devices = stage.devices
    return TrainRequest(
        config=config,
        devices=devices.learner,
        cuda=devices.cuda,
        run_dir=stage.run_dir,
        output_dir=output_dir,
        cwd=stage.cwd,
        nodes=devices.nodes,
    )


def _servers(config: LaunchConfig, served: Engine, stage: _Stage) -> Iterator[ProcessSpec]:
    if served.sizes(config.rollout_server).devices is None:
        what = "does not say how many devices a server takes"
        raise ConfigError(
            config.where("rollout_server"), what, "set its tensor and data parallel size"
        )
    tracked = variables.of_server(config, stage.directory)
    signs = served.signs_of(config.rollout_server) if isinstance(served, Own) else served.signs
    addresses = here(config)
    if not addresses and LEARNER not in stage.parts:
        what = "names no host of this machine, so there is no server to start"
        where = config.where(address_key(config))
        raise ConfigError(where, what, "start role=server on the server's machine")
    split = stage.devices.of_servers(len(addresses))
    for number, (address, own) in enumerate(zip(addresses, split, strict=True)):
        request = replace(_serving(config, address, stage.cwd, stage.run_dir), devices=own)
        visible = ",".join(own) if stage.devices.cuda else ""
        bare = ProcessSpec(
            name=address.name,
            part=SERVER,
            argv=tuple(served.argv(request)),
            cwd=str(stage.cwd),
            log=f"{stage.run_dir}/logs/{address.name}.log",
            env={"CUDA_VISIBLE_DEVICES": visible, **served.env(request)},
            devices=own,
            signs=signs,
        )
        spec = _surrounded(config, bare, tracked)
        own_ports = served.own_ports(config.rollout_server)
        if own_ports and stage.own_ports:
            first = {own_ports.variable: str(stage.own_ports[number])}
            spec = replace(spec, env_defaults={**first, **spec.env_defaults})
        yield spec


def _learner(
    config: LaunchConfig, trained: Learner, request: TrainRequest, stage: _Stage
) -> Iterator[ProcessSpec]:
    if not request.devices:
        what = "is not set, and no visible device is left for the learner"
        raise ConfigError(config.where("gpus.learner"), what, "set gpus.learner=[...]")
    tracked = variables.of_learner(config, stage.run_id, stage.directory)
    if isinstance(trained, Particular):
        members = trained.members(request)
    else:
        members = (Member(tuple(trained.argv(request)), trained.env(request), request.devices),)
    for rank, member in enumerate(members):
        name = f"{LEARNER}_{rank}" if rank else LEARNER
        visible = replace(request, devices=member.devices).visible
        bare = ProcessSpec(
            name=name,
            part=LEARNER,
            argv=member.argv,
            cwd=str(stage.cwd / member.cwd),
            log=f"{stage.run_dir}/logs/{name}.log",
            env={"CUDA_VISIBLE_DEVICES": visible, **member.env},
            devices=member.devices,
            signs=trained.signs(config),
            timeout_s=config.learner.timeout_s,
        )
        yield _surrounded(config, bare, tracked)


def _is_rehearsed(config: LaunchConfig, trained: Learner) -> bool:
    """Whether to rehearse: without servers to wait for, the learner itself is as fast."""
    return config.rehearses and bool(config.rehearse or trained.needs_servers(config))


def _rehearsal(
    config: LaunchConfig,
    served: Engine,
    trained: Learner,
    request: TrainRequest,
    job: ProcessSpec,
    arguments_file: str,
) -> Rehearsal | None:
    """Like the job, but for its command and without its devices."""
    sizes = served.sizes(config.rollout_server) if trained.needs_servers(config) else None
    argv = trained.rehearsal(request, sizes and sizes.max_model_len)
    if not argv:
        return None
    entered = runtimes.of(config.runtime_of(LEARNER)).enter(argv, request.cwd)
    log = f"{request.run_dir}/logs/{REHEARSAL}.log"
    process = replace(
        job, name=REHEARSAL, part=REHEARSAL, argv=entered.argv, log=log, devices=(),
        signs=Signs(), timeout_s=_REHEARSAL_S,
    )  # fmt: skip
    said = [f"train.{s}.{key}" for s in config.sections for key in _keys(config.train.get(s))]
    if not config.sections:
        said = [f"train.{name}" for name in arguments.own(config)]
    places = {key.rpartition(".")[2]: config.where(key) for key in said}
    if config.train.get("deepspeed") is not None:  # a text, or a section with its parts
        places.setdefault("deepspeed", config.where("train.deepspeed"))
    return Rehearsal(process, places, arguments_file)


def _keys(section: Any) -> list[str]:
    return [*map(str, cast("dict[Any, Any]", section))] if isinstance(section, dict) else []


def _surrounded(
    config: LaunchConfig, bare: ProcessSpec, tracked: variables.Variables
) -> ProcessSpec:
    """A process in its runtime, with the variables of the trackers and those of ``env``.

    What is said later wins: the runtime, the process itself, the trackers, the user.
    """
    own = of_half(config.env, bare.part)
    entered = runtimes.of(config.runtime_of(bare.part)).enter(bare.argv, Path(bare.cwd))
    return replace(
        bare,
        argv=entered.argv,
        env={**entered.env, **bare.env, **tracked.said, **own.set},
        env_defaults={**tracked.defaults, **own.defaults},
        path=entered.path,
        direct_hosts=direct_hosts(config),
    )


def _facts(config: LaunchConfig, stage: _Stage, processes: Sequence[ProcessSpec]) -> PlannedFile:
    """The launcher's part of the configuration of the W&B run."""
    devices = stage.devices
    body = {
        "run": stage.run_dir,
        "gpus": {SERVER: list(devices.server), LEARNER: list(devices.learner)},
        "accelerator": config.accelerator.kind.value,
        "server_urls": [address.url for address in endpoints(config)],
        "processes": {spec.name: list(spec.argv) for spec in processes},
        "rollout_server": dict(config.rollout_server),
    }
    text = variables.facts(config, body)
    return PlannedFile(f"{stage.run_dir}/{variables.CONFIG_FILE}", text)


def _gates(config: LaunchConfig, served: Engine, trained: Learner, stage: _Stage) -> Iterator[Gate]:
    """One for each server that is started here, and for each that the learner needs."""
    if SERVER not in stage.parts and not trained.needs_servers(config):
        return
    path = config.health.path or served.health_path
    for address in endpoints(config) if LEARNER in stage.parts else here(config):
        is_ours = SERVER in stage.parts and address.is_here
        advice = "look at its log" if is_ours else "start it with role=server"
        advice = advice if config.starts_servers else "look at it where it runs"
        request = _serving(config, address, stage.cwd, stage.run_dir)
        generation = served.generation(request)
        asks = config.health.probe is schema.HealthProbe.generate
        checks = served.checks(request, path)
        if asks and generation and generation not in checks:
            checks = (*checks, generation)
        yield Gate(
            server=address.name,
            url=address.url,
            checks=checks,
            generation=generation,
            timeout_s=config.health.timeout_s,
            advice=f"{advice}, or set a longer health.timeout_s",
            elsewhere=f"change {_address_key(config).removeprefix('train.')}",
            model=request.model,
            counters=served.signs.counters,
            reload=served.reload(request) if isinstance(served, Reloading) else None,
        )


def _address_key(config: LaunchConfig) -> str:
    return keys(config).url if urls(config) else keys(config).port
