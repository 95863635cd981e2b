"""Which runs may go, and that nothing else goes with them."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from grpo_launch.errors import ConfigError
from grpo_launch.monitor import prune
from grpo_launch.monitor.context import Context
from grpo_launch.monitor.prune import Choice
from grpo_launch.runs import find
from tests.monitor.made import START, going_on, identity, lost, make_run, process

A = "exp/20261121-140000-000a"
B = "exp/20261121-140000-000b"
C = "other/20261121-140000-000c"


def removed(context: Context, choice: Choice, *, dry: bool = False) -> set[str]:
    before = {run.name for run in find.runs(context.root)}
    out = replace(context, stdout=io.StringIO())
    assert prune.run(out, choice, dry=dry, yes=True, as_json=True) == 0
    assert isinstance(out.stdout, io.StringIO)
    body = json.loads(out.stdout.getvalue())
    said = {entry["run"] for entry in body["removed"]}
    gone = before - {run.name for run in find.runs(context.root)}
    assert gone == (set() if dry else said)
    assert {entry["run"] for entry in body["kept"]} == before - said
    return said


def test_only_what_has_ended_goes(context: Context) -> None:
    root = context.root
    make_run(root, A)
    make_run(root, "exp/20261121-140000-0001", **going_on())
    make_run(root, "exp/20261121-140000-0002", **lost(processes={"server": process(os.getppid())}))
    elsewhere = going_on(supervisor={**identity(), "host": "node7"})
    make_run(root, "exp/20261121-140000-0003", **elsewhere)
    (make_run(root, "exp/20261121-140000-0004") / "run.json").write_text("{}")
    make_run(root, "exp/20261121-140000-0005", state="odd")
    assert removed(context, Choice()) == {A}


def test_a_run_that_ended_but_left_something_alive_stays(context: Context) -> None:
    make_run(context.root, A, processes={"server": process(os.getppid())})
    assert removed(context, Choice()) == set()


@pytest.mark.parametrize(
    ("choice", "goes"),
    [
        (Choice(keep=1), {A}),
        (Choice(keep=2), set()),
        (Choice(older_than_s=500), {A, B}),
        (Choice(older_than_s=512), set()),
        (Choice(states=("failed",)), {C}),
        (Choice(states=("failed", "done"), older_than_s=500), {A, B}),
        (Choice(keep=1, states=("failed",)), set()),
    ],
)
def test_all_that_is_said_must_hold(context: Context, choice: Choice, goes: set[str]) -> None:
    for name, written in ((A, 1), (B, 2)):
        run = make_run(context.root, name)
        os.utime(run / "plan.json", (written, written))
    make_run(context.root, C, state="failed", ended=START + 599)
    assert removed(context, choice) == goes


@pytest.mark.parametrize("place", ["output/v0-now/checkpoint-10", "checkpoint-5"])
def test_checkpoints_stay_unless_they_are_named(context: Context, place: str) -> None:
    (make_run(context.root, A) / place).mkdir(parents=True)
    make_run(context.root, B)
    assert removed(context, Choice()) == {B}
    assert removed(context, Choice(with_checkpoints=True)) == {A}


def test_links_are_not_followed(context: Context, tmp_path: Path) -> None:
    outside = make_run(tmp_path / "archive", A)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "data").write_text("x")
    inside = make_run(context.root, B)
    (inside / "data").symlink_to(tmp_path / "precious")
    (context.root / "exp" / outside.name).symlink_to(outside)
    (context.root / "archive").symlink_to(tmp_path / "archive" / "exp")
    assert removed(context, Choice()) == {B}
    assert (outside / "run.json").is_file()
    assert (tmp_path / "precious" / "data").is_file()


def test_latest_is_repaired(context: Context) -> None:
    for name in (A, C):
        make_run(context.root, name)
    make_run(context.root, B, state="failed")
    link = context.root / "latest"
    link.symlink_to(B)
    removed(context, Choice(states=("failed",)))
    assert os.readlink(link) == C
    removed(context, Choice())
    assert not link.is_symlink()
    assert list(context.root.iterdir()) == []  # nor empty experiments


def test_an_interrupted_removal_is_no_run_and_is_finished_later(context: Context) -> None:
    make_run(context.root, "exp/.removing-20261121-140000-0009")
    make_run(context.root, A, **going_on())
    assert removed(context, Choice(), dry=True) == set()
    assert (context.root / "exp" / ".removing-20261121-140000-0009").is_dir()
    assert removed(context, Choice()) == set()
    assert sorted(path.name for path in (context.root / "exp").iterdir()) == [Path(A).name]


def test_a_dry_run_says_what_and_how_much(context: Context, printed: Callable[[], str]) -> None:
    (make_run(context.root, A) / "big").write_bytes(b"x" * 3_000_000)
    assert prune.run(context, Choice(), dry=True, yes=False, as_json=False) == 0
    rows = printed().splitlines()
    assert rows[1].startswith(f"{A}  done")
    assert rows[2].startswith("1 run, 2.9 MiB") or rows[2].startswith("1 run, 3.")
    assert (context.root / A).is_dir()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "gone"), [("y\n", True), ("n\n", False), ("", False)])
def test_a_person_is_asked(context: Context, answer: str, gone: bool) -> None:
    make_run(context.root, A)
    asked = replace(context, stdin=Terminal(answer))
    assert prune.run(asked, Choice(), dry=False, yes=False, as_json=False) == 0
    assert isinstance(context.stderr, io.StringIO)
    assert "remove 1 run? [y/N] " in context.stderr.getvalue()
    assert (context.root / A).is_dir() is not gone


def test_nobody_to_ask(context: Context) -> None:
    make_run(context.root, A)
    with pytest.raises(ConfigError, match="there is no terminal to ask at, say --yes"):
        prune.run(context, Choice(), dry=False, yes=False, as_json=False)
    assert (context.root / A).is_dir()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("12h", 43200), ("7d", 604800), ("2w", 1209600)],
)
def test_times(text: str, seconds: float) -> None:
    assert prune.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1.5h", "7y", "\u00b2d", "9" * 20 + "d"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ConfigError, match="is no time, say for example 7d"):
        prune.seconds(text)


def test_what_a_run_that_goes_on_has_been_told_of_stays(context: Context) -> None:
    for name in (A, B, C):
        (make_run(context.root, name) / "output" / "checkpoint-8").mkdir(parents=True)
    user = make_run(context.root, "exp/20261121-150000-0001", **going_on())
    (context.root / "newest").symlink_to(A)
    plan = json.loads((user / "plan.json").read_text())
    plan["processes"][0]["argv"] = ["serve", f"--model={context.root}/newest/output/checkpoint-8"]
    checkpoint = f"{context.root.name}/{B}/output/checkpoint-8"
    plan["files"] = [{"path": "x.yaml", "text": f"resume_from_checkpoint: {checkpoint}\n"}]
    (user / "plan.json").write_text(json.dumps(plan))
    assert removed(context, Choice(with_checkpoints=True)) == {C}


def test_a_checkpoint_that_a_restart_went_on_from_stays(context: Context) -> None:
    (make_run(context.root, A) / "checkpoint-8").mkdir(parents=True)
    fields = going_on()
    fields["attempts"][0]["resumed_from"] = str(context.root / A / "checkpoint-8")
    make_run(context.root, B, **fields)
    assert removed(context, Choice(with_checkpoints=True)) == set()
