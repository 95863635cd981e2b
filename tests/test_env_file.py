"""``env.file``: what it fills, and what is said of a file that cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grpo_launch.base.host import Host
from grpo_launch.config import compose
from grpo_launch.errors import PreflightError
from grpo_launch.settle import env_file


def filled(tmp_path: Path, text: str | None, mode: int = 0o600, **environ: str) -> dict[str, str]:
    path = tmp_path / "secrets.env"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    said: list[str] = []
    config = compose.compose("tiny_cpu", ["env.file=secrets.env"])
    host = env_file.filled(config, Host(tmp_path, environ, 0.0, "0000"), said.append)
    return {**host.environ, **({"SAID": said[0]} if said else {})}


def test_it_fills_what_is_unset_or_blank(tmp_path: Path) -> None:
    text = "WANDB_API_KEY=from-file\nHF_TOKEN=from-file\nBLANK=from-file\n"
    found = filled(tmp_path, text, HF_TOKEN="callers", BLANK=" ", OTHER="x")
    assert found == {
        "WANDB_API_KEY": "from-file",
        "HF_TOKEN": "callers",
        "BLANK": "from-file",
        "OTHER": "x",
    }


def test_the_usual_spellings(tmp_path: Path) -> None:
    text = """
# a comment

export A=plain
B='single # quoted'
C="double\\tquoted"
D=with spaces # and a comment
E=
F=pa$$word${HOME}
"""
    assert filled(tmp_path, text) == {
        "A": "plain",
        "B": "single # quoted",
        "C": "double\tquoted",
        "D": "with spaces",
        "E": "",
        "F": "pa$$word${HOME}",
    }


@pytest.mark.parametrize(
    ("text", "line"), [("A=1\n\n\nnonsense\nB=2", 4), ("A='open", 1), ("A=1\n=x\n", 2), ("1A=x", 1)]
)
def test_a_line_that_is_none_is_named_and_not_shown(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(PreflightError) as caught:
        filled(tmp_path, text)
    expected = f"secrets.env:{line}: is no NAME=VALUE line, "
    assert str(caught.value) == expected + "write NAME=VALUE, quoted where it holds spaces or #"


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PreflightError) as caught:
        filled(tmp_path, None)
    assert str(caught.value) == (
        "command line: env.file: secrets.env cannot be read (No such file or directory), "
        "correct the path, or remove the key"
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/dev/zero", "has more than 1048576 bytes"),
        (".", "Is a directory"),
        ("pipe", "does not end within 0.01 s"),
    ],
)
def test_what_has_no_end_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(env_file, "_PATIENCE_S", 0.01 if name == "pipe" else 30.0)
    config = compose.compose("tiny_cpu", [f"env.file={name}"])
    with pytest.raises(PreflightError) as caught:
        env_file.filled(config, Host(tmp_path, {}, 0.0, "0000"), print)
    assert f"env.file: {name} cannot be read ({why}), " in str(caught.value)


def test_it_may_come_through_a_pipe(tmp_path: Path) -> None:
    """``env.file=<(pass show training)``."""
    reading, writing = os.pipe()
    os.write(writing, b"A=1\n")
    os.close(writing)
    config = compose.compose("tiny_cpu", [f"env.file=/dev/fd/{reading}"])
    host = env_file.filled(config, Host(tmp_path, {}, 0.0, "0000"), print)
    os.close(reading)
    assert host.environ == {"A": "1"}


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o606])
def test_others_who_can_read_it_are_warned_of(tmp_path: Path, mode: int) -> None:
    said = filled(tmp_path, "A=1", mode)["SAID"]
    assert said == (
        "warning: command line: env.file: others can read secrets.env, run chmod 600 secrets.env"
    )


def test_a_private_file_is_no_warning(tmp_path: Path) -> None:
    assert "SAID" not in filled(tmp_path, "A=1", 0o600)


@pytest.mark.slow
def test_without_a_file_the_environment_stays(tmp_path: Path) -> None:
    host = Host(tmp_path, {"A": "1"}, 0.0, "0000")
    assert env_file.filled(compose.compose("tiny_cpu"), host, print) is host
