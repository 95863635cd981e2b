"""What follows a failure: restarts from checkpoints, within a budget, and stalls."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from grpo_launch.plan import LEARNER, SERVER, PlannedFile, ProcessSpec, Recovery, Watchdog
from tests.supervise.rig import NO_WATCHDOG, Rig, process

pytestmark = pytest.mark.slow

ARGUMENTS = "run/learner_arguments.yaml"
RESTART = Recovery(
    on_failure="restart",
    restarts=1,
    backoff_s=0.05,
    max_backoff_s=0.05,
    arguments_file=ARGUMENTS,
    versioned=True,
    checkpoint_key="resume_from_checkpoint",
    output_key="output_dir",
)

# The first start leaves a whole checkpoint of step 10 and a part of one of step 20, then fails; the
# next ends well where it was told to go on from the whole one.
TRAINEE = """
import json, pathlib, sys
arguments = dict(line.split(": ", 1) for line in open(sys.argv[1]))
print(arguments, flush=True)
output = pathlib.Path(json.loads(arguments["output_dir"]))
origin = json.loads(arguments.get("resume_from_checkpoint", "null"))
if origin:
    sys.exit(0 if origin.endswith("checkpoint-10") else 9)
for step, whole in ((10, True), (20, False)):
    checkpoint = output / "v0-now" / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    if whole:
        (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": step}))
sys.exit(7)
"""


def trainee(rig: Rig, code: str = TRAINEE) -> ProcessSpec:
    return process(rig.directory, LEARNER, sys.executable, "-I", "-S", "-c", code, ARGUMENTS)


def files() -> tuple[PlannedFile, ...]:
    return (PlannedFile(ARGUMENTS, 'output_dir: "run/output"\n'),)


@pytest.mark.parametrize("versioned", [True, False])
def test_a_crash_restarts_both_from_the_newest_whole_checkpoint(rig: Rig, versioned: bool) -> None:
    recovery = dataclasses.replace(RESTART, versioned=versioned)
    plan = rig.plan(rig.adversary(SERVER), trainee(rig), recovery=recovery, files=files())
    rig.start(plan)
    assert rig.ended() == 0, rig.said
    assert "the learner ended with status 7; restarting" in rig.said
    first, second = rig.state()["attempts"]
    assert "status 7" in first["reason"]
    assert second["resumed_from"].endswith("run/output/v0-now/checkpoint-10")
    servers = [attempt["processes"]["server"]["pid"] for attempt in (first, second)]
    assert servers[0] != servers[1]
    logs = [(rig.run / "logs" / f"attempt_{n}" / "learner.log").read_text() for n in (1, 2)]
    assert "checkpoint-10" not in logs[0]
    assert "checkpoint-10" in logs[1]
    assert ("attempt_2" in logs[1].split("output_dir")[1][:40]) is not versioned
    assert (rig.run / "logs" / "latest").resolve().name == "attempt_2"
    assert rig.alive() == []


def test_the_servers_death_restarts_both(rig: Rig) -> None:
    recovery = Recovery("restart", 1, 0.05, 0.05, None, versioned=True)
    rig.start(rig.plan(*rig.both(), recovery=recovery))
    for attempt in (1, 2):
        rig.wait_until_ready(LEARNER)
        assert rig.state()["attempt"] == attempt
        os.kill(rig.state()["processes"]["server"]["pid"], signal.SIGKILL)
    assert rig.ended() == 5
    assert rig.state()["attempts"][0]["reason"].count("the server died under the learner") == 1
    assert rig.alive() == []


def test_a_budget_that_is_used_up_fails_with_the_last_status(rig: Rig) -> None:
    recovery = dataclasses.replace(RESTART, restarts=2)
    failing = trainee(rig, "import sys; sys.exit(9)")
    rig.start(rig.plan(rig.adversary(SERVER), failing, recovery=recovery, files=files()))
    assert rig.ended() == 9
    assert len(rig.state()["attempts"]) == 3
    assert rig.state()["state"] == "failed"
    assert re.findall(r"(\d) more restarts", rig.said) == ["1", "0"]
    assert rig.alive() == []


def test_a_signal_interrupts_the_wait_before_a_restart(rig: Rig) -> None:
    recovery = dataclasses.replace(RESTART, backoff_s=3600, max_backoff_s=3600)
    plan = rig.plan(rig.adversary(SERVER), trainee(rig), recovery=recovery, files=files())
    supervisor = rig.start(plan)
    rig.wait_until_said("restarting in")
    assert rig.state()["state"] == "restarting"
    supervisor.send_signal(signal.SIGINT)
    assert rig.ended() == 130
    assert rig.state()["state"] == "interrupted"
    assert rig.alive() == []


def test_without_its_arguments_a_learner_is_not_restarted(rig: Rig) -> None:
    """It would begin anew, perhaps over its own checkpoints."""
    code = f"import os, sys; os.unlink({ARGUMENTS!r}); sys.exit(7)"
    plan = rig.plan(rig.adversary(SERVER), trainee(rig, code), recovery=RESTART, files=files())
    rig.start(plan)
    assert rig.ended() == 3
    assert f"{ARGUMENTS}: cannot be rewritten for a restart" in rig.said
    assert rig.alive() == []


# A run without progress


def stalling(on_stall: str) -> Watchdog:
    return dataclasses.replace(NO_WATCHDOG, stall_s=0.3, on_stall=on_stall)


def stacks(rig: Rig) -> list[str]:
    return [path.read_text() for path in sorted((rig.run / "stacks").iterdir())]


def test_a_stall_is_a_warning_and_shows_what_every_process_does(rig: Rig) -> None:
    supervisor = rig.start(rig.plan(*rig.both(), watchdog=stalling("warn")))
    rig.wait_until_said("no progress for")
    supervisor.terminate()
    assert rig.ended() == 143
    assert rig.said.count("no progress for") == 1
    assert rig.alive() == []


def test_a_stall_ends_a_run_that_may_restart_only_after_failures(rig: Rig) -> None:
    recovery = dataclasses.replace(RESTART, restarts=3, arguments_file=None)
    rig.start(rig.plan(*rig.both(), watchdog=stalling("stop"), recovery=recovery))
    learner = rig.wait_until_ready(LEARNER)
    assert rig.ended() == 6
    assert len(rig.state()["attempts"]) == 1
    assert f"# pid {learner}, state S: " in stacks(rig)[0]
    assert rig.alive() == []


def test_a_stall_restarts_a_run_that_stops_after_failures(rig: Rig) -> None:
    recovery = Recovery("stop", 1, 0.05, 0.05, None, versioned=True)
    rig.start(rig.plan(*rig.both(), watchdog=stalling("restart"), recovery=recovery))
    assert rig.ended() == 6
    assert len(rig.state()["attempts"]) == 2
    assert len(stacks(rig)) == 2
    assert rig.alive() == []


def test_a_learner_that_says_something_does_not_stall(rig: Rig) -> None:
    code = "import time\nfor _ in range(8): print('step', flush=True); time.sleep(0.2)"
    watchdog = dataclasses.replace(stalling("stop"), stall_s=1.0)
    rig.start(rig.plan(rig.adversary(SERVER), trainee(rig, code), watchdog=watchdog))
    assert rig.ended() == 0, rig.said
    assert not Path(rig.run / "stacks").exists()


def test_a_learner_that_takes_no_checkpoint_begins_anew(rig: Rig) -> None:
    recovery = dataclasses.replace(RESTART, checkpoint_key="", output_key="")
    failing = trainee(rig, "import sys; sys.exit(9)")
    rig.start(rig.plan(rig.adversary(SERVER), failing, recovery=recovery, files=files()))
    assert rig.ended() == 9
    assert "no complete checkpoint yet, training starts anew" in rig.said
    kept = [rig.run / "logs" / f"attempt_{n}" / "learner_arguments.yaml" for n in (1, 2)]
    assert kept[0].read_text() == kept[1].read_text()
