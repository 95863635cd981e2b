"""``compat=env``: the environment variables of the old scripts as overrides.

Pure: the environment is handed in, the table is data (``table.py``). What comes out
are overrides like typed ones. They stand before those of the command line, which therefore
wins: schema < groups < experiment < accelerator < environment < command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grpo_launch.config import schema
from grpo_launch.config.compat.environment import NOTHING, FromEnvironment
from grpo_launch.config.hydra import hints
from grpo_launch.errors import ConfigError

KEY = "compat"
"""The group that asks for the environment."""


def is_asked(overrides: Sequence[str]) -> bool:
    """Whether a command line says ``compat=env``."""
    return _choice(overrides, KEY, "none") == schema.Compat.env.value


def read(overrides: Sequence[str], environ: Mapping[str, str] | None) -> FromEnvironment:
    """What the environment says to a command line; nothing unless that says ``compat=env``.

    Args:
        overrides: the command line, as typed.
        environ: the caller's environment, or None where it was not handed in.

    Raises:
        ConfigError: there is no environment, or the command line sweeps over roles or compat.
    """
    if "," in (choice := _choice(overrides, KEY, "none")):
        raise ConfigError(f"{hints.where(KEY)}={choice}", "is more than one option", "name one")
    if not is_asked(overrides):
        return NOTHING
    if environ is None:
        what = "is env, but no environment was handed in"
        raise ConfigError(KEY, what, "hand it in as environ=, or leave compat out")
    for group in schema.SERVER_GROUPS:
        if "," in (name := _choice(overrides, group, "")):
            what = f"one {group.rpartition('/')[2]} may say a key that a variable says too, "
            fix = "name one, or type the keys and leave compat=env out"
            raise ConfigError(f"command line: {group}={name}", f"{what}and another may not", fix)
    role = _choice(overrides, "role", "check")
    if "," in role:
        what = "a variable may mean one key for the server and another for the learner"
        fix = "name one role, or type the keys and leave compat=env out"
        raise ConfigError(f"command line: role={role}", what, fix)
    from grpo_launch.config.compat import judging  # with the table, for the few that ask

    return judging.Reading(environ, role, overrides).result()


def without_choice(overrides: Sequence[str]) -> list[str]:
    """``overrides`` without the one that asks for the environment."""
    return [item for item in overrides if hints.key_of(item) != KEY]


def _choice(overrides: Sequence[str], key: str, default: str) -> str:
    said = [item.partition("=")[2] for item in overrides if hints.key_of(item) == key]
    return hints.unquoted(said[-1]) if said else default
