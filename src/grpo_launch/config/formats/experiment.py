"""A legacy experiment as it is composed: its tree with the batch plan expanded.

Mistakes in it do not stop the loading while :func:`tolerant` is on, so that validation
reports them together with its own findings. Whoever shows the composed tree without
validating it (Hydra's ``--cfg``) gets all of them as one error instead.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Generator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo_launch.config.formats import accelerated, batch_plan, document, extends, forms, lift
from grpo_launch.config.formats.batch_plan import KeyPath
from grpo_launch.config.mistake import Mistake
from grpo_launch.errors import ConfigError, InvalidConfigError

_loaded: ContextVar[dict[Path, Experiment] | None] = ContextVar("loaded", default=None)


@dataclass(frozen=True)
class Experiment:
    """A legacy experiment.

    Attributes:
        tree: the file with its bases merged in.
        train: the merged tree after the batch plan's expansion.
        expanded: for each key that the plan wrote, the plan's key.
        wrong_in_plan: the mistakes of the batch plan.
    """

    tree: extends.LegacyTree
    train: dict[Any, Any]
    expanded: Mapping[KeyPath, KeyPath]
    wrong_in_plan: tuple[Mistake, ...] = ()

    @functools.cached_property
    def lifted(self) -> lift.Lifted:
        """What it says to the launcher."""
        return lift.read(self.train, self.where)

    @functools.cached_property
    def accelerators(self) -> accelerated.Blocks:
        """What it says for single accelerators."""
        return accelerated.read(self.train, self.where)

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """What is wrong with the batch plan and the launcher's own blocks."""
        return (
            *self.tree.mistakes,
            *self.wrong_in_plan,
            *self.lifted.mistakes,
            *self.accelerators.mistakes,
        )

    @property
    def form(self) -> forms.Form:
        """What its file was taken for."""
        return self.tree.reading.form

    @property
    def server_below_custom(self) -> bool:
        """Whether ``rollout_server`` is said below ``custom.extra``, which has required keys."""
        sayer = self.tree.sayer(*lift.SERVER_BLOCK)
        return sayer is not None and sayer.reading.spelled(*lift.SERVER_BLOCK) == lift.SERVER_BLOCK

    def where(self, *keys: Any) -> str:
        """``FILE: KEY`` of what set ``keys``; the plan's key for what the plan wrote."""
        return where(self.tree, *self.expanded.get(keys, keys))

    def place(self, *keys: Any) -> tuple[str, str]:
        """The file and the key of :meth:`where`, apart."""
        return place(self.tree, *self.expanded.get(keys, keys))


def read(path: Path) -> Experiment:
    """Read a legacy experiment and expand its batch plan; its mistakes are left out.

    Raises:
        ConfigError: see ``legacy.load``.
    """
    tree = extends.load(path, forms.read)
    expansion = batch_plan.expand(tree.data, lambda *keys: where(tree, *keys))
    train = expansion.applied_to(tree.data)
    return Experiment(tree, train, expansion.sources, expansion.mistakes)


def load(path: Path) -> Experiment:
    """Read a legacy experiment that Hydra is to compose.

    Raises:
        ConfigError: see ``legacy.load``.
        InvalidConfigError: it has mistakes, and they are not tolerated.
    """
    loaded = _loaded.get()
    if loaded is not None and path in loaded:
        return loaded[path]
    found = read(path)
    if loaded is not None:
        loaded[path] = found
    elif found.mistakes:
        raise as_one([mistake.error for mistake in found.mistakes])
    return found


@contextlib.contextmanager
def tolerant() -> Generator[dict[Path, Experiment]]:
    """While it is on, :func:`load` leaves out what is wrong, for validation to report.

    Yields:
        The experiments that were loaded meanwhile, by file.
    """
    loaded: dict[Path, Experiment] = {}
    token = _loaded.set(loaded)
    try:
        yield loaded
    finally:
        _loaded.reset(token)


def as_one(errors: Sequence[ConfigError]) -> ConfigError:
    """One error that says all of these; at least one."""
    if len(errors) == 1:
        return errors[0]
    return InvalidConfigError(line for error in errors for line in error.lines())


def where(tree: extends.LegacyTree, *keys: Any) -> str:
    """``FILE: KEY``: the file that set ``keys`` or the mapping that would hold them."""
    return ": ".join(place(tree, *keys))


def place(tree: extends.LegacyTree, *keys: Any) -> tuple[str, str]:
    """The file and the key of :func:`where`, apart."""
    sayers = (tree.sayer(*keys[:n]) for n in range(len(keys), 0, -1))
    sayer = next(filter(None, sayers), tree)
    return document.shown(sayer.path), ".".join(map(str, sayer.reading.spelled(*keys)))
