"""Two launchers race for one port: one has it, the other is told whose it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from grpo_launch.errors import PreflightError
from grpo_launch.settle import locks

HOLD = (
    "import pathlib, signal, sys; from grpo_launch.launch import locks\n"
    "locks.BASE = pathlib.Path(sys.argv[2])\n"
    "with locks.hold([(8000, 'key', 'port=PORT')], sys.argv[1]):\n"
    "    print('mine', flush=True); signal.pause()"
)
WANTED = (8000, "rlhf.vllm_server_port", "port=PORT")


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
            assert b"port 8000 belongs to the run" in loser.stderr.read()
        (winner,) = (racer for racer in racers if racer.poll() is None)
        assert winner.stdout is not None
        assert winner.stdout.readline() == b"mine\n"
        with pytest.raises(PreflightError, match=rf"runs/{racers.index(winner)}, stop it or"):
            locks.hold([WANTED], "runs/later").__enter__()
        winner.send_signal(signal.SIGKILL)
        winner.wait()
        with locks.hold([WANTED], "runs/later") as held:
            assert len(held) == 1
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()


def test_one_port_that_is_taken_gives_the_others_back() -> None:
    with locks.hold([WANTED], "runs/a"):
        with pytest.raises(PreflightError, match="runs/a"):
            locks.hold([(8001, "key", "port=PORT"), WANTED], "runs/b").__enter__()
        assert not locks.is_held(8001)


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / f"grpo_launch-{os.geteuid()}").symlink_to(tmp_path)
    with pytest.raises(PreflightError, match="belongs to somebody else"):
        locks.is_held(8000)


def test_a_place_that_cannot_be_written_is_an_error_of_preflight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "BASE", tmp_path / "gone")
    with pytest.raises(PreflightError, match="cannot be made"):
        locks.directory()
