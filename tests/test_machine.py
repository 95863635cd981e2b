"""What of a machine is too small for a run, and which versions are not known to fit."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.base import codec
from grpo_launch.checks import versions
from grpo_launch.checks.machine import Machine, disk, limits, room
from grpo_launch.config.compose import compose
from grpo_launch.config.hydra import lookup
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.engines.swift import engine

GIB = 1 << 30
LARGE = Machine(shm=64 * GIB, open_files=65536, processes=None, cores=8)
FITS = codec.read(Path(engine.__file__).with_name("fits.json"))


def warned(problems: list[Problem]) -> list[str]:
    assert {problem.severity for problem in problems} <= {Severity.WARNING}
    return [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("changes", "together", "message"),
    [
        ({}, 8, None),
        ({"shm": 64 << 20}, 1, None),
        ({"shm": None}, 8, None),
        ({"shm": GIB}, 8, None),
        (
            {"shm": 64 << 20},
            2,
            (
                "/dev/shm: has 64 MiB, which NCCL and vLLM fill with 2 GPUs, "
                "start the container with --shm-size=1g or more"
            ),
        ),
        ({"open_files": 1024}, 1, None),
        ({"open_files": None}, 1, None),
        (
            {"open_files": 256},
            1,
            (
                "ulimit -n: 256 open files are few for servers and data loaders, "
                "set it to 1024 or more"
            ),
        ),
        ({"processes": 400}, 1, None),
        (
            {"processes": 399},
            1,
            "ulimit -u: 399 threads are few for 10 processes on 8 cores, set it to 400 or more",
        ),
    ],
)
def test_limits(changes: dict[str, Any], together: int, message: str | None) -> None:
    machine = dataclasses.replace(LARGE, **changes)
    assert warned([*limits(machine, 10, together)]) == ([message] if message else [])


def test_this_machine_tells_its_limits() -> None:
    here = Machine.here()
    assert here.cores >= 1
    assert here.open_files is None or here.open_files > 0


@given(
    free=st.integers(0, 2**45), weights=st.integers(1, 2**40), kept=st.integers(1, 50),
    only_weights=st.booleans(),
)  # fmt: skip
def test_room_is_an_error_only_without_room_for_the_weights(
    free: int, weights: int, kept: int, *, only_weights: bool
) -> None:
    found = [p.severity for p in room(free, weights, kept, "out", only_weights=only_weights)]
    wanted = weights * kept * (1 if only_weights else 3)
    if free < weights:
        assert found == [Severity.ERROR]
    else:
        assert found == ([Severity.WARNING] if free < wanted else [])


def test_what_is_said_of_too_little_room() -> None:
    (few,) = room(4 * GIB, 2 * GIB, 3, "out", only_weights=False)
    assert str(few) == (
        "out: 4.0 GiB are free, 3 checkpoints take at least 18.0 GiB, make room, or lower "
        "save_total_limit or set save_only_model"
    )
    (none,) = room(GIB, 2 * GIB, 1, "out", only_weights=True)
    assert str(none) == (
        "out: 1.0 GiB are free, the weights of one checkpoint take 2.0 GiB, make room, or set "
        "output_dir"
    )


@pytest.mark.parametrize(
    ("tuner", "said"), [("full", 1), ("lora", 0)], ids=["full tuning", "an adapter"]
)
def test_the_weights_of_a_local_model_are_weighed(
    tuner: str, said: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)
    model = tmp_path / "models" / "tiny-qwen2"
    model.mkdir(parents=True)
    with (model / "model.safetensors").open("wb") as file:
        file.truncate(1 << 42)  # 4 TiB, sparse
    words = [f"train.tuner.tuner_type={tuner}"]
    config = compose("tiny_cpu", words)
    assert len([*disk(config, tmp_path / "runs" / "new", tmp_path)]) == said
    config = compose("tiny_cpu", [*words, "train.model.model=some/hub-name"])
    assert [*disk(config, tmp_path / "runs" / "new", tmp_path)] == []


@pytest.mark.parametrize(
    ("installed", "wrong"),
    [
        ({"ms_swift": "4.6.0", "trl": "0.29.1", "transformers": "5.19.0", "vllm": "0.32.0"}, []),
        ({"ms-swift": "4.6.0.dev0", "vllm": "0.10.2+cu128"}, []),
        ({"trl": "1.0.0"}, ["trl 1.0.0"]),
        ({"trl": "1"}, ["trl 1"]),
        ({"ms_swift": "4.7"}, ["ms_swift 4.7"]),
        ({"vllm": "0.9.2", "torch": "0.1"}, ["vllm 0.9.2"]),
        ({"vllm": "dev"}, []),
        ({}, []),
    ],
)
def test_versions_that_are_not_known_to_fit(installed: dict[str, str], wrong: list[str]) -> None:
    found = warned([*versions.misfits(installed, FITS, "runtime")])
    names = [match[1] for text in found if (match := re.match(r"runtime: (.*) is not known", text))]
    assert names == wrong
