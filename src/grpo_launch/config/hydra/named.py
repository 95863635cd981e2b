"""What a command line names: the experiment's file, and with it the engine and its flags."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeGuard, cast

from grpo_launch.config import rollout
from grpo_launch.config.formats import document, experiment, extends, forms, lift, sorting
from grpo_launch.config.hydra import hints, lookup, source
from grpo_launch.config.launch_config import legacy_keys
from grpo_launch.errors import ConfigError

_DEEPEST = 6
"""Mappings around a ``rollout_server``: ``custom.extra.launch.accelerators.cpu``."""


@contextlib.contextmanager
def choosing(arguments: Sequence[str]) -> Generator[None]:
    """Let compositions in the block have the settings that a command line and its files need."""
    with (
        sorting.choosing(_chosen(arguments, "learner")),
        rollout.choosing(engine_of(arguments), _settings(arguments)),
    ):
        yield


def engine_of(arguments: Sequence[str]) -> str | None:
    """The engine that a command line, or else its experiment, names.

    Returns:
        None where neither names one that there is, or a sweep names several.
    """
    name = _chosen(arguments, "engine")
    return name if name is not None and rollout.is_known(name) else None


def _chosen(arguments: Sequence[str], node: str) -> str | None:
    """What a command line, or else its experiment, names as its engine or learner."""
    typed = {hints.key_of(item): hints.unquoted(item.partition("=")[2]) for item in arguments}
    name = typed.get(f"{node}.name", typed.get(node))
    path = _path(typed["config"]) if name is None and "config" in typed else None
    try:
        if path is not None:
            name = (_of_native if source.is_native(path) else _of_experiment)(path, node)
    except (ConfigError, ValueError):  # of a header, Hydra's own
        return None  # composing it says what is wrong
    return name


def _settings(arguments: Sequence[str]) -> Iterator[str]:
    """The keys below ``rollout_server`` that a command line and its experiments set."""
    for item in arguments:
        node, _, key = hints.key_of(item).partition(".")
        if node == rollout.NODE and key:
            yield key.partition(".")[0]
        elif node == "config":
            for name in item.partition("=")[2].split(","):  # of a sweep several
                path = _path(hints.unquoted(name))
                with contextlib.suppress(ConfigError):  # composing it says what is wrong
                    yield from _below(extends.load(path).data, depth=0) if path else ()


def _below(node: Any, depth: int) -> Iterator[str]:
    """The keys of every mapping called ``rollout_server``: for an accelerator there is another."""
    if not isinstance(node, dict) or depth > _DEEPEST:
        return
    for key, value in cast("dict[Any, Any]", node).items():
        if key == rollout.NODE and isinstance(value, dict):
            yield from map(str, cast("dict[Any, Any]", value))
        else:
            yield from _below(value, depth + 1)


def _of_experiment(path: Path, node: str) -> str | None:
    """The engine or learner that an experiment's launch block names."""
    block = lift.block(extends.load(path, forms.read).data, lift.LAUNCH_BLOCK) or {}
    return rollout.named(block.get(node))


def _of_native(path: Path, node: str) -> str | None:
    """The engine or learner of a native Hydra file: in its defaults list, or by its own key."""
    data = extends.load(path).data
    entries = data.get("defaults")
    chosen = [
        value
        for entry in (entries if isinstance(entries, list) else [])
        for key, value in (entry.items() if isinstance(entry, dict) else ())
        if str(key).removeprefix("override ").lstrip("/") == node
    ]
    return rollout.named(chosen[-1] if chosen else data.get(node))


def wrong_in_file(arguments: Sequence[str]) -> list[ConfigError]:
    """What is wrong with the experiment of a command line that is not composed."""
    named = [item for item in arguments if hints.key_of(item) == "config"]
    path = _path(hints.unquoted(named[-1].partition("=")[2])) if named else None
    try:
        return [m.error for m in experiment.read(path).mistakes] if _is_legacy(path) else []
    except ConfigError as error:
        return [error]


def place_of(name: str, key: str) -> str | None:
    """``FILE: KEY`` as a legacy experiment says a dotted key, or None for another one."""
    try:
        path = _path(name)
        return experiment.read(path).where(*legacy_keys(key)) if _is_legacy(path) else None
    except ConfigError:
        return None


def file_of(name: str) -> str | None:
    """The file of an experiment as it is shown, or None where it is not found."""
    path = _path(name)
    return document.shown(path) if path else None


def _path(name: str) -> Path | None:
    found = (lookup.Base(base, Path.cwd()).find(name) for base in source.bases())
    return next((path for path in found if path), None)


def _is_legacy(path: Path | None) -> TypeGuard[Path]:
    return path is not None and not source.is_native(path)
