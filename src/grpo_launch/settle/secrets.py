"""Secrets of the environment must not be in what a run records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from grpo_launch.base import redaction
from grpo_launch.base.host import Host
from grpo_launch.checks.settings import named_secrets
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.errors import ConfigError

_NO_WORD = 16
"""Characters of a text of letters alone from which on it is no ordinary word."""


def refuse_recorded(config: LaunchConfig, host: Host) -> None:
    """Refuse a configuration that repeats a secret of the environment: it would be recorded.

    A rule refuses names that look secret; this is for values, ``env.set.X=${oc.env:HF_TOKEN}``.

    Raises:
        ConfigError: names the variable, not its value.
    """
    if any(named_secrets(config)):
        return  # validation says so, and where
    said = [item.partition("=")[2] for item in config.overrides]
    texts = {*_texts([config.as_dict(), said])}
    everything = "\0".join(texts)
    for name, value in host.environ.items():
        # An ordinary word counts only where it is the whole value.
        if any(
            secret in (texts if _may_be_a_word(secret) else everything)
            for secret in redaction.secrets({name: value})
        ):
            what = f"repeats the value of {name}, which would be recorded"
            fix = "leave it to the environment, the processes get it from there"
            raise ConfigError("configuration", what, fix)


def _may_be_a_word(secret: str) -> bool:
    """Whether it could occur in any text: a word, words with ``_`` or ``-``, or a number."""
    bare = secret.replace("_", "").replace("-", "")
    return len(secret) < _NO_WORD and (bare.isalpha() or bare.isdecimal())


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _texts([*cast("dict[Any, Any]", value).values()])
    elif isinstance(value, list | tuple):
        for item in cast("list[Any]", value):
            yield from _texts(item)
    else:
        yield str(value)
