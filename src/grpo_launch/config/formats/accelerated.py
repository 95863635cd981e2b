"""What an experiment itself says for one accelerator.

An overlay (``config/overlay.py``) holds what an accelerator replaces in every experiment. What
it replaces in one of them stands in its file: a legacy one says
``custom.extra.launch.accelerators.NAME``, a native one ``accelerators.NAME`` at its top. The
block of the chosen accelerator is merged behind the overlay; the others have no effect
(docs/adr/0017).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from grpo_launch.base import resources
from grpo_launch.config import kinds, schema
from grpo_launch.config.formats import batch_plan, extends, leaves, lift
from grpo_launch.config.mistake import KeyPath, Mistake
from grpo_launch.errors import ConfigError

GROUP = "accelerated"
"""The Hydra group that serves the blocks; its options are ``ACCELERATOR/EXPERIMENT``."""

BLOCK = (*lift.LAUNCH_BLOCK, lift.ACCELERATORS)
"""Where a legacy experiment holds them, by the accelerator's name."""

_TRAIN = "train"
_KNOWN = (_TRAIN, lift.SERVER, *schema.LIFTED, *schema.GROUPS)
_NO_EFFECT = (
    (lift.SERVER_BLOCK, "write {block}.rollout_server"),
    (lift.LAUNCH_BLOCK, "write its keys in {block}"),
    (batch_plan.PLAN, "set the batch sizes themselves in {block}.train"),
)
"""What was read out of the experiment before any accelerator counts, and what to do instead."""


@dataclass(frozen=True)
class Block:
    """What an experiment says for one accelerator.

    Attributes:
        name: the accelerator.
        said: its name in the file, which may be another one of the same.
        nodes: values by root node, as OmegaConf must get them (see ``leaves``).
    """

    name: str
    said: str
    nodes: Mapping[str, Any]

    @property
    def node(self) -> dict[str, Any]:
        """What Hydra merges at the root."""
        return {**self.nodes, "experiment": {"accelerated": self.name}}

    def says(self, key: str) -> bool:
        """Whether it decides about the value at a dotted key of the configuration."""
        return extends.holds(self.nodes, tuple(key.split("."))) is not False

    def value(self, key: str) -> Any:
        """What it says at a dotted key of the configuration; None where it says nothing."""
        node: Any = self.nodes
        for part in key.split("."):
            node = cast("dict[Any, Any]", node).get(part) if isinstance(node, dict) else None
        return leaves.decode(node)


@dataclass(frozen=True)
class Blocks:
    """All blocks of a legacy experiment, by accelerator, and what is wrong with them."""

    blocks: Mapping[str, Block]
    mistakes: tuple[Mistake, ...]


def canonical(accelerator: str) -> str:
    """The one name of an accelerator that has several: ``cuda`` for ``gpu``."""
    member = schema.AcceleratorKind.__members__.get(accelerator)
    return accelerator if member is None else member.value


def keys_of(name: str, key: str, *, native: bool) -> tuple[str, ...]:
    """Where an experiment says a dotted key of the configuration for one accelerator.

    Args:
        name: of the accelerator, as the experiment says it.
        key: the key.
        native: whether the experiment is a native Hydra file.
    """
    block = (lift.ACCELERATORS,) if native else BLOCK
    return (*block, name, *key.split("."))


def read(train: Mapping[Any, Any], where: lift.Where) -> Blocks:
    """What a legacy tree says for single accelerators.

    Args:
        train: the merged legacy tree.
        where: names the file and key for messages.
    """
    said = (lift.block(train, lift.LAUNCH_BLOCK) or {}).get(lift.ACCELERATORS)
    if said is None:
        return Blocks({}, ())
    if not isinstance(said, dict):
        return Blocks({}, (_no_mapping(said, BLOCK, where),))
    blocks: dict[str, Block] = {}
    mistakes: list[Mistake] = []
    known = _accelerators()
    for name, values in cast("dict[Any, Any]", said).items():
        keys = (*BLOCK, name)
        if name not in known:
            mistakes.append(lift.unknown(where, keys, known))
        elif canonical(name) in blocks:
            mistakes.append(Mistake(_again(where(*keys), blocks[canonical(name)].said), (keys,)))
        elif isinstance(values, dict):
            block, wrong = _read(name, cast("dict[Any, Any]", values), where)
            blocks[block.name] = block
            mistakes += wrong
        elif values is not None:
            mistakes.append(_no_mapping(values, keys, where))
    return Blocks(blocks, tuple(mistakes))


