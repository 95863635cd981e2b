"""Compose without Hydra's own settings: the short way of a plain command line.

With every configuration Hydra composes its settings (output directory, help, launcher,
sweeper, logging) and throws them away when ``hydra.compose`` returns. That is a quarter of
a composition (docs/adr/0024), and no setting of Hydra switches it off. These are the steps
of ``ConfigLoaderImpl.load_configuration`` without it: the parser, the defaults list, the
merge and the overrides are Hydra's own. Whatever fails here is composed again by
``hydra.compose``, which also has the last word on what is valid.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.defaults_list import create_defaults_list
from hydra._internal.utils import create_config_search_path
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf


def compose(directory: str, name: str, overrides: Sequence[str], version_base: str) -> DictConfig:
    """What ``hydra.compose`` returns for the primary configuration ``name`` in ``directory``.

    Args:
        directory: absolute.
        name: of the primary configuration, without ``.yaml``.
        overrides: of the command line; none of them a setting of Hydra.
        version_base: see ``hydra.initialize_config_dir``.

    Raises:
        hydra.errors.HydraException, omegaconf.errors.OmegaConfBaseException: something is wrong,
            or a native experiment has settings of Hydra, which this way does not know.
    """
    version.setbase(version_base)
    setup_globals()  # the resolvers: ${now:...}
    loader = ConfigLoaderImpl(create_config_search_path(directory))
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    loader.validate_sweep_overrides_legal(parsed, RunMode.RUN, from_shell=False)
    repository = CachingConfigRepository(loader.repository)
    defaults = create_defaults_list(
        repository, name, parsed, prepend_hydra=False, skip_missing=False
    )
    cfg = loader._compose_config_from_defaults_list(defaults.defaults, repository)
    OmegaConf.set_struct(cfg, True)
    loader._apply_overrides_to_config(defaults.config_overrides, cfg)
    return cfg
