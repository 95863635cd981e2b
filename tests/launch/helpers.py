"""What the tests of the backends share: waiting for what other processes do."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

from grpo_launch.runs import record
from tests.conftest import Project

PATIENCE_S = 40.0
T = TypeVar("T")


def until(look: Callable[[], T | bool | None]) -> T:
    """What ``look`` sees once it is something; other processes change what it looks at."""
    deadline = time.monotonic() + PATIENCE_S
    while not (seen := look()):
        assert time.monotonic() < deadline, f"{look} has not seen it"
        select.select([], [], [], 0.02)
    return seen


def run_of(project: Project, name: str) -> Path:
    return project.directory / "runs" / name


def read(run: Path) -> dict[str, Any]:
    return json.loads((run / record.NAME).read_text())


def in_state(run: Path, *states: str) -> dict[str, Any]:
    """The record once the run is in one of ``states``."""
    return until(lambda: (state := read(run))["state"] in states and state)


def supervisor(run: Path) -> int:
    return read(run)["supervisor"]["pid"]


def end_of(pid: int) -> None:
    """Wait until a process that is no child of ours has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    assert poller.poll(PATIENCE_S * 1000), f"pid {pid} does not end"
    os.close(descriptor)


def nothing_left(project: Project) -> None:
    """Wait until nothing of the project's runs is there any more."""
    until(lambda: project.left_over() == [])


def plan_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "plan.json").read_text())


def argument(argv: list[str], name: str) -> str:
    return argv[argv.index(name) + 1]


def safetensors(values: int) -> bytes:
    """A file of one tensor of ``values`` bytes (the format's README)."""
    entry = {"dtype": "U8", "shape": [values], "data_offsets": [0, values]}
    header = json.dumps({"w": entry}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(values)


def checkpoint(directory: Path, step: int, *, state: bool = True, cut: int = 0) -> Path:
    """A checkpoint; without its state, or with weights that miss ``cut`` bytes."""
    path = directory / f"checkpoint-{step}"
    path.mkdir(parents=True)
    weights = safetensors(64)
    (path / "model.safetensors").write_bytes(weights[: len(weights) - cut])
    (path / "optimizer.pt").write_bytes(b"x")
    if state:
        (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return path


@contextlib.contextmanager
def closing_port() -> Generator[int]:
    """A port in TIME_WAIT: its server closed a connection first, and is gone."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()
    yield port
