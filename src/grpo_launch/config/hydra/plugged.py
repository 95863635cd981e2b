"""What plug-ins bring to Hydra: options of ``engine`` and ``learner``, and the group ``overlay``.

A plug-in needs no file in ``conf/``. What an accelerator replaces in an experiment is known by the
engine and the learner that were chosen (``config/overlay.py``).
"""

from __future__ import annotations

from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import OmegaConf

from grpo_launch.config import rollout
from grpo_launch.config.formats import sorting
from grpo_launch.config.overlay import overlay
from grpo_launch.plugins import ENGINES, LEARNERS

_OVERLAY = "overlay"
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
        return config_path in ("", _OVERLAY, *_GROUPS)

    def is_config(self, config_path: str) -> bool:
        """Whether a plug-in has this name, or it is what an accelerator replaces."""
        group, _, name = config_path.partition("/")
        return bool(name) if group == _OVERLAY else group in _GROUPS and name in _GROUPS[group]

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """The names in a group, for completion and "available options"."""
        if config_path == "":
            return [_OVERLAY, *_GROUPS] if results_filter != ObjectType.CONFIG else []
        if config_path not in _GROUPS or results_filter == ObjectType.GROUP:
            return []
        return _GROUPS[config_path].names()

    def load_config(self, config_path: str) -> ConfigResult:
        """Load the option of a plug-in, or what an accelerator replaces.

        Raises:
            ConfigLoadError: there is no such plug-in.
        """
        if not self.is_config(config_path):
            raise ConfigLoadError(f"no plug-in {config_path}")
        group, _, name = config_path.partition("/")
        if group == _OVERLAY:
            tree = overlay(name, rollout.chosen(), sorting.chosen())
            return self._result(tree, "_global_")
        return self._result({"name": name}, group)

    def _result(self, tree: dict[str, object], package: str) -> ConfigResult:
        node = OmegaConf.create(tree)
        return ConfigResult(self.provider, self.full_path(), node, {"package": package})
