"""The launcher's command line without its start: forks of one process that has imported it.

A command costs a fifth of what a fresh interpreter costs, and is as apart from the tests as a
process of its own: Hydra's global state, logging, signals, umask, even ``execve`` end with it.
The ``project`` fixture has both: ``run`` forks here, ``launch`` starts an interpreter.

``python -m tests.warm`` is the process that forks: a JSON object a line on its standard input,
the answer to it a line on its standard output.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from tests import own

ROOT = Path(__file__).resolve().parents[1]
WARM_UP = ["role=check", "config=tiny_cpu", "preflight=false", "train.rlhf.vllm_server_port=null"]
"""Reads what ships and scans Hydra's plugins once, before anything forks; any port will do."""


@dataclass
class Finished:
    """A command that has ended; a status below zero is the signal that ended it."""

    status: int
    stdout: str
    stderr: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if line.startswith("error: ")]


@dataclass
class Limits:
    """What a command may use; the time is the processor's, so that a busy machine costs none."""

    memory_bytes: int
    cpu_s: int


class Warm:
    """One process that has imported the launcher, started with the first command."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(
        self,
        module: str,
        arguments: Sequence[str],
        cwd: Path,
        environ: Mapping[str, str],
        limits: Limits | None = None,
    ) -> Finished:
        """What ``python -m MODULE`` does with these arguments."""
        if self._process is None:
            self._process = self._start()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {
            "module": module,
            "arguments": list(arguments),
            "cwd": str(cwd),
            "environ": dict(environ),
            "limits": asdict(limits) if limits else None,
        }
        answer = ""
        try:
            print(json.dumps(order), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        finally:
            if not answer.endswith("\n"):  # also when the test's time is over
                self.close()
        assert answer, "the process that forks has ended"
        return Finished(**json.loads(answer))

    def close(self) -> None:
        """End it and what it is doing."""
        if (process := self._process) is not None:
            self._process = None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    @staticmethod
    def _start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.warm"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **own.environment()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


# The process that forks


def _serve() -> None:
    orders, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)
    _warm_up()
    for line in iter(orders.readline, ""):
        print(json.dumps(_answer(json.loads(line))), file=answers, flush=True)


def _warm_up() -> None:
    package = importlib.import_module("grpo_launch")
    for found in pkgutil.walk_packages(package.__path__, "grpo_launch."):
        if not found.name.endswith("__main__"):
            with contextlib.suppress(ImportError):  # of an extra that is not installed
                importlib.import_module(found.name)
    import hydra.main  # noqa: F401

    from grpo_launch.cli import main

    sys.argv = ["grpo_launch", *WARM_UP]
    assert main() == 0
    sys.stdout.flush()
    gc.collect()
    gc.freeze()  # a collection would touch, and so copy, all of it in each fork


def _answer(order: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        pid = os.fork()
        if pid == 0:
            _become(order, stdout, stderr)
        _, ended = os.waitpid(pid, 0)
        texts: list[str] = []
        for file in (stdout, stderr):
            file.seek(0)
            texts.append(file.read().decode())
    return asdict(Finished(os.waitstatus_to_exitcode(ended), *texts))


def _become(order: dict[str, Any], stdout: IO[bytes], stderr: IO[bytes]) -> NoReturn:
    """Be the command, to its end."""
    status: object = 1
    try:
        os.dup2(stdout.fileno(), 1)
        os.dup2(stderr.fileno(), 2)
        os.chdir(order["cwd"])
        os.environ.clear()
        os.environ.update(order["environ"])
        time.tzset()
        if limits := order["limits"]:
            resource.setrlimit(resource.RLIMIT_AS, (limits["memory_bytes"],) * 2)
            resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu_s"],) * 2)
        sys.argv = ["", *order["arguments"]]
        runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = 0 if end.code is None else end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


if __name__ == "__main__":
    _serve()
