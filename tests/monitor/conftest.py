"""Fixtures for the tests of ``grpo-runs``."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from grpo_launch.monitor.context import Context
from tests.monitor.made import START


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def context(tmp_path: Path, utc: None) -> Context:
    """The surroundings of a command in ``tmp_path``, ten minutes after the run's start."""
    return Context(
        root=tmp_path / "runs",
        cwd=tmp_path,
        stdin=io.StringIO(),
        stdout=io.StringIO(),
        stderr=io.StringIO(),
        now=lambda: START + 600,
    )


@pytest.fixture
def printed(context: Context) -> Callable[[], str]:
    def read() -> str:
        assert isinstance(context.stdout, io.StringIO)
        return context.stdout.getvalue()

    return read
