"""``data/hanabi*.grpo.jsonl`` are what the example's script writes, in the environment's form."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from hanabi_gym.settings import Settings
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--rows", "64", "--hand-size", "2", "--colors", "2", "--ranks", "2"]
SHIPPED = {"hanabi.grpo.jsonl": [], "hanabi_tiny.grpo.jsonl": TINY}


def _load() -> Any:
    path = ROOT / "examples" / "hanabi" / "make_dataset.py"
    spec = importlib.util.spec_from_file_location("example_hanabi_make_dataset", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = _load()


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_file_is_what_the_script_writes(name: str, tmp_path: Path) -> None:
    made = tmp_path / "new" / name
    assert script.main([*SHIPPED[name], "--output", str(made)]) == 0
    assert made.read_bytes() == (ROOT / "data" / name).read_bytes()


@pytest.mark.parametrize("name", SHIPPED)
def test_every_row_names_the_environment_and_a_game_that_exists(name: str) -> None:
    rows = [json.loads(line) for line in (ROOT / "data" / name).read_text().splitlines()]
    assert len({json.dumps(row["messages"]) for row in rows}) == len(rows)
    assert [Settings.of_row(row["env_config"]).seed for row in rows] == list(
        range(1, len(rows) + 1)
    )
    for row in rows:
        assert list(row) == ["messages", "env_config"]
        assert row["env_config"]["name"] == "hanabi_env"
        assert [message["role"] for message in row["messages"]] == ["user"]


@given(rows=st.integers(1, 20), players=st.integers(2, 5), seed=st.integers(0, 10_000))
def test_more_rows_begin_with_the_same(rows: int, players: int, seed: int) -> None:
    made = script.make_rows(rows=rows, players=players, seed=seed)
    assert made == script.make_rows(rows=rows + 3, players=players, seed=seed)[:rows]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--players", "6"], "env_config.players is 6, choose a number from 2 to 5"),
        (["--rows", "0"], "--rows is 0, set at least 1"),
        (["--seed", "-1"], "env_config.seed is -1, choose a number from 0 to 2147483647"),
    ],
)
def test_an_impossible_game_is_one_line_and_writes_nothing(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "made.jsonl"
    assert script.main([*arguments, "--output", str(made)]) == 2
    assert capsys.readouterr().err == f"error: {said}\n"
    assert not made.exists()
