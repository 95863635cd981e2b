"""Checks that touch this machine but start nothing of the run."""

from __future__ import annotations

import errno
import shutil
import subprocess
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from grpo_launch import runtimes
from grpo_launch.base.host import nvidia_smi
from grpo_launch.checks import ids, loop_files, machine, versions
from grpo_launch.config import schema, services
from grpo_launch.config.facts import Facts, MissingFiles
from grpo_launch.config.formats import document
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.machine_checks import GPUS_THERE, GPUS_VISIBLE
from grpo_launch.config.problem import Problem
from grpo_launch.plan import LEARNER, SERVER, SERVICE, LaunchPlan, ProcessSpec
from grpo_launch.planning.listening import Port, ports
from grpo_launch.runtimes.venv import setup_command
from grpo_launch.supervise import proc, sockets
from grpo_launch.supervise.process import environment
from grpo_launch.tracking import preflight as tracking

_HAS_MODULE = "import importlib.util as u, sys; sys.exit(u.find_spec(sys.argv[1]) is None)"

_INTERVAL_S = 0.25
"""How often a port in TIME_WAIT is tried."""


def problems(
    config: LaunchConfig,
    plan: LaunchPlan,
    environ: Mapping[str, str],
    cwd: Path,
    *,
    without: Collection[int] = (),
    is_complete: bool = True,
    facts: Facts | None = None,
) -> Iterator[Problem]:
    """Everything that keeps this machine from running the plan now.

    What only follows from a problem that is reported already is left out. A port in
    TIME_WAIT is none: it will be free, see :func:`closing`.

    Args:
        config: the configuration of the plan, for messages.
        plan: what would be started.
        environ: the caller's environment, with the variables of ``env.file``.
        cwd: what relative paths are relative to.
        without: ports that another problem is about.
        is_complete: whether ``environ`` is the whole environment; else keys of trackers,
            which may be in the rest, are not looked for.
        facts: what was gathered for validation; has the files that are missing.
    """
    usable: list[ProcessSpec] = []
    unusable: set[Problem] = set()
    for spec in plan.processes:
        missing = None
        if spec.part in (SERVER, LEARNER):
            missing = runtimes.of(config.runtime_of(spec.part)).problem(environ, cwd)
        if missing is None:
            usable.append(spec)
        else:
            where = config.where(_said_key(config, spec.part, missing.key))
            unusable.add(Problem(where, missing.what, missing.fix))
    yield from sorted(unusable, key=lambda problem: problem.line)
    yield from _commands(config, usable, environ)
    if any(spec.part == SERVER for spec in usable):
        yield from versions.problems(config, environ, cwd)
    yield from _services(config, plan, environ)
    yield from _devices(config, plan, environ)
    if facts and (absent := facts.get(MissingFiles)):
        yield from absent.problems
    yield from loop_files.problems(config, plan, environ, cwd)
    yield from machine.problems(config, plan, cwd)
    if is_complete:
        yield from tracking.problems(config, plan, environ, cwd)
    for port in ports(config, plan):
        if port.number not in without and not sockets.is_closing(port.number):
            yield from port_problem(port)


def closing(config: LaunchConfig, plan: LaunchPlan) -> list[Port]:
    """The ports that connections of an earlier server still hold (TIME_WAIT); a launch waits."""
    return [port for port in ports(config, plan) if sockets.is_closing(port.number)]


def wait_until_closed(port: Port) -> Iterator[Problem]:
    """Wait for a port in TIME_WAIT; yields why it cannot be had all the same."""
    deadline = time.monotonic() + sockets.TIME_WAIT_S
    while sockets.is_closing(port.number) and time.monotonic() < deadline:
        time.sleep(_INTERVAL_S)
    yield from port_problem(port)


def port_problem(port: Port) -> Iterator[Problem]:
    """Why a process of the run could not listen on a port; names its owner if ``/proc`` tells.

    See ``sockets.bind_failure``: where the port is taken, a server may serve on the next
    one without a word.
    """
    number, where, choose = port
    failure = sockets.bind_failure(number)
    if failure is None:
        return
    if failure == errno.EACCES:
        yield Problem(where, f"port {number} needs privileges", "use a port above 1023")
    elif sockets.is_closing(number):
        what = f"port {number} still closes connections of an earlier server (TIME_WAIT)"
        yield Problem(where, what, f"wait a minute or choose another with {choose}")
    else:
        owner = owner_of(number)
        by = f" by {owner}" if owner else ""
        fix = f"stop it or choose another port with {choose}"
        yield Problem(where, f"port {number} is in use{by}", fix)


