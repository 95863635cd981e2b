"""Old command lines of ``scripts/run.sh``, and what each becomes.

``run_sh/lines.yaml`` holds them; ``run_sh/expected/NAME.txt`` is compared whole,
``pytest tests/compat --update-golden`` rewrites it.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.cli import phases
from grpo_launch.config.compat import run_table
from grpo_launch.config.compat.run_line import Surroundings, translate
from grpo_launch.config.hydra import hints
from grpo_launch.errors import ConfigError
from tests.conftest import ROOT

HERE = Path(__file__).parent / "run_sh"
LINES: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "lines.yaml").read_text())
PATHS = ["--data-path", "/data", "--log-path", "/log"]
ERROR = re.compile(r"error: \S.*: \S.*, \S.*")


def surroundings(case: dict[str, Any]) -> Surroundings:
    files = {Path(name) for name in case.get("files", ())}
    return Surroundings(
        cwd=Path("/here"),
        environ=case.get("environ", {}),
        devices=[str(n) for n in range(case.get("devices", 0))],
        is_directory=lambda path: path in ("/data", "/log"),
        is_file=lambda path: path in files,
    )


def become(case: dict[str, Any]) -> list[str]:
    """What a command line becomes, as the lines of its golden file."""
    arguments = [*([] if case.get("bare") else PATHS), *shlex.split(case["line"])]
    try:
        result = translate(arguments, run_table.load(), surroundings(case))
    except ConfigError as error:
        return [f"error: {line}" for line in error.lines()]
    return [
        *result.overrides,
        *(f"warning: {warning}" for warning in result.warnings),
        *(f"note: {note}" for note in result.notes),
    ]


@pytest.mark.parametrize("name", LINES)
def test_a_line_becomes_overrides_or_mistakes(name: str, request: pytest.FixtureRequest) -> None:
    lines = become(LINES[name])
    text = "".join(f"{line}\n" for line in lines)
    golden = HERE / "expected" / f"{name}.txt"
    if request.config.getoption("--update-golden", default=False):
        golden.write_text(text)
    assert text == golden.read_text()
    errors = [line for line in lines if line.startswith("error: ")]
    assert errors in ([], lines)
    assert [line for line in errors if not ERROR.fullmatch(line)] == []
    assert "never-shown" not in text


def test_every_line_has_its_golden_file() -> None:
    assert {path.stem for path in (HERE / "expected").glob("*.txt")} == {*LINES}


def test_an_override_is_said_once() -> None:
    for case in LINES.values():
        overrides = [line for line in become(case) if not re.match(r"(error|warning|note): ", line)]
        keys = [line.partition("=")[0].lstrip("+") for line in overrides]
        assert len(keys) == len({*keys})


def test_every_option_and_key_of_the_table_is_tried() -> None:
    table = run_table.load()
    said = " ".join(case["line"] for case in LINES.values()) + " ".join(PATHS)
    assert [name for name in table.options if name not in said] == []
    groups = {key.brings for key in table.keys.values()} - {""}
    assert groups == {*table.brings}


def run_sh(*arguments: str, directory: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(ROOT / "scripts" / "run.sh"), *arguments],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(directory), "PYTHON": "python", **environ},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("arguments", "status"), [((), 2), (("--rl-phase", "--help"), 0)])
def test_the_usage(arguments: tuple[str, ...], status: int, tmp_path: Path) -> None:
    done = run_sh(*arguments, directory=tmp_path)
    assert (done.returncode, done.stderr) == (status, "")
    assert done.stdout == phases.usage(run_table.load())
    assert all(name in done.stdout for name in run_table.load().options)
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_mistake_ends_the_script(tmp_path: Path) -> None:
    done = run_sh("--data-path", "data", "--log-path", "log", directory=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "error: --data-path: data is no directory, correct the path\n"
        "error: --rl-phase: is missing, add --rl-phase rollout, update or both\n"
    )
    assert [*tmp_path.iterdir()] == []


TABLE = run_table.load()
UPDATE = [*PATHS, "--rl-phase", "update"]
WORDS = st.one_of(
    st.sampled_from([*TABLE.options]),
    st.sampled_from(["rollout", "update", "both", "train-only", "1", "2", "1,1", "/data", "/log"]),
    st.builds(
        "{}{}={}".format,
        st.sampled_from(["", "+", "++", "~"]),
        st.sampled_from(
            [*run_table.load().keys, *run_table.load().refused, "env_config", "", "a.b"]
        ),
        st.one_of(st.sampled_from(["1", "a.jsonl", "''", "null", "[a,b]", "{a:1}"]), st.text()),
    ),
    st.text(),
)


@given(st.sampled_from([[], PATHS, UPDATE]), st.lists(WORDS, min_size=1, max_size=12))
def test_any_line_is_overrides_or_mistakes(before: list[str], words: list[str]) -> None:
    lines = become({"line": shlex.join([*before, *words]), "bare": True, "devices": 1})
    errors = [line for line in lines if line.startswith("error: ")]
    assert errors in ([], lines)
    assert [line for line in errors if not ERROR.fullmatch(line)] == []
    assert [line for line in lines if hints.key_of(line).startswith("env_config.")] == []
