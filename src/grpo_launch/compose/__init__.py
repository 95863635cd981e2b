"""Compose an experiment, the groups and the command line into one configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from grpo_launch import resources, schema
from grpo_launch.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from grpo_launch.compose.config import LaunchConfig
    from grpo_launch.compose.source import View

PRIMARY = "config"
"""The name of the primary configuration file in ``conf/``."""

VERSION_BASE = "1.3"
"""The Hydra defaults that this application is written for."""

_DEFAULT_ROLE = "role=check"


def register() -> None:
    """Register the schema and the plugins with Hydra; calling it again changes nothing."""
    from grpo_launch.compose import source

    schema.register()
    source.register()


def compose(config: str, overrides: Sequence[str] = ()) -> LaunchConfig:
    """Compose an experiment as the command line would.

    Args:
        config: what ``config=`` takes: a bare name, a path below ``configs/`` or
            the working directory, or an absolute path.
        overrides: further command line arguments, ``key=value`` each.

    Returns:
        The composed configuration; ``.train`` is plain Python data.

    Raises:
        ConfigError: an unknown experiment or key, a wrong type, a malformed file.
    """
    from grpo_launch.compose import hints

    given = list(overrides)
    if not any(item.startswith("role=") for item in given):
        given.insert(0, _DEFAULT_ROLE)
    return _compose([f"config={hints.quoted(config)}", *given], tuple(overrides))


def compose_arguments(arguments: Sequence[str]) -> LaunchConfig:
    """Compose a whole command line, ``config=`` and ``role=`` included.

    Raises:
        ConfigError: see :func:`compose`.
    """
    return _compose(arguments, tuple(arguments))


def _compose(arguments: Sequence[str], overrides: tuple[str, ...]) -> LaunchConfig:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from grpo_launch.compose import hints
    from grpo_launch.compose.config import from_hydra

    hints.check_overrides(arguments)
    try:
        return from_hydra(_seen(hints.with_known_flags(arguments)), overrides)
    except (HydraException, OmegaConfBaseException, ValueError, OverflowError) as error:
        raise explain(error, arguments) from error
    except RecursionError:
        raise ConfigError("command line", "is nested too deeply", "flatten it") from None


def explain(error: Exception, overrides: Sequence[str]) -> ConfigError:
    """The one-line form of an error that Hydra raised for these overrides."""
    from grpo_launch.compose import translate

    line = translate.CommandLine(overrides, lambda: _known_keys(overrides), _options, _file)
    return translate.translate(error, line)


def _file(experiment: str) -> str | None:
    """The file of an experiment as it is shown, or None where it is not found."""
    from pathlib import Path

    from grpo_launch.compose import document, lookup, source

    found = (lookup.Base(base, Path.cwd()).find(experiment) for base in source.bases())
    return next((document.shown(path) for path in found if path), None)


def _options(group: str) -> list[str]:
    """The names that a group offers, experiments included."""
    from pathlib import Path

    from grpo_launch.compose import lookup, source

    if group == source.GROUP:
        return sorted({n for b in source.bases() for n in lookup.Base(b, Path.cwd()).names()})
    if group == "rollout_server":
        return ["schema"]  # registered, not a file
    return sorted(path.stem for path in resources.path(f"conf/{group}").glob("*.yaml"))


def _seen(arguments: Sequence[str]) -> DictConfig:
    """Compose with as much open to Hydra as the arguments can touch.

    Only what succeeds counts: whatever is wrong is composed again, whole, so that
    Hydra's error has everything to name.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from grpo_launch.compose import hints, source

    keys = [hints.key_of(item).split(".") for item in arguments]
    touched = {key[1] for key in keys if key[0] == "train" and len(key) > 1}
    opened = frozenset((*schema.SECTIONS, "global_max_length", *touched))
    every = any("${" in item for item in arguments) or ["train"] in keys
    how = source.View(inspected=False, opened=None if every else opened)
    try:
        cfg = _composed(arguments, how)
    except (HydraException, OmegaConfBaseException, ValueError, OverflowError):
        return _composed(arguments, source.WHOLE)
    # A group of the user's own may touch more: merged over an opaque leaf, it replaced it.
    return cfg if source.is_intact(cfg.train, how) else _composed(arguments, source.WHOLE)


def _composed(arguments: Sequence[str], how: View) -> DictConfig:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from grpo_launch.compose import source

    source.register()
    if how.inspected:
        schema.register()
    outer = GlobalHydra.instance().hydra  # a caller may itself be a Hydra application
    GlobalHydra.instance().hydra = None
    token = source.view.set(how)
    try:
        with initialize_config_dir(
            str(resources.path("conf")), job_name="grpo_launch", version_base=VERSION_BASE
        ):
            return hydra_compose(PRIMARY, list(arguments))
    finally:
        source.view.reset(token)
        GlobalHydra.instance().hydra = outer  # Hydra replaced the instance meanwhile


def _known_keys(overrides: Sequence[str]) -> Iterator[str]:
    """The dotted keys of the configuration with the group choices alone."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from grpo_launch.compose import source

    groups = ("config", "role", *schema.GROUPS)
    choices = [item for item in overrides if item.partition("=")[0] in groups]
    try:
        cfg = _composed(choices, source.WHOLE)
    except (HydraException, OmegaConfBaseException, ValueError, OverflowError):
        return  # the choices themselves are wrong; there is nothing to suggest
    yield from _dotted(cfg, "")


def _dotted(node: Any, prefix: str) -> Iterator[str]:
    from omegaconf import DictConfig

    for key in cast("DictConfig", node):
        name = f"{prefix}{key}"
        yield name
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            yield from _dotted(child, name + ".")
