"""What the servers of a run count, asked while it goes on."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from grpo_launch.monitor import living, planned, serving
from grpo_launch.monitor.view import View, view
from grpo_launch.plan import Counters, Gate, LaunchPlan
from grpo_launch.runs.find import Found
from tests.conftest import free_port
from tests.monitor.made import going_on, make_run

COUNTERS = Counters("/metrics", {"running": "x:run", "generated tokens": "x:tokens"})


class Metrics(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        text = b'x:run{engine="0"} 2.0\nx:run{engine="1"} 1.0\nx:tokens 1.024e3\n'
        self.send_response(200 if self.path == "/metrics" else 404)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def port() -> Generator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Metrics) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def run(tmp_path: Path, *gates: Gate, **changes: object) -> tuple[View, LaunchPlan]:
    directory = make_run(tmp_path, **changes)  # pyright: ignore[reportArgumentType]
    plan = dataclasses.replace(planned.read(directory).plan, gates=gates)
    return view(Found("exp/x", directory), living.look()), plan


def gate(port: int, name: str = "server", path: str = "/metrics") -> Gate:
    counters = dataclasses.replace(COUNTERS, path=path)
    return Gate(name, f"http://127.0.0.1:{port}", (), None, 1.0, "", "", "", counters)


def test_servers_of_a_run_that_goes_on_are_asked(tmp_path: Path, port: int) -> None:
    one, two = gate(port), gate(port, "server_1")
    counts = serving.counts(*run(tmp_path, one, **going_on()))
    assert counts == {"server": {"running": 3.0, "generated tokens": 1024.0}}
    assert serving.words(counts) == "3 running, 1024 generated tokens"
    both = serving.words({**counts, "server_1": counts["server"]})
    assert both == "; ".join(f"{g.server}: 3 running, 1024 generated tokens" for g in (one, two))


def test_one_that_does_not_answer_is_left_out(tmp_path: Path, port: int) -> None:
    gates = (
        gate(port, path="/other"),
        gate(free_port()),
        dataclasses.replace(gate(port), counters=None),
    )
    assert serving.counts(*run(tmp_path, *gates, **going_on())) == {}


def test_nobody_is_asked_once_it_has_ended(tmp_path: Path, port: int) -> None:
    assert serving.counts(*run(tmp_path, gate(port))) == {}
