"""What the rows of a data set say to an environment: counts, lines, bounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.learners.swift import dataset_rows
from grpo_launch.learners.swift.dataset_rows import Rows, read


def write(directory: Path, *rows: Any, name: str = "d.jsonl") -> str:
    """Write rows, text as it is; returns the file's name."""
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    (directory / name).write_text("".join(f"{line}\n" for line in lines))
    return name


def test_each_row_is_counted_and_the_first_bad_line_is_named(tmp_path: Path) -> None:
    rows = [
        {"env_config": {"name": "a"}},
        "",
        {"messages": []},
        {"env_config": None},
        {"env_config": {}},
        {"env_config": {"name": "b"}},
        {"env_config": {"name": "a"}},
    ]
    assert read(write(tmp_path, *rows), tmp_path) == Rows(
        "d.jsonl", lines=6, without=2, first_without=3, names=(("a", 1), ("b", 6)), nameless=5
    )


def test_what_data_dict_says_wins_as_in_ms_swift(tmp_path: Path) -> None:
    rows = [
        {"data_dict": {"env_config": {"name": "inner"}}, "env_config": {"name": "outer"}},
        {"data_dict": {"other": 1}, "env_config": {"name": "outer"}},
    ]
    assert read(write(tmp_path, *rows), tmp_path).names == (("inner", 1), ("outer", 2))


@pytest.mark.parametrize("bad", ["{", "[1]", "1", "nan x", "\x00", '{"a": "\ud800"', "[" * 100_000])
def test_reading_ends_at_the_first_line_that_is_no_object(tmp_path: Path, bad: str) -> None:
    name = write(tmp_path, {"env_config": {}}, bad.replace("\ud800", "?"), {"messages": []})
    found = read(name, tmp_path)
    assert (found.unreadable, found.lines, found.without, found.whole) == (2, 1, 0, False)


@pytest.mark.parametrize("entry", ["d.jsonl#500", "d.jsonl#0", "d.jsonl"])
def test_a_number_of_rows_is_no_part_of_the_file(tmp_path: Path, entry: str) -> None:
    write(tmp_path, {"env_config": {}})
    assert read(entry, tmp_path).name == "d.jsonl"
    assert read(entry, tmp_path).lines == 1


def test_a_file_whose_name_looks_like_one_is_found(tmp_path: Path) -> None:
    write(tmp_path, {"env_config": {}}, name="d#5.jsonl")
    write(tmp_path, {"env_config": {}}, name="d:a.jsonl")
    assert read("d#5.jsonl", tmp_path).lines == 1
    assert read("d:a.jsonl", tmp_path).lines == 1


@pytest.mark.parametrize("name", ["no.jsonl", "no.json", "./no", "/no/such", "no.jsonl#5", "../n"])
def test_a_file_that_is_not_there_is_missing(tmp_path: Path, name: str) -> None:
    assert read(name, tmp_path) == Rows(name.partition("#")[0], missing=True)


@pytest.mark.parametrize(
    ("entry", "name"),
    [("org/data", "org/data"), ("HF::org/data:sub#500", "org/data"), ("ms::org/data", "org/data")],
)
def test_a_data_set_of_a_hub_is_not_looked_at(tmp_path: Path, entry: str, name: str) -> None:
    assert read(entry, tmp_path) == Rows(name, unseen=f"{name} is a data set of a hub")


def test_what_is_no_json_lines_is_not_looked_into(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("a,b\n")
    (tmp_path / "directory").mkdir()
    assert read("d.csv", tmp_path).unseen == "d.csv holds no JSON lines"
    assert read("directory", tmp_path).unseen == "directory is a directory"
    assert read("a\0b", tmp_path).unseen is not None


def test_a_shipped_file_is_found_from_anywhere(tmp_path: Path) -> None:
    found = read("examples/digits/dataset.jsonl", tmp_path)
    assert (found.missing, found.unseen, found.without) == (False, None, found.lines)


def test_of_a_long_file_the_beginning_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_rows, "MAX_LINES", 3)
    name = write(tmp_path, *[{"env_config": {}}] * 3)
    assert (read(name, tmp_path).lines, read(name, tmp_path).whole) == (3, True)
    write(tmp_path, *[{"env_config": {}}] * 3, {"messages": []})
    found = read(name, tmp_path)
    assert (found.lines, found.whole, found.without) == (3, False, 0)


def test_one_endless_line_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_rows, "MAX_BYTES", 100)
    name = write(tmp_path, {"env_config": {}}, {"env_config": {"text": "x" * 1000}})
    found = read(name, tmp_path)
    assert (found.lines, found.whole, found.unreadable) == (1, False, None)


_configs = st.one_of(
    st.none(),
    st.text(max_size=3),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["name", "seed"]), st.sampled_from(["a", "b", 1]), max_size=2),
)
_rows = st.lists(st.one_of(st.just({}), st.fixed_dictionaries({"env_config": _configs})))


@given(rows=_rows)
def test_the_counts_are_those_of_a_plain_loop(
    rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("rows")
    found = read(write(directory, *rows), directory)
    without = [n for n, row in enumerate(rows, 1) if not isinstance(row.get("env_config"), dict)]
    assert (found.lines, found.whole, found.unreadable) == (len(rows), True, None)
    assert found.without == len(without)
    assert found.first_without == (without[0] if without else None)
    mappings = [c for row in rows if isinstance(c := row.get("env_config"), dict)]
    assert [name for name, _ in found.names] == [
        *dict.fromkeys(str(config["name"]) for config in mappings if "name" in config)
    ]
    assert (found.nameless is None) == all("name" in config for config in mappings)


@given(text=st.binary(max_size=60))
def test_any_file_is_survived(text: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("bytes")
    (directory / "d.jsonl").write_bytes(text)
    found = read("d.jsonl", directory)
    assert found.without <= found.lines
    assert not found.missing
