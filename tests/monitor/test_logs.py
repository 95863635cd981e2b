"""``grpo-runs logs``: the last lines, and those that follow until the run has ended."""

from __future__ import annotations

import io
import json
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from grpo_launch.base import atomic
from grpo_launch.errors import ConfigError
from grpo_launch.monitor import logs
from grpo_launch.monitor.context import Context
from grpo_launch.monitor.logs import Wanted
from grpo_launch.planning import devices, loop
from tests.composed import shipped
from tests.conftest import Project
from tests.monitor.called import COMMAND, grpo_runs, start
from tests.monitor.made import START, going_on, make_run
from tests.supervise.test_foreground import read_until

pytestmark = pytest.mark.slow

ENDED = {"state": "failed", "ended": START, "reason": "the learner ended with status 1"}
SERVER = b"".join(b"served %d\n" % i for i in range(30))
LEARNER = b"\x1b[32mstep 1\x1b[0m\nstep 2\rstep 3\nno end"


@pytest.fixture
def run(context: Context) -> Path:
    return make_run(context.root, logs={"server": SERVER, "learner": LEARNER})


def show(context: Context, wanted: Wanted, *, as_json: bool = False) -> str:
    assert isinstance(context.stdout, io.StringIO)
    assert logs.run(context, "latest", wanted, as_json=as_json) == 0
    return context.stdout.getvalue()


def test_the_last_lines_of_both_halves(context: Context, run: Path) -> None:
    assert show(context, Wanted(lines=2)).splitlines() == [
        "==> server, attempt 1 <==",
        "served 28",
        "served 29",
        "",
        "==> learner, attempt 1 <==",
        "step 3",
        "no end",
    ]


def test_one_half_as_json(context: Context, run: Path) -> None:
    text = show(context, Wanted(process="learner"), as_json=True)
    assert [json.loads(line) for line in text.splitlines()] == [
        {"process": "learner", "attempt": 1, "line": line}
        for line in ("step 1", "step 3", "no end")
    ]


@pytest.fixture
def looping(context: Context) -> Path:
    """A loop in its third iteration, which its second attempt does."""
    run = make_run(context.root)
    config = shipped("webagent", ["role=loop"])
    split = devices.assign(config, list("01234567"))
    (run / "plan.json").write_text(loop.build(config, split, str(run), run).to_json())
    (run / "logs" / "attempt_2").mkdir()
    for attempt, iteration in ((1, 0), (1, 1), (2, 1), (2, 2)):
        log = f"iterations/{iteration:04d}/logs/attempt_{attempt}/learner.log"
        (run / log).parent.mkdir(parents=True)
        (run / log).write_text(f"of {iteration} in {attempt}\n")
        atomic.point(run / "logs" / "learner.log", f"../{log}")
    return run


def test_the_stages_of_a_loop_have_logs(context: Context, looping: Path) -> None:
    expected = ["==> learner, iteration 2, attempt 2 <==", "of 2 in 2"]
    assert show(context, Wanted(process="learner")).splitlines() == expected
    (looping / "logs" / "learner.log").unlink()  # an attempt that has not come to it yet
    assert show(context, Wanted()).splitlines() == expected * 2


def test_a_stage_of_an_earlier_attempt(context: Context, looping: Path) -> None:
    text = show(context, Wanted(process="learner", attempt=1), as_json=True)
    line = {"process": "learner", "attempt": 1, "iteration": 1, "line": "of 1 in 1"}
    assert json.loads(text) == line


def test_a_follower_goes_from_iteration_to_iteration(looping: Path) -> None:
    reader = logs.Logs(looping, Wanted(process="learner"))
    assert [line.iteration for line in reader.read()] == [2]
    log = looping / "iterations" / "0003" / "logs" / "attempt_2" / "learner.log"
    log.parent.mkdir(parents=True)
    log.write_text("next\n")
    atomic.point(looping / "logs" / "learner.log", "../iterations/0003/logs/attempt_2/learner.log")
    assert [(line.iteration, line.text) for line in reader.read()] == [(3, "next")]
    assert list(reader.read()) == []


def test_an_earlier_attempt(context: Context, run: Path) -> None:
    second = run / "logs" / "attempt_2"
    second.mkdir()
    (second / "server.log").write_text("again\n")
    assert "again" in show(context, Wanted())
    assert show(context, Wanted(attempt=1, lines=1)).count("served") == 1


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(attempt=3), "has no logs of 3, choose 1"),
        (Wanted(process="learner"), "has no log of the learner yet, say -f to wait for it"),
    ],
)
def test_a_log_that_is_not_there(context: Context, wanted: Wanted, said: str) -> None:
    make_run(context.root, logs={"server": SERVER})
    with pytest.raises(ConfigError, match=said):
        logs.run(context, "latest", wanted, as_json=False)


