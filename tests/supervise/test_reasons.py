"""A run that failed says why, in one line and everywhere the same."""

from __future__ import annotations

import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from grpo_launch.plan import LEARNER, SERVER, HttpCheck, ProcessSpec
from tests.supervise.rig import Rig, make_gate, process

pytestmark = pytest.mark.slow

REWARD = """\
def reward(text):
    return len(text) + "oops"
"""
WHY = "mine.py:2 TypeError: unsupported operand type(s) for +: 'int' and 'str'"


def learner(rig: Rig, code: str) -> ProcessSpec:
    words = [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, '.'); {code}"]
    return process(rig.directory, LEARNER, *words)


def test_the_exception_of_a_job_is_the_runs_reason(rig: Rig) -> None:
    (rig.directory / "mine.py").write_text(REWARD)
    rig.start(rig.plan(learner(rig, "import mine; mine.reward('x')"), gates=()))
    assert rig.ended() == 1
    whole = f"the learner ended with status 1: {WHY}"
    state = rig.state()
    assert (state["reason"], state["attempts"][0]["reason"]) == (whole, whole)
    last = rig.said.splitlines()[-1]
    assert last.startswith("the learner ended with status 1 after ")
    assert last.endswith(f", run: {WHY}")


def test_the_exception_of_a_server_that_dies_is_the_runs_reason(rig: Rig) -> None:
    code = "print('loading'); raise MemoryError('no room')"
    server = process(rig.directory, SERVER, sys.executable, "-S", "-c", code)
    rig.start(rig.plan(server, learner(rig, "pass")))
    assert rig.ended() == 4
    assert "status 1 before it was ready: <string>:1 MemoryError: no room, its last" in rig.said
    assert "MemoryError: no room" in rig.state()["reason"]


def test_a_log_that_is_shown_as_it_comes_is_not_shown_again(rig: Rig) -> None:
    (rig.directory / "mine.py").write_text(REWARD)
    job = learner(rig, "import mine; mine.reward('x')")
    rig.start(rig.plan(job, gates=(), console="log"))
    assert rig.ended() == 1
    assert rig.said.count("Traceback") == 1
    assert "last lines" not in rig.said


def test_an_end_that_was_asked_for_is_no_error(rig: Rig) -> None:
    rig.start(rig.plan(*rig.both()))
    rig.wait_until_ready(LEARNER)
    assert rig.supervisor is not None
    rig.supervisor.send_signal(signal.SIGINT)
    assert rig.ended() == 130
    assert "error:" not in rig.said
    assert rig.said.splitlines()[-1].startswith("SIGINT: interrupted")
    processes = rig.state()["processes"]
    assert [processes[name]["stopped"] for name in (SERVER, LEARNER)] == [True, True]


def test_what_ended_by_itself_was_not_stopped(rig: Rig) -> None:
    rig.start(rig.plan(rig.adversary(SERVER), learner(rig, "raise SystemExit(3)")))
    assert rig.ended() == 3
    processes = rig.state()["processes"]
    assert [processes[name]["stopped"] for name in (SERVER, LEARNER)] == [True, False]


class _Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.mark.parametrize("stopped", [True, False])
def test_a_job_that_loses_the_server_of_another_launcher_says_so(rig: Rig, stopped: bool) -> None:
    job = learner(rig, "sys.stdin = open('go'); sys.stdin.read(); raise OSError('max retries')")

    os.mkfifo(rig.directory / "go")
    server = HTTPServer(("127.0.0.1", 0), _Healthy)
    url = f"http://127.0.0.1:{server.server_port}"
    health = HttpCheck("health", "/health/")
    gate = make_gate(url, checks=(health,), generation=None)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        rig.start(rig.plan(job, gates=(gate,)))
        rig.wait_until_said("learner: started")
        if stopped:
            server.shutdown()
            server.server_close()
        (rig.directory / "go").write_text("")
        assert rig.ended() == (5 if stopped else 1)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    gone = f"{url}: the server is gone, nobody listens there any more"
    assert (gone in rig.state()["reason"]) is stopped
    assert ("OSError: max retries" in rig.state()["reason"]) is not stopped
