"""Legacy experiment files: YAML with ``extends:``, merged in plain Python.

The rules are those of the launcher that this project replaces: ``extends`` is a
string or a list, each relative to the file that says it; later bases win over
earlier ones and the file wins over its bases; mappings merge deeply, lists and
null replace. The result equals ``yaml.safe_load`` of each file plus that merge,
types and key order included.

This module knows nothing of Hydra. It is not merged by Hydra on purpose: see
``docs/adr/0002-merge-extends-in-python.md``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from grpo_launch.base import resources
from grpo_launch.config import kinds
from grpo_launch.config.formats import forms, sorting
from grpo_launch.config.formats.document import (
    PYTHON,
    SELF,
    Origin,
    parse,
    read_bytes,
    read_origins,
    shown,
    unreadable,
)
from grpo_launch.config.formats.forms import holds as holds
from grpo_launch.config.formats.forms import merge as merge
from grpo_launch.config.mistake import Mistake
from grpo_launch.errors import ConfigError

if TYPE_CHECKING:
    from grpo_launch.config.formats import jobs

KeyPath = tuple[Any, ...]
"""The keys that lead to a leaf, outermost first."""

_LONGEST_CHAIN = 200
"""Files from an experiment to its last base; far more would exceed Python's stack."""


@dataclass(frozen=True)
class LegacyTree:
    """An experiment file with all its bases merged in.

    Attributes:
        path: the file, absolute.
        own: what the file itself says, without ``extends``, in the one form (see ``forms``).
        data: that and what the bases say, merged. Values are shared with other trees and
            with what is memoised, so nobody may change them.
        bases: the trees that ``extends`` names, in the order of the file.
        reading: the file, and how it spells ``own``.
    """

    path: Path
    own: Mapping[Any, Any]
    data: Mapping[Any, Any]
    bases: tuple[LegacyTree, ...]
    reading: forms.Reading

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """What is wrong with the form of the file and of its bases, each once."""
        below = (mistake for base in self.bases for mistake in base.mistakes)
        return tuple(dict.fromkeys((*below, *self.reading.mistakes)))

    @property
    def job(self) -> jobs.Mapped | None:
        """The job that the file is, or extends."""
        found = (base.job for base in reversed(self.bases))
        return self.reading.job or next(filter(None, found), None)

    @functools.cached_property
    def origins(self) -> dict[KeyPath, Origin]:
        """For every leaf of ``data`` (a list and an empty mapping are leaves) what set it."""
        return dict(_flatten(self.data, self._origin_tree, ()))

    def setter(self, *keys: Any) -> Path | None:
        """The file that set the value at ``keys``; for a mapping, the last that mentions it.

        No file is read for it, unlike for :meth:`origin`.
        """
        tree = self.sayer(*keys)
        return tree.path if tree else None

    def sayer(self, *keys: Any) -> LegacyTree | None:
        """The tree of the file that :meth:`setter` names."""
        if (said := holds(self.own, keys)) is not False:
            return self if said else None
        for base in reversed(self.bases):
            if (said := holds(base.data, keys)) is not False:
                return base.sayer(*keys) if said else None
        return None

    def origin(self, *keys: Any) -> Origin | None:
        """The place that set the value at ``keys``; see :meth:`setter`."""
        tree = self.sayer(*keys)
        if tree is None:
            return None
        node: Any = tree.own_origins
        for key in keys:
            node = node[key]
        return node[SELF] if isinstance(node, dict) else node

    def sayings(self, *keys: Any) -> list[tuple[Origin, Any]]:
        """Every file that says something at ``keys``, with the value that it says there.

        In the order of precedence, the weakest first; a base that is reached twice
        counts where it is merged last.
        """
        found: dict[Path, tuple[Origin, Any]] = {}
        for base in self.bases:
            for origin, value in base.sayings(*keys):
                found.pop(origin.file, None)
                found[origin.file] = (origin, value)
        own, value = self.own_origins, self.own
        for key in keys:
            if not (isinstance(own, dict) and key in own and isinstance(value, dict)):
                return list(found.values())
            own, value = own[key], cast("dict[Any, Any]", value)[key]
        origin = own[SELF] if isinstance(own, dict) else own
        found.pop(origin.file, None)
        found[origin.file] = (origin, value)
        return list(found.values())

    @functools.cached_property
    def _origin_tree(self) -> dict[Any, Any]:
        merged: dict[Any, Any] = {}
        for base in self.bases:
            merged = merge(merged, base._origin_tree)
        return merge(merged, self.own_origins)

    @functools.cached_property
    def own_origins(self) -> dict[Any, Any]:
        """The tree of origins of the file itself, shaped as ``own``."""
        return self.reading.of_origins(read_origins(self.path))


