"""What a launch needs to know of this machine and this moment, asked for once."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


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
        """Whether a name or an address is this machine's own; nobody else is asked.

        A name is compared with that of the machine, with or without its domain. An address is
        its own where a socket can be bound to it.
        """
        name = socket.gethostname()
        if host in (name, name.partition(".")[0]):
            return True
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            packed = socket.inet_pton(family, host)
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.bind((host, 0))
        except (OSError, ValueError):
            return False
        return any(packed)  # 0.0.0.0 and :: can be bound, and are no machine

    def visible_devices(self) -> list[str]:
        """The CUDA devices that this process may use: CUDA_VISIBLE_DEVICES, else nvidia-smi's."""
        said = self.environ.get("CUDA_VISIBLE_DEVICES")
        if said is not None:
            return [device.strip() for device in said.split(",") if device.strip()]
        return nvidia_smi("index")


def nvidia_smi(*fields: str) -> list[str]:
    """One line a device from ``nvidia-smi --query-gpu``; empty where there is no such tool."""
    import subprocess

    query = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]