def _accelerators() -> list[str]:
    """The names of the accelerators that there are."""
    return sorted(path.stem for path in resources.path("conf/accelerator").glob("*.yaml"))


def of_native(path: Path, name: str) -> Block | None:
    """What a native experiment says for one accelerator, for Hydra to check; None for nothing.

    Args:
        path: the experiment.
        name: of the accelerator, its :func:`canonical` one.

    Raises:
        ConfigError: the file cannot be read, or the block is no mapping.
    """
    from omegaconf import OmegaConf

    from grpo_launch.config.formats import document

    node: Any = OmegaConf.to_container(OmegaConf.create(OmegaConf.load(path)))
    known = _accelerators()
    said = node.get(lift.ACCELERATORS)
    others = list(cast("dict[Any, Any]", said)) if isinstance(said, dict) else []
    for other in others:
        if other not in known:
            where = f"{document.shown(path)}: {lift.ACCELERATORS}.{other}"
            raise kinds.unknown_key(where, other, known)
    names = [other for other in others if canonical(other) == name]
    if len(names) > 1:
        raise _again(f"{document.shown(path)}: {lift.ACCELERATORS}.{names[1]}", names[0])
    for keys in ((lift.ACCELERATORS,), (lift.ACCELERATORS, *(names or [name]))):
        node = node.get(keys[-1])
        if node is None:
            return None
        if not isinstance(node, dict):
            where = f"{document.shown(path)}: {'.'.join(keys)}"
            raise _not_a_mapping(where, node)
    return Block(name, names[0], cast("dict[str, Any]", node))


def _read(
    name: str, values: Mapping[Any, Any], where: lift.Where
) -> tuple[Block, tuple[Mistake, ...]]:
    keys = (*BLOCK, name)
    rest = {key: value for key, value in values.items() if key != _TRAIN}
    found = lift.settings(rest, keys, where, _KNOWN, choosing=False)
    mistakes = [*found.mistakes, *(_choice((*keys, group), where) for group in found.choices)]
    train = values.get(_TRAIN)
    if isinstance(train, dict):
        train = cast("dict[Any, Any]", train)
        mistakes += _without_effect(train, keys, where)
    elif train is not None:
        mistakes.append(_no_mapping(train, (*keys, _TRAIN), where))
        train = None
    said = {_TRAIN: leaves.encode(train)} if train else {}
    return Block(canonical(name), name, {**found.nodes, **said}), tuple(mistakes)


def _no_mapping(value: Any, keys: KeyPath, where: lift.Where) -> Mistake:
    return Mistake(_not_a_mapping(where(*keys), value), (keys,))


def _not_a_mapping(where: str, value: Any) -> ConfigError:
    return ConfigError(where, f"must be a mapping, not {kinds.said(value)}", "write keys below")


def _again(where: str, other: str) -> ConfigError:
    what = f"is another name of {other}, for which there is a block as well"
    return ConfigError(where, what, "make one of the two")


def _choice(keys: KeyPath, where: lift.Where) -> Mistake:
    """Hydra has chosen the options of all groups before it merges what stands behind."""
    what = "an accelerator's block sets keys, it cannot choose an option"
    fix = f"write the keys below it, or say {keys[-1]}=... on the command line"
    return Mistake(ConfigError(where(*keys), what, fix), (keys,))


def _without_effect(
    train: Mapping[Any, Any], above: KeyPath, where: lift.Where
) -> Iterator[Mistake]:
    for keys, fix in _NO_EFFECT:
        if lift.has(train, keys):
            said = (*above, _TRAIN, *keys)
            what = "is read before an accelerator counts and has no effect here"
            fix = fix.format(block=".".join(map(str, above)))
            yield Mistake(ConfigError(where(*said), what, fix), (said,))
