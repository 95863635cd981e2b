"""``grpo-runs watch`` in a pseudo-terminal: it draws, leaves, and puts the terminal back."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest

from tests.conftest import Project
from tests.monitor.called import COMMAND, grpo_runs
from tests.monitor.made import lost, make_run
from tests.supervise.test_foreground import read_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

CONTROLLING = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)
LEFT = "\x1b[?1049l"
HINT = "q leaves, the run goes on"


class Terminal:
    """A terminal of 100 x 30 with ``grpo-runs watch`` in it."""

    def __init__(self, project: Project, *arguments: str) -> None:
        self._ours, self._theirs = os.openpty()
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self._settings = termios.tcgetattr(self._theirs)
        self.process = subprocess.Popen(
            [sys.executable, "-c", CONTROLLING, *COMMAND, "watch", *arguments],
            cwd=project.directory,
            env=project.environment(TERM="xterm-256color"),
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
        )
        self.seen = ""

    def read_to(self, text: str) -> None:
        while text not in self.seen:
            data = os.read(self._ours, 65536)
            assert data, self.seen
            self.seen += data.decode("utf-8", "replace")

    def press(self, key: str) -> None:
        os.write(self._ours, key.encode())

    def close(self) -> int:
        """Wait for the end; the exit status. The terminal is as it was."""
        self.read_to(LEFT)
        status = self.process.wait(60)
        assert termios.tcgetattr(self._theirs) == self._settings
        os.close(self._theirs)
        try:
            while data := os.read(self._ours, 65536):
                self.seen += data.decode("utf-8", "replace")
        except OSError:  # how a pseudo-terminal says that the other side is closed
            pass
        os.close(self._ours)
        assert "\x1b[?25h" in self.seen.rpartition("\x1b[?25l")[2]  # the cursor is back
        assert "Traceback" not in self.seen
        return status


@pytest.fixture
def training(project: Project) -> Iterator[subprocess.Popen[str]]:
    launcher = project.start("role=both", "config=exp", FAKE_LEARNER="hang")
    read_until(launcher, "step ")
    yield launcher
    assert launcher.poll() is not None or grpo_runs(project, "stop").status == 0


@pytest.mark.parametrize(("key", "status"), [("q", 0), ("\x03", 130)], ids=["q", "Ctrl-C"])
def test_a_key_leaves_and_the_run_goes_on(
    project: Project, training: subprocess.Popen[str], key: str, status: int
) -> None:
    terminal = Terminal(project)
    terminal.read_to(HINT)
    terminal.press(key)
    assert terminal.close() == status
    for shown in ("training", "3/3", "▁▅█", "0.25 to 0.75", "learner.log", "fake learner:"):
        assert shown in terminal.seen
    assert "training" in terminal.seen.rpartition(LEFT)[2]  # the last picture stays
    assert training.poll() is None


def test_a_signal_puts_the_terminal_back(project: Project, training: subprocess.Popen[str]) -> None:
    terminal = Terminal(project)
    terminal.read_to(HINT)
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.close() == 143


def test_the_view_ends_with_the_run(project: Project, training: subprocess.Popen[str]) -> None:
    terminal = Terminal(project, "exp")
    terminal.read_to(HINT)
    training.send_signal(signal.SIGTERM)
    assert training.wait(60) == 143
    assert terminal.close() == 0
    assert "interrupted" in terminal.seen.rpartition(LEFT)[2]


def test_one_picture_of_a_run_that_has_ended_or_is_lost(project: Project) -> None:
    root = project.directory / "runs"
    make_run(root, "exp/20261121-140000-aaaa", steps=3)
    make_run(root, "gone/20261121-140000-bbbb", **lost())
    for word, state in (("exp", "done"), ("gone", "lost")):
        done = grpo_runs(project, "watch", word)
        assert (done.status, done.stderr) == (0, "")
        assert f"  {state}" in done.stdout.splitlines()[0]
        assert "\x1b" not in done.stdout
        body = json.loads(grpo_runs(project, "watch", word, "--json").stdout)
        assert body["state"] == state
    assert json.loads(grpo_runs(project, "watch", "exp", "--json").stdout)["rewards"][0][0] == 1
