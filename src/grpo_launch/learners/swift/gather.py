"""The files that the rules of ms-swift's learner, and its summary, look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from grpo_launch.base.host import Host
from grpo_launch.config.arguments import find, listed
from grpo_launch.config.facts import MissingFiles
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem
from grpo_launch.learners.swift import (
    dataset_files,
    dataset_rows,
    episodes,
    model_files,
    plugin_source,
)
from grpo_launch.learners.swift.dataset_files import DataFiles
from grpo_launch.learners.swift.dataset_rows import Counts
from grpo_launch.learners.swift.episodes import Episodes, GymFacts
from grpo_launch.learners.swift.model_files import LocalModels


def facts(config: LaunchConfig, host: Host) -> tuple[object, ...]:
    """Everything that the rules know of files."""
    models = model_files.read(config, host.cwd, host.environ)
    data = None if config.role == "server" else dataset_files.read(config, host.cwd)
    return (
        models,
        *([data] if data else []),
        MissingFiles(tuple(_missing(config, models, data))),
        gym(config, host.cwd),
        *counts(config, host.cwd),
    )


def gym(config: LaunchConfig, cwd: Path) -> GymFacts:
    """The files of an experiment that plays episodes, of the half that reads them here.

    The rollout server reads no data set, and ``role=learner`` may have it on another machine.
    """
    played = Episodes.of(config)
    if not played.played:
        return GymFacts()
    elsewhere = "learner" if played.on_server else "server"
    entries = [entry for _, entry in episodes.data_sets(config)]
    return GymFacts(
        rows=None if config.role == "server" else tuple(dataset_rows.read(e, cwd) for e in entries),
        plugins=None
        if config.role == elsewhere
        else tuple(plugin_source.read(file, cwd) for file in played.plugins),
    )


def counts(config: LaunchConfig, cwd: Path) -> tuple[Counts, ...]:
    """How many rows ``dataset`` has; only a check asks, since it reads the files whole."""
    if config.role != "check":
        return ()
    entries = [item for item in listed(find(config, "dataset")[1]) if isinstance(item, str)]
    return (Counts(tuple((entry, dataset_rows.count(entry, cwd)) for entry in entries)),)


def _missing(
    config: LaunchConfig, models: LocalModels, data: DataFiles | None
) -> Iterator[Problem]:
    """What is named and is not on this machine."""
    for entry in (*models.entries, *(data.entries if data else ())):
        if entry.missing:
            what = f"{entry.name} does not exist"
            yield Problem(config.where(entry.key), what, "correct the path, or create it")
