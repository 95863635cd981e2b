"""The names that ms-swift itself knows: rewards, schedulers and environments.

Those of the version that the launcher is written for are here. A name that is not among them is
looked for in the source of what is installed, so that a fork's and another version's are known;
nothing is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from grpo_launch.base import files
from grpo_launch.config.rule import Context
from grpo_launch.learners.swift import episodes, reward_columns
from grpo_launch.learners.swift.plugin_source import ENVIRONMENTS, REWARDS, SCHEDULERS

SHIPPED: Mapping[str, frozenset[str]] = {
    REWARDS: frozenset(reward_columns.BUILT_IN),
    SCHEDULERS: frozenset(episodes.SCHEDULERS),
    ENVIRONMENTS: frozenset(episodes.ENVIRONMENTS),
}
"""By registry, the names of ms-swift 4.6.0."""

_FILES = {
    REWARDS: ("swift/rewards/orm.py", "swift/plugin/orm.py"),
    SCHEDULERS: ("swift/rollout/multi_turn.py", "swift/plugin/multi_turn.py"),
    ENVIRONMENTS: ("swift/rollout/gym_env.py", "swift/plugin/env.py"),
}
"""The module of each registry, of ms-swift 4 and 3."""

_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Registries:
    """What ms-swift registers.

    Attributes:
        names: by registry; a registry that could not be read is not there.
    """

    names: Mapping[str, frozenset[str]] = field(default_factory=lambda: SHIPPED)

    @staticmethod
    def of(context: Context, registry: str) -> frozenset[str] | None:
        """The names in a registry; None: they could not be read."""
        return (context.get(Registries) or Registries()).names.get(registry)


def known(wanted: Mapping[str, Iterable[str]], roots: Callable[[], Iterable[Path]]) -> Registries:
    """What ms-swift registers.

    Args:
        wanted: the names that an experiment uses and no plugin registers, by registry; the source
            is read only for a registry that holds one the launcher does not know.
        roots: the directories of packages, see ``runtimes/installed.py``; none where the
            environment is not on this machine.
    """
    names = dict(SHIPPED)
    for registry, used in wanted.items():
        if frozenset(used) <= SHIPPED[registry]:
            continue
        source = next((r / f for r in roots() for f in _FILES[registry] if (r / f).is_file()), None)
        if source is None:
            continue
        read = _read(source, registry)
        if read is None:
            del names[registry]
        else:
            names[registry] = read
    return Registries(names)


def _read(source: Path, registry: str) -> frozenset[str] | None:
    """The names in the dictionary of a module; None where they are not plain to see."""
    try:
        tree = ast.parse(files.read(source, _MAX_BYTES))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    keys = [key for node in tree.body for key in _keys(node, registry)]
    if not keys or not all(isinstance(key, ast.Constant) for key in keys):
        return None
    return frozenset(str(key.value) for key in keys if isinstance(key, ast.Constant))


def _keys(node: ast.stmt, registry: str) -> Iterator[ast.expr | None]:
    """What a statement puts into a registry: ``envs = {...}``, ``envs["x"] = X``."""
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    for target in targets:
        if isinstance(target, ast.Name) and target.id == registry:
            yield from node.value.keys if isinstance(node.value, ast.Dict) else [None]
        elif isinstance(target, ast.Subscript) and ast.unparse(target.value) == registry:
            yield target.slice
