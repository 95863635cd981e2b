"""The schema of the node ``rollout_server``: the settings of the chosen engine.

The command line chooses the engine, or else the experiment, or else it is the default one. What
is chosen holds for one composition: Hydra makes the sources of the files itself, so it cannot
be handed to them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Generator, Mapping
from contextvars import ContextVar
from typing import Any, cast

from grpo_launch.config import schema
from grpo_launch.plugins import ENGINES

NODE = "rollout_server"

_chosen: ContextVar[str | None] = ContextVar("engine", default=None)


@contextlib.contextmanager
def choosing(engine: str | None) -> Generator[None]:
    """Let compositions in the block have the settings of ``engine``; None: the experiment's."""
    token = _chosen.set(engine)
    try:
        yield
    finally:
        _chosen.reset(token)


def is_chosen() -> bool:
    """Whether the composition that is going on has an engine already."""
    return _chosen.get() is not None


def named(engine: Any) -> str | None:
    """The engine that the node ``engine`` of an experiment names: an option, or its keys."""
    if isinstance(engine, Mapping):
        engine = cast("Mapping[Any, Any]", engine).get("name")
    return engine if isinstance(engine, str) else None


def settings(engine: Any = None) -> type:
    """The structured config of the chosen engine's settings.

    Args:
        engine: what an experiment says of its engine, where nothing is chosen yet. A name that
            no engine has is reported when the configuration is complete.
    """
    name = _chosen.get() or named(engine) or schema.ENGINE
    return ENGINES.get(name if is_known(name) else schema.ENGINE).settings


def is_known(engine: str) -> bool:
    """Whether there is such an engine."""
    return engine in ENGINES.shipped or engine in ENGINES.names()


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
