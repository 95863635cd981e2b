"""Files of shipped experiments, found from any working directory."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from grpo_launch.base import resources

_FILES = ("dataset", "val_dataset", "external_plugins", "custom_register_path")
"""Arguments that may name a file of the project."""


def located(key: str, value: Any, cwd: Path) -> Any:
    """``value`` with the files of shipped experiments found.

    A relative path that does not exist in the working directory but does among
    the files that ship with grpo_launch becomes absolute; anything else stays as
    it is. A dataset's ``#rows`` suffix is kept.
    """
    if key not in _FILES:
        return value
    if isinstance(value, list):
        return [located(key, item, cwd) for item in cast("list[Any]", value)]
    if not isinstance(value, str) or not value:
        return value
    name, hash_, rows = value.partition("#")
    return f"{found(name, cwd)}{hash_}{rows}"


def found(name: str, cwd: Path) -> str:
    """The path of a file: below the working directory, else of one that ships, else as it is."""
    shipped = resources.path(name)
    return name if (cwd / name).exists() or not shipped.exists() else str(shipped)


@functools.cache
def overlay(path: Path) -> Mapping[str, Any]:
    """The tree of a YAML file that a plug-in ships: what it replaces in an experiment."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def relative(path: Path, cwd: Path) -> str:
    """``path`` as it is best shown: below ``cwd`` without it."""
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)
