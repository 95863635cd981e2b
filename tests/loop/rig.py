"""A directory with a small loop: server, engine and learner are fakes at the process boundary."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grpo_launch.runs import loop_state
from grpo_launch.supervise import proc, tree
from tests import own
from tests.conftest import NO_PICTURES, ROOT
from tests.fakes import llamafactory
from tests.supervise.rig import quiet_port, wait_for

FAKES = ROOT / "tests" / "fakes"
MARK = "GRPO_LAUNCH_TEST"
TASKS, SAMPLES = 4, 2
BASE = "models/base"

EXPERIMENT = """\
engine: {{name: vllm, entry: [{python}, -I, -S, {fakes}/vllm_server.py]}}
learner: {{name: llamafactory, entry: [{python}, {fakes}/llamafactory.py]}}
runtime: current
accelerator: cpu_native
preflight: false
shutdown: {{term_s: 2, kill_s: 5}}
loop:
  iterations: 6
  eval_interval: 2
  swap: {swap}
collector:
  environment: counting
  plugins: [{fakes}/counting.py]
  train_tasks: train.jsonl
  eval_tasks: eval.jsonl
  train_tasks_rollout_size: {samples}
  server_size: 4
  completion_threshold: 1.0
  sync_s: 0.2
rollout_server:
  model: {base}
  served_model_name: policy
  port: {port}
  development_mode: true
health: {{timeout_s: 60}}
model_name_or_path: {base}
template: chatml
stage: sft
finetuning_type: full
"""


@dataclass
class Loop:
    """A user's directory with one loop, ``exp``.

    Attributes:
        directory: it.
        swap: how servers get new models.
        environ: variables of the launcher.
    """

    directory: Path
    swap: str = "restart"
    environ: dict[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    said: str = ""

    def __post_init__(self) -> None:
        here = self.directory
        (here / "configs").mkdir(parents=True)
        base = here / BASE
        base.mkdir(parents=True)
        llamafactory.write_model(base, 0, 0)
        (base / "tokenizer.json").write_text('{"of": "the base"}')
        experiment = EXPERIMENT.format(
            python=sys.executable,
            fakes=FAKES,
            swap=self.swap,
            samples=SAMPLES,
            base=BASE,
            port=quiet_port(),
        )
        (here / "configs" / "exp.yaml").write_text(experiment)
        self.write_tasks("train", *[1.0] * (TASKS - 1), 0.0)
        self.write_tasks("eval", 1.0, 0.0)
        self._launcher: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None

    def write_tasks(self, split: str, *rewards: float) -> None:
        """Tasks with these rewards."""
        rows = [{"id": f"t{n}", "env_config": {"reward": r}} for n, r in enumerate(rewards)]
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        (self.directory / f"{split}.jsonl").write_text(text)

    # Processes

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start the launcher; what it says is in ``said``."""
        environ = {
            **own.environment(),
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(self.directory),
            "PYTHONPATH": str(NO_PICTURES),
            "FAKE_MARKS": str(self.directory / "marks"),
            "FAKE_LEDGER": str(self.directory / "ledger"),
            MARK: self.mark,
            **self.environ,
        }
        words = words if any(w.startswith("role=") for w in words) else ("role=loop", *words)
        process = subprocess.Popen(
            [sys.executable, "-m", "grpo_launch", "config=exp", *words],
            cwd=self.directory,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._launcher = process
        self._listener = threading.Thread(target=self._listen, args=[process], daemon=True)
        self._listener.start()
        return process

    def run(self, *words: str, timeout_s: float = 120) -> int:
        """Start the launcher and wait for its end; its status."""
        process = self.start(*words)
        status = process.wait(timeout_s)
        assert self._listener is not None
        self._listener.join(timeout_s)
        return status

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self.said += line

    def wait_until_said(self, text: str) -> None:
        """Wait for it."""
        assert wait_for(lambda: text in self.said, bool, 60), self.said

    def alive(self) -> list[proc.Entry]:
        """What lives of all that this loop has started."""
        mark = f"{MARK}={self.mark}".encode()
        return [e for e in proc.everything() if e.alive and mark in proc.environ(e.pid)]

    def close(self) -> None:
        """End everything, so that a failed test leaves nothing."""
        while found := self.alive():
            tree.send(found, signal.SIGKILL)
            if self._launcher is not None:
                self._launcher.poll()
        if self._launcher is not None and self._listener is not None:
            self._launcher.wait()
            self._listener.join()

    # What it has left

    @property
    def loop(self) -> Path:
        """The directory of the newest run, or ``here``."""
        named = self.directory / "here"
        return named if named.exists() else (self.directory / "runs" / "latest").resolve()

    @property
    def state(self) -> loop_state.LoopState:
        """In ``loop.json``."""
        return loop_state.read(self.loop)

    def rows(self) -> list[dict[str, Any]]:
        """Of ``iterations.jsonl``; each line must be one."""
        return lines(self.loop / loop_state.ROWS)

    def episodes(self, iteration: int, split: str = "train") -> list[dict[str, Any]]:
        """Of an iteration."""
        return lines(self.loop / f"iterations/{iteration:04d}/{split}/episodes.jsonl")

    def ledger(self) -> list[dict[str, Any]]:
        """Of the learner."""
        return lines(self.directory / "ledger")

    def marks(self) -> str:
        """What the server refused."""
        path = self.directory / "marks"
        return path.read_text() if path.exists() else ""


def lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
