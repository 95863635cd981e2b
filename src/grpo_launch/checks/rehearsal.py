"""``role=check rehearse=true``: the rehearsal of a plan whose run does not exist."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from grpo_launch.base import redaction
from grpo_launch.plan import LaunchPlan, ProcessSpec, Rehearsal
from grpo_launch.runs import failure, rehearsals
from grpo_launch.runs.rehearsals import UNKNOWN, Verdict
from grpo_launch.supervise.process import environment


def rehearse(plan: LaunchPlan, rehearsal: Rehearsal, environ: Mapping[str, str]) -> Verdict:
    """Run a rehearsal, in a temporary directory as far as it needs files of the run.

    Args:
        plan: whose files it reads.
        rehearsal: of the plan.
        environ: the caller's environment.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="grpo_launch-") as directory:
        process = rehearsal.process
        for number, file in enumerate(plan.files):
            path = Path(directory, f"{number}-{Path(file.path).name}")
            path.write_text(file.text, encoding="utf-8")
            process = _pointed(process, file.path, str(path))
        log = Path(directory, "log")
        try:
            status = _status(process, log, environ)
        except OSError as error:
            return Verdict(UNKNOWN, 0, f"{process.argv[0]} cannot be run ({error.strerror})")
        seconds = time.monotonic() - started
        if status is None:
            return Verdict(UNKNOWN, seconds, f"not finished after {process.timeout_s:.0f} s")
        hidden = redaction.secrets(environ)
        return rehearsals.read(failure.end_of(log), status, seconds, hidden)


def _pointed(process: ProcessSpec, path: str, to: str) -> ProcessSpec:
    return replace(process, argv=tuple(to if word == path else word for word in process.argv))


def _status(process: ProcessSpec, log: Path, environ: Mapping[str, str]) -> int | None:
    """Its exit status; None where it took too long and was killed.

    Raises:
        OSError: it cannot be started.
    """
    env = environment(process, environ)
    with log.open("wb") as output:
        child = subprocess.Popen(
            process.argv,
            cwd=process.cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # what plugins start must not outlive it
        )
        try:
            return child.wait(process.timeout_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
