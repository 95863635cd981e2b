"""The groups ``engine`` and ``learner`` of other packages: a plug-in needs no file in ``conf/``."""

from __future__ import annotations

from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import OmegaConf

from grpo_launch.plugins import ENGINES, LEARNERS

_GROUPS = {"engine": ENGINES, "learner": LEARNERS}


class PluginSource(ConfigSource):
    """An option for each plug-in; it stands behind the files, which may say more."""

    @staticmethod
    def scheme() -> str:
        """The scheme of search path entries, ``plugins://``."""
        return "plugins"

    def available(self) -> bool:
        """It is always there."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Whether the group has plug-ins."""
        return config_path in ("", *_GROUPS)

    def is_config(self, config_path: str) -> bool:
        """Whether a plug-in has this name."""
        group, _, name = config_path.partition("/")
        return group in _GROUPS and name in _GROUPS[group].names()

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """The names in a group, for completion and "available options"."""
        if config_path == "":
            return [*_GROUPS] if results_filter != ObjectType.CONFIG else []
        if config_path not in _GROUPS or results_filter == ObjectType.GROUP:
            return []
        return _GROUPS[config_path].names()

    def load_config(self, config_path: str) -> ConfigResult:
        """Load the option of a plug-in.

        Raises:
            ConfigLoadError: there is no such plug-in.
        """
        if not self.is_config(config_path):
            raise ConfigLoadError(f"no plug-in {config_path}")
        group, _, name = config_path.partition("/")
        node = OmegaConf.create({"name": name})
        return ConfigResult(self.provider, self.full_path(), node, {"package": group})
