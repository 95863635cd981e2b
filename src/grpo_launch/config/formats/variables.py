"""``ENV`` of a file of flags: variables that yield to the caller's, and the learner's devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from grpo_launch.config import kinds
from grpo_launch.config.formats.blocks import LAUNCH_BLOCK
from grpo_launch.config.formats.document import shown
from grpo_launch.config.formats.sorting import holds
from grpo_launch.config.mistake import KeyPath, Mistake
from grpo_launch.errors import ConfigError

ENV = "ENV"
"""In a file of flags: variables that yield to the caller's environment (``parse_yaml_args``)."""

_DEVICES = (ENV, "CUDA_VISIBLE_DEVICES")
"""The one of them that says the learner's devices."""

_LEARNERS_DEVICES = (*LAUNCH_BLOCK, "gpus", "learner")


def with_texts(said: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """``said`` with the values of ``ENV`` as texts, and its devices as ids, where it has any."""
    variables = said.get(ENV)
    if not variables or not isinstance(variables, dict):
        return {name: value for name, value in said.items() if name != ENV}
    texts = {key: str(value) for key, value in cast("dict[Any, Any]", variables).items()}
    ids = texts.get(_DEVICES[1], "").split(",")
    if all(map(str.strip, ids)) and not any(holds(said, keys) for keys in _own_devices()):
        return {**said, ENV: {**texts, _DEVICES[1]: [*map(str.strip, ids)]}}
    return {**said, ENV: texts}


def wrong(path: Path, said: Mapping[Any, Any]) -> Iterator[Mistake]:
    """The mistake of an ``ENV`` that is no mapping."""
    if not isinstance(said.get(ENV), dict | None):
        where = f"{shown(path)}: {ENV}"
        what = f"must be a mapping of variables, not {kinds.said_at(where, said[ENV])}"
        yield Mistake(ConfigError(where, what, "write 'NAME: VALUE' lines below"), ((ENV,),))


def _own_devices() -> tuple[KeyPath, KeyPath]:
    return ("gpus", "learner"), _LEARNERS_DEVICES


def moves(said: Mapping[Any, Any]) -> dict[KeyPath, KeyPath]:
    """Where the variables of ``ENV`` belong: those that choose devices are ids by now."""
    return {
        (ENV, key): _LEARNERS_DEVICES
        if isinstance(value, list)
        else (*LAUNCH_BLOCK, "env", "defaults", key)
        for key, value in said[ENV].items()
    }
