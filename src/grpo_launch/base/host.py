"""What a launch needs to know of this machine and this moment, asked for once."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Host:
    """The caller's surroundings; everything that is pure gets them from here.

    Attributes:
        cwd: the working directory.
        environ: the caller's environment.
        now: local time, seconds since the epoch.
        token: four random hexadecimal digits.
        sweeping: whether this process has more to do after a run (``--multirun``).
    """

    cwd: Path
    environ: Mapping[str, str]
    now: float
    token: str
    sweeping: bool = False

    @staticmethod
    def current(environ: Mapping[str, str] | None = None, *, sweeping: bool = False) -> Host:
        """This process's surroundings, now."""
        return Host(
            Path.cwd(),
            dict(os.environ if environ is None else environ),
            time.time(),
            os.urandom(2).hex(),
            sweeping,
        )

    def run_id(self) -> str:
        """``YYYYmmdd-HHMMSS-<hex>``, local time."""
        return f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(self.now))}-{self.token}"

    def owns(self, host: str) -> bool:
        """Whether a name or an address is this machine's own, so that a server can listen on it.

        The machine's own name, with or without its domain, or what leads to an address to which
        a socket can be bound. Another name is looked up, as whoever connects to it does.
        """
        name = socket.gethostname()
        if not host or host in (name, name.partition(".")[0]):
            return bool(host)
        try:
            found = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
        except (OSError, ValueError):
            return False
        return any(_is_bindable(family, address) for family, _, _, _, address in found)

    def visible_devices(self) -> list[str]:
        """The CUDA devices that this process may use: CUDA_VISIBLE_DEVICES, else nvidia-smi's."""
        said = self.environ.get("CUDA_VISIBLE_DEVICES")
        if said is not None:
            return [device.strip() for device in said.split(",") if device.strip()]
        return nvidia_smi("index")


def _is_bindable(family: int, address: tuple[Any, ...]) -> bool:
    """Whether an address is one of this machine; 0.0.0.0 and :: can be bound, and are none."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(address)
    except OSError:
        return False
    return any(socket.inet_pton(family, str(address[0]).partition("%")[0]))


def nvidia_smi(*fields: str) -> list[str]:
    """One line a device from ``nvidia-smi --query-gpu``; empty where there is no such tool."""
    import subprocess

    query = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]
