"""Runs of the real engines that several tests read, and an interpreter that has imported them.

A start of the engines costs a minute of two cores, a step less than a second. So a run is made once
for all tests that only read what it left, and a run that a test ends by a signal shows something
before that.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import MARK, ROOT, Finished, Project
from tests.engine.real import (
    ENGINE,
    HANABI,
    LORA,
    MODEL,
    Swift,
    arguments,
    finish,
    kill_launcher_and_guard,
    ports,
    titled,
    wait_for_step,
)

SECRETS = {
    "WANDB_API_KEY": "planted0123456789abcdef0123456789abcdef01",
    "HF_TOKEN": "hf_planted0123456789",
    "OPENAI_API_KEY": "planted-openai-key",
}
DEMO_STEPS = 24
"""Of the demo; its reward is above 0.9 after 16."""

SHARED = ("demo", "restarted", "terminals", "two_servers", "swift")
"""Fixtures that take long; with ``-n 2 --dist loadgroup`` one worker makes each."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        names = [name for name in SHARED if name in getattr(item, "fixturenames", ())]
        if names:
            item.add_marker(pytest.mark.xdist_group(names[0]))


@dataclass
class Elsewhere(Project):
    """A directory with nothing in it: experiments, data and plugins come with the launcher.

    Attributes:
        caches: variables of the engines' caches, which outlive it.
    """

    caches: dict[str, str] = field(default_factory=dict)

    def environment(self, **extra: str) -> dict[str, str]:
        return super().environment(**self.caches, **extra)


@dataclass(frozen=True)
class Ran:
    """A run that is over.

    Attributes:
        project: whose run it is.
        directory: of the run.
        done: the launcher.
        left_over: processes that outlived the launcher.
        killed: the process that was killed meanwhile, if one was.
        secrets: that the launcher had in its environment.
    """

    project: Project
    directory: Path
    done: Finished
    left_over: list[int]
    killed: int | None = None
    secrets: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    """One import of ms-swift for all that ask its classes; each program gets a fork of it."""
    made = Swift(tmp_path_factory.mktemp("swift"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What vLLM finds out about a model's class, in a process of its own, and compiles: once."""
    directory = tmp_path_factory.mktemp("caches")
    return {
        "VLLM_CACHE_ROOT": str(directory / "vllm"),
        "TORCHINDUCTOR_CACHE_DIR": str(directory / "inductor"),
    }


@pytest.fixture
def elsewhere(tmp_path: Path, caches: dict[str, str]) -> Iterator[Project]:
    made = Elsewhere(tmp_path, 0, caches=caches)
    yield made
    made.end_everything()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, caches: dict[str, str]) -> Iterator[Ran]:
    """The demo, tracked and with checkpoints."""
    project = Elsewhere(tmp_path_factory.mktemp("demo"), 0, caches=caches)
    run = project.directory / "runs" / "r"
    environ = {**os.environ, **caches, **SECRETS}
    environ |= {MARK: project.mark, "HOME": str(project.directory)}
    overrides = [
        f"run.dir={run}",
        *ports(),
        f"train.training.max_steps={DEMO_STEPS}",
        "train.training.save_steps=8",
        "tracking=[wandb,tensorboard]",
        "tracking.wandb.mode=offline",
        "tracking.wandb.project=hanabi",
        "tracking.wandb.name=grpo-tiny",
    ]
    try:
        done = subprocess.run(
            ["bash", "scripts/demo.sh", *overrides],
            cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=870, check=False,
        )  # fmt: skip
        finished = Finished(done.returncode, done.stdout, done.stderr)
        yield Ran(project, run, finished, project.left_over(), secrets=SECRETS)
    finally:
        project.end_everything()


@pytest.fixture(scope="session")
def restarted(tmp_path_factory: pytest.TempPathFactory, caches: dict[str, str]) -> Iterator[Ran]:
    """A tracked run whose engine is killed after the ninth step."""
    project = Elsewhere(tmp_path_factory.mktemp("restarted"), 0, caches=caches)
    try:
        process = project.start(
            "role=both", "config=tiny_cpu", "run.dir=runs/r",
            "on_failure=restart", "restart.backoff_s=1",
            "train.training.max_steps=16", "train.training.save_steps=4",
            "tracking=wandb", "tracking.wandb.mode=offline", "tracking.wandb.log_model=false",
            *arguments(),
        )  # fmt: skip
        wait_for_step(process, 9)
        (engine,) = titled("VLLM::EngineCore", project)
        os.kill(engine, signal.SIGKILL)
        done = finish(process)
        run = project.directory / "runs" / "r"
        yield Ran(project, run, done, project.left_over(), killed=engine)
    finally:
        project.end_everything()


@pytest.fixture(scope="session")
def two_servers(tmp_path_factory: pytest.TempPathFactory, caches: dict[str, str]) -> Iterator[Ran]:
    """Two servers that get LoRA adapters of a learner; launcher and a guard are killed."""
    project = Elsewhere(tmp_path_factory.mktemp("two_servers"), 0, caches=caches)
    try:
        process = project.start(
            *HANABI, *LORA, "run.dir=runs/r", "shutdown.cgroup=off", "rehearse=false",
            f"runtime.path={ENGINE}", f"train.model.model={MODEL}",
            "train.rlhf.vllm_server_host=[127.0.0.1,127.0.0.1]", *ports(2),
            "train.training.max_steps=1000", "train.training.save_steps=1",
        )  # fmt: skip
        wait_for_step(process, 3)
        run = project.directory / "runs" / "r"
        kill_launcher_and_guard(project, process, run, "server_0")
        yield Ran(project, run, Finished(process.returncode, "", ""), project.left_over())
    finally:
        project.end_everything()