def test_a_followed_run_that_has_ended_is_no_wait(context: Context, run: Path) -> None:
    assert "served 29" in show(context, Wanted(follow=True))
    assert isinstance(context.stderr, io.StringIO)
    assert context.stderr.getvalue() == (
        "exp/20261121-140000-aaaa: done, the learner ended with status 0\n"
    )


def test_what_the_launcher_said(context: Context, run: Path) -> None:
    wanted = Wanted(process="launcher")
    with pytest.raises(ConfigError, match="has no log of its launcher, look at the terminal"):
        logs.run(context, "latest", wanted, as_json=False)
    (run / "logs" / "launcher.log").write_text("step 1/40\n")
    assert show(context, wanted) == "==> launcher <==\nstep 1/40\n"


def read_to(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} never came")


def test_following_goes_on_across_a_restart_and_ends_with_the_run(project: Project) -> None:
    run = make_run(project.directory / "runs", logs={"learner": b"old\n" * 99}, **going_on())
    first, second = (run / "logs" / f"attempt_{number}" / "learner.log" for number in (1, 2))
    follower = start(project, "logs", "-f", "learner", "-n", "1")
    assert read_to(follower, "old") == "==> learner, attempt 1 <==\nold\n"
    with first.open("a") as log:
        log.write("more\n")
    assert read_to(follower, "more") == "more\n"
    with first.open("a") as log:
        log.write("last words")
    second.parent.mkdir()
    second.write_text("anew\n")
    assert read_to(follower, "anew") == "last words\n\n==> learner, attempt 2 <==\nanew\n"
    with second.open("a") as log:
        log.write("the end\n")
    body = json.loads((run / "run.json").read_text())
    atomic.write(run / "run.json", json.dumps({**body, **ENDED}))
    stdout, stderr = follower.communicate(timeout=30)
    assert follower.returncode == 0
    assert stdout == "the end\n"
    assert stderr == "exp/20261121-140000-aaaa: failed, the learner ended with status 1\n"


@pytest.mark.timeout(180)
def test_who_has_seen_enough_leaves_quietly(project: Project) -> None:
    launcher = project.start("role=server", "config=exp")
    read_until(launcher, "server: ready")
    interrupted = start(project, "logs", "-f")
    read_to(interrupted, "fake server:")
    interrupted.send_signal(signal.SIGINT)
    assert interrupted.communicate(timeout=30) == ("", "")
    assert interrupted.returncode == 130
    piped = start(project, "logs", "--follow")
    read_to(piped, "fake server:")
    assert piped.stdout is not None
    piped.stdout.close()  # as of `| grep -m1 ready`; the log says nothing more
    assert piped.wait(30) == 128 + signal.SIGPIPE
    assert piped.stderr is not None
    assert piped.stderr.read() == ""
    piped.stderr.close()
    assert launcher.poll() is None


def test_a_closed_pipe_is_quiet(project: Project) -> None:
    make_run(project.directory / "runs", logs={"server": SERVER * 10_000})
    command = f"{' '.join(COMMAND)} logs server -n 1000000 | head -n 1"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=project.directory,
        env=project.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("==> server, attempt 1 <==\n", "")


def test_a_terminal_is_safe_from_any_log(project: Project, printed: Callable[[], str]) -> None:
    hostile = bytes(range(256)) * 8000 + b"\n" + b"\x1b]0;title\x07" + b"\x1b[2J" * 1000 + b"end\n"
    make_run(project.directory / "runs", logs={"learner": hostile})
    done = grpo_runs(project, "logs", "learner")
    assert done.status == 0, done.stderr
    assert all(c.isprintable() or c in "\n\t" for c in done.stdout)
    assert done.stdout.endswith("end\n")
    assert max(len(line) for line in done.stdout.splitlines()) < 10_000


def test_server_means_all_of_several_and_one_can_be_named(context: Context) -> None:
    logs = {f"server_{n}": b"line of %d\n" % n for n in (10, 2, 0)}
    make_run(context.root, logs={**logs, "learner": b"step\n", "notes": b"own\n"})
    text = show(context, Wanted(process="server"), as_json=True)
    processes = [json.loads(line)["process"] for line in text.splitlines()]
    assert processes == ["server_0", "server_2", "server_10"]
    one = replace(context, stdout=io.StringIO())
    assert show(one, Wanted(process="server_2")) == "==> server_2, attempt 1 <==\nline of 2\n"


def test_a_server_that_is_not_there_is_said(context: Context, run: Path) -> None:
    with pytest.raises(
        ConfigError, match="has no process server_1, choose server or learner or launcher"
    ):
        show(context, Wanted(process="server_1"))
