"""What a user sees when the machine fails the run; no process and no half-written file is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from grpo_launch.plan import LEARNER, SERVER
from grpo_launch.supervise import proc, tree
from tests.supervise.rig import Rig, process, wait_for

pytestmark = pytest.mark.slow


def halves_written(rig: Rig) -> list[Path]:
    return list(rig.directory.rglob(".*.json.*"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("no permission to mount")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_disk_that_runs_full_while_a_learner_logs(small_disk: Path) -> None:
    rig = Rig(small_disk)
    try:
        code = "import sys, time\nwhile True: sys.stdout.write('x' * 4095 + '\\n')"
        learner = process(rig.directory, LEARNER, sys.executable, "-I", "-S", "-c", code)
        rig.start(rig.plan(rig.adversary(SERVER), learner))
        status = rig.ended()
        assert status in (1, 120)  # Python's own, after ENOSPC
        assert f"the learner ended with status {status}" in rig.said
        assert "cannot be written (No space left on device)" in rig.said
        assert "Traceback" not in rig.said
        assert rig.alive() == []
        assert halves_written(rig) == []
        assert (rig.state()["state"], rig.state()["status"]) == ("failed", status)
    finally:
        rig.close()


def test_a_training_that_ends_well_on_a_full_disk_is_done(small_disk: Path) -> None:
    rig = Rig(small_disk)
    try:
        rig.start(rig.plan(*rig.both()))
        learner = rig.wait_until_ready(LEARNER)
        wait_for(lambda: rig.state()["state"], lambda state: state == "training")
        with pytest.raises(OSError, match="No space"):
            (small_disk / "filler").write_bytes(bytes(2**20))
        os.kill(learner, signal.SIGUSR2)
        assert rig.ended() == 0
        assert (rig.state()["state"], rig.state()["status"]) == ("done", 0)
        assert list(rig.run.glob(".run.json*")) == []
        assert rig.alive() == []
    finally:
        rig.close()


def test_a_full_disk_does_not_keep_a_lost_run_alive(small_disk: Path) -> None:
    rig = Rig(small_disk)
    try:
        supervisor = rig.start(rig.plan(*rig.both()))
        rig.wait_until_ready(LEARNER)
        with pytest.raises(OSError, match="No space"):
            (small_disk / "filler").write_bytes(bytes(2**20))
        supervisor.kill()
        assert rig.alive_after(30) == []
        assert halves_written(rig) == []
        assert rig.state()["state"] == "lost"
    finally:
        rig.close()


@pytest.mark.parametrize("how", ["the learner ends", "the launcher is killed"])
def test_a_run_directory_that_is_deleted_during_the_run(rig: Rig, how: str) -> None:
    supervisor = rig.start(rig.plan(*rig.both()))
    learner = rig.wait_until_ready(LEARNER)
    wait_for(lambda: rig.state()["state"], lambda state: state == "training")
    shutil.rmtree(rig.run)
    if how == "the learner ends":
        os.kill(learner, signal.SIGUSR2)
        assert rig.ended() == 0
        assert "cannot be written (No such file or directory)" in rig.said
        assert "Traceback" not in rig.said
    else:
        supervisor.kill()
    assert rig.alive_after(30) == []
    assert not rig.run.exists()


JUMPS = """
import itertools, time
real, ticks = time.time, itertools.count()
time.time = lambda: real() + (-1) ** next(ticks) * 10**8
"""


def test_a_clock_that_jumps_moves_no_deadline(rig: Rig) -> None:
    rig.start(rig.plan(*rig.both()), before=JUMPS)
    learner = rig.wait_until_ready(LEARNER)
    os.kill(learner, signal.SIGUSR2)
    assert rig.ended() == 0
    assert rig.state()["state"] == "done"
    assert rig.alive() == []


def test_the_tail_of_a_log_of_binary_and_endless_lines_is_fit_for_a_terminal(rig: Rig) -> None:
    code = (
        "import os, sys\n"
        "os.write(1, bytes(range(256)) * 40 + b'\\n' + b'x' * 2**20 + b'\\n\\x1b[2Jthe end\\n')\n"
        "sys.exit(7)"
    )
    learner = process(rig.directory, LEARNER, sys.executable, "-I", "-S", "-c", code)
    rig.start(rig.plan(rig.adversary(SERVER), learner))
    assert rig.ended() == 7
    assert "the end" in rig.said
    assert "\x1b" not in rig.said
    assert max(map(len, rig.said.splitlines())) < 1000
    assert rig.alive() == []


@pytest.mark.parametrize("mode", ["auto", "log"])
def test_a_flood_of_binary_does_not_stop_a_run(rig: Rig, mode: str) -> None:
    code = "import os\nfor _ in range(20): os.write(1, os.urandom(2**18))"
    learner = process(rig.directory, LEARNER, sys.executable, "-I", "-S", "-c", code)
    rig.start(rig.plan(rig.adversary(SERVER), learner, console=mode))
    assert rig.ended() == 0
    assert rig.alive() == []


@pytest.mark.parametrize("program", ["guard", "gate"])
def test_a_machine_that_starts_no_process_any_more(rig: Rig, program: str) -> None:
    before = (
        "import errno; from grpo_launch.supervise import spawn; start = spawn.spawn\n"
        "def refuse(command, *rest):\n"
        f"    if 'supervise.{program} ' in command[-1] + command[-2] + ' ':\n"
        "        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))\n"
        "    return start(command, *rest)\n"
        "import os; spawn.spawn = refuse"
    )
    rig.start(rig.plan(*rig.both()), before=before)
    assert rig.ended() == 3
    assert "cannot be started (Resource temporarily unavailable)" in rig.said
    assert "Traceback" not in rig.said
    assert rig.alive() == []


def test_what_a_shell_had_started_before_it_became_the_launcher_is_no_business_of_ours(
    rig: Rig,
) -> None:
    """Such a process is a child of the launcher, and so become its orphans."""
    script = 'env -i sh -c "sleep 1000 & sleep 1000; :" & exec "$@"'
    supervisor = rig.start(rig.plan(*rig.both()), wrapper=["sh", "-c", script, "sh"])
    learner = rig.wait_until_ready(LEARNER)
    (shell,) = [e for e in tree.descendants(supervisor.pid) if proc.command(e.pid).startswith("sh")]
    orphan, other = tree.descendants(shell.pid)
    os.kill(shell.pid, signal.SIGKILL)
    wait_for(lambda: proc.read(orphan.pid), lambda entry: entry.ppid == supervisor.pid)
    os.kill(rig.guard(SERVER), signal.SIGKILL)
    assert rig.ended() == 137
    try:
        assert proc.is_running(orphan.pid, orphan.start_time)
        assert proc.is_running(other.pid, other.start_time)
        assert proc.read(learner) is None
        assert rig.alive() == []
    finally:
        tree.send([orphan, other], signal.SIGKILL)
