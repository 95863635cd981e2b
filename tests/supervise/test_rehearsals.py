"""A rehearsal beside the gate: only its refusal ends a run, whatever else becomes of it."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.checks import rehearsal as checking
from grpo_launch.plan import LaunchPlan, PlannedFile, ProcessSpec, Rehearsal
from grpo_launch.runs import reading, rehearsals
from grpo_launch.runs.rehearsals import PASSED, REFUSED, STOPPED, UNKNOWN, Verdict
from tests.supervise.rig import Rig, process

REFUSAL = {"verdict": "refused", "key": "loss_type", "message": "unknown loss type grop"}
KEYS = {"loss_type": "exp.yaml: rlhf.loss_type"}
SAYS = "import json, sys, time; say = lambda **a: print('rehearsal', json.dumps(a), flush=True); "
HANG = "import signal; signal.pause()"


def rehearsing(directory: Path, code: str, timeout_s: float = 60) -> Rehearsal:
    words = (sys.executable, "-I", "-S", "-c", SAYS + code)
    spec = process(directory, "rehearsal", *words, timeout_s=timeout_s)
    return Rehearsal(spec, KEYS, "run/arguments.yaml")


def plan(rig: Rig, code: str, timeout_s: float = 60, **changes: Any) -> LaunchPlan:
    return rig.plan(*rig.both(), rehearsal=rehearsing(rig.directory, code, timeout_s), **changes)


def never_ready(rig: Rig) -> ProcessSpec:
    words = (sys.executable, "-I", "-S", "-c", HANG)
    return process(rig.directory, "server", *words)


@pytest.mark.slow
def test_a_refusal_ends_the_run_before_anything_is_trained(rig: Rig) -> None:
    made = plan(rig, f"say(**{REFUSAL})")
    server = never_ready(rig)
    rig.start(dataclasses.replace(made, processes=(server, rig.adversary("learner"))))
    assert rig.ended() == 2
    assert (
        "error: exp.yaml: rlhf.loss_type: the learner will refuse this: unknown loss type grop, "
        "correct it; rehearse=false starts without this check"
    ) in rig.said
    assert "learner: started" not in rig.said
    assert "stopping the server" in rig.said
    state, _ = reading.read(rig.run)
    assert (state.state, state.status) == ("failed", 2)
    assert state.reason is not None
    assert state.reason.endswith("unknown loss type grop")
    assert state.rehearsal is not None
    assert (state.rehearsal.verdict, state.rehearsal.key) == (REFUSED, "loss_type")
    assert (rig.run / "logs" / "rehearsal.log").read_text().startswith("rehearsal {")
    assert rig.alive() == []


@pytest.mark.slow
def test_a_refusal_while_the_learner_starts_counts(rig: Rig) -> None:
    """Its server was there already, so the gate did not wait."""
    wait = "import os; exec('while not os.path.exists(\"go\"): time.sleep(0.02)')"
    rig.start(plan(rig, f"{wait}; say(**{REFUSAL})"))
    rig.wait_until_ready("learner")
    (rig.directory / "go").touch()
    assert rig.ended() == 2
    assert rig.alive() == []


@pytest.mark.slow
def test_a_learner_that_fails_first_is_explained(rig: Rig) -> None:
    wait = "import os; exec('while not os.path.exists(\"go\"): time.sleep(0.02)'); time.sleep(1)"
    rig.start(plan(rig, f"{wait}; say(**{REFUSAL})"))
    learner = rig.wait_until_ready("learner")
    (rig.directory / "go").touch()
    os.kill(learner, signal.SIGUSR1)
    assert rig.ended() == 2
    assert "unknown loss type grop" in rig.said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise SystemExit(3)", "it ended with status 3"),
        ("say(stage='parse', verdict='ok'); sys.exit(0)", "it ended with status 0 after parse"),
        ("print('rehearsal {not json'); print('x' * 2_000_000)", "it ended with status 0"),
        ("import os; os.kill(os.getpid(), 9)", "it ended with status 137"),
        ("say(verdict='refused but not quite')", "it ended with status 0"),
        ("say(stage='load', verdict='unknown', message='no swift')", "no swift"),
    ],
)
def test_anything_else_is_one_line(rig: Rig, code: str, told: str) -> None:
    rig.start(plan(rig, code))
    rig.wait_until_said("no verdict on the learner's arguments")
    os.kill(rig.wait_until_ready("learner"), signal.SIGUSR2)
    assert rig.ended() == 0
    (line,) = [line for line in rig.said.splitlines() if "rehearsal:" in line]
    assert f": {told} (" in line
    assert rig.state()["rehearsal"]["verdict"] == UNKNOWN


@pytest.mark.slow
def test_one_that_hangs_is_stopped_and_the_run_goes_on(rig: Rig) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
    made = plan(rig, stubborn, timeout_s=0.5)
    rig.start(dataclasses.replace(made, deadlines=dataclasses.replace(made.deadlines, term_s=1)))
    rig.wait_until_said("not finished after 0 s")
    os.kill(rig.wait_until_ready("learner"), signal.SIGUSR2)
    assert rig.ended() == 0
    assert rig.alive() == []


@pytest.mark.slow
def test_one_that_cannot_be_started_is_one_line(rig: Rig) -> None:
    made = rehearsing(rig.directory, "")
    nothing = dataclasses.replace(made.process, argv=("no-such-python",))
    rig.start(rig.plan(*rig.both(), rehearsal=dataclasses.replace(made, process=nothing)))
    os.kill(rig.wait_until_ready("learner"), signal.SIGUSR2)
    assert rig.ended() == 0
    assert "rehearsal: no verdict" in rig.said


@pytest.mark.slow
def test_the_first_step_is_the_better_witness(rig: Rig) -> None:
    rig.start(plan(rig, HANG))
    learner = rig.wait_until_ready("learner")
    output = rig.run / "output" / "v0-x"
    output.mkdir(parents=True)
    row = {"reward": 0.5, "global_step/max_steps": "1/3"}
    (output / "logging.jsonl").write_text(json.dumps(row) + "\n")
    rig.wait_until_said("step 1/3")
    os.kill(learner, signal.SIGUSR2)
    assert rig.ended() == 0
    assert rig.state()["rehearsal"]["verdict"] == STOPPED
    assert "rehearsal:" not in rig.said


@pytest.mark.slow
def test_it_dies_with_the_run(rig: Rig) -> None:
    rig.start(plan(rig, HANG))
    rig.wait_until_ready("learner")
    assert rig.supervisor is not None
    rig.supervisor.kill()
    assert rig.alive_after(30) == []


PASSED_LINE = {"verdict": "passed", "rows": 64, "longest": 41, "warnings": ["3 of 64 are long"]}


@pytest.mark.parametrize(
    ("end", "verdict"),
    [
        (PASSED_LINE, Verdict(PASSED, 1, rows=64, longest=41, warnings=("3 of 64 are long",))),
        (REFUSAL, Verdict(REFUSED, 1, "unknown loss type grop", "loss_type")),
        ({**REFUSAL, "key": ["x"], "message": 3}, Verdict(REFUSED, 1)),
        ({**PASSED_LINE, "rows": "64", "warnings": 3}, Verdict(PASSED, 1, longest=41)),
        ({**REFUSAL, "message": "hush-hush"}, Verdict(REFUSED, 1, "*" * 9, "loss_type")),
    ],
)
def test_what_is_read_of_a_log(end: dict[str, Any], verdict: Verdict) -> None:
    log = f"noise\nrehearsal {{}}\nrehearsal {json.dumps(end)}\nrehearsal {{half".encode()
    assert rehearsals.read(log, 0, 1, ["hush-hush"]) == verdict


def test_the_line_of_one_that_passed() -> None:
    assert Verdict(PASSED, 10.2, rows=8, longest=41).line == (
        "rehearsal: the learner takes its arguments, 8 rows read, longest prompt 41 tokens (10.2 s)"
    )


def test_a_refusal_without_a_key_names_the_arguments_file(tmp_path: Path) -> None:
    error = Verdict(REFUSED, 1, "no").error(rehearsing(tmp_path, ""))
    assert error is not None
    assert (error.where, error.status) == ("run/arguments.yaml", 2)


def test_a_check_leaves_nothing(rig: Rig) -> None:
    code = "say(verdict='refused', message=open(sys.argv[1]).read())"
    made = rehearsing(rig.directory, code)
    words = (*made.process.argv, "run/arguments.yaml")
    made = dataclasses.replace(made, process=dataclasses.replace(made.process, argv=words))
    files = (PlannedFile("run/arguments.yaml", "lr: 1"),)
    verdict = checking.rehearse(rig.plan(*rig.both(), files=files), made, os.environ)
    assert (verdict.verdict, verdict.message) == (REFUSED, "lr: 1")
    assert not rig.run.exists()


def test_a_check_ends_what_hangs(rig: Rig) -> None:
    made = rehearsing(rig.directory, HANG, timeout_s=0.3)
    verdict = checking.rehearse(rig.plan(*rig.both()), made, os.environ)
    assert verdict.verdict == UNKNOWN
    assert "not finished" in verdict.message
