"""What a restart does about ports that the last attempt has left in TIME_WAIT."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

import pytest

from grpo_launch.execute import ports as restart_ports
from grpo_launch.plan import LEARNER, SERVER, ChosenPort, PlannedFile, PortUse
from grpo_launch.runs import plans
from grpo_launch.supervise import locks
from tests.conftest import Project, free_port
from tests.launch.helpers import closing_port, in_state, plan_of, read, run_of, until
from tests.supervise.rig import Rig, process
from tests.supervise.test_restarts import RESTART, TRAINEE

ARGUMENTS = "run/learner_arguments.yaml"

pytestmark = pytest.mark.slow


def test_a_port_that_the_launcher_chose_is_changed_at_once_on_both_sides(project: Project) -> None:
    said = ["train.rlhf.vllm_server_port=null", "train.rlhf.vllm_server_group_port=null"]
    said += ["on_failure=restart", "restart.backoff_s=0.05", "launch=detached"]
    said += ["train.training.add_version=false"]  # the fake makes each directory once
    done = project.launch("role=both", "config=exp", *said, FAKE_LEARNER="hang")
    assert done.status == 0, done.stderr
    run = run_of(project, done.stdout.strip())
    first = in_state(run, "training")
    before = plan_of(run)
    old = before["ports"][0]
    # A connection of the server's own to whoever asks it leaves its port in TIME_WAIT.
    with socket.create_connection(("127.0.0.1", old)) as asked:
        asked.sendall(b"GET /health/ HTTP/1.0\r\n\r\n")
        while asked.recv(1000):
            pass
    os.kill(first["processes"]["server"]["pid"], signal.SIGKILL)
    until(lambda: (state := read(run))["attempt"] == 2 and state["state"] == "training" and state)
    after = plan_of(run)
    new = after["ports"][0]
    assert new != old
    log = (run / "logs" / "server.log").read_text()
    assert f"--port {new}" in log
    told = f'"vllm_server_port": [{new}]'
    until(lambda: told in (run / "logs" / "learner.log").read_text())
    assert locks.holder(new)
    os.kill(read(run)["supervisor"]["pid"], signal.SIGTERM)
    until(lambda: project.left_over() == [])
    assert not locks.holder(new)


def test_ports_that_the_experiment_says_are_waited_for_and_it_says_how_long(rig: Rig) -> None:
    said: list[str] = []
    with closing_port() as port:
        plan = rig.plan(*rig.both(), ports=(port,))
    slept = iter([None, KeyboardInterrupt()])

    def sleep(seconds: float) -> None:
        assert seconds < 1
        if (error := next(slept)) is not None:
            raise error

    with pytest.raises(KeyboardInterrupt):
        restart_ports.wait(plan, said.append, sleep)
    (line,) = said
    words = line.split()
    assert line.startswith("waiting up to ")
    assert line.endswith(f" s for port {port}, still in TIME_WAIT")
    assert 50 <= int(words[3]) <= 60


def test_free_ports_are_not_waited_for(rig: Rig) -> None:
    said: list[str] = []
    restart_ports.wait(rig.plan(ports=(free_port(),)), said.append, time.sleep)
    assert said == []


def test_a_crash_of_the_learner_changes_the_port_and_resumes(rig: Rig) -> None:
    """The arguments file has the new port and the checkpoint."""
    with closing_port() as port:
        pass
    arguments = PlannedFile(ARGUMENTS, f'output_dir: "run/output"\nport: {port}\n')
    uses = (PortUse(("files", "0", "text"), 0), PortUse(("ports", "0"), 0))
    learner = process(rig.directory, LEARNER, sys.executable, "-I", "-S", "-c", TRAINEE, ARGUMENTS)
    plan = rig.plan(
        rig.adversary(SERVER),
        learner,
        recovery=RESTART,
        files=(arguments,),
        ports=(port,),
        chosen=(ChosenPort(port, port, 1, uses),),
    )
    rig.start(plan)
    assert rig.ended() == 0, rig.said
    (new,) = plans.read(rig.run)[0].ports
    assert new != port
    assert f"ports: {new} instead of {port}, still in use" in rig.said
    assert "TIME_WAIT" not in rig.said
    text = (rig.directory / ARGUMENTS).read_text()
    assert f"port: {new}\n" in text
    assert "checkpoint-10" in text
    assert rig.alive() == []
