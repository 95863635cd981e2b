"""Checks that touch this machine but start nothing of the run."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from grpo_launch import resources, schema
from grpo_launch.compose import document
from grpo_launch.compose.config import LaunchConfig
from grpo_launch.endpoint import PORT_KEY, Endpoint, endpoint
from grpo_launch.errors import PreflightError
from grpo_launch.plan import SERVER, LaunchPlan
from grpo_launch.supervise import proc
from grpo_launch.supervise.process import environment

_CHOOSE_PORT = "train.rlhf.vllm_server_port=[PORT]"
_HAS_MODULE = "import importlib.util as u, sys; sys.exit(u.find_spec(sys.argv[1]) is None)"


PATIENCE_S = 65.0
"""How long a launch waits for a port in TIME_WAIT: Linux holds it for 60 s."""


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
        PreflightError: an environment or executable is missing, or the port is busy.
    """
    runtime_exists(config.runtime, config.where, environ, cwd)
    _executables_exist(config, plan, environ)
    if plan.process(SERVER) is not None:
        address = endpoint(config)
        if say is not None and _is_closing(address.port):
            say(f"waiting up to {PATIENCE_S:.0f} s for port {address.port}, still in TIME_WAIT")
            deadline = time.monotonic() + PATIENCE_S
            while _is_closing(address.port) and time.monotonic() < deadline:
                time.sleep(0.25)
        port_is_free(address, config.where(PORT_KEY))


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
            root.is_dir() for root in _conda_environments(conda, runtime.name or "", environ)
        ):
            raise PreflightError(
                where("runtime.name"),
                f"there is no conda environment {runtime.name}",
                "create it or set runtime.name=ENV",
            )


def port_is_free(address: Endpoint, where: str) -> None:
    """Check that a server could listen at ``address``.

    The port is tried as ``swift rollout`` tries it (``find_free_port`` of ms-swift
    4.6: all interfaces, no ``SO_REUSEADDR``): where that fails, it serves on the
    next port without a word.

    Raises:
        PreflightError: the port is taken; names the owner if ``/proc`` tells.
    """
    port = address.port
    failure = _bind_failure(port)
    if failure is None:
        return
    if failure == errno.EACCES:
        raise PreflightError(where, f"port {port} needs privileges", "use a port above 1023")
    if _is_closing(port):
        what = f"port {port} still closes connections of an earlier server (TIME_WAIT)"
        raise PreflightError(where, what, f"wait a minute or choose another with '{_CHOOSE_PORT}'")
    owner = owner_of(port)
    by = f" by {owner}" if owner else ""
    fix = f"stop it or choose another port with '{_CHOOSE_PORT}'"
    raise PreflightError(where, f"port {port} is in use{by}", fix)


def _bind_failure(port: int) -> int | None:
    """The errno of listening on ``port`` as ms-swift does, or None where it would work."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("", port))
        except OSError as error:
            return error.errno
    return None


def _is_closing(port: int) -> bool:
    """Whether only connections of a server that is gone hold the port."""
    return _bind_failure(port) == errno.EADDRINUSE and not any(_listening_inodes(port))


def owner_of(port: int) -> str | None:
    """``pid N (command)`` of whoever listens on a TCP port, if ``/proc`` tells."""
    inodes = set(_listening_inodes(port))
    if not inodes:
        return None
    for entry in proc.everything():
        if not inodes.isdisjoint(_open_files(entry.pid)):
            return f"pid {entry.pid} ({proc.command(entry.pid)[:120]})"
    return None


def _open_files(pid: int) -> Iterator[str]:
    directory = f"/proc/{pid}/fd"
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for name in names:
        with contextlib.suppress(OSError):  # closed meanwhile
            yield os.readlink(f"{directory}/{name}")


def _listening_inodes(port: int) -> Iterator[str]:
    """``socket:[N]`` of listening sockets, from /proc/net/tcp and tcp6 (proc(5))."""
    listen = "0A"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == listen and int(fields[1].rpartition(":")[2], 16) == port:
                yield f"socket:[{fields[9]}]"


def _conda_environments(conda: str, name: str, environ: Mapping[str, str]) -> Iterator[Path]:
    """Where an environment called ``name`` may be; asking conda itself takes a second."""
    root = Path(conda).resolve().parents[1]
    if name == "base":
        yield root
    yield root / "envs" / name
    home = Path(environ.get("HOME", "/"))
    yield home / ".conda" / "envs" / name
    for variable in ("CONDA_ENVS_PATH", "CONDA_ENVS_DIRS"):
        for entry in filter(None, environ.get(variable, "").split(os.pathsep)):
            yield Path(entry) / name
    try:
        known = (home / ".conda" / "environments.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    yield from (Path(line) for line in known if Path(line).name == name)


def _executables_exist(config: LaunchConfig, plan: LaunchPlan, environ: Mapping[str, str]) -> None:
    """The command of each process, and of the engine behind it, can be found."""
    for spec in plan.processes:
        path = environment(spec, environ).get("PATH")
        entry = config.engine.entry if spec.name == SERVER else config.learner.entry
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
