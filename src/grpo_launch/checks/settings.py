"""The rules of the launcher's own settings, and of what a configuration must not hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, cast

from grpo_launch.base import redaction
from grpo_launch.base.terminal import CONTROL
from grpo_launch.config import kinds, schema
from grpo_launch.config.formats import document, lift
from grpo_launch.config.hydra import hints
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.plan import LEARNER, SERVER

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@rule(required="they become names of files")
def names_are_plain(context: Context) -> Iterator[Problem]:
    """The experiment's name stays below ``runs``, and no name acts on a terminal."""
    config = context.config
    if config.experiment in (".", ".."):
        what = f"{config.experiment} is no name, its runs would not be below runs/"
        yield Problem(document.shown(config.path), what, "rename the file")
    names = {"run.dir": config.run.dir, "launch.tag": config.launch.tag}
    places = [(document.shown(config.path), config.experiment)]
    places += [(config.where(key), name) for key, name in names.items() if name is not None]
    for where, name in places:
        if CONTROL.search(name) or "\n" in name:
            yield Problem(where, f"{kinds.said(name)} holds control characters", "leave them out")


@rule
def health_path_is_a_path(context: Context) -> Iterator[Problem]:
    """``health.path`` begins with a slash."""
    config = context.config
    path = config.health.path
    if path is not None and not path.startswith("/"):
        what = f"{kinds.said(path)} is not a path"
        yield Problem(config.where("health.path"), what, "begin it with /")


@rule
def part_is_of_role_check(context: Context) -> Iterator[Problem]:
    """``part`` narrows what ``role=check`` judges; the other roles say their part themselves."""
    config = context.config
    if config.part is not schema.Part.both and config.role != "check":
        part = config.part.value
        yield Problem(config.where("part"), "is for role=check", f"write role={part} instead")


@rule
def dry_run_is_known(context: Context) -> Iterator[Problem]:
    """``dry_run`` is one of its values."""
    config = context.config
    if config.dry_run not in (True, False, "json"):
        what = f"{kinds.said(config.dry_run)} is unknown"
        yield Problem(config.where("dry_run"), what, "use true, false or json")


@rule
def sweep_on_error_is_known(context: Context) -> Iterator[Problem]:
    """``sweep.on_error`` is one of its values."""
    config = context.config
    if config.sweep.on_error not in ("continue", "stop"):
        what = f"{kinds.said(config.sweep.on_error)} is unknown"
        yield Problem(config.where("sweep.on_error"), what, "use continue or stop")


@rule
def runtime_is_complete(context: Context) -> Iterator[Problem]:
    """A virtual environment has a path, a conda environment has a name; both have a kind."""
    config = context.config
    missing: dict[str, str] = {}
    for part in (SERVER, LEARNER):
        runtime = config.runtime_of(part)
        if not _is_of(config, part):
            continue
        if runtime.kind is schema.RuntimeKind.venv and not runtime.path:
            missing["path"] = "a directory"
        if runtime.kind is schema.RuntimeKind.conda and not runtime.name:
            missing["name"] = "a conda environment"
    for name, value in missing.items():
        yield _incomplete(config, name, value)
    yield from _of_another_kind(context.config)


@rule
def env_names_are_valid(context: Context) -> Iterator[Problem]:
    """What ``env`` sets has a name that every shell accepts, and is free of zero bytes."""
    config = context.config
    for kind, pairs in _env(config):
        for name, value in pairs:
            where = config.where(f"env.{kind}.{name}")
            if not _NAME.fullmatch(name):
                what = f"{kinds.said(name)} is not a name of a variable"
                yield Problem(where, what, "use letters, digits and _")
            if "\0" in value:
                yield Problem(where, "holds a zero byte", "remove it")


@rule(required="the run would record the secret")
def no_secrets(context: Context) -> Iterator[Problem]:
    """Tokens and passwords come from the environment: configurations are recorded."""
    yield from named_secrets(context.config)


def named_secrets(config: LaunchConfig) -> Iterator[Problem]:
    """What the rule :data:`no_secrets` reports: values whose names are those of secrets."""
    block = f"train.{'.'.join(lift.SERVER_BLOCK)}."
    for said, value in _texts("", config.as_dict()):
        # Overrides of the server are written back to where a file says them.
        key = f"rollout_server.{said.removeprefix(block)}" if said.startswith(block) else said
        if redaction.is_secret_place(key):
            what = "a secret in the configuration would be recorded"
        elif redaction.in_urls(value):
            what = "the password in a URL would be recorded"
        else:
            continue
        fix = "export it in the environment of the launcher instead"
        yield Problem(config.where(key), what, fix)


def _texts(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """The texts in a value that are not empty, each with its dotted key; of a list with its own."""
    if isinstance(value, dict):
        for name, item in cast("dict[Any, Any]", value).items():
            yield from _texts(f"{key}.{name}" if key else str(name), item)
    elif isinstance(value, list | tuple):
        for item in cast("Sequence[Any]", value):
            yield from _texts(key, item)
    elif isinstance(value, str) and value:
        yield key, value


SETTINGS_RULES: Sequence[Rule] = (
    names_are_plain,
    health_path_is_a_path,
    part_is_of_role_check,
    dry_run_is_known,
    sweep_on_error_is_known,
    runtime_is_complete,
    env_names_are_valid,
    no_secrets,
)
"""In the order in which their findings are reported."""


def _env(config: LaunchConfig) -> list[tuple[str, Any]]:
    """Where variables are set below ``env``, and the pairs."""
    env = config.env
    places = {"": env, "server.": env.server, "learner.": env.learner}
    return [
        (f"{half}{kind}", getattr(node, kind).items())
        for half, node in places.items()
        for kind in ("defaults", "set")
    ]


def _of_another_kind(config: LaunchConfig) -> Iterator[Problem]:
    """What is meant for a kind of environment that nothing chooses."""
    chosen = any(hints.key_of(item) in ("runtime", "runtime.kind") for item in config.overrides)
    if chosen or config.where("runtime.kind") != "runtime.kind":
        return
    runtime, venv = config.runtime, schema.RuntimeKind.venv
    meant = {
        "path": venv.value if runtime.path and runtime.kind is not venv else None,
        "name": runtime.name if runtime.name in ("venv", "current") else None,
    }
    for name, kind in meant.items():
        if kind:
            place = config.spelled(f"runtime.{name}")
            what = f"is set, but without a kind the runtime is {runtime.kind.value}"
            fix = f"set {place.removesuffix(name)}kind to {kind}"
            yield Problem(config.where(f"runtime.{name}"), what, fix)


def _is_of(config: LaunchConfig, part: str) -> bool:
    """Whether a configuration has the half at all."""
    plugin = config.engine.name if part == SERVER else config.learner.name
    return plugin != schema.NO_PLUGIN


def _incomplete(config: LaunchConfig, name: str, value: str) -> Problem:
    """A kind of environment of which something is not set."""
    beside = config.spelled("runtime.kind").removesuffix("kind") + name
    what = f"is {config.runtime.kind.value}, but {beside} is not set"
    return Problem(config.where("runtime.kind"), what, f"set {beside} to {value}")
