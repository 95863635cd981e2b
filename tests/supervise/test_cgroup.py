"""Control groups, on a machine whose cgroup v2 tree we may write; skipped elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from grpo_launch.supervise import cgroup
from tests.supervise.rig import Rig, wait_for

PARENT = cgroup.delegated()
pytestmark = pytest.mark.skipif(PARENT is None, reason="no cgroup v2 subtree is delegated")


@pytest.fixture
def run_group() -> Iterator[Path]:
    directory = Path(f"{PARENT}/test-{os.urandom(4).hex()}")
    directory.mkdir()
    yield directory
    cgroup.kill(str(directory))
    cgroup.remove(str(directory))


def start_inside(group: cgroup.Group, code: str) -> subprocess.Popen[bytes]:
    with group.inside():
        return subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE)


def test_what_is_started_inside_is_a_member_and_we_are_not(run_group: Path) -> None:
    group = cgroup.Group(f"{run_group}/server")
    with start_inside(group, "import signal; signal.pause()") as process:
        members = (run_group / "server" / "cgroup.procs").read_text().split()
        assert members == [str(process.pid)]
        process.kill()


def test_the_kill_reaches_what_left_every_session(run_group: Path) -> None:
    code = """if 1:
        import os, signal
        for _ in range(5):
            if os.fork() == 0:
                os.setsid()
        os.write(1, b"!")
        signal.pause()
    """
    group = cgroup.Group(f"{run_group}/server")
    with start_inside(group, code) as process:
        assert process.stdout is not None
        process.stdout.read(32)
        cgroup.kill(group.directory)
        assert process.wait(10) == -signal.SIGKILL
        assert process.stdout.read() == b""  # its end: all 32 have closed it
    cgroup.remove(str(run_group))
    assert not run_group.exists()


def test_a_group_with_a_process_in_it_stays(
    run_group: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "_DYING_S", 0.05)
    group = cgroup.Group(f"{run_group}/server")
    with start_inside(group, "import signal; signal.pause()") as process:
        group.remove()
        cgroup.remove(str(run_group))
        assert Path(group.directory).is_dir()
        process.kill()


def test_a_group_that_is_gone_is_no_error(run_group: Path) -> None:
    cgroup.kill(f"{run_group}/nothing")
    cgroup.remove(f"{run_group}/nothing")


def test_a_group_that_exists_is_not_taken(run_group: Path) -> None:
    cgroup.Group(f"{run_group}/server")
    with pytest.raises(FileExistsError):
        cgroup.Group(f"{run_group}/server")


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize("killed", [(), ("launcher",), ("launcher", "server")])
def test_a_run_leaves_no_group_behind(rig: Rig, killed: tuple[str, ...]) -> None:
    supervisor = rig.start(rig.plan(*rig.both(learner=["session_chain"]), groups=True))
    rig.wait_until_said("learner: started")
    learner = rig.wait_until_ready("learner")
    path = Path(f"/proc/{learner}/cgroup").read_text().split("0::")[1].split("\n")[0]
    directory = Path(f"{PARENT}/{Path(path).parts[-2]}")
    assert (directory / "server").is_dir()
    pids = {"launcher": supervisor.pid, "server": rig.guard("server")}
    for name in killed:
        os.kill(pids[name], signal.SIGKILL)
    if not killed:
        supervisor.terminate()
    assert rig.alive_after(30) == []
    assert not wait_for(directory.exists, lambda there: not there)
