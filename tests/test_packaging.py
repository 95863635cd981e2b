"""A built wheel works as the clone does: in another directory, with the user's own experiments."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

SHIPPED = [
    "conf/config.yaml",
    "configs/base.yaml",
    "configs/train/grpo/summary_1024.yaml",
    "constraints/cpu-lock.txt",
    "data/hanabi.grpo.jsonl",
    "engines/swift_cpu/pyproject.toml",
    "engines/swift_timing/grpo_launch_timing.py",
    "examples/hanabi/hanabi_gym/episode.py",
    "examples/hanabi/plugin.py",
    "examples/summary/plugin.py",
    "scripts/setup_engine.sh",
    "scripts/train.sh",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked where an installer would put it."""
    work = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(work)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    site = work / "site"
    with zipfile.ZipFile(next(work.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    return site


def launch(site: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, "-m", "grpo_launch", *arguments],
        cwd=cwd, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_everything_that_a_launch_needs_travels(site: Path) -> None:
    missing = [name for name in SHIPPED if not (site / "grpo_launch" / "_data" / name).is_file()]
    assert missing == []


def test_shipped_experiments_find_their_files_from_anywhere(site: Path, tmp_path: Path) -> None:
    done = launch(site, tmp_path, "role=both", "config=summary_1024", "dry_run=true")
    assert done.returncode == 0, done.stderr
    data = site / "grpo_launch" / "_data"
    assert f"- {data}/examples/summary/dataset.jsonl" in done.stdout
    assert f"- {data}/examples/summary/plugin.py" in done.stdout
    assert f"bash {data}/scripts/train.sh swift" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_own_experiments_beside_it_come_first(site: Path, tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    shipped = site / "grpo_launch" / "_data" / "configs" / "train" / "grpo" / "summary_1024.yaml"
    (tmp_path / "configs" / "mine.yaml").write_text(f"extends: {shipped}\nmodel: {{model: mine}}\n")
    (tmp_path / "configs" / "tiny_cpu.yaml").write_text("extends: mine.yaml\n")
    for name in ("mine", "tiny_cpu"):
        done = launch(site, tmp_path, "role=server", f"config={name}", "dry_run=true")
        assert done.returncode == 0, done.stderr
        assert "swift rollout --model mine " in done.stdout


def test_installed_console_script() -> None:
    script = Path(sys.executable).with_name("grpo-launch")
    done = subprocess.run([str(script), "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
