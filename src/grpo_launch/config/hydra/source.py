"""Hydra's view of the experiments: a ``ConfigSource`` and where it is searched.

``config=NAME`` makes Hydra load ``config/NAME`` from an ``experiments://DIR``
source. A legacy file becomes one node, merged in plain Python; its bases appear
in Hydra's defaults tree as empty *display nodes*, so that
``--info defaults-tree`` shows the chain without Hydra merging it. A file with a
``# @package`` header is a native Hydra file and is left to Hydra.

``accelerated/ACCELERATOR/NAME`` is what the experiment says for that accelerator, or
nothing; the primary configuration lists it behind the accelerator's overlay.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, ListConfig, OmegaConf

from grpo_launch.base import resources
from grpo_launch.config import rollout, schema
from grpo_launch.config.formats import accelerated, document, experiment, extends, leaves, lift
from grpo_launch.config.hydra import lookup, plugged, shipped
from grpo_launch.errors import ConfigError

GROUP = "config"
"""The Hydra group whose options are experiments."""

BASES = "extends"
"""The prefix of display nodes in Hydra's defaults tree."""


@dataclass(frozen=True)
class View:
    """How much Hydra gets to see.

    Hydra builds and copies a node for every leaf, several times. What neither the
    command line nor a group can touch travels as one opaque leaf instead
    (docs/adr/0010).

    Attributes:
        inspected: whether the composition itself is looked at: then the bases appear
            in the defaults tree, and Hydra's own settings are composed as well.
        opened: top-level keys of an experiment that are nodes; None: all.
    """

    inspected: bool = True
    opened: frozenset[Any] | None = None

    def of(self, train: dict[Any, Any]) -> Any:
        """``train`` as Hydra gets it."""
        if self.opened is None:
            return leaves.encode(train)
        return leaves.encode({k: v if k in self.opened else _closed(v) for k, v in train.items()})


WHOLE = View()
"""Everything: what ``--cfg``, ``--info`` and other flags of Hydra show."""

view: ContextVar[View] = ContextVar("view", default=WHOLE)
"""The view of the composition that is going on; Hydra makes the sources itself."""


def _closed(value: Any) -> Any:
    return leaves.Opaque(value) if isinstance(value, dict | list) else value


class ExperimentSource(ConfigSource):
    """A directory of experiments, mounted as Hydra's group ``config``."""

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path)
        self._base = lookup.Base(Path(self.path), Path.cwd())
        self._display: dict[str, list[str]] = {}

    @staticmethod
    def scheme() -> str:
        """The scheme of search path entries, ``experiments://DIR``."""
        return "experiments"

    def available(self) -> bool:
        """Whether the directory exists."""
        return self._base.directory.is_dir()

    def is_group(self, config_path: str) -> bool:
        """``config`` is a group even when empty: otherwise ``config=X`` is a value override."""
        return config_path in ("", GROUP)

    def is_config(self, config_path: str) -> bool:
        """Whether an experiment, or a display node of one that was loaded, has this name."""
        return config_path in self._display or self._find(config_path) is not None

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """The names in a group, for completion and "available options"."""
        if config_path == "":
            return [GROUP] if results_filter != ObjectType.CONFIG else []
        if config_path != GROUP or results_filter == ObjectType.GROUP:
            return []
        return sorted(set(self._base.names()))

    def load_config(self, config_path: str) -> ConfigResult:
        """Load an experiment or a display node.

        Raises:
            ConfigLoadError: there is no such experiment.
            ConfigError: the experiment or a base of it is wrong.
        """
        if config_path in self._display:
            return self._result({"defaults": self._display[config_path]})
        path = self._find(config_path)
        if path is None:
            raise ConfigLoadError(f"no experiment {config_path} in {self.full_path()}")
        accelerator = _accelerator(config_path)
        if accelerator is not None:
            return self._accelerated(path, accelerator)
        header = _header(path)
        if header is not None:
            return self._native(path, header)
        return self._legacy(path)

    def _find(self, config_path: str) -> Path | None:
        group, _, name = config_path.partition("/")
        if group == accelerated.GROUP:
            name = name.partition("/")[2]
        return self._base.find(name) if group in (GROUP, accelerated.GROUP) else None

    def _accelerated(self, path: Path, accelerator: str) -> ConfigResult:
        accelerator = accelerated.canonical(accelerator)
        if is_native(path):
            block = accelerated.of_native(path, accelerator)
        else:
            block = experiment.load(path).accelerators.blocks.get(accelerator)
        return self._result(block.node if block else {})

    def _native(self, path: Path, header: dict[str, str | None]) -> ConfigResult:
        extends.load(path)  # what is no mapping, or no YAML, is refused with its line
        try:
            config = OmegaConf.load(path)
        except yaml.MarkedYAMLError as error:  # Hydra is stricter: no duplicate keys
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            where = f"{document.shown(path)}:{line}"
            raise ConfigError(where, f"{error.problem}", "correct it") from None
        if isinstance(config, DictConfig):
            config.pop(lift.ACCELERATORS, None)  # served apart, see _accelerated
            server = config.get(rollout.NODE)
            for name in [*server] if isinstance(server, DictConfig) else ():
                if (own := rollout.own_name(name)) != name:
                    server[own] = server.pop(name)
        OmegaConf.update(config, "experiment", _identity(path))
        return ConfigResult(self.provider, self.full_path(), config, header)

    def _legacy(self, path: Path) -> ConfigResult:
        loaded = experiment.load(path)
        how = view.get()
        bases = loaded.tree.bases if how.inspected else ()
        defaults: list[Any] = [f"/{name}" for name in _DisplayNames(self._display).of(bases)]
        defaults += ["_self_", *({f"override /{k}": v} for k, v in loaded.lifted.choices.items())]
        defaults += _schema_of(loaded)
        node = {
            "defaults": defaults,
            "experiment": _identity(path, loaded.tree.reading.name),
            **loaded.lifted.nodes,
        }
        return self._result({**node, "train": how.of(loaded.train)})

    def _result(self, node: dict[str, Any]) -> ConfigResult:
        config = OmegaConf.create(node, flags={"allow_objects": True})
        return ConfigResult(self.provider, self.full_path(), config, {"package": "_global_"})


