"""The files that the rules of ms-swift's learner, and its summary, look at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from grpo_launch import runtimes
from grpo_launch.base.host import Host
from grpo_launch.config.arguments import find, listed
from grpo_launch.config.facts import MissingFiles
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.machine_checks import FILES, PACKAGES
from grpo_launch.config.problem import Problem
from grpo_launch.learners.swift import (
    dataset_files,
    dataset_rows,
    episodes,
    model_files,
    plugin_rules,
    plugin_source,
    registries,
)
from grpo_launch.learners.swift.dataset_files import DataFiles
from grpo_launch.learners.swift.dataset_rows import Counts
from grpo_launch.learners.swift.episodes import Episodes, GymFacts
from grpo_launch.learners.swift.model_files import LocalModels
from grpo_launch.learners.swift.plugin_rules import Plugins
from grpo_launch.learners.swift.plugin_source import ENVIRONMENTS, REWARDS, SCHEDULERS, Plugin
from grpo_launch.learners.swift.reward_columns import BUILT_IN, VERSION
from grpo_launch.runtimes import installed


def facts(config: LaunchConfig, host: Host) -> tuple[object, ...]:
    """Everything that the rules know of files."""
    models = model_files.read(config, host.cwd, host.environ)
    data = dataset_files.read(config, host.cwd) if config.trains else None
    plugins = Plugins(
        learner=_plugins(config, host.cwd, on_server=False) if config.trains else None,
        server=None if config.role == "learner" else _plugins(config, host.cwd, on_server=True),
    )
    played = gym(config, host.cwd)
    return (
        models,
        *([data] if data else []),
        plugins,
        MissingFiles(
            (
                *_missing(config, host, models, data, plugins),
                *_packages(config, host),
                *_modules(config, host, plugins),
            )
        ),
        played,
        registries.known(_wanted(config, plugins, played), lambda: _roots(config, host)),
        *counts(config, host.cwd),
    )


def _wanted(config: LaunchConfig, plugins: Plugins, played: GymFacts) -> dict[str, set[str]]:
    """The names that the experiment uses and no plugin registers, by registry."""
    told = Episodes.of(config)
    read = [*(plugin for _, plugin in plugins.all), *(played.plugins or ())]
    used = {
        REWARDS: {*map(str, listed(find(config, "reward_funcs", "rlhf")[1]))},
        SCHEDULERS: {told.scheduler} - {None},
        ENVIRONMENTS: {told.environment, *(n for r in played.rows or () for n, _ in r.names)}
        - {None},
    }
    own = {REWARDS: {name for plugin in read for name in plugin.rewards}}
    for registry in (SCHEDULERS, ENVIRONMENTS):
        own[registry] = {n for plugin in read for n in plugin.registered.get(registry, ())}
    return {key: {str(name) for name in names} - own[key] for key, names in used.items()}


def _roots(config: LaunchConfig, host: Host) -> tuple[Path, ...]:
    """Where the learner's interpreter finds packages; empty where it is not here."""
    python = runtimes.of(config.runtime).python(config.learner.entry, host.environ, host.cwd)
    return installed.roots(python, host.environ) if python and python.exists() else ()


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
        rows=tuple(dataset_rows.read(e, cwd) for e in entries) if config.trains else None,
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
    config: LaunchConfig, host: Host, models: LocalModels, data: DataFiles | None, plugins: Plugins
) -> Iterator[Problem]:
    """What is named and is not on this machine."""
    cwd, home = host.cwd, host.environ.get("HOME", "")
    files = [(entry.key, entry) for entry in (*models.entries, *(data.entries if data else ()))]
    for key, entry in (*files, *plugins.all):
        if entry.missing:
            what, fix = f"{entry.name} does not exist", "correct the path, or create it"
            parts = re.split(r"[\s,]+", entry.name.strip(", "))
            if len(parts) > 1 and all(dataset_rows.exists(cwd / part) for part in parts):
                what = f"{entry.name} is one text of several names"
                fix = f"write a list: [{', '.join(parts)}]"
            elif (there := _at_home(entry.name, home)) is not None:
                what, fix = f"ms-swift does not expand the ~ of {entry.name}", f"write {there}"
            yield Problem(config.where(key), what, fix, rule=FILES.name)


def _plugins(config: LaunchConfig, cwd: Path, *, on_server: bool) -> tuple[tuple[str, Plugin], ...]:
    pairs = plugin_rules.said(config, on_server=on_server)
    return tuple((key, plugin_source.read(name, cwd)) for key, name in pairs)


def _packages(config: LaunchConfig, host: Host) -> Iterator[Problem]:
    """Packages that ms-swift's own rewards import and its environment does not have.

    Not for a dry run, which looks at no environment.
    """
    key, value = find(config, "reward_funcs", "rlhf")
    named = [name for name in listed(value) if isinstance(name, str)]
    wanted = {p: n for n in named if n in BUILT_IN for p in BUILT_IN[n].packages}
    if not wanted or config.dry_run or not config.trains:
        return
    roots = _roots(config, host)
    if installed.version(roots, "swift", "ms-swift") != VERSION.split()[1]:
        return
    for package, name in wanted.items():
        if not any((r / package).is_dir() or (r / f"{package}.py").is_file() for r in roots):
            what = f"the reward {name} needs the package {package}, which is not installed"
            command = runtimes.of(config.runtime).python_command
            fix = f"install it with '{command} -m pip install {package}'"
            yield Problem(config.where(f"train.{key}"), what, fix, rule=PACKAGES.name)


def _modules(config: LaunchConfig, host: Host, plugins: Plugins) -> Iterator[Problem]:
    """Modules of ms-swift that a plugin imports and the installed version does not have."""
    if config.dry_run or not any(plugin.engine_imports for _, plugin in plugins.all):
        return
    engine = next((r / "swift" for r in _roots(config, host) if (r / "swift").is_dir()), None)
    if engine is None:
        return
    for key, plugin in plugins.all:
        for name, line in plugin.engine_imports:
            path = engine.joinpath(*name.split(".")[1:])
            if path.is_dir() or any(path.parent.glob(f"{path.name}.*")):
                continue
            what = f"{plugin.name}:{line} imports {name}, which the installed ms-swift lacks"
            fix = "import from where that version has it"
            if name.startswith("swift.plugin"):  # ms-swift 3
                fix = "import from swift.rewards or swift.rollout, as ms-swift 4 has it"
            yield Problem(config.where(key), what, fix)


def _at_home(name: str, home: str) -> Path | None:
    """What a name with ``~`` means to a shell, where it exists."""
    path = Path(home + name.partition("#")[0][1:]) if name.startswith("~/") and home else None
    return path if path and path.exists() else None
