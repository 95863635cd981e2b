"""Compose an experiment, the groups and the command line into one configuration."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from grpo_launch.base import resources
from grpo_launch.config import rollout, schema
from grpo_launch.config.compat import reading
from grpo_launch.config.formats import lift, sorting
from grpo_launch.config.mistake import KeyPath, Mistake
from grpo_launch.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from omegaconf import DictConfig

    from grpo_launch.config.compat.environment import FromEnvironment
    from grpo_launch.config.formats.experiment import Experiment
    from grpo_launch.config.hydra.source import View
    from grpo_launch.config.launch_config import LaunchConfig

VERSION_BASE = "1.3"
"""The Hydra defaults that this application is written for."""

_DEFAULT_ROLE = "role=check"


def register() -> None:
    """Register the schema and the plugins with Hydra; calling it again changes nothing."""
    from grpo_launch.config.hydra import source

    rollout.register()
    source.register()


def compose(
    config: str, overrides: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> LaunchConfig:
    """Compose an experiment as the command line would.

    Args:
        config: what ``config=`` takes: a bare name, a path below ``configs/`` or
            the working directory, or an absolute path.
        overrides: further command line arguments, ``key=value`` each.
        environ: the environment that ``compat=env`` reads; nothing else looks at it.

    Returns:
        The composed configuration; ``.train`` is plain Python data.

    Raises:
        ConfigError: an unknown experiment or key, a wrong type, a malformed file.
    """
    from grpo_launch.config.hydra import hints

    given = list(overrides)
    if not any(item.startswith("role=") for item in given):
        given.insert(0, _DEFAULT_ROLE)
    return _compose([f"config={hints.quoted(config)}", *given], tuple(overrides), environ)


def compose_arguments(
    arguments: Sequence[str], environ: Mapping[str, str] | None = None
) -> LaunchConfig:
    """Compose a whole command line, ``config=`` and ``role=`` included.

    Args:
        arguments: the command line.
        environ: see :func:`compose`.

    Raises:
        ConfigError: see :func:`compose`.
    """
    return _compose(arguments, tuple(arguments), environ)


def with_environment(config: LaunchConfig, said: FromEnvironment) -> LaunchConfig:
    """``config``, composed with the overrides of ``said``, knowing where they came from.

    Raises:
        ConfigError: the experiment asks for the environment, which is the caller's to do.
    """
    from grpo_launch.config.launch_config import legacy_keys

    if config.compat is schema.Compat.env and not reading.is_asked(config.overrides):
        what = "an experiment cannot ask for the caller's environment"
        raise ConfigError(config.where(reading.KEY), what, "say compat=env on the command line")
    left_out = [Mistake(w.error, (legacy_keys(w.key),) if w.key else ()) for w in said.wrong]
    return dataclasses.replace(config, environment=said, mistakes=(*config.mistakes, *left_out))


def _compose(
    arguments: Sequence[str], overrides: tuple[str, ...], environ: Mapping[str, str] | None
) -> LaunchConfig:
    """Compose; mistakes in the experiment are left out and go with the result.

    Raises:
        ConfigError: Hydra refuses the command line. What is wrong with the experiment is
            said with it.
    """
    from grpo_launch.config.hydra import named

    with named.choosing(arguments):
        return _with_engine(arguments, overrides, environ)


def _with_engine(
    arguments: Sequence[str], overrides: tuple[str, ...], environ: Mapping[str, str] | None
) -> LaunchConfig:
    """See :func:`_compose`; the engine is chosen."""
    from grpo_launch.config.formats import experiment
    from grpo_launch.config.from_hydra import from_hydra
    from grpo_launch.config.hydra import hints, named

    refused = hints.wrong(arguments)
    if any(hints.decides(item) for item in refused):
        raise experiment.as_one([*refused.values(), *named.wrong_in_file(arguments)])
    said = reading.read(arguments, environ)
    accepted = [item for item in arguments if item not in refused]
    given = hints.for_hydra([*said.overrides, *accepted])
    choices: list[Mistake] = []
    with experiment.tolerant() as loaded:
        while True:
            try:
                config = from_hydra(_seen(given), overrides)
                break
            except _of_hydra() as error:
                choice = _wrong_choice(error, loaded)
                if choice is None:
                    variables = [wrong.error for wrong in said.wrong]
                    wrong = [*refused.values(), *_all_of(error, given), *variables]
                    in_file = [m.error for m in (*_mistakes(loaded), *choices)]
                    raise experiment.as_one([*wrong, *in_file]) from error
                choices.append(Mistake(explain(error, given), (choice,)))
                given.append(f"{choice[-1]}={_default_option(choice[-1])}")
            except RecursionError:
                raise ConfigError("command line", "is nested too deeply", "flatten it") from None
    mistakes = (*_mistakes(loaded), *choices, *config.mistakes)
    config = dataclasses.replace(config, mistakes=mistakes, loaded=loaded.get(config.path))
    config = with_environment(config, said)
    if refused:
        errors = (mistake.error for mistake in config.mistakes)
        raise experiment.as_one([*refused.values(), *errors])
    return config


def _of_hydra() -> tuple[type[Exception], ...]:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    return HydraException, OmegaConfBaseException, ValueError, OverflowError


def _mistakes(loaded: Mapping[Path, Experiment]) -> list[Mistake]:
    return [mistake for found in loaded.values() for mistake in found.mistakes]


def _wrong_choice(error: Exception, loaded: Mapping[Path, Experiment]) -> KeyPath | None:
    """Where an experiment chose the option that Hydra did not find; None for other errors."""
    from hydra.errors import MissingConfigException

    if not isinstance(error, MissingConfigException):
        return None
    group, _, option = str(error.missing_cfg_file or "").partition("/")
    said = (found.lifted.choices.get(group) for found in loaded.values())
    chosen = any(option in (value if isinstance(value, list) else (value,)) for value in said)
    return (*lift.LAUNCH_BLOCK, group) if chosen else None


def _default_option(group: str) -> str:
    """What an experiment is judged with that chose an option which does not exist."""
    import yaml

    text = resources.path(f"conf/{schema.PRIMARY}.yaml").read_text(encoding="utf-8")
    entries = [entry for entry in yaml.safe_load(text)["defaults"] if isinstance(entry, dict)]
    return next(str(entry[group]) for entry in entries if group in entry)


def _all_of(error: Exception, arguments: Sequence[str]) -> list[ConfigError]:
    """The one-line forms of an error that Hydra raised and of those that it hid."""
    from grpo_launch.config.hydra import hints

    errors = [explain(error, arguments)]
    rest = list(arguments)
    while culprit := hints.culprit(errors[-1], rest):
        rest.remove(culprit)
        try:
            _seen(rest)
            break
        except _of_hydra() as hidden:
            errors.append(explain(hidden, rest))
    return errors


def explain(error: Exception, overrides: Sequence[str]) -> ConfigError:
    """The one-line form of an error that Hydra raised for these overrides."""
    from grpo_launch.config.hydra import named, translate

    known = functools.partial(_known_keys, overrides)
    line = translate.CommandLine(overrides, known, _options, named.file_of, named.place_of)
    return translate.translate(error, line)


def _options(group: str) -> list[str]:
    """The names that a group offers, experiments included."""
    from pathlib import Path

    from grpo_launch.config.hydra import lookup, source

    if group == source.GROUP:
        return sorted({n for b in source.bases() for n in lookup.Base(b, Path.cwd()).names()})
    if group == "rollout_server":
        return ["schema"]  # registered, not a file
    names = (path.stem for path in resources.path(f"conf/{group}").glob("*.yaml"))
    return sorted(name for name in names if name not in schema.NO_OPTIONS)


def _seen(arguments: Sequence[str]) -> DictConfig:
    """Compose with as much open to Hydra as the arguments can touch.

    Only what succeeds counts: whatever is wrong is composed again, whole, so that
    Hydra's error has everything to name.
    """
    from grpo_launch.config.hydra import hints, source

    keys = [hints.key_of(item).split(".") for item in arguments]
    touched = {key[1] for key in keys if key[0] == "train" and len(key) > 1}
    opened = frozenset((*sorting.sections(), "global_max_length", *touched))
    every = any("${" in item for item in arguments) or ["train"] in keys
    how = source.View(inspected=False, opened=None if every else opened)
    try:
        cfg = _composed(arguments, how)
    except _of_hydra():
        return _composed(arguments, source.WHOLE)
    # A group of the user's own may touch more: merged over an opaque leaf, it replaced it.
    return cfg if source.is_intact(cfg.train, how) else _composed(arguments, source.WHOLE)


def _composed(arguments: Sequence[str], how: View) -> DictConfig:
    from grpo_launch.config.hydra import source

    source.register()
    token = source.view.set(how)
    try:
        return _by_hydra(arguments) if how.inspected else _shortly(arguments)
    finally:
        source.view.reset(token)


def _shortly(arguments: Sequence[str]) -> DictConfig:
    from grpo_launch.config.hydra import short

    return short.compose(str(resources.path("conf")), schema.PRIMARY, arguments, VERSION_BASE)


def _by_hydra(arguments: Sequence[str]) -> DictConfig:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    rollout.register()
    outer = GlobalHydra.instance().hydra  # a caller may itself be a Hydra application
    GlobalHydra.instance().hydra = None
    try:
        with initialize_config_dir(
            str(resources.path("conf")), job_name="grpo_launch", version_base=VERSION_BASE
        ):
            return hydra_compose(schema.PRIMARY, list(arguments))
    finally:
        GlobalHydra.instance().hydra = outer  # Hydra replaced the instance meanwhile


def _known_keys(overrides: Sequence[str]) -> Iterator[str]:
    """The dotted keys of the configuration with the group choices alone."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from grpo_launch.config.hydra import source

    groups = ("config", "role", *schema.SERVER_GROUPS, *schema.GROUPS)
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
