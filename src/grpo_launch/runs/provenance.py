"""Where a run's results come from: code, packages, devices."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import grpo_launch
from grpo_launch import runtimes
from grpo_launch.base.host import nvidia_smi
from grpo_launch.config import schema
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.engines.base import engine
from grpo_launch.learners.base import learner
from grpo_launch.plan import LEARNER, SERVER
from grpo_launch.runtimes import installed

_OWN_PACKAGES = ("hydra-core", "omegaconf", "httpx", "pyyaml", "rich")


def collect(config: LaunchConfig, environ: Mapping[str, str], cwd: Path) -> dict[str, Any]:
    """Facts for ``provenance.json``; what cannot be told is null."""
    cuda = config.accelerator.kind is schema.AcceleratorKind.cuda
    return {
        "grpo_launch": grpo_launch.__version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "git": {
            "experiment": _git(config.path.parent),
            "working_directory": _git(cwd),
        },
        "packages": {name: _version(name) for name in _OWN_PACKAGES},
        "engine_packages": _engine_packages(config, environ, cwd),
        "devices": nvidia_smi("index", "name", "uuid", "memory.total") if cuda else ["cpu"],
    }


def _git(directory: Path) -> dict[str, Any] | None:
    """Commit and dirtiness of the repository around ``directory``."""
    commit = _git_output(directory, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _git_output(directory, "status", "--porcelain")
    return {"commit": commit.strip(), "dirty": None if changes is None else bool(changes.strip())}


def _git_output(directory: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(directory), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _engine_packages(
    config: LaunchConfig, environ: Mapping[str, str], cwd: Path
) -> dict[str, str] | None:
    """Versions in the environments of both halves, from files; null where one is not known."""
    halves = (
        (SERVER, config.engine.entry, engine(config.engine.name).packages),
        (LEARNER, config.learner.entry, learner(config.learner.name).packages),
    )
    found: dict[str, str] = {}
    for part, entry, names in halves:
        python = runtimes.of(config.runtime_of(part)).python(entry, environ, cwd)
        if names and python is None:
            return None
        if python is not None:
            found |= installed.versions(installed.roots(python, environ), names)
    return found
