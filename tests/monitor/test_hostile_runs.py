"""Run directories that are broken or forged: one line each, and never a word about another run."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.monitor import cli
from tests.monitor.made import identity, lost, make_run

BAD, GOOD = "exp/20261121-140000-bad0", "exp/20261121-130000-900d"
DEEP = "[" * 100_000 + "]" * 100_000


def replaced(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink(missing_ok=True)
    make(path)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(50 << 30)


BADNESS: dict[str, Callable[[Path], object]] = {
    "FIFO": os.mkfifo,
    "directory": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "50 GiB": sparse,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "deep": lambda path: path.write_text(DEEP),
    "deep below a key": lambda path: path.write_text(
        '{"format": 3, "a": ' + "[" * 900 + "]" * 900 + "}"
    ),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\0"),
    "a list": lambda path: path.write_text("[]"),
    "a number of 10,000 digits": lambda path: path.write_text("9" * 10_000),
}
FILES = ("run.json", "plan.json", "timing.jsonl", "output/v0-now/logging.jsonl", "config.yaml")


def called(
    *words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["grpo-runs", *words])
    began = time.monotonic()
    status = cli.main()
    assert time.monotonic() - began < 20
    shown = capsys.readouterr()
    return status, shown.out, shown.err


@pytest.mark.costly
@pytest.mark.parametrize("make", BADNESS.values(), ids=BADNESS)
@pytest.mark.parametrize("file", FILES)
def test_a_bad_run_hides_no_other(
    file: str,
    make: Callable[[Path], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs", GOOD, steps=2)
    bad = make_run(tmp_path / "runs", BAD, steps=2, timing=[{"kind": "start"}])
    replaced(bad / file, make)
    for words in (["list"], ["list", "--json"]):
        status, out, err = called(*words, monkeypatch=monkeypatch, capsys=capsys)
        assert (status, err) == (0, "")
        assert GOOD in out
        assert BAD in out
    for words in (["status", BAD], ["status", BAD, "--json"], ["logs", BAD], ["stop", BAD]):
        status, out, err = called(*words, monkeypatch=monkeypatch, capsys=capsys)
        assert status in (0, 2, 3), err
        assert len(err.splitlines()) <= 3
    status, out, _ = called(
        "prune", "--keep", "0", "--older-than", "0s", "--dry-run",
        monkeypatch=monkeypatch, capsys=capsys,
    )  # fmt: skip
    assert status == 0
    assert GOOD in out


@pytest.mark.costly
@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": {"files": ["/etc/*"], "step": "s", "reward": "r"}},
        {"metrics": {"files": ["../../**"], "step": "s", "reward": "r"}},
        {"metrics": {"files": [""], "step": "s", "reward": "r"}},
        {"metrics": {"files": ["."], "step": "s", "reward": "r"}},
        {
            "checkpoints": {
                "directories": ["/"], "prefix": "c", "state": "s", "step": "s", "weights": ["*"],
            }
        },
        {
            "checkpoints": {
                "directories": ["c"], "prefix": "c", "state": "s", "step": "s", "weights": ["*"],
                "named_by": "(",
            }
        },
        {"deadlines": {"term_s": "soon", "kill_s": 1}},
        {"output_dir": "\0"},
        {"run_dir": "\0", "output_dir": "\0/x"},
        {"processes": [{"name": "../..", "part": "server", "argv": [], "cwd": "\0", "log": ""}]},
    ],
)  # fmt: skip
def test_a_forged_plan_is_a_note(
    changes: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path / "runs", BAD, steps=2)
    # Today's format; what is not said is as in the oldest.
    (run / "plan.json").write_text(json.dumps({"format": 5, **changes}))
    for words in (["list"], ["status", BAD], ["logs", BAD], ["stop", BAD], ["list", "--json"]):
        status, out, err = called(*words, monkeypatch=monkeypatch, capsys=capsys)
        assert status in (0, 2, 3), (words, err)
        assert BAD in out + err


EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\x7f\u202eevil\r\n\x08"


def acts(text: str) -> bool:
    return any(character in text for character in "\x1b\x9b\x7f\x07\x08\r\u202e")


def poisoned(value: Any) -> Any:
    """Every text in some JSON, keys of no meaning as well, with what acts on a terminal."""
    if isinstance(value, dict):
        return {**{key: poisoned(item) for key, item in value.items()}, EVIL: EVIL}
    if isinstance(value, list):
        return [poisoned(item) for item in value]
    return f"{value}{EVIL}" if isinstance(value, str) else value


def poison(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    host = record["supervisor"]
    body = poisoned(record)
    body["supervisor"] = {**host, EVIL: EVIL}
    body["processes"] = {f"server{EVIL}": body["processes"]["server"], **body["processes"]}
    body["attempts"][0]["processes"] = dict(body["processes"])
    body["afterwards"] = {EVIL: {"state": EVIL, "detail": EVIL}}
    (run / "run.json").write_text(json.dumps(body))
    plan = json.loads((run / "plan.json").read_text())
    plan["processes"].append({**plan["processes"][0], "name": f"server{EVIL}"})
    (run / "plan.json").write_text(json.dumps({**plan, EVIL: EVIL, "experiment": EVIL}))
    for name in ("server", "learner"):
        log = run / "logs" / "attempt_1" / f"{name}.log"
        log.write_text(f"{EVIL}\nTraceback (most recent call last):\nValueError: {EVIL}\n{EVIL}")
    row = {"reward": 1.0, "global_step/max_steps": "3/40", EVIL: 1.0, "loss": EVIL}
    with (run / "output" / "v0-now" / "logging.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


SHOWS = (
    ["list"], ["list", "--json"], ["list", "--wide"],
    ["status", BAD], ["status", BAD, "--json"],
    ["logs", BAD], ["logs", BAD, "server"], ["logs", BAD, "--json"],
    ["watch", BAD, "--once"], ["watch", BAD], ["logs", f"{BAD}{EVIL}"], ["status", EVIL],
    ["stop", BAD], ["stop", EVIL], ["stop", "--all"],
    ["prune", "--keep", "0", "--older-than", "0s", "--dry-run"], ["--runs", EVIL, "list"],
    ["list", EVIL], [EVIL], ["logs", "-n", EVIL], ["prune", "--state", EVIL],
)  # fmt: skip


@pytest.mark.costly
@pytest.mark.parametrize("words", SHOWS, ids=repr)
@pytest.mark.parametrize("state", ["ended", "lost", "on another host"])
def test_nothing_of_a_run_acts_on_a_terminal(
    words: list[str],
    state: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    changes: dict[str, Any] = {} if state == "ended" else lost()
    if state == "on another host":
        changes["supervisor"] = {**identity(), "host": f"node{EVIL}"}
    logs = {"server": b"", "learner": b""}
    run = make_run(tmp_path / "runs", BAD, steps=2, logs=logs, **changes)
    poison(run)
    make_run(tmp_path / "runs", f"e{EVIL.replace('/', '')}/20261121-140000-{EVIL}", steps=2)
    (tmp_path / "runs" / "latest").symlink_to(BAD)
    monkeypatch.setattr(sys, "argv", ["grpo-runs", *words])
    try:
        status = cli.main()
    except SystemExit as left:
        status = int(left.code or 0)
    shown = capsys.readouterr()
    assert status in (0, 2, 3)
    assert not acts(shown.out)
    assert not acts(shown.err)
    assert shown.out + shown.err
