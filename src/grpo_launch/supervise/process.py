"""One process of a plan, in a session of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from grpo_launch.errors import PreflightError
from grpo_launch.plan import ProcessSpec
from grpo_launch.supervise import proc


class Child:
    """A started process.

    Attributes:
        spec: what was started.
        pid: its process, session and process group id.
        start_time: the kernel's start time, in clock ticks since boot; with the
            pid it names this process and no later one.
        pidfd: readable once the process has ended.
    """

    def __init__(self, spec: ProcessSpec, environ: Mapping[str, str]) -> None:
        """Start ``spec``.

        Args:
            spec: what to start; its log's directory exists.
            environ: the caller's environment.

        Raises:
            PreflightError: the executable cannot be run.
        """
        self.spec = spec
        with open(Path(spec.cwd) / spec.log, "ab") as log:
            try:
                self._popen = subprocess.Popen(
                    spec.argv,
                    cwd=spec.cwd,
                    env=environment(spec, environ),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise PreflightError(
                    spec.argv[0], f"cannot be run ({error.strerror})", "check runtime=..."
                ) from None
        self.pid = self._popen.pid
        try:
            self.pidfd = os.pidfd_open(self.pid)
        except OSError:
            self._popen.kill()  # what cannot be watched must not run
            self._popen.wait()
            raise
        entry = proc.read(self.pid)
        self.start_time = entry.start_time if entry else 0

    def poll(self) -> int | None:
        """The exit status, 128 + N for signal N, or None while it runs."""
        code = self._popen.poll()
        return code if code is None or code >= 0 else 128 - code

    def close(self) -> None:
        """Release the pidfd; the process itself is left alone."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def environment(spec: ProcessSpec, environ: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a process: defaults < the caller's < what the plan sets."""
    merged = {**spec.env_defaults, **environ, **spec.env}
    if spec.path:
        merged["PATH"] = os.pathsep.join([*spec.path, environ.get("PATH", os.defpath)])
    return merged