class ExperimentSearchPath(SearchPathPlugin):
    """Puts the experiments' directories on Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append one ``experiments://`` entry for each base."""
        if not view.get().inspected:
            scheme = shipped.ShippedSource.scheme()
            search_path.prepend("grpo_launch", f"{scheme}://{resources.path('conf')}")
        for base in bases():
            search_path.append("grpo_launch", f"{ExperimentSource.scheme()}://{base}")
        search_path.append("grpo_launch", f"{plugged.PluginSource.scheme()}://")


def bases() -> list[Path]:
    """The directories of experiments that this process searches, in order."""
    return lookup.default_bases(Path.cwd(), os.environ, resources.path("configs"))


def register() -> None:
    """Register the plugins with Hydra; they stay out of other Hydra programs.

    And what presets count with: ``${count:${gpus.server}}`` is the length of a list, null of null.
    """
    OmegaConf.register_new_resolver("count", _count, replace=True)
    plugins = Plugins.instance()
    plugins.register(ExperimentSource)
    plugins.register(shipped.ShippedSource)
    plugins.register(plugged.PluginSource)
    plugins.register(ExperimentSearchPath)


def _count(items: Any) -> int | None:
    return None if items is None else len(items)


def _schema_of(loaded: experiment.Experiment) -> list[dict[str, str]]:
    """The choice of the schema that an experiment's own engine needs, where nothing chose one.

    In a sweep over experiments Hydra composes each of them itself.
    """
    engine = rollout.named((lift.block(loaded.train, lift.LAUNCH_BLOCK) or {}).get("engine"))
    if rollout.is_chosen() or engine in (None, schema.ENGINE) or not rollout.is_known(engine):
        return []
    ConfigStore.instance().store(group=rollout.NODE, name=engine, node=rollout.settings(engine))
    return [{f"override /{rollout.NODE}": engine}]


def is_native(path: Path) -> bool:
    """Whether an experiment is a native Hydra file: it has a ``# @package`` header."""
    return _header(path) is not None


def is_intact(train: Any, how: View) -> bool:
    """Whether nothing was merged over what a view had closed."""
    if how.opened is None or not isinstance(train, DictConfig):
        return True
    closed = (train._get_node(key) for key in train if key not in how.opened)
    return not any(isinstance(node, DictConfig | ListConfig) for node in closed)


class _DisplayNames:
    """Names for the display nodes of one experiment.

    A base that is reached twice gets a distinct, childless name the second time:
    Hydra would otherwise expand a ladder of diamonds exponentially.
    """

    def __init__(self, display: dict[str, list[str]]) -> None:
        self._display = display
        self._seen: dict[str, int] = {}

    def of(self, bases: Iterable[extends.LegacyTree]) -> list[str]:
        names: list[str] = []
        for base in bases:
            shown = f"{BASES}/{_escaped(document.shown(base.path))}"
            count = self._seen[shown] = self._seen.get(shown, 0) + 1
            name = shown if count == 1 else f"{shown} (again {count - 1})"
            names.append(name)
            self._display[name] = []
            if count == 1:
                self._display[name] = [f"/{child}" for child in self.of(base.bases)]
        return names


def _escaped(name: str) -> str:
    # Hydra reads "@" as a package and "${" as an interpolation, and cuts "..".
    return name.lstrip("/").replace("%", "%25").replace("@", "%40").replace("${", "%24{")


def _identity(path: Path, name: str | None = None) -> dict[str, str]:
    # These are typed strings, so an interpolation in a file name is escaped, not made opaque.
    named = path.stem if name is None else name
    return {"name": named.replace("${", "\\${"), "path": str(path).replace("${", "\\${")}


def _accelerator(config_path: str) -> str | None:
    """The accelerator of ``accelerated/ACCELERATOR/NAME``; None for other names."""
    group, _, rest = config_path.partition("/")
    return rest.partition("/")[0] if group == accelerated.GROUP else None


def _header(path: Path) -> dict[str, str | None] | None:
    """The Hydra header of a native file, or None for a legacy one."""
    if path.suffix == document.PYTHON:
        return None
    head = document.read_bytes(path)[:512].decode("utf-8", "replace")
    if not any(line.lstrip("# \t").startswith("@package") for line in _comments(head)):
        return None
    return ConfigSource._get_header_dict(head)


def _comments(head: str) -> list[str]:
    lines = [line.strip() for line in head.splitlines() if line.strip()]
    return [line for line in lines[: _first_content(lines)] if line.startswith("#")]


def _first_content(lines: list[str]) -> int:
    return next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
