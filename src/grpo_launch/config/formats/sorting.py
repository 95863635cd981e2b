"""Where the learner's flags belong that a file has at its top, and how files are laid over another.

The flags are those of the learner that the command line chooses, or else the experiment. As with
the engine (``config/rollout.py``) the choice holds for one composition.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, cast

from grpo_launch.config import schema
from grpo_launch.config.mistake import KeyPath
from grpo_launch.plugins import LEARNERS

_chosen: ContextVar[str | None] = ContextVar("learner", default=None)


@contextlib.contextmanager
def choosing(learner: str | None) -> Generator[None]:
    """Let files that are read in the block have the flags of ``learner``; None: their own."""
    token = _chosen.set(learner)
    try:
        yield
    finally:
        _chosen.reset(token)


def chosen(own: Any = None) -> str:
    """The learner of the composition that is going on.

    Args:
        own: what a file says of its learner, for where nothing is chosen yet.
    """
    names = (name for name in (_chosen.get(), own) if isinstance(name, str))
    known = (name for name in names if name in LEARNERS)
    return next(known, schema.LEARNER)


def sections() -> tuple[str, ...]:
    """The sections of the chosen learner; empty: its arguments stand below ``train`` itself."""
    return LEARNERS.get(chosen()).sections


class Flags:
    """The flags of the learner that a file is for, loaded where a key has to be told."""

    def __init__(self, said: Mapping[Any, Any]) -> None:
        node = said.get("learner")
        own = cast("dict[Any, Any]", node).get("name") if isinstance(node, dict) else node
        self._learner = LEARNERS.get(chosen(own))

    @property
    def sections(self) -> tuple[str, ...]:
        """The sections of the learner; empty: it has none."""
        return self._learner.sections

    def __contains__(self, name: Any) -> bool:
        flags = self._learner.flags
        return flags is not None and name in flags.shipped().table.flags

    def section(self, name: str, below: Mapping[Any, Any]) -> str:
        """Where a flag belongs: where the bases have it, or else where people keep it."""
        for section in self._learner.sections:
            if holds(below, (section, name)):
                return section
        return self._learner.section(name)


def merge(base: Mapping[Any, Any], over: Mapping[Any, Any]) -> dict[Any, Any]:
    """``over`` laid over ``base``: mappings merge deeply, everything else replaces.

    Keys keep the order of ``base``; new ones follow in the order of ``over``.
    Neither argument is changed, but values that are not merged are shared.
    """
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = merge(cast("dict[Any, Any]", below), cast("dict[Any, Any]", value))
        else:
            merged[key] = value
    return merged


def lay_over(
    base: Mapping[Any, Any], over: Mapping[Any, Any], sorted_in: Iterable[KeyPath]
) -> dict[Any, Any]:
    """:func:`merge`, where a flag of ``over`` replaces the same of ``base`` in another section.

    So only where one of the two is among ``sorted_in``: there no file chose the section. Where
    files chose both, it is for them to agree.

    Args:
        base: the weaker tree.
        over: the stronger one.
        sorted_in: section and name of the flags that their file has at its top.
    """
    placed = {(keys[0], keys[1]) for keys in sorted_in if len(keys) == 2}
    sections = {name: _block(base, name) for name in schema.SECTIONS} if placed else {}
    kept = dict(base)
    for section, block in sections.items():
        replaced = {
            name
            for name in block
            for other in schema.SECTIONS
            if other != section and name in _block(over, other)
            if (section, name) in placed or (other, name) in placed
        }
        if replaced:
            kept[section] = {name: item for name, item in block.items() if name not in replaced}
    return merge(kept, over)


def holds(data: Mapping[Any, Any], keys: KeyPath) -> bool | None:
    """Whether there is a value at ``keys``; None where something else stands for what holds it."""
    node: Any = data
    for key in keys:
        if not isinstance(node, dict):
            return None
        if key not in node:
            return False
        node = cast("dict[Any, Any]", node)[key]
    return True


def _block(tree: Mapping[Any, Any], section: str) -> dict[Any, Any]:
    block = tree.get(section)
    return cast("dict[Any, Any]", block) if isinstance(block, dict) else {}
