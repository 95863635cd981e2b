"""Which versions a run records of its engine and learner."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpo_launch.config import compose
from grpo_launch.runs import provenance
from tests.flags.environments import SITE, conda, venv

PACKAGES = ("ms_swift-4.6.0", "trl-0.29.1", "torch-2.11.0", "numpy-2.4.0")


@pytest.mark.parametrize("kind", ["venv", "conda", "current"])
def test_versions_are_recorded_for_every_runtime(tmp_path: Path, kind: str) -> None:
    prefix = tmp_path / "miniforge/envs/ms"
    (venv if kind == "venv" else conda)(prefix)
    for name in PACKAGES:
        (prefix / SITE / f"{name}.dist-info").mkdir()
    for command in (tmp_path / "miniforge/bin/conda", prefix / "bin/swift"):
        command.parent.mkdir(exist_ok=True)
        command.write_text("#!/bin/sh\n")
        command.chmod(0o755)
    overrides = {"venv": [f"runtime.path={prefix}"], "conda": ["runtime.name=ms"], "current": []}
    config = compose.compose("tiny_cpu", [f"runtime={kind}", "accelerator=cpu", *overrides[kind]])
    path = tmp_path / "miniforge/bin" if kind == "conda" else prefix / "bin"
    environ = {"PATH": str(path), "HOME": str(tmp_path)}
    assert provenance.collect(config, environ, tmp_path)["engine_packages"] == {
        "ms_swift": "4.6.0",
        "torch": "2.11.0",
        "trl": "0.29.1",
    }


def test_they_are_not_known_where_there_is_no_interpreter(tmp_path: Path) -> None:
    config = compose.compose("tiny_cpu", ["accelerator=cpu", "runtime=conda", "runtime.name=ms"])
    environ = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    assert provenance.collect(config, environ, tmp_path)["engine_packages"] is None
