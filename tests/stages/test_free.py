"""The memory of GPUs is waited for; what is in use when the time is over is named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.errors import LaunchError
from grpo_launch.stages import free, nvml
from grpo_launch.stages.free import Waiting

FAKE = Path(__file__).parents[1] / "fakes" / "nvml"
MODULE = "grpo_launch.stages.free"
HELD = {"17": "/usr/bin/python3.11", "18": None}


@pytest.fixture(autouse=True)
def faked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)


def device(*used: float | str, uuid: str = "GPU-1a2b", **more: Any) -> dict[str, Any]:
    return {"uuid": uuid, "used": list(used), **more}


def waited(
    monkeypatch: pytest.MonkeyPatch, names: str, *devices: dict[str, Any], **more: Any
) -> tuple[float, list[str]]:
    """How long it took by a clock that only sleeping moves, and what was said."""
    monkeypatch.setenv("FAKE_NVML", json.dumps({"devices": devices, **more}))
    now, said = [0.0], list[str]()

    def sleep(seconds: float) -> None:
        now[0] += seconds

    with nvml.opened(names.split(",")) as opened:
        how = Waiting(timeout_s=60)
        return free.wait(how, opened, said.append, clock=lambda: now[0], sleep=sleep), said


MIG = device(70, uuid="GPU-9", parts=[None, device(1, uuid="MIG-77aa"), device(30, uuid="MIG-78")])


@pytest.mark.parametrize(
    ("names", "devices", "seconds"),
    [
        ("0", [device(9.99)], 0),
        ("0", [device(1), device(70)], 0),
        ("0,1", [device(1), device(70, 70, 70, 10, 9)], 2),
        ("GPU-1a2b", [device(30, 30, 3)], 1),
        ("GPU-1", [device(70, uuid="GPU-2"), device(30, 30, 3)], 1),
        ("MIG-77aa", [MIG], 0),
        ("MIG-77", [device(70, uuid="GPU-3"), MIG], 0),
        ("0", [device("unknown", "unknown", 70, 1)], 1.5),
        ("0", [device("unsupported")], 0),
    ],
)
def test_how_long_it_waits(
    monkeypatch: pytest.MonkeyPatch, names: str, devices: list[dict[str, Any]], seconds: float
) -> None:
    assert waited(monkeypatch, names, *devices)[0] == seconds


def test_what_it_says_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    used = [34.14] * 42
    _, said = waited(monkeypatch, "0,1", device(*used, 1, processes=HELD), device("unsupported"))
    line = "waiting for GPU 0, 34.1 GiB in use by pid 17 (python3.11), pid 18"
    assert said == ["warning: GPU 1: its memory is not known (Not Supported)", line, line, line]


@pytest.mark.parametrize(
    ("names", "scenario", "status", "message"),
    [
        (
            "0,1",
            {"devices": [device(34.14, processes=HELD), device(11)]},
            3,
            "GPU 0, GPU 1: not free after 60 s: GPU 0, 34.1 GiB in use by pid 17 (python3.11),",
        ),
        (
            "0",
            {"devices": [device(11, processes=HELD)], "processes": 4},
            3,
            "GPU 0: not free after 60 s: GPU 0, 11.0 GiB in use, end what",
        ),
        (
            "0",
            {"devices": [device(11, processes=HELD, uuid="a"), device(1, 11, "lost")]},
            3,
            "GPU 0: not free after 60 s: GPU 0, 11.0 GiB in use by pid 17 (python3.11), pid 18, ",
        ),
        ("0,1", {"devices": [device(11), device(1, 11, "lost")]}, 3, "GPU 1: is lost (GPU is los"),
        (
            "0",
            {"devices": [device("unknown")]},
            3,
            "GPU 0: not free after 60 s: GPU 0, memory not known (Unknown Error), look at nvidia",
        ),
        ("7", {"devices": [device(1)]}, 2, "GPU 7: NVML knows none (Invalid Argument), name dev"),
        ("GPU-x", {"devices": [device(1)]}, 2, "GPU GPU-x: NVML knows none (Not Found), name dev"),
        ("MIG-x", {"devices": [MIG, device(1)]}, 2, "GPU MIG-x: NVML knows none (Not Found)"),
        (
            "GPU-1",
            {"devices": [device(1), device(1, uuid="GPU-1b")]},
            2,
            "GPU GPU-1: NVML knows none (Not Found)",
        ),
        ("0", {"init": 9}, 3, "NVML: does not answer (Driver Not Loaded), look at nvidia-smi"),
    ],
)
def test_what_it_does_not_wait_for(
    monkeypatch: pytest.MonkeyPatch,
    names: str,
    scenario: dict[str, Any],
    status: int,
    message: str,
) -> None:
    with pytest.raises(LaunchError) as caught:
        waited(monkeypatch, names, *scenario.pop("devices", ()), **scenario)
    assert str(caught.value).startswith(message)
    assert caught.value.status == status


def test_before_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_NVML", json.dumps({"devices": [device(70)]}))
    assert nvml.problem(["0"]) is None
    assert "GPU 1: NVML knows none" in str(nvml.problem(["1"]))
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert str(nvml.problem(["0"])) == (
        "NVML: the memory of GPUs is not known, pip install 'grpo_launch[nvml]', or give server"
        " and learner devices of their own"
    )


def start(
    tmp_path: Path, devices: str, settings: Any, scenario: Any, path: str = str(FAKE)
) -> subprocess.Popen[str]:
    (tmp_path / "free.json").write_text(json.dumps(settings))
    return subprocess.Popen(
        [sys.executable, "-m", MODULE, str(tmp_path / "free.json"), "--devices", devices],
        env={**os.environ, "PYTHONPATH": path, "FAKE_NVML": json.dumps(scenario)},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("devices", "settings", "status", "message"),
    [
        ("0", {"below_gib": 10}, 0, " s\n"),
        (
            "0",
            {"below_gib": 1, "timeout_s": 0},
            3,
            ", 70.0 GiB in use, end what holds it, or raise gpu_wait.below_gib (now 1)\n",
        ),
        ("0", {"below_gib": 0}, 2, ": below_gib: 0.0 is not above 0, correct it\n"),
        (" , ", {}, 2, "error: --devices: names none, say 0,1\n"),
    ],
)
def test_as_a_program(
    tmp_path: Path, devices: str, settings: dict[str, Any], status: int, message: str
) -> None:
    with start(tmp_path, devices, settings, {"devices": [device(70, 9)]}) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == status
    assert said.endswith(message)
    assert ("GPU 0: free after " in said) is (status == 0)


def test_a_signal_ends_the_waiting(tmp_path: Path) -> None:
    with start(tmp_path, "0", {}, {"devices": [device(70)]}) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("waiting for GPU 0")
        before = time.monotonic()
        process.terminate()
        assert process.wait(10) == 128 + signal.SIGTERM
        assert time.monotonic() - before < 2
