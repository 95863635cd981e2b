"""A legacy experiment as it is composed: its tree with the batch plan expanded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo_launch.compose import batch_plan, document, legacy
from grpo_launch.compose.batch_plan import KeyPath


@dataclass(frozen=True)
class Experiment:
    """A legacy experiment.

    Attributes:
        tree: the file with its bases merged in.
        train: the merged tree after the batch plan's expansion.
        expanded: for each key that the plan wrote, the plan's key.
    """

    tree: legacy.LegacyTree
    train: dict[Any, Any]
    expanded: Mapping[KeyPath, KeyPath]

    def where(self, *keys: Any) -> str:
        """``FILE: KEY`` of what set ``keys``; the plan's key for what the plan wrote."""
        return where(self.tree, *self.expanded.get(keys, keys))


def load(path: Path) -> Experiment:
    """Load a legacy experiment and expand its batch plan.

    Raises:
        ConfigError: see ``legacy.load`` and ``batch_plan.expand``.
    """
    tree = legacy.load(path)
    expansion = batch_plan.expand(tree.data, lambda *keys: where(tree, *keys))
    return Experiment(tree, expansion.applied_to(tree.data), expansion.sources)


def where(tree: legacy.LegacyTree, *keys: Any) -> str:
    """``FILE: KEY``: the file that set ``keys`` or the mapping that would hold them."""
    origin = next((o for n in range(len(keys), 0, -1) if (o := tree.origin(*keys[:n]))), None)
    file = origin.file if origin else tree.path
    return f"{document.shown(file)}: {'.'.join(map(str, keys))}"
