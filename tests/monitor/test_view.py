"""A run as it is seen: what its record says, whatever it is, held against what is alive."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from grpo_launch.monitor import living
from grpo_launch.monitor.view import View, goes_on, view
from grpo_launch.runs import find
from grpo_launch.supervise.guard import GUARD_MARK, RUN_MARK
from tests.monitor.made import START, going_on, identity, lost, make_run, process


def see(directory: Path) -> View:
    return view(find.one(str(directory), directory.parent.parent, directory), living.look())


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of nobody's run."""
    with subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL) as process:
        yield process
        process.kill()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\x00\xff",
        "[]",
        "{}",
        '"text"',
        '{"format": 1, "state": "done"}',
        '{"format": 2}',
        "[" * 5000,
        '{"format": 2, "experiment": 7}',
    ],
)
def test_a_record_that_is_none(tmp_path: Path, text: str) -> None:
    run = make_run(tmp_path)
    (run / "run.json").write_text(text)
    shown = see(run)
    assert (shown.state, shown.recorded, shown.is_over) == ("unreadable", None, True)
    assert shown.problem
    assert "run.json" in shown.problem
    assert "\n" not in shown.problem


@pytest.mark.parametrize(
    "change",
    [
        {"started": "now"},
        {"started": 1e300},
        {"processes": []},
        {"processes": {"server": {}}},
        {"supervisor": {"pid": "1"}},
        {"attempts": [1]},
        {"state": None},
        {"status": [2]},
    ],
)
def test_a_record_with_a_wrong_field(tmp_path: Path, change: dict[str, object]) -> None:
    assert see(make_run(tmp_path, **change)).state == "unreadable"


def test_a_record_that_is_missing_or_hidden(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (run / "run.json").unlink()
    assert see(run).problem == "run.json cannot be read (No such file or directory)"
    (run / "run.json").mkdir()
    assert see(run).problem == "run.json cannot be read (Is a directory)"


def test_metrics_and_a_plan_that_are_garbage_do_no_harm(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=3)
    rows = ["{", "[]", '{"reward": true, "global_step/max_steps": "4/40"}']
    rows += ['{"reward": 1, "global_step/max_steps": "\u00b2/9"}', '{"global_step/max_steps": 1}']
    with open(run / "output" / "v0-now" / "logging.jsonl", "a") as log:
        log.write("\n".join(rows) + "\n" + '{"reward":')
    (run / "plan.json").write_text('{"processes": [{"cwd": 7}], "output_dir": []}')
    step = see(run).step
    assert step is not None
    assert (step.step, step.reward) == (4, None)


def test_the_supervisor_decides(tmp_path: Path) -> None:
    going = make_run(tmp_path, "e/20261121-140000-0001", **going_on())
    gone = make_run(tmp_path, "e/20261121-140000-0002", **lost())
    assert (see(going).state, see(gone).state) == ("training", "lost")
    assert goes_on(find.one("e", tmp_path, tmp_path)) is False
    assert see(gone).is_over
    assert not see(gone).has_end


def test_what_was_trained_well_has_not_been_lost(tmp_path: Path) -> None:
    run = make_run(tmp_path, **lost(state="uploading", status=0))
    assert (see(run).state, see(run).duration_s(START + 1000)) == ("done", None)


def test_a_pid_of_another_boot_or_another_process_is_not_the_supervisor(tmp_path: Path) -> None:
    rebooted = identity(os.getpid(), boot="another")
    reused = {**identity(os.getpid()), "start_time": 1}
    for number, supervisor in enumerate((rebooted, reused)):
        name = f"e/20261121-140000-000{number}"
        assert see(make_run(tmp_path, name, **going_on(supervisor=supervisor))).state == "lost"


def test_of_another_host_only_the_record_is_known(tmp_path: Path) -> None:
    supervisor = {**identity(), "host": "node7"}
    run = make_run(tmp_path, **going_on(supervisor=supervisor))
    shown = see(run)
    assert (shown.state, shown.is_here, shown.is_over) == ("training", False, False)
    assert goes_on(shown.found)


def test_what_is_alive_is_found_by_mark_log_record_and_descent(tmp_path: Path) -> None:
    run = make_run(tmp_path, logs={"server": b"", "learner": b""})
    clean = {name: value for name, value in os.environ.items() if name != RUN_MARK}
    child = "import subprocess; subprocess.run(['sleep', '600'])"
    logs = run / "logs" / "attempt_1"
    with open(logs / "learner.log", "ab") as log, open(logs / "copy.log", "ab") as copy:
        started = [
            subprocess.Popen(["sleep", "600"], env={**clean, RUN_MARK: str(run)}),
            subprocess.Popen(["sleep", "600"], env=clean, stdout=log),  # as with a title of its own
            subprocess.Popen([sys.executable, "-c", child], env=clean, stdout=subprocess.PIPE),
            subprocess.Popen(["sleep", "600"], env={**clean, GUARD_MARK: f"{run}:server"}),
            subprocess.Popen(["sleep", "600"], env={**clean, RUN_MARK: f"{run}x"}),
            subprocess.Popen(["sleep", "600"], env=clean, stdout=copy),  # a reader's own file
        ]
    marked, writer, known, guard, *strangers = (process.pid for process in started)
    try:
        make_record(run, {"server": process(known)})
        shown = see(run)
        while len(shown.alive) < 4:  # until the child of a child is there
            shown = see(run)
        names = {p.pid: p.name for p in shown.alive}
        assert {marked, writer, known} < set(names)
        assert not {*strangers} & {*names}
        assert [entry.pid for entry in shown.guards] == [guard]
        assert (names.pop(marked), names.pop(writer)) == (None, "learner")
        assert list(names.values()) == ["server", "server"]
        assert not shown.is_over
    finally:
        for one in shown.alive:
            os.kill(one.pid, 9)
        for one in started:
            one.kill()
            one.communicate()


def make_record(run: Path, processes: dict[str, object]) -> None:
    body = json.loads((run / "run.json").read_text())
    body.update(lost(processes=processes))
    (run / "run.json").write_text(json.dumps(body))


def test_a_reused_pid_is_nobody(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    same_pid = {**process(sleeper.pid), "start_time": 1}
    assert see(make_run(tmp_path, **lost(processes={"server": same_pid}))).alive == ()


def test_an_old_boots_pids_are_nobody(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    changes = lost(processes={"server": process(sleeper.pid)})
    changes["supervisor"] = identity(boot="another")
    assert see(make_run(tmp_path, **changes)).alive == ()
