"""What every backend does: subclass :class:`BackendSuite` and name the backend.

    class TestMine(BackendSuite):
        backend = "mine"

It starts real runs of one small Python process.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from grpo_launch.backends import registry
from grpo_launch.backends.base import Backend, Capabilities
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.plan import LEARNER, Deadlines, LaunchPlan, ProcessSpec, Recovery, Watchdog
from grpo_launch.runs import reading, record
from grpo_launch.settle.prepared import Prepared
from grpo_launch.supervise import proc

PATIENCE_S = 60.0
"""How long something may take that other processes do; a busy machine needs seconds."""

FOREVER = 'import signal; print("started", flush=True); signal.pause()'
DONE = 'print("done")'

_MARK = "GRPO_LAUNCH_SUITE"
_START = (
    "import pickle, sys\n"
    "from grpo_launch.backends import registry\n"
    "from grpo_launch.runs.record import RunRecord\n"
    "with open(sys.argv[2], 'rb') as file: run = pickle.load(file)\n"
    "RunRecord.new(run.plan, run.run, sys.argv[1]).write()\n"
    "sys.exit(registry.get(sys.argv[1]).start(run))"
)


class BackendSuite:
    """The conformance tests of a backend.

    Attributes:
        backend: its name, a value of ``launch.backend``.
    """

    backend: ClassVar[str]

    @pytest.fixture
    def environ(self) -> dict[str, str]:
        """The caller's environment; override it for what the backend needs there."""
        return dict(os.environ)

    @pytest.fixture
    def module(self) -> Backend:
        """The backend."""
        return registry.get(self.backend)

    @pytest.fixture
    def make(self, tmp_path: Path, environ: dict[str, str]) -> Iterator[Callable[[str], Prepared]]:
        """Makes a run whose job is Python code; ends what is left of it at last."""
        mark = uuid.uuid4().hex
        made: list[Prepared] = []

        def make(code: str) -> Prepared:
            made.append(_prepared(tmp_path, {**environ, _MARK: mark}, code))
            return made[-1]

        yield make
        for run in made:
            registry.get(self.backend).cancel(run.run)
        _until(lambda: not _marked(mark), f"something of the run is left: {_marked(mark)}")

    def test_what_it_can_do_is_data(self, module: Backend) -> None:
        """``CAPABILITIES`` can be read without starting anything."""
        assert isinstance(module.CAPABILITIES, Capabilities)

    def test_a_check_yields_problems_and_touches_nothing(
        self, module: Backend, make: Callable[[str], Prepared]
    ) -> None:
        """``check`` has nothing against a run that can be started."""
        run = make(DONE)
        before = _files(run)
        problems = list(module.check(run))
        assert all(isinstance(problem, Problem) for problem in problems)
        assert [str(p) for p in problems if p.severity is Severity.ERROR] == []
        assert _files(run) == before

    def test_a_rendered_run_is_named_and_nothing_is_touched(
        self, module: Backend, make: Callable[[str], Prepared]
    ) -> None:
        """``render`` shows the run and its job, and is repeatable."""
        run = make(FOREVER)
        before = _files(run)
        text = module.render(run)
        assert run.plan.run_dir in text
        assert FOREVER in text
        assert module.render(run) == text
        assert _files(run) == before
        assert _marked(run.environ[_MARK]) == []

    def test_the_user_learns_how_to_stop_it(
        self, module: Backend, make: Callable[[str], Prepared]
    ) -> None:
        """``describe`` names the run, as ``grpo-runs`` takes it."""
        run = make(DONE)
        assert run.name in "\n".join(module.describe(run))

    def test_a_started_run_is_supervised_until_it_is_cancelled(
        self, module: Backend, make: Callable[[str], Prepared]
    ) -> None:
        """``start`` has a supervisor take over; ``cancel`` ends it and all processes."""
        run = make(FOREVER)
        with _started(self.backend, run) as launcher:
            if module.CAPABILITIES.detached:
                assert launcher.wait(PATIENCE_S) == 0, _output(launcher)
                assert reading.read(run.run)[0].is_supervised
            _until(lambda: _state(run) == record.TRAINING, "the job was not started")
            log = run.run / "logs" / f"{LEARNER}.log"
            _until(lambda: "started" in log.read_text(), "the job does nothing")
            assert module.cancel(run.run)
            _until(lambda: _state(run) == record.INTERRUPTED, "the run was not ended")
            _until(lambda: not module.cancel(run.run), "its supervisor has not ended")
        _until(lambda: _marked(run.environ[_MARK]) == [], "something is left")

    def test_a_run_that_ends_by_itself_leaves_nothing(
        self, module: Backend, make: Callable[[str], Prepared]
    ) -> None:
        """A run that is done leaves no process and nothing to cancel."""
        run = make(DONE)
        with _started(self.backend, run) as launcher:
            assert launcher.wait(PATIENCE_S) == 0, _output(launcher)
            _until(lambda: _state(run) == record.DONE, "the run has not ended")
        _until(lambda: _marked(run.environ[_MARK]) == [], "something is left")
        assert not module.cancel(run.run)


def _prepared(directory: Path, environ: dict[str, str], code: str) -> Prepared:
    """A run whose directory is made; whoever starts it writes the record."""
    name = f"suite/{uuid.uuid4().hex}"
    run_dir = f"runs/{name}"
    job = ProcessSpec(
        name=LEARNER,
        part=LEARNER,
        argv=(sys.executable, "-I", "-S", "-c", code),
        cwd=str(directory),
        log=f"{run_dir}/logs/{LEARNER}.log",
    )
    plan = LaunchPlan(
        experiment="suite",
        role=LEARNER,
        run_dir=run_dir,
        output_dir=f"{run_dir}/output",
        processes=(job,),
        job=LEARNER,
        gates=(),
        files=(),
        deadlines=Deadlines(term_s=10.0, kill_s=10.0),
        groups=False,
        ports=(),
        recovery=Recovery("stop", 0, 0.0, 0.0, None, versioned=True),
        watchdog=Watchdog(0.0, 0.0, 0.0, "warn"),
        console="auto",
    )
    run = directory / run_dir
    (run / "logs").mkdir(parents=True)
    (run / "plan.json").write_text(plan.to_json(), encoding="utf-8")
    return Prepared(
        plan, run, name, environ, directory, held=(), tag="suite", now=time.time(), sweeping=False
    )


@contextlib.contextmanager
def _started(backend: str, run: Prepared) -> Generator[subprocess.Popen[str]]:
    """A process that starts a run; one in the foreground becomes its supervisor."""
    order = run.cwd / "order"
    order.write_bytes(pickle.dumps(run))
    with subprocess.Popen(
        [sys.executable, "-c", _START, backend, str(order)],
        cwd=run.cwd,
        env=dict(run.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as launcher:
        try:
            yield launcher
        finally:
            launcher.terminate()


def _output(launcher: subprocess.Popen[str]) -> str:
    assert launcher.stdout is not None
    return launcher.stdout.read()


def _state(run: Prepared) -> str:
    return reading.read(run.run)[0].state if (run.run / record.NAME).exists() else ""


def _files(run: Prepared) -> list[Path]:
    return sorted(run.cwd.rglob("*"))


def _marked(mark: str) -> list[int]:
    """The processes of this machine that have the run's environment."""
    entry = f"{_MARK}={mark}".encode()
    return [e.pid for e in proc.everything() if e.alive and entry in proc.environ(e.pid)]


def _until(is_so: Callable[[], bool], otherwise: str) -> None:
    """Wait for what other processes do."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, otherwise
        select.select([], [], [], 0.02)
