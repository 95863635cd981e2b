"""The timing of a learner: on the real trainer's class, and in a real run."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.base import resources
from grpo_launch.learners.swift.timing import PLUGIN
from grpo_launch.runs import timing
from tests.conftest import ROOT
from tests.engine.conftest import DEMO_STEPS, Ran
from tests.engine.real import Swift, steps_of

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

PATH = str(resources.path(PLUGIN))


class Rollouts(BaseHTTPRequestHandler):
    """As much of the rollout server's HTTP interface as a generation needs."""

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body: dict[str, Any] = json.loads(self.rfile.read(length))
        self._answer([self._output(n) for n in range(1, len(body["infer_requests"]) + 1)])

    def log_message(self, *args: object) -> None:
        pass

    def _output(self, tokens: int) -> dict[str, Any]:
        """The first two say their length as a single turn does, the others in two turns."""
        message = {"role": "assistant", "content": "1"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": 5 + tokens}
        response = {"id": str(tokens), "model": "m", "choices": [choice], "usage": usage}
        turns = [[1] * tokens, [1] * 10] if tokens > 2 else []
        return {"response": response, "response_token_ids": turns}

    def _answer(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Rollouts)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_plugin_times_the_real_trainer(tmp_path: Path, url: str, swift: Swift) -> None:
    out = tmp_path / "out"
    probe = [str(ROOT / "tests" / "engine" / "timing_probe.py"), PATH, url]
    done = swift.run(probe, GRPO_LAUNCH_RUN=str(tmp_path), OUT=str(out))
    assert done.returncode == 0, done.stderr
    assert "no timing" not in done.stderr
    rows = [json.loads(text) for text in (tmp_path / timing.FILE).read_text().split("\n") if text]
    start, sync, first, background, evaluating = rows
    assert (start["kind"], start["swift"]) == ("start", "4.6.0")
    assert start["kinds"] == sorted(timing.KINDS)
    assert (sync["kind"], sync["step"]) == ("sync", 3)
    assert 0.05 <= sync["end"] - sync["begin"] < 5
    for row in (first, background, evaluating):
        sizes = {name: row[name] for name in ("requests", "completions", "tokens", "longest")}
        assert sizes == {"requests": 4, "completions": 4, "tokens": 1 + 2 + 13 + 14, "longest": 14}
        assert (row["kind"], row["servers"]) == ("generate", 1)
    assert [row["background"] for row in (first, background)] == [False, True]
    assert [row["train"] for row in (first, background, evaluating)] == [True, True, False]
    assert [len(found) for found in timing.read(tmp_path)] == [4]
    # Six microseconds were measured (docs/adr/0016); a busy machine may take longer.
    assert json.loads(out.read_text())["overhead_s"] < 0.002


WITHOUT = """\
from swift.rlhf_trainers.rollout_mixin import RolloutTrainerMixin
del RolloutTrainerMixin._engine_infer
"""
LOAD = "import sys; from swift.utils import import_external_file as load; load(sys.argv[1])"


@pytest.mark.parametrize(
    ("before", "environ", "said"),
    [
        ("", {"RANK": "1"}, ""),
        ("", {"GRPO_LAUNCH_RUN": "/no/such/directory"}, "no timing (FileNotFoundError"),
        (
            WITHOUT,
            {},
            "no timing: GRPOTrainer of this ms-swift has no _engine_infer",
        ),
        (
            "import sys; sys.modules['swift.rlhf_trainers.grpo_trainer'] = None\n",
            {},
            "no timing (ModuleNotFoundError",
        ),
    ],
    ids=["another rank", "no directory", "another ms-swift", "no trainer"],
)
def test_a_learner_that_cannot_be_timed_trains_nevertheless(
    tmp_path: Path, swift: Swift, before: str, environ: dict[str, str], said: str
) -> None:
    environ = {"GRPO_LAUNCH_RUN": str(tmp_path), **environ}
    done = swift.run(["-c", before + LOAD, PATH], **environ)
    assert done.returncode == 0, done.stderr
    notes = [text for text in done.stderr.splitlines() if text.startswith("grpo_launch: ")]
    assert len(notes) == bool(said)
    assert said in "".join(notes)
    assert list(tmp_path.iterdir()) == []


def test_a_real_run_is_timed_and_advised_on(demo: Ran) -> None:
    assert demo.done.status == 0, demo.done.stderr
    run = demo.directory
    (found,) = timing.read(run)
    generations = [i for i in found if i.kind == "generate"]
    assert [i.step for i in generations] == list(range(DEMO_STEPS))
    assert [i.step for i in found if i.kind == "sync"] == list(range(DEMO_STEPS))
    assert [i.step for i in found if i.kind == "save"] == list(range(8, DEMO_STEPS + 1, 8))
    assert {i.completions for i in generations} == {32}
    lengths = {step.step: step.completion_length for step in steps_of(run)}
    for interval in generations:
        assert interval.tokens is not None
        assert interval.tokens / 32 == pytest.approx(lengths[interval.step + 1], abs=0.01)
    # They follow each other within the time that the learner's steps took in all.
    for before, after in itertools.pairwise(found):
        assert before.end <= after.begin + 1e-3
    taken = sum(step.step_time or 0.0 for step in steps_of(run))
    spent = sum(i.seconds for i in found if i.kind in ("generate", "sync", "score"))
    assert 0 < spent < taken
    advised = demo.project.launch("role=advise", f"run={run}")
    assert (advised.status, advised.stderr) == (0, "")
    seen = DEMO_STEPS - 2
    assert f"looked at {seen} generations for {seen} optimizer steps" in advised.stdout
    assert "waits for rollouts" in advised.stdout
    assert "no split of GPUs can be advised" in advised.stdout
    assert demo.left_over == []