def load(path: str | Path, reader: forms.Reader = forms.as_it_is) -> LegacyTree:
    """Load an experiment file and everything that it extends.

    Args:
        path: the file; relative paths are taken from the working directory.
        reader: brings each file into one form before it is merged.

    Returns:
        The merged tree.

    Raises:
        ConfigError: the file or a base is missing, unreadable, malformed, too
            large, not a mapping, says ``inherit``, or the bases form a cycle.
    """
    return _load(Path(path).absolute(), (), {}, reader)


def _load(
    path: Path, chain: tuple[str, ...], loaded: dict[Path, LegacyTree], reader: forms.Reader
) -> LegacyTree:
    if path in loaded:  # a ladder of diamonds has 2**depth paths through it
        return loaded[path]
    identity = _identity(path)
    if identity in chain:
        cycle = map(Path, (*chain[chain.index(identity) :], identity))
        names = " -> ".join(map(shown, cycle))
        raise ConfigError(
            shown(Path(chain[-1])), f"extends forms a cycle: {names}", "remove one of these extends"
        )
    if len(chain) > _LONGEST_CHAIN:
        first = shown(Path(chain[0]))
        raise ConfigError(first, "extends too long a chain", "merge some of its files")
    if chain and path.suffix == PYTHON:
        what = f"extends {path.name}, which would have to be run"
        fix = "save its job as JSON (job.save) and extend that, or name it with config="
        raise ConfigError(shown(Path(chain[-1])), what, fix)
    document = _read(path)
    bases: list[LegacyTree] = []
    merged: dict[Any, Any] = {}
    for name in _bases_of(path, document):
        base_path = _base(path.parent, name)
        if fault := unreadable(base_path):
            raise ConfigError(
                shown(path),
                f"extends {name!r}, but {shown(base_path)} {fault}",
                _meant(name),
            )
        base = _load(base_path, (*chain, identity), loaded, reader)
        bases.append(base)
        merged = sorting.lay_over(merged, base.data, _sorted_in(bases))
    own = {key: value for key, value in document.items() if key != "extends"}
    reading = reader(path, own, merged)
    data = sorting.lay_over(merged, reading.data, [*_sorted_in(bases), *reading.moves.values()])
    tree = loaded[path] = LegacyTree(path, reading.data, data, tuple(bases), reading)
    return tree


def _base(directory: Path, name: str) -> Path:
    """The file that ``extends`` names: one beside it, or else a shipped experiment.

    As with ``config=``, the ending may be left out, and a shipped one has its path too.
    """
    beside = directory / name
    if os.path.lexists(beside):
        return beside
    shipped = resources.path("configs")
    is_relative = name.startswith((".", "/")) or ".." in Path(name).parts
    places = (directory,) if is_relative else (directory, shipped / "train/grpo", shipped)
    names = (name, f"{name}.yaml")
    paths = (place / each for place in places for each in names)
    return next((path for path in paths if unreadable(path) is None), beside)


def _meant(name: str) -> str:
    """What to do about an ``extends`` that names nothing."""
    shipped = [path.stem for path in (resources.path("configs") / "train/grpo").glob("*.yaml")]
    meant = kinds.nearest(name.removesuffix(".yaml"), shipped)
    fix = "correct the path (it is relative to this file)"
    return f"did you mean the shipped {meant}? Else {fix}" if meant else fix


def _sorted_in(trees: Iterable[LegacyTree]) -> Iterator[KeyPath]:
    """Where flags were put that files below these trees, or their own, have at the top."""
    for tree in trees:
        yield from tree.reading.moves.values()
        yield from _sorted_in(tree.bases)


def _identity(path: Path) -> str:
    try:
        return str(path.resolve())
    except (OSError, RuntimeError):
        raise ConfigError(shown(path), "is a loop of symbolic links", "remove the link") from None


def _bases_of(path: Path, document: Mapping[Any, Any]) -> list[str]:
    if "inherit" in document:
        raise ConfigError(shown(path), "the key 'inherit' is not supported", "use 'extends'")
    declared = document.get("extends")
    if declared is None:
        return []
    names = cast("list[Any]", declared) if isinstance(declared, list) else [declared]
    for name in names:
        if not isinstance(name, str) or not name or "\0" in name:
            raise ConfigError(
                shown(path),
                f"extends must be a file name or a list of them, not {kinds.said(name)}",
                "write extends: base.yaml",
            )
    return cast("list[str]", names)


def _read(path: Path) -> dict[Any, Any]:
    data = parse(path, read_bytes(path))
    if not isinstance(data, dict):
        raise ConfigError(
            shown(path),
            f"is {_NOUNS.get(type(data), 'a value')}, not a mapping",
            "write 'key: value' lines at the top",
        )
    return cast("dict[Any, Any]", data)


_NOUNS = {list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number"}


def _flatten(data: Any, origins: Any, keys: KeyPath) -> Iterator[tuple[KeyPath, Origin]]:
    if isinstance(data, dict) and data:
        for key, value in cast("dict[Any, Any]", data).items():
            yield from _flatten(value, origins[key], (*keys, key))
    elif keys:
        yield keys, origins[SELF] if isinstance(origins, dict) else origins
