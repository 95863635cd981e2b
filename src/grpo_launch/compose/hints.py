"""Turn Hydra's errors into one line that says what to type instead."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterable, Sequence
from typing import Any

from grpo_launch import schema
from grpo_launch.compose import lift
from grpo_launch.errors import ConfigError

_OLD_SERVER_SPELLING = "train." + ".".join(lift.SERVER_BLOCK) + "."
_NOT_A_STRING = re.compile(
    r"[+-]?\d[\d_]*(\.\d*)?([eE][+-]?\d+)?|true|false|null|nan|[+-]?inf", re.IGNORECASE
)
_NUMBER = re.compile(r"[+-]?[\d.]+([eE][+-]?\d+)?")
_PLAIN_NAME = re.compile(r"[\w./:%+-]+", re.ASCII)


def check_overrides(overrides: Sequence[str]) -> None:
    """Refuse overrides that Hydra would misread or answer unhelpfully.

    Raises:
        ConfigError: a list or an unquoted number as ``config=``, a key of the
            rollout server in its legacy spelling, or a fraction for an integer.
    """
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            continue
        if key == "config":
            _check_name(value)
        if key.lstrip("+").startswith(_OLD_SERVER_SPELLING):
            flag = key.removeprefix("+").removeprefix(_OLD_SERVER_SPELLING)
            raise ConfigError(
                f"command line: {key}",
                "is lifted into rollout_server and has no effect here",
                f"write rollout_server.{flag}={value}",
            )
        hint = _type_of(key)
        number = value.strip("'\"")
        if hint is not None and _NUMBER.fullmatch(number) and not lift.fits(hint, number):
            raise lift.wrong_type(f"command line: {key}", hint, number)


def quoted(name: str) -> str:
    """``name`` as a quoted string of Hydra's override grammar."""
    escaped = re.sub(r"(\\*)'", lambda m: m.group(1) * 2 + "\\'", name)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{escaped[len(escaped) - trailing :]}'"


def translate(error: Exception, known_keys: Iterable[str], options: Any) -> ConfigError:
    """The one-line form of an error that Hydra or OmegaConf raised while composing.

    Args:
        error: the exception.
        known_keys: the dotted keys of the configuration without the bad override.
        options: a function from a group to the names it offers.
    """
    from hydra.errors import MissingConfigException

    text = " ".join(str(error).split())
    if isinstance(error, MissingConfigException):
        return _missing(error, options)
    if found := re.search(r"You must specify '(\w+)'", text):
        group = found.group(1)
        return ConfigError(
            "command line", f"{group}= is missing", f"say {group}=NAME, one of {options(group)}"
        )
    if found := re.search(r"Could not override '([^']+)'", text):
        return _bad_override(found.group(1), error.__cause__, list(known_keys))
    if found := re.search(r"Config group override must be a string or a list", text):
        return ConfigError("command line", "a group's option is not a name", "quote it: \"k='v'\"")
    cause = error.__cause__ or error
    summary = str(cause).split("\n", 1)[0]
    key = getattr(cause, "full_key", None) or "configuration"
    return ConfigError(str(key), summary, "correct the value")


def _check_name(value: str) -> None:
    if value.startswith("["):
        raise ConfigError(
            f"command line: config={value}",
            "one run has one experiment, not a list",
            "write --multirun config=a,b",
        )
    if value.startswith(("'", '"')) or not value:
        return
    parts = value.split(",")
    if any(_NOT_A_STRING.fullmatch(part) for part in parts) or not all(
        _PLAIN_NAME.fullmatch(part) for part in parts
    ):
        raise ConfigError(
            f"command line: config={value}",
            "Hydra does not read this name as a string",
            f'type "config={quoted(value)}", with both kinds of quotes',
        )


def _type_of(key: str) -> Any:
    hint: Any = schema.Launch
    for part in key.split("."):
        hints = typing.get_type_hints(hint) if isinstance(hint, type) else {}
        if part not in hints:
            return None
        hint = hints[part]
    return hint


def _missing(error: Any, options: Any) -> ConfigError:
    group, _, name = str(error.missing_cfg_file or "").partition("/")
    names = options(group)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    what = "no such experiment" if group == "config" else "no such option"
    fix = f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(names)}"
    return ConfigError(f"command line: {group}={name}", what, fix)


def _bad_override(key: str, cause: BaseException | None, known: list[str]) -> ConfigError:
    from omegaconf.errors import ValidationError

    where = f"command line: {key}"
    if isinstance(cause, ValidationError):
        hint = _type_of(key)
        found = re.search(r"Value '(.*?)' of type|Invalid value '(.*?)'", str(cause))
        value = next((g for g in found.groups() if g is not None), "") if found else ""
        if hint is not None:
            return lift.wrong_type(where, hint, value)
        return ConfigError(where, str(cause).split("\n", 1)[0], "correct the value")
    if f"train.{key}" in known or any(name.startswith(f"train.{_parent(key)}.") for name in known):
        return ConfigError(where, "unknown key", f"did you mean train.{key}?")
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    if near:
        return ConfigError(where, "unknown key", f"did you mean {near[0]}?")
    if key.startswith("train."):
        return ConfigError(where, "the experiment does not set it", f"write +{key}=... to add it")
    return ConfigError(where, "unknown key", "see docs/training/REFERENCE.md for the keys")


def _parent(key: str) -> str:
    return key.rpartition(".")[0] or key
