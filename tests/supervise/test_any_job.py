"""Jobs that are several processes, that go on in their own ways, and that begin in silence."""

from __future__ import annotations

import dataclasses
import signal
import sys
from pathlib import Path

import pytest

from grpo_launch.plan import LEARNER, CheckpointLayout, LaunchPlan, ProcessSpec, Recovery, Resuming
from grpo_launch.signs import ARGUMENT, CONFIG_KEY, DIRECTORY, NONE
from grpo_launch.supervise.watchdog import Duty, Watch
from tests.supervise.rig import NO_WATCHDOG, Rig, process, wait_for

SECOND = "learner_1"
LAYOUT = CheckpointLayout(("step_*",), "step_", state="done", step="", weights=())
FILE = "run/config.json"
MARK = '"MARK"'

# It notes with what it was started. The first start makes a checkpoint that is complete and one
# that is not, and fails; the next ends well.
TRAINEE = """
import pathlib, sys
output, config = pathlib.Path("run/output"), pathlib.Path("run/config.json")
print(sys.argv[1:], config.read_text() if config.exists() else "", sorted(
    path.name for path in output.glob("*")), flush=True)
if pathlib.Path("started").exists():
    sys.exit(0)
pathlib.Path("started").touch()
for name in ("step_10", "step_20"):
    (output / name).mkdir(parents=True)
(output / "step_10" / "done").touch()
sys.exit(7)
"""


def member(rig: Rig, name: str, code: str) -> ProcessSpec:
    return process(rig.directory, name, sys.executable, "-I", "-S", "-c", code)


def team(rig: Rig, first: str, second: str) -> LaunchPlan:
    both = [member(rig, LEARNER, first), member(rig, SECOND, second)]
    return rig.plan(*both, gates=(), members=(SECOND,))


WAITS = "import signal; signal.pause()"


@pytest.mark.slow
def test_the_first_member_to_fail_ends_all_and_is_the_cause(rig: Rig) -> None:
    # The bystander aborts as soon as the other is gone, as a process of JAX does.
    fails = 'import os, sys; os.mkfifo("fifo"); open("fifo").read(); sys.exit(3)'
    aborts = (
        "import os, time\n"
        'while not os.path.exists("fifo"): time.sleep(0.01)\n'
        'open("fifo", "w").close(); time.sleep(0.1); os.abort()'
    )
    rig.start(team(rig, aborts, fails))
    assert rig.ended() == 3, rig.said
    assert f"{SECOND} ended with status 3" in rig.said
    assert rig.state()["state"] == "failed"
    assert (rig.run / "logs" / f"{SECOND}.log").is_file()
    assert rig.alive() == []


@pytest.mark.slow
def test_members_that_wait_are_ended_with_the_one_that_fails(rig: Rig) -> None:
    rig.start(team(rig, WAITS, "raise SystemExit(5)"))
    assert rig.ended() == 5, rig.said
    assert "stopping the learner" in rig.said
    assert rig.alive() == []


@pytest.mark.slow
def test_a_job_is_done_when_all_its_members_are(rig: Rig) -> None:
    slow = 'import time; time.sleep(1); print("last", flush=True)'
    rig.start(team(rig, "", slow))
    assert rig.ended() == 0, rig.said
    assert rig.state()["state"] == "done"
    assert (rig.run / "logs" / f"{SECOND}.log").read_text() == "last\n"