def owner_of(port: int) -> str | None:
    """``pid N (command)`` of whoever listens on a TCP port, if ``/proc`` tells.

    A process of one of our runs is named with that run: its output goes to the
    run's log.
    """
    pid = sockets.listener(port)
    if pid is None:
        return None
    run = sockets.run_of(pid)
    of = f" of the run {document.shown(run)}" if run else ""
    return f"pid {pid} ({proc.command(pid)[:120]}){of}"


def _devices(
    config: LaunchConfig, plan: LaunchPlan, environ: Mapping[str, str]
) -> Iterator[Problem]:
    """This machine has the GPUs that the plan names, where nvidia-smi tells; the caller has them.

    With ``compat=env`` the caller's CUDA_VISIBLE_DEVICES is one half's list.
    """
    if config.accelerator.kind is not schema.AcceleratorKind.cuda:
        return
    if config.compat is schema.Compat.none:
        for part, what in ids.outside(plan, environ):
            fix = f"set gpus.{part} to devices that you may use, or unset CUDA_VISIBLE_DEVICES"
            yield Problem(config.where(f"gpus.{part}"), what, fix, rule=GPUS_VISIBLE.name)
    there = nvidia_smi("index")
    missing: dict[str, list[str]] = {}
    for spec in plan.processes if there else ():
        absent = [device for device in spec.devices if device.isdigit() and device not in there]
        half = f"gpus.{spec.part}"
        key = services.key(spec.name, "devices") if spec.part == SERVICE else half
        missing.setdefault(key, []).extend(absent)
    for key, absent in missing.items():
        if absent:
            what = f"names GPU {', '.join(absent)}, this machine has {', '.join(there)}"
            fix = f"set {key}=[...]"
            yield Problem(config.where(key), what, fix, rule=GPUS_THERE.name)


def _said_key(config: LaunchConfig, part: str, key: str) -> str:
    """The key of a runtime that says what a half has: its own, where the halves differ."""
    own = key.replace("runtime.", f"runtime.{part}.")
    name = key.rpartition(".")[2]
    return own if getattr(config.runtime, name) != getattr(config.runtime_of(part), name) else key


def _commands(
    config: LaunchConfig, specs: Iterable[ProcessSpec], environ: Mapping[str, str]
) -> Iterator[Problem]:
    """The command of each process, and of the engine behind it, can be found."""
    absent: set[str] = set()
    for spec in specs:
        if spec.part == SERVICE:
            continue
        entry = config.engine.entry if spec.part == SERVER else config.learner.entry
        kind_of = config.runtime_of(spec.part).kind.value
        for name, kind in _absent(config, spec, entry or [*spec.argv], environment(spec, environ)):
            if name not in absent:  # several servers have one environment
                absent.add(name)
                what = f"no such {kind} in runtime={kind_of}"
                fix = f"install it there ('{setup_command()}' makes the CPU engine), "
                yield Problem(f"{spec.name}: {name}", what, f"{fix}or choose runtime=...")


def _services(
    config: LaunchConfig, plan: LaunchPlan, environ: Mapping[str, str]
) -> Iterator[Problem]:
    """The command of each service can be found; it runs in the caller's environment."""
    for spec in plan.processes:
        path = environment(spec, environ).get("PATH")
        if spec.part == SERVICE and shutil.which(spec.argv[0], path=path) is None:
            what = f"no such command: {spec.argv[0]}"
            fix = "give its path, services run outside of runtime=..."
            yield Problem(config.where(services.key(spec.name, "argv")), what, fix)


def _absent(
    config: LaunchConfig, spec: ProcessSpec, entry: list[str], environ: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """What a process needs and is not there, and what kind of thing that is."""
    path = environ.get("PATH")
    if _which(spec.argv[0], spec, path) is None:
        yield spec.argv[0], "command"
    if not runtimes.of(config.runtime_of(spec.part)).path_is_known:
        return
    command = _which(entry[0], spec, path)
    if command is None:
        yield entry[0], "command"
    elif entry[1:2] == ["-m"]:
        asked = [command, "-c", _HAS_MODULE, entry[2]]
        if subprocess.run(asked, env=environ, check=False, cwd=spec.cwd).returncode != 0:
            yield entry[2], "module"


def _which(command: str, spec: ProcessSpec, path: str | None) -> str | None:
    """Where a command is; a relative one counts from the working directory of its process."""
    return shutil.which(str(Path(spec.cwd, command)) if "/" in command else command, path=path)
