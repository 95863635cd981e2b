"""Services and a job, in any combination and under any name, are ordinary plans."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys

import pytest

from grpo_launch.plan import SERVER, ProcessSpec, Recovery
from tests.supervise.rig import Rig, process

pytestmark = pytest.mark.slow


def script(rig: Rig, name: str, code: str) -> ProcessSpec:
    return process(rig.directory, name, sys.executable, "-I", "-S", "-c", code)


def test_a_job_alone_needs_no_server_and_no_gate(rig: Rig) -> None:
    job = script(rig, "collector", "print('collected')")
    rig.start(rig.plan(job, job="collector", gates=(), metrics=None, checkpoints=None))
    assert rig.ended() == 0
    assert "collector: started" in rig.said
    assert "waiting for" not in rig.said
    assert rig.state()["reason"] == "collector ended with status 0"
    assert rig.alive() == []


def test_the_failure_of_a_job_with_another_name_is_the_runs(rig: Rig) -> None:
    job = script(rig, "collector", "print('no data'); raise SystemExit(3)")
    rig.start(rig.plan(job, job="collector", gates=()))
    assert rig.ended() == 3
    assert "--- last lines of run/logs/collector.log\nno data\n---" in rig.said


def test_the_death_of_a_service_ends_the_job_by_its_name(rig: Rig) -> None:
    job = dataclasses.replace(rig.adversary("learner"), name="collector")
    rig.start(rig.plan(rig.adversary(SERVER), job, job="collector"))
    rig.wait_until_said("collector: started")
    os.kill(rig.state()["processes"][SERVER]["pid"], signal.SIGKILL)
    assert rig.ended() == 5
    assert "the server died under collector (status 137)" in rig.said
    assert "collector has been stopped" in rig.said
    assert rig.alive() == []


def test_a_side_that_ends_is_a_warning_and_one_that_stays_is_ended(rig: Rig) -> None:
    short = script(rig, "exporter", "raise SystemExit(7)")
    long = script(rig, "watcher", "import signal; signal.pause()")
    plan = rig.plan(*rig.both(), sides=(short, long))
    rig.start(plan)
    rig.wait_until_said("warning: exporter has ended (status 7), the run goes on without it")
    learner = rig.wait_until_ready("learner")
    os.kill(learner, signal.SIGUSR2)
    assert rig.ended() == 0
    assert rig.said.index("watcher: started") < rig.said.index("learner: started")
    assert rig.state()["processes"]["watcher"]["exit"] == 143
    assert rig.alive() == []


def test_a_side_that_cannot_be_started_is_a_warning(rig: Rig) -> None:
    side = process(rig.directory, "exporter", "/no/such/program")
    rig.start(rig.plan(*rig.both(), sides=(side,)))
    learner = rig.wait_until_ready("learner")
    os.kill(learner, signal.SIGUSR2)
    assert rig.ended() == 0
    assert "warning: exporter: cannot be run: " in rig.said


def test_without_a_generation_the_watchdog_asks_for_no_token(rig: Rig) -> None:
    plan = rig.plan(*rig.both())
    (gate,) = plan.gates
    gate = dataclasses.replace(gate, checks=gate.checks[:2], generation=None)
    watchdog = dataclasses.replace(plan.watchdog, probe_s=0.1, stall_s=1.0, on_stall="stop")
    rig.start(dataclasses.replace(plan, gates=(gate,), watchdog=watchdog))
    assert rig.ended() == 6
    assert "no progress for 1s" in rig.said
    assert "POST" not in (rig.run / "logs" / "server.log").read_text()


def test_a_server_that_ends_by_itself_has_failed_whatever_its_status(rig: Rig) -> None:
    rig.start(rig.plan(rig.adversary(SERVER), job=None, gates=()))
    os.kill(rig.wait_until_ready(SERVER), signal.SIGUSR2)
    assert rig.ended() == 5
    assert "the server ended, though nobody stopped it (status 0)" in rig.said
    assert rig.state()["state"] == "failed"
    assert rig.alive() == []


def test_it_is_restarted_where_failures_are(rig: Rig) -> None:
    recovery = Recovery("restart", 1, 0.0, 0.0, None, versioned=True)
    rig.start(rig.plan(rig.adversary(SERVER), job=None, gates=(), recovery=recovery))
    for _ in range(2):
        os.kill(rig.wait_until_ready(SERVER), signal.SIGUSR2)
    assert rig.ended() == 5
    assert rig.said.count("though nobody stopped it") >= 2