@pytest.mark.slow
def test_a_member_that_ends_well_when_it_is_told_to_stop_is_stopped(rig: Rig) -> None:
    obeys = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0));"
        'print("ready", flush=True); signal.pause()'
    )
    supervisor = rig.start(team(rig, obeys, obeys))
    rig.wait_until_said(f"{SECOND}: started")
    for name in (LEARNER, SECOND):
        log = rig.run / "logs" / "attempt_1" / f"{name}.log"
        wait_for(lambda log=log: log.exists() and log.read_text(), lambda text: text == "ready\n")
    supervisor.send_signal(signal.SIGTERM)
    assert rig.ended() == 143, rig.said
    assert rig.state()["state"] == "interrupted"
    assert rig.state()["processes"][SECOND]["exit"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "words", "config", "origin", "seen"),
    [
        (Resuming(ARGUMENT, words=("--from", "MARK"), behind=1, mark="MARK"),
         ["--a", "--from", "CHECKPOINT", "--b"], "{}", True, ["step_10", "step_20"]),
        (Resuming(ARGUMENT, words=("--from=MARK",), behind=1, present=1, mark="MARK"),
         ["--from=CHECKPOINT", "--b"], "{}", True, ["step_10", "step_20"]),
        (Resuming(CONFIG_KEY, file=FILE, text=f'{{"from": {MARK}}}', mark=MARK),
         ["--a", "--b"], '{"from": "CHECKPOINT"}', True, ["step_10", "step_20"]),
        (Resuming(DIRECTORY), ["--a", "--b"], "{}", True, ["step_10", "step_20"]),
        (Resuming(NONE), ["--a", "--b"], "{}", False, []),
    ],
    ids=["argument", "another argument", "config_key", "directory", "none"],
)  # fmt: skip
def test_a_restart_goes_on_as_the_learner_can(
    rig: Rig, how: Resuming, words: list[str], config: str, origin: bool, seen: list[str]
) -> None:
    recovery = Recovery("restart", 1, 0.05, 0.05, None, versioned=False, resuming=how)
    job = process(rig.directory, LEARNER, sys.executable, "-I", "-S", "-c", TRAINEE, "--a", "--b")
    plan = rig.plan(job, gates=(), recovery=recovery, checkpoints=LAYOUT)
    rig.run.mkdir()
    (rig.directory / FILE).write_text("{}")
    rig.start(plan)
    assert rig.ended() == 0, rig.said
    checkpoint = str(rig.run / "output" / "step_10")
    told = [word.replace("CHECKPOINT", checkpoint) for word in words]
    log = (rig.run / "logs" / "attempt_2" / "learner.log").read_text()
    assert log == f"{told} {config.replace('CHECKPOINT', checkpoint)} {seen}\n"
    assert rig.state()["attempts"][1]["resumed_from"] == (checkpoint if origin else None)
    if not origin:
        assert "training starts anew; what it wrote is kept in run/output.attempt_1" in rig.said
        assert (rig.run / "output.attempt_1" / "step_10" / "done").is_file()


@pytest.mark.slow
def test_a_directory_of_several_runs_is_not_set_aside(rig: Rig) -> None:
    recovery = Recovery("restart", 1, 0.05, 0.05, None, versioned=False, resuming=Resuming(NONE))
    job = process(rig.directory, LEARNER, sys.executable, "-I", "-S", "-c",
                  TRAINEE.replace("run/output", "shared"))  # fmt: skip
    plan = rig.plan(job, gates=(), recovery=recovery, output_dir="shared", checkpoints=LAYOUT)
    rig.start(plan)
    assert rig.ended() == 0, rig.said
    assert "training starts anew, and writes into shared again" in rig.said
    assert (Path(rig.directory) / "shared" / "step_10").is_dir()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("stall_s", "silence_s", "begun", "at"),
    [(10, 0, False, 10), (10, 30, False, 30), (10, 30, True, 10), (10, 5, False, 10)],
)
def test_the_first_step_may_take_longer(
    stall_s: float, silence_s: float, begun: bool, at: float
) -> None:
    clock = Clock()
    settings = dataclasses.replace(NO_WATCHDOG, stall_s=stall_s, silence_s=silence_s)
    watch = Watch(settings, clock)
    if begun:
        watch.begun()
    clock.now = at - 1
    assert watch.due() == []
    clock.now = at
    assert watch.due() == [Duty.STALL]
    assert watch.due() == []


def test_without_a_limit_nothing_stalls() -> None:
    clock = Clock()
    watch = Watch(dataclasses.replace(NO_WATCHDOG, silence_s=5), clock)
    clock.now = 1000
    assert watch.due() == []
