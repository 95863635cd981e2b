"""Preflight: what the machine lacks is said before anything starts."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from grpo_launch.base.host import Host
from grpo_launch.checks import preflight
from grpo_launch.planning import listening
from tests.conftest import free_port
from tests.launch.helpers import closing_port


def problems_of(port: int) -> list[str]:
    wanted = listening.Port(port, "x.yaml: rlhf.vllm_server_port", "port=PORT")
    return [str(problem) for problem in preflight.port_problem(wanted)]


def test_a_free_port_passes() -> None:
    assert problems_of(free_port()) == []


@pytest.mark.parametrize("listens_on", ["127.0.0.1", "0.0.0.0"])
def test_a_busy_port_names_place_and_owner(listens_on: str) -> None:
    with socket.create_server((listens_on, 0)) as server:
        port = server.getsockname()[1]
        (problem,) = problems_of(port)
    assert problem.startswith("x.yaml: rlhf.vllm_server_port: port ")
    assert f"port {port} is in use by pid {os.getpid()} (" in problem
    assert Path(sys.executable).name in problem


def test_a_port_that_an_earlier_server_still_closes_is_named_so() -> None:
    """ms-swift binds without SO_REUSEADDR and would move to the next port."""
    with closing_port() as port:
        (problem,) = problems_of(port)
    assert "TIME_WAIT" in problem


def test_nobody_owns_a_free_port() -> None:
    assert preflight.owner_of(free_port()) is None


@pytest.mark.parametrize(
    ("environ", "devices"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0, 3,GPU-5ebe9f43"}, ["0", "3", "GPU-5ebe9f43"]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
    ],
)
def test_visible_devices_are_what_the_caller_may_use(
    environ: dict[str, str], devices: list[str]
) -> None:
    assert Host(Path("/"), environ, 0.0, "abcd").visible_devices() == devices


def test_without_the_variable_nvidia_smi_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\n[ "$1" = --query-gpu=index ] && printf "0\\n1\\n"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert Host(Path("/"), {}, 0.0, "abcd").visible_devices() == ["0", "1"]


def test_no_nvidia_smi_means_no_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Host(Path("/"), {}, 0.0, "abcd").visible_devices() == []
