"""Models in directories: which files count, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grpo_launch.errors import ConfigError
from grpo_launch.stages import weights
from tests.stages.made import TENSORS, packed, save, save_sharded

NAMES = set(TENSORS)
HALVES = [dict(list(TENSORS.items())[:2]), dict(list(TENSORS.items())[2:])]


def test_one_file(tmp_path: Path) -> None:
    found = weights.read(save(tmp_path / "m"))
    assert set(found.tensors) == NAMES
    assert found.config["model_type"] == "qwen2"


def test_several_files(tmp_path: Path) -> None:
    assert set(weights.read(save_sharded(tmp_path / "m", HALVES)).tensors) == NAMES


def test_without_an_index_every_file_counts(tmp_path: Path) -> None:
    directory = save_sharded(tmp_path / "m", HALVES)
    (directory / weights.INDEX).unlink()
    assert set(weights.read(directory).tensors) == NAMES


def test_a_file_that_the_index_does_not_name_does_not_count(tmp_path: Path) -> None:
    directory = save_sharded(tmp_path / "m", HALVES)
    (directory / "consolidated.safetensors").write_bytes(packed({"other": (1,)}))
    assert set(weights.read(directory).tensors) == NAMES


def test_the_digest_is_of_the_headers(tmp_path: Path) -> None:
    first, second = save(tmp_path / "a", fill=1), save(tmp_path / "b", fill=2)
    assert weights.read(first).digest == weights.read(second).digest
    other = save(tmp_path / "c", dtype="BF16")
    assert weights.read(other).digest != weights.read(first).digest


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(save(tmp_path / "m"))
    assert weights.read(tmp_path / "latest").directory == (tmp_path / "m").resolve()


def test_what_is_wrong_with_a_directory(tmp_path: Path) -> None:
    def why(path: Path) -> str:
        with pytest.raises(ConfigError) as caught:
            weights.read(path)
        (line,) = caught.value.lines()
        return line

    assert "nowhere: is no directory" in why(tmp_path / "nowhere")
    assert "is no directory" in why(tmp_path / "a\0b")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "is no directory" in why(tmp_path / "loop")
    bare = save(tmp_path / "bare")
    (bare / "model.safetensors").unlink()
    assert "bare: has no *.safetensors, save the model as safetensors" in why(bare)
    (bare / "adapter_model.safetensors").write_bytes(packed({"lora": (1,)}))
    assert "holds a LoRA adapter" in why(bare)
    unsaid = save(tmp_path / "unsaid")
    (unsaid / "config.json").write_text("[")
    assert "config.json: is not JSON" in why(unsaid)
    (unsaid / "config.json").write_text("[]")
    assert "config.json: is no JSON object" in why(unsaid)
    (unsaid / "config.json").unlink()
    assert "config.json: cannot be read (No such file" in why(unsaid)
    part = save(tmp_path / "part")
    (part / "model.safetensors").write_bytes(packed(TENSORS)[:-1])
    assert "model.safetensors: is only a part of a file" in why(part)
    assert "has no tensors" in why(save(tmp_path / "none", {}))
    gone = save_sharded(tmp_path / "gone", HALVES, **{"model.x": "../other.safetensors"})
    assert "model.x: ../other.safetensors is not there" in why(gone)
    lacks = save_sharded(tmp_path / "l", HALVES, x="model-00001-of-00002.safetensors")
    assert "model-00001-of-00002.safetensors: lacks x, which model.safetens" in why(lacks)
    twice = save_sharded(tmp_path / "twice", [TENSORS, HALVES[0]])
    assert "has lm_head.weight, as another file does" in why(twice)
    (twice / weights.INDEX).write_text(json.dumps({"weight_map": []}))
    assert "has no weight_map" in why(twice)


def test_where_the_model_of_a_server_is(tmp_path: Path) -> None:
    there = save(tmp_path / "models" / "m")
    assert weights.located("models/m", tmp_path, {}) == there
    assert weights.located(str(there), Path("/"), {}) == there
    assert weights.located("a/b", tmp_path, {"HF_HOME": str(tmp_path)}) == tmp_path / "a/b"
    cached = tmp_path / "hub" / "models--a--b"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0123\n")
    for variables in ({"HF_HOME": str(tmp_path)}, {"HF_HUB_CACHE": str(tmp_path / "hub")}):
        assert weights.located("a/b", tmp_path, variables) == cached / "snapshots" / "0123"
