"""When to ask a server, and what its answers mean; the clock is ours."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from grpo_launch.plan import Counters, Gate, HttpCheck, Watchdog
from grpo_launch.supervise.watchdog import Duty, HealthCheck, ServerHealth, Watch
from tests.conftest import free_port
from tests.supervise.rig import make_gate, wait_for

SETTINGS = Watchdog(health_s=30, probe_s=300, stall_s=1800, on_stall="warn")


class Clock:
    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


def duties(watch: Watch, clock: Clock, until: float) -> list[tuple[float, Duty]]:
    """What is due when it is asked for every 10 s, and when."""
    found: list[tuple[float, Duty]] = []
    start = clock.now
    while clock.now < start + until:
        clock.now += 10
        found += [(clock.now - start, duty) for duty in watch.due()]
    return found


def test_health_comes_regularly_a_probe_without_progress_a_stall_once() -> None:
    clock = Clock()
    found = duties(Watch(SETTINGS, clock), clock, 3600)
    times = {duty: [at for at, what in found if what is duty] for duty in Duty}
    assert times[Duty.HEALTH] == [30.0 * n for n in range(1, 121)]
    assert times[Duty.PROBE] == [300.0 * n for n in range(1, 13)]
    assert times[Duty.STALL] == [1800.0]


def test_progress_puts_off_probes_and_stalls() -> None:
    clock = Clock()
    watch = Watch(SETTINGS, clock)
    for _ in range(20):
        assert {duty for _, duty in duties(watch, clock, 290)} == {Duty.HEALTH}
        watch.progress()
    assert watch.idle_s == 0
    assert (1800.0, Duty.STALL) in duties(watch, clock, 1800)
    watch.progress()
    assert (1800.0, Duty.STALL) in duties(watch, clock, 1800)


def test_zero_turns_a_duty_off() -> None:
    clock = Clock()
    watch = Watch(Watchdog(0, 0, 0, "warn"), clock)
    assert duties(watch, clock, 10_000) == []


def test_a_machine_that_slept_does_not_make_up_for_what_it_missed() -> None:
    clock = Clock()
    watch = Watch(SETTINGS, clock)
    clock.now += 100_000
    assert watch.due() == [Duty.HEALTH, Duty.PROBE, Duty.STALL]
    assert watch.due() == []


# One health check


@contextmanager
def answering(*answers: bytes | None, heard: list[str] | None = None) -> Generator[int]:
    """A server that gives each answer to one question; None: it says nothing. Its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for answer in answers:
                connection, _ = server.accept()
                with connection:
                    question = connection.recv(65536).decode()
                    if heard is not None:
                        heard.append(question)
                    if answer is None:
                        done.wait(20)
                    else:
                        connection.sendall(answer)

        done = threading.Event()
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        done.set()
        thread.join()


def gate_at(port: int, health: HttpCheck | None = None, path: str = "") -> Gate:
    gate = make_gate(f"http://127.0.0.1:{port}{path}")
    return replace(gate, checks=(health,)) if health else gate


def check(port: int) -> HealthCheck:
    asked = HealthCheck(gate_at(port), {})
    assert wait_for(asked.is_done, bool)
    return asked


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", None),
        (b"HTTP/1.1 500 Oops\r\n\r\n", "status 500"),
        (b"HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n", "status 301"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is no HTTP"),
        (b"\x00\xff" * 5000, "the answer is no HTTP"),
        (b"", "the answer is no HTTP"),
        (b"HTTP/1.1 abc\r\n", "the answer is no HTTP"),
    ],
)
def test_what_an_answer_means(answer: bytes, failure: str | None) -> None:
    with answering(answer) as port:
        asked = check(port)
    assert asked.failure == failure
    assert not asked.refused


def test_silence_is_a_failure_but_nobody_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grpo_launch.supervise.watchdog.HEALTH_TIMEOUT_S", 0.1)
    with answering(None) as port:
        asked = check(port)
    assert asked.failure == "timed out"
    assert not asked.refused


def test_nobody_there_is_told_apart() -> None:
    asked = check(free_port())
    assert asked.failure == "nobody listens there"
    assert asked.refused


def test_a_key_is_sent_and_a_path_that_may_be_absent_is_no_failure() -> None:
    health = HttpCheck("health", "/models", absent=(404,), bearer="SOME_API_KEY")
    heard: list[str] = []
    with answering(b"HTTP/1.1 404 Not Found\r\n\r\n", heard=heard) as port:
        asked = HealthCheck(gate_at(port, health, "/v1"), {"SOME_API_KEY": "abc\n"})
        assert wait_for(asked.is_done, bool)
    assert asked.failure is None
    assert heard[0].startswith("GET /v1/models HTTP/1.1\r\n")
    assert "\r\nAuthorization: Bearer abc\r\n" in heard[0]


# What a server counts

COUNTERS = Counters("/metrics", {"generated": "x:tokens_total", "running": "x:run"}, "generated")


def counts(tokens: int) -> tuple[bytes, bytes]:
    """Healthy, and so many tokens of two engines."""
    text = f'x:tokens_total{{engine="0"}} {tokens - 1}.0\nx:tokens_total{{engine="1"}} 1.0\n'
    return b"HTTP/1.1 200 OK\r\n\r\n", f"HTTP/1.1 200 OK\r\n\r\n# HELP\n{text}".encode()


def test_tokens_for_others_are_progress_and_those_of_the_watchdog_are_not() -> None:
    answers = [part for tokens in (5, 5, 6, 9, 2) for part in counts(tokens)]
    with answering(*answers) as port:
        gate = make_gate(f"http://127.0.0.1:{port}", counters=COUNTERS)
        health = ServerHealth(gate, {})

        def look() -> bool:
            health.ask()
            assert wait_for(health.take, bool)
            return health.has_progressed()

        assert [look(), look()] == [False, False]
        health.asked()
        assert not look()
        assert look()
        assert not health.has_progressed()
        assert not look()  # it was started again


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 404 No\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nx"])
def test_a_server_without_counters_is_healthy_all_the_same(answer: bytes) -> None:
    with answering(b"HTTP/1.1 200 OK\r\n\r\n", answer) as port:
        asked = HealthCheck(make_gate(f"http://127.0.0.1:{port}", counters=COUNTERS), {})
        assert wait_for(asked.is_done, bool)
    assert (asked.failure, asked.generated) == (None, None)
