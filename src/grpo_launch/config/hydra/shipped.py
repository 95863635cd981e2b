"""The groups of ``conf/`` for a composition whose parts nobody looks at.

Where neither a flag nor a setting of Hydra was given (``short.py``), this source stands
before Hydra's own: the primary configuration has the defaults list alone, without Hydra's
groups, and the files of ``conf/`` are parsed once a process, by libyaml. What it does not
have, the other sources have (docs/adr/0010).
"""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import yaml
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf

from grpo_launch.config import rollout, schema
from grpo_launch.config.formats import accelerated

_TYPES = "grpo_launch_types"
"""The schema. Hydra would match a config with what the ConfigStore has under the same name."""

_TYPED_GROUP = rollout.NODE
"""The group whose only option is its part of the schema."""

_ACCELERATED = f"optional {accelerated.GROUP}"
"""Without a default for ``config``, which a plain command line names: OmegaConf parses anything
but a plain interpolation whenever it makes a node of it, here six times."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ShippedSource(ConfigSource):
    """``conf/`` without Hydra's own groups; errors are left to the sources behind it."""

    @staticmethod
    def scheme() -> str:
        """The scheme of search path entries, ``shipped://DIR``."""
        return "shipped"

    def available(self) -> bool:
        """Whether the directory exists."""
        return Path(self.path).is_dir()

    def is_group(self, config_path: str) -> bool:
        """The typed group alone, which is no directory; the others are found in their files."""
        return config_path == _TYPED_GROUP

    def is_config(self, config_path: str) -> bool:
        """Whether this is the schema or a file of ``conf/``."""
        return config_path == _TYPES or self._file(config_path).is_file()

    def list(
        self,
        config_path: str,  # noqa: ARG002
        results_filter: ObjectType | None,  # noqa: ARG002
    ) -> list[str]:
        """Nothing: only error messages ask what there is to choose from."""
        return []

    def load_config(self, config_path: str) -> ConfigResult:
        """Load the schema or a file of ``conf/``."""
        if config_path == _TYPES:
            return self._result(copy.deepcopy(_types(rollout.launch())), {"package": None})
        data, header = _parsed(self._file(config_path))
        if config_path == schema.PRIMARY:
            data = _without_hydra(data)
        return self._result(OmegaConf.create(data), dict(header))

    def _file(self, config_path: str) -> Path:
        return Path(self.path, f"{config_path}.yaml")

    def _result(self, config: DictConfig, header: dict[str, str | None]) -> ConfigResult:
        return ConfigResult(self.provider, self.full_path(), config, header)


@functools.cache
def _types(launch: type[schema.Launch]) -> DictConfig:
    return OmegaConf.structured(launch)


@functools.cache
def _parsed(path: Path) -> tuple[dict[str, Any], dict[str, str | None]]:
    """The data and the header of a file that ships with the package, so it does not change."""
    text = path.read_text(encoding="utf-8")
    data = yaml.load(text, _LOADER)  # noqa: S506  # a safe one
    return data, ConfigSource._get_header_dict(text)


def _without_hydra(primary: dict[str, Any]) -> dict[str, Any]:
    """The primary configuration with the schema from here and nothing that is Hydra's."""
    defaults: list[Any] = [_TYPES]
    for entry in primary["defaults"]:
        name = next(iter(entry)) if isinstance(entry, dict) else entry
        if name == _ACCELERATED:
            defaults.append({_ACCELERATED: "${accelerator}/${config}"})
        elif name not in (schema.SCHEMA_NAME, _TYPED_GROUP) and "hydra/" not in name:
            defaults.append(entry)
    return {"defaults": defaults}
