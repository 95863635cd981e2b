"""The schema of the node ``rollout_server``: the settings of the chosen engine, and its flags.

The command line chooses the engine, or else the experiment, or else it is the default one. What
is chosen holds for one composition: Hydra makes the sources of the files itself, so it cannot
be handed to them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import typing
from collections.abc import Generator, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, cast

from grpo_launch.config import kinds, schema
from grpo_launch.errors import ConfigError
from grpo_launch.plugins import ENGINES

NODE = "rollout_server"

COMMON = (
    *("tensor_parallel_size", "data_parallel_size", "max_model_len"),
    *("gpu_memory_utilization", "max_num_seqs"),
)
"""Settings that every engine has by one of two names: as they stand here, or with a prefix."""

_PREFIX = "vllm_"
_NOTHING = frozenset[str]()
_chosen: ContextVar[str | None] = ContextVar("engine", default=None)
_named: ContextVar[frozenset[str]] = ContextVar("flags", default=_NOTHING)


@contextlib.contextmanager
def choosing(engine: str | None, flags: Iterable[str] | None = None) -> Generator[None]:
    """Let compositions in the block have the settings of ``engine``; None: the experiment's.

    Args:
        engine: its name.
        flags: what the command line and the experiment set of the node; None: as around the block.
            Only the flags among them become fields: OmegaConf makes and copies a node for each.
    """
    token = _chosen.set(engine)
    names = _named.set(_named.get() if flags is None else frozenset(flags))
    try:
        yield
    finally:
        _named.reset(names)
        _chosen.reset(token)


def chosen() -> str:
    """The engine of the composition that is going on, or the default one."""
    return _name(None)


def is_chosen() -> bool:
    """Whether the composition that is going on has an engine already."""
    return _chosen.get() is not None


def named(engine: Any) -> str | None:
    """The engine that the node ``engine`` of an experiment names: an option, or its keys."""
    if isinstance(engine, Mapping):
        engine = cast("Mapping[Any, Any]", engine).get("name")
    return engine if isinstance(engine, str) else None


def settings(engine: Any = None) -> type:
    """The structured config of the chosen engine's settings, with the flags that are set.

    Args:
        engine: what an experiment says of its engine, where nothing is chosen yet. A name that
            no engine has is reported when the configuration is complete.
    """
    return _with_flags(_name(engine), _named.get())


def own_name(name: Any, engine: Any = None) -> Any:
    """A setting as the engine calls it, where that is another name of one of :data:`COMMON`."""
    plain = str(name).removeprefix(_PREFIX)
    if plain not in COMMON:
        return name
    known = _hints(ENGINES.get(_name(engine)).settings)
    return next((spelled for spelled in (plain, _PREFIX + plain) if spelled in known), name)


def other_name(name: str) -> str | None:
    """The other name of one of :data:`COMMON`; None for other settings."""
    plain = name.removeprefix(_PREFIX)
    if plain not in COMMON:
        return None
    return plain if name != plain else _PREFIX + plain


def own_key(key: str, engine: Any = None) -> str:
    """A dotted key with the chosen engine's own name of a setting, see :func:`own_name`."""
    node, dot, name = key.partition(".")
    return f"{node}.{own_name(name, engine)}" if dot and node == NODE else key


def flags(engine: Any = None) -> Mapping[str, Any]:
    """The flags of the engine's program that are settings of its server: a ``Flag`` by name."""
    question = ENGINES.get(_name(engine)).flags
    if question is None:
        return {}
    known = cast("Mapping[str, Any]", question.shipped().table.flags)
    return {name: flag for name, flag in known.items() if name not in question.given}


def given(name: str, engine: Any = None) -> str | None:
    """The key to set instead of a flag that the launcher gives itself; None for others."""
    question = ENGINES.get(_name(engine)).flags
    return None if question is None else question.given.get(name)


def unknown(where: str, name: Any, engine: Any = None, prefix: str = "") -> ConfigError:
    """The error for a key that the node does not have."""
    key = given(str(name), engine)
    if key is not None:
        return ConfigError(where, "is given by the launcher", f"set {key} instead")
    question = ENGINES.get(_name(engine)).flags
    usual = sorted(_hints(ENGINES.get(_name(engine)).settings))
    meant = kinds.nearest(name, [*usual, *flags(engine)])
    fix = f"did you mean {prefix}{meant}?" if meant else f"use one of {', '.join(usual)}"
    if question is not None and not meant:
        fix += f", or another flag of {question.program}"
    return ConfigError(where, "unknown key", fix)


def _name(engine: Any) -> str:
    name = _chosen.get() or named(engine) or schema.ENGINE
    return name if is_known(name) else schema.ENGINE


@functools.lru_cache(maxsize=64)
def _with_flags(engine: str, names: frozenset[str]) -> type:
    """The settings of an engine, and a field for each of these flags that they do not have."""
    usual: type = ENGINES.get(engine).settings
    more = names - _hints(usual).keys()
    known = flags(engine) if more else {}
    fields = [
        (name, known[name].hint, dataclasses.field(default=None))
        for name in sorted(more & known.keys())
    ]
    return dataclasses.make_dataclass(usual.__name__, fields, bases=(usual,)) if fields else usual


@functools.cache
def _hints(node: type) -> dict[str, Any]:
    return typing.get_type_hints(node)


def is_known(engine: str) -> bool:
    """Whether there is such an engine."""
    return engine in ENGINES


def launch(engine: Any = None) -> type[schema.Launch]:
    """The schema with the chosen engine's settings; see :func:`settings`."""
    return _launch(settings(engine))


@functools.cache
def _launch(settings: type) -> type[schema.Launch]:
    node = (NODE, settings, dataclasses.field(default_factory=settings))
    made = dataclasses.make_dataclass("Launch", [node], bases=(schema.Launch,))
    return cast("type[schema.Launch]", made)


def register() -> None:
    """Register the schemas in Hydra's ConfigStore; what another composition chose is replaced."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    store.store(name=schema.SCHEMA_NAME, node=schema.Launch)
    store.store(group=NODE, name="schema", node=settings())
