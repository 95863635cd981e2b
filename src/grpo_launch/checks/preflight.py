"""Checks that touch this machine but start nothing of the run."""

from __future__ import annotations

import errno
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from grpo_launch.base import resources
from grpo_launch.base.host import nvidia_smi
from grpo_launch.config import schema
from grpo_launch.config.formats import document
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.errors import PreflightError
from grpo_launch.plan import SERVER, LaunchPlan
from grpo_launch.planning.listening import MASTER_PORT_KEY, listening
from grpo_launch.runtimes.enter import conda_environments
from grpo_launch.supervise import proc, sockets
from grpo_launch.supervise.process import environment
from grpo_launch.tracking import preflight

_HAS_MODULE = "import importlib.util as u, sys; sys.exit(u.find_spec(sys.argv[1]) is None)"


def check(
    config: LaunchConfig,
    plan: LaunchPlan,
    environ: Mapping[str, str],
    cwd: Path,
    say: Callable[[str], None] | None = None,
) -> None:
    """Check that this machine can run the plan now.

    Args:
        config: the configuration of the plan, for messages.
        plan: what would be started.
        environ: the caller's environment.
        cwd: what relative paths are relative to.
        say: told when a wait begins; None: do not wait for a port in TIME_WAIT.

    Raises:
        PreflightError: an environment, executable or package is missing, W&B has no key, or a
            port is busy.
    """
    runtime_exists(config.runtime, config.where, environ, cwd)
    _executables_exist(config, plan, environ)
    devices_exist(config, plan)
    preflight.check(config, plan, environ, cwd)
    for port, key, choose in ports(config, plan):
        if say is not None and sockets.is_closing(port):
            say(f"waiting up to {sockets.TIME_WAIT_S:.0f} s for port {port}, still in TIME_WAIT")
            deadline = time.monotonic() + sockets.TIME_WAIT_S
            while sockets.is_closing(port) and time.monotonic() < deadline:
                time.sleep(0.25)
        automatic = config.ports is schema.PortPolicy.auto
        port_is_free(port, "ports=auto" if automatic else config.where(key), choose)


def ports(config: LaunchConfig, plan: LaunchPlan) -> Iterator[tuple[int, str, str]]:
    """Ports that the plan's processes will listen on: number, key, how to choose another."""
    several = len(plan.gates) > 1
    for port, key in listening(config, [spec.half for spec in plan.processes]):
        value = "PORT" if key == MASTER_PORT_KEY else "[PORT,...]" if several else "[PORT]"
        yield port, key, f"'{key}={value}'"


def devices_exist(config: LaunchConfig, plan: LaunchPlan) -> None:
    """Check that this machine has the GPUs that the plan names, where nvidia-smi tells.

    Raises:
        PreflightError: an index is not among the machine's devices.
    """
    if config.accelerator.kind is not schema.AcceleratorKind.cuda:
        return
    there = nvidia_smi("index")
    for spec in plan.processes:
        missing = [device for device in spec.devices if device.isdigit() and device not in there]
        if there and missing:
            raise PreflightError(
                config.where(f"gpus.{spec.half}"),
                f"names GPU {', '.join(missing)}, this machine has {', '.join(there)}",
                f"set gpus.{spec.half}=[...]",
            )


def runtime_exists(
    runtime: schema.Runtime,
    where: Callable[[str], str],
    environ: Mapping[str, str],
    cwd: Path,
) -> None:
    """Check that the engine's environment is there.

    Args:
        runtime: how the engine is entered.
        where: names the place of a key, for messages.
        environ: the caller's environment.
        cwd: what a relative ``runtime.path`` is relative to.

    Raises:
        PreflightError: there is no such environment, or no conda.
    """
    if runtime.kind is schema.RuntimeKind.venv:
        root = cwd / (runtime.path or "")
        if not (root / "bin" / "python").exists():
            raise PreflightError(
                where("runtime.path"),
                f"{runtime.path} is no virtual environment",
                f"make it with '{_setup()}' or set runtime.path=DIR",
            )
    if runtime.kind is schema.RuntimeKind.conda:
        conda = shutil.which("conda", path=environ.get("PATH"))
        if conda is None:
            raise PreflightError(
                where("runtime.name"),
                "conda is not on PATH",
                "install or activate it, or use runtime=venv or runtime=current",
            )
        if not any(
            root.is_dir() for root in conda_environments(conda, runtime.name or "", environ)
        ):
            raise PreflightError(
                where("runtime.name"),
                f"there is no conda environment {runtime.name}",
                "create it or set runtime.name=ENV",
            )


def port_is_free(port: int, where: str, choose: str) -> None:
    """Check that a process of the run could listen on ``port``.

    The port is tried as ``swift rollout`` tries it (``find_free_port`` of ms-swift
    4.6: all interfaces, no ``SO_REUSEADDR``): where that fails, it serves on the
    next port without a word.

    Args:
        port: the TCP port.
        where: the place that said it.
        choose: the override that chooses another one.

    Raises:
        PreflightError: the port is taken; names the owner if ``/proc`` tells.
    """
    failure = sockets.bind_failure(port)
    if failure is None:
        return
    if failure == errno.EACCES:
        raise PreflightError(where, f"port {port} needs privileges", "use a port above 1023")
    if sockets.is_closing(port):
        what = f"port {port} still closes connections of an earlier server (TIME_WAIT)"
        raise PreflightError(where, what, f"wait a minute or choose another with {choose}")
    owner = owner_of(port)
    by = f" by {owner}" if owner else ""
    fix = f"stop it or choose another port with {choose}"
    raise PreflightError(where, f"port {port} is in use{by}", fix)


def is_free(port: int) -> bool:
    """Whether a process of the run could listen on ``port`` now."""
    return sockets.bind_failure(port) is None


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


def _executables_exist(config: LaunchConfig, plan: LaunchPlan, environ: Mapping[str, str]) -> None:
    """The command of each process, and of the engine behind it, can be found."""
    for spec in plan.processes:
        path = environment(spec, environ).get("PATH")
        entry = config.engine.entry if spec.half == SERVER else config.learner.entry
        words = [spec.argv[0]]
        if config.runtime.kind is not schema.RuntimeKind.conda:
            words.append(entry[0])  # conda's own PATH is known only inside it
        for word in words:
            if shutil.which(word, path=path) is None:
                raise _not_installed(spec.name, f"{word}", "command", config.runtime.kind.value)
        if config.runtime.kind is not schema.RuntimeKind.conda and entry[1:2] == ["-m"]:
            asked = [shutil.which(entry[0], path=path) or entry[0], "-c", _HAS_MODULE, entry[2]]
            answer = subprocess.run(asked, env=environment(spec, environ), check=False)
            if answer.returncode != 0:
                raise _not_installed(spec.name, entry[2], "module", config.runtime.kind.value)


def _not_installed(process: str, name: str, kind: str, runtime: str) -> PreflightError:
    fix = f"install it there ('{_setup()}' makes the CPU engine), or choose runtime=..."
    return PreflightError(f"{process}: {name}", f"no such {kind} in runtime={runtime}", fix)


def _setup() -> str:
    """The command that makes the CPU engine, in a clone and beside an installed wheel."""
    script = document.shown(resources.path("scripts/setup_engine.sh"))
    return f"bash {script}"
