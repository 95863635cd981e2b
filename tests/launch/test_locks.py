"""Two launchers race for one port: one has it, the other is told whose it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from grpo_launch.errors import PreflightError
from grpo_launch.supervise import locks

HOLD = (
    "import pathlib, signal, sys; from grpo_launch.supervise import locks\n"
    "locks.BASE = pathlib.Path(sys.argv[2])\n"
    "if locks.take(8000, sys.argv[1]) is None: sys.exit(locks.holder(8000))\n"
    "print('mine', flush=True); signal.pause()"
)


@pytest.fixture(autouse=True)
def private_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "BASE", tmp_path)


def test_of_many_at_once_one_has_it(tmp_path: Path) -> None:
    words = [sys.executable, "-c", HOLD]
    racers = [
        subprocess.Popen(
            [*words, f"runs/{n}", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for n in range(4)
    ]
    losers = 0
    try:
        while losers < len(racers) - 1:
            pid, status = os.wait()
            (loser,) = (racer for racer in racers if racer.pid == pid)
            loser.returncode = os.waitstatus_to_exitcode(status)
            losers += 1
            assert loser.stderr is not None
            assert b"runs/" in loser.stderr.read()
        (winner,) = (racer for racer in racers if racer.poll() is None)
        assert winner.stdout is not None
        assert winner.stdout.readline() == b"mine\n"
        assert locks.holder(8000) == f"runs/{racers.index(winner)}"
        assert locks.take(8000, "runs/later") is None
        winner.send_signal(signal.SIGKILL)
        winner.wait()
        assert locks.holder(8000) is None
        lock = locks.take(8000, "runs/later")
        assert lock is not None
        os.close(lock)
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()


def test_locks_of_runs_that_have_ended_do_not_accumulate() -> None:
    for port in range(8000, 8020):
        lock = locks.take(port, f"runs/{port}")
        assert lock is not None
        os.close(lock)
    kept, mine = locks.take(9000, "runs/kept"), locks.take(9001, "runs/mine")
    assert kept is not None
    assert mine is not None
    assert {path.name for path in locks.directory().iterdir()} == {"port-9000", "port-9001"}
    assert locks.holder(9000) == "runs/kept"
    os.close(kept)
    os.close(mine)


def test_looking_leaves_nothing_behind(tmp_path: Path) -> None:
    assert locks.holder(8000) is None
    assert list(tmp_path.iterdir()) == []


def test_the_environment_may_name_another_place(tmp_path: Path) -> None:
    hold = HOLD.replace("locks.BASE = pathlib.Path(sys.argv[2])", "").replace("signal.pause()", "")
    done = subprocess.run(
        [sys.executable, "-c", hold, "runs/a"],
        env={**os.environ, "GRPO_LAUNCH_LOCKS": str(tmp_path)}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.stdout == b"mine\n"
    assert [path.name for path in tmp_path.glob("grpo_launch-*/*")] == ["port-8000"]


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / f"grpo_launch-{os.geteuid()}").symlink_to(tmp_path)
    with pytest.raises(PreflightError, match="belongs to somebody else"):
        locks.holder(8000)


def test_a_place_that_cannot_be_written_is_an_error_of_preflight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "BASE", tmp_path / "gone")
    with pytest.raises(PreflightError, match="cannot be made"):
        locks.directory()
