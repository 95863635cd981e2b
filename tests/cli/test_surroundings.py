"""A working directory, streams and names that no command can work with: one line, no traceback."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from grpo_launch.execute import command
from tests.conftest import Project

DRY = ("grpo_launch", "role=both", "config=exp", "dry_run=true")
LAUNCH = ("grpo_launch", "role=both", "config=exp")
LIST = ("grpo_launch.monitor", "list", "--json")


def in_shell(project: Project, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of ``script``, in which ``"$@"`` is the command."""
    return subprocess.run(
        ["sh", "-c", script, "sh", sys.executable, "-m", *words],
        cwd=project.directory,
        env=project.environment(),
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
    )


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize("words", [DRY, LIST, ("grpo_launch", "--cfg", "job", "config=exp")])
def test_a_working_directory_that_is_gone(project: Project, words: tuple[str, ...]) -> None:
    done = in_shell(project, 'mkdir gone; cd gone; rmdir ../gone; exec "$@"', *words)
    assert done.stderr == "error: working directory: is gone, change into one that exists\n"
    assert done.returncode == 3


@pytest.mark.slow
def test_a_working_directory_that_is_no_text(project: Project) -> None:
    script = 'mkdir "$(printf "n\\377n")"; cd n*n; ln -s ../configs configs; exec "$@"'
    done = in_shell(project, script, *DRY)
    assert done.returncode == 0, done.stderr
    assert b"/n\xffn" in os.fsencode(done.stdout)


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize("words", [DRY, LIST])
def test_a_full_disk_behind_standard_output(project: Project, words: tuple[str, ...]) -> None:
    done = in_shell(project, 'exec "$@" > /dev/full', *words)
    what = "output: cannot be written (No space left on device), write it elsewhere"
    assert done.stderr.splitlines()[-1] == f"error: {what}"
    assert "Traceback" not in done.stderr
    assert done.returncode == 3


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize("words", [DRY, LIST])
def test_streams_that_are_closed(project: Project, words: tuple[str, ...]) -> None:
    done = in_shell(project, 'exec "$@" <&- >&- 2>&-', *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    wrong = in_shell(project, 'exec "$@" >&-', "grpo_launch", "role=both", "config=nope")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: command line: config=nope")


@pytest.mark.parametrize("override", ["{}=1", "+{}=1", "config={}", "run.dir={}", "env.file={}"])
def test_a_very_long_word_is_one_short_line(project: Project, override: str) -> None:
    done = project.run("role=both", "config=exp", override.format("x" * 50_000))
    assert done.status in (2, 3)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert len(line) < 2500
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.EMFILE, "Too many", "x"), "open files: Too many, raise the limit (ulimit"),
        (OSError(errno.EIO, "broken"), "output: cannot be written (broken)"),
        (OSError(errno.EAGAIN, "busy"), "this machine: busy, see the whole error with"),
        (OSError(errno.EACCES, "denied", "a/b"), "a/b: denied, "),
        (OSError(errno.EACCES, "denied", b"a/\xff"), "a/"),
        (OSError(errno.ENAMETOOLONG, "long", f"a/{'x' * 300}/b"), f"({'x' * 100}...)"),
    ],
)
def test_what_the_machine_refuses_is_said(error: OSError, message: str) -> None:
    assert message in str(command.of_system(error))


def test_a_stream_that_was_closed_does_not_lend_its_number(tmp_path: Path) -> None:
    """The log of a run must not become the standard output of something else."""
    code = (
        "import os, sys; from grpo_launch.execute import command\n"
        "def body():\n"
        "    fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)\n"
        "    os.write(2, str(fd).encode())\n"
        "    return 0\n"
        "sys.exit(command.run(body, lambda error: 1))"
    )
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", code, str(tmp_path / "log")],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=True,
    )
    assert int(done.stderr) > 2


@pytest.mark.slow
def test_a_launch_where_no_record_can_name_the_directory(project: Project) -> None:
    script = 'mkdir "$(printf "n\\377n")"; cd n*n; cp -r ../configs .; exec "$@"'
    done = in_shell(project, script, *LAUNCH)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert done.stderr.rstrip().splitlines()[-1].startswith("error: ")


@pytest.mark.slow
def test_remarks_that_cannot_be_written_hold_no_launch_up(project: Project) -> None:
    done = in_shell(project, 'exec "$@" 2>/dev/full', *LAUNCH)
    assert done.returncode == 0
    (run,) = project.directory.glob("runs/exp/*")
    assert json.loads((run / "run.json").read_text())["state"] == "done"


@pytest.mark.slow
def test_json_says_also_what_the_machine_refuses(project: Project) -> None:
    words = ("grpo_launch", "role=check", "config=exp", "output=json")
    done = in_shell(project, 'GRPO_LAUNCH_LOCKS=/dev/null exec "$@"', *words)
    assert done.returncode == 3
    assert "/dev/null" in json.dumps(json.loads(done.stdout))
