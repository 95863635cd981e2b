"""A log that tells of stale rollouts: the run ends, or goes on with a warning."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys

import pytest

from grpo_launch.plan import LEARNER, SERVER, ProcessSpec, Recovery, Signs
from tests.supervise.rig import NO_WATCHDOG, Rig, process

pytestmark = pytest.mark.slow

HEARD = "'STALE': its rollouts are stale"
REASON = f"run/logs/server.log: {HEARD}"
WARN = dataclasses.replace(NO_WATCHDOG, on_alarm="warn")


SAYS = "import os, sys; print('STALE', flush=True); os.execv(sys.argv[1], sys.argv[1:])"


def stale(spec: ProcessSpec) -> ProcessSpec:
    """``spec`` after a line in its log that means harm."""
    words = (sys.executable, "-I", "-S", "-c", SAYS, *spec.argv)
    signs = Signs(alarms={"STALE": "its rollouts are stale"})
    return dataclasses.replace(spec, argv=words, signs=signs)


def test_stale_rollouts_end_the_run(rig: Rig) -> None:
    server, learner = rig.both()
    rig.start(rig.plan(stale(server), learner))
    assert rig.ended() == 7, rig.said
    state = rig.state()
    assert (state["state"], state["status"], state["reason"]) == ("failed", 7, REASON)
    (alarm,) = state["alarms"]
    assert (alarm["process"], alarm["attempt"], alarm["message"]) == (SERVER, 1, HEARD)
    assert state["processes"][LEARNER]["stopped"]
    assert rig.alive() == []


def test_a_server_alone_ends_as_well(rig: Rig) -> None:
    rig.start(rig.plan(stale(rig.adversary(SERVER))))
    assert rig.ended() == 7, rig.said
    assert rig.state()["reason"] == REASON
    assert rig.alive() == []


def test_a_learner_that_ends_well_at_once_has_not_outrun_the_alarm(rig: Rig) -> None:
    learner = process(rig.directory, LEARNER, "/bin/true")
    rig.start(rig.plan(rig.adversary(SERVER), stale(learner)))
    assert rig.ended() == 7, rig.said
    assert rig.state()["state"] == "failed"


def test_a_warning_lets_the_run_go_on_and_stays_in_its_record(rig: Rig) -> None:
    server, learner = rig.both()
    rig.start(rig.plan(stale(server), learner, watchdog=WARN))
    pid = rig.wait_until_ready(LEARNER)
    rig.wait_until_said(f"warning: {REASON}")
    os.kill(pid, signal.SIGUSR2)
    assert rig.ended() == 0, rig.said
    state = rig.state()
    assert state["state"] == "done"
    assert [alarm["message"] for alarm in state["alarms"]] == [HEARD]
    assert rig.said.count(HEARD) == 1


def test_a_restart_may_mend_it(rig: Rig) -> None:
    """Both halves are new then, and the learner sends all its weights once more."""
    server, learner = rig.both()
    recovery = Recovery("restart", 1, 0.05, 0.05, None, versioned=True)
    rig.start(rig.plan(stale(server), learner, recovery=recovery))
    assert rig.ended() == 7, rig.said
    state = rig.state()
    assert [attempt["reason"] for attempt in state["attempts"]] == [REASON, REASON]
    assert [alarm["attempt"] for alarm in state["alarms"]] == [1, 2]
    assert f"{REASON}; restarting in" in rig.said
    assert rig.alive() == []
