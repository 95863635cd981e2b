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

import copy
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from grpo_launch.errors import ConfigError

KeyPath = tuple[Any, ...]
"""The keys that lead to a leaf, outermost first."""

MAX_FILE_BYTES = 8 * 1024 * 1024
"""Above this a file is refused: no experiment is that long, but a log or a data set is."""

MAX_VALUES = 200_000
"""Above this many values, aliases expanded, a file is refused (an alias bomb)."""

_SELF = object()


@dataclass(frozen=True)
class Origin:
    """The place that set a value.

    Attributes:
        file: the file, absolute.
        line: the line of the key, counted from 1.
    """

    file: Path
    line: int


@dataclass(frozen=True)
class LegacyTree:
    """An experiment file with all its bases merged in.

    Attributes:
        path: the file, absolute.
        data: the merged mapping, without ``extends``; the caller's own copy.
        bases: the trees that ``extends`` names, in the order of the file.
    """

    path: Path
    data: dict[Any, Any]
    bases: tuple[LegacyTree, ...]

    @functools.cached_property
    def origins(self) -> dict[KeyPath, Origin]:
        """For every leaf of ``data`` (a list and an empty mapping are leaves) what set it."""
        return dict(_flatten(self.data, self._origin_tree, ()))

    def origin(self, *keys: Any) -> Origin | None:
        """What set the value at ``keys``; for a mapping, the last file that mentions it."""
        node: Any = self._origin_tree
        for key in keys:
            if not isinstance(node, dict) or key not in node:
                return None
            node = cast("dict[Any, Any]", node)[key]
        return node.get(_SELF) if isinstance(node, dict) else node

    @functools.cached_property
    def _origin_tree(self) -> dict[Any, Any]:
        merged: dict[Any, Any] = {}
        for base in self.bases:
            merged = merge(merged, base._origin_tree)
        return merge(merged, _read_origins(self.path))


def load(path: str | Path) -> LegacyTree:
    """Load an experiment file and everything that it extends.

    Args:
        path: the file; relative paths are taken from the working directory.

    Returns:
        The merged tree; ``data`` is a fresh copy.

    Raises:
        ConfigError: the file or a base is missing, unreadable, malformed, too
            large, not a mapping, says ``inherit``, or the bases form a cycle.
    """
    tree = _load(Path(path).absolute(), ())
    return LegacyTree(tree.path, copy.deepcopy(tree.data), tree.bases)


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


def shown(path: Path) -> str:
    """``path`` as people write it: relative to the working directory when it is below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def read_text_guarded(path: Path) -> bytes:
    """The bytes of a YAML file.

    Raises:
        ConfigError: it is missing, a directory, unreadable or too large.
    """
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise ConfigError(shown(path), "is a directory", "name a YAML file")
        if size > MAX_FILE_BYTES:
            raise ConfigError(
                shown(path),
                f"has {size} bytes, more than {MAX_FILE_BYTES} is no experiment file",
                "name the YAML file of an experiment",
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(shown(path), "does not exist", "check the name") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(
            shown(path), f"cannot be read ({reason})", "check the path and its permissions"
        ) from None


def _load(path: Path, chain: tuple[Path, ...]) -> LegacyTree:
    identity = _identity(path)
    if identity in chain:
        names = " -> ".join(shown(p) for p in (*chain[chain.index(identity) :], identity))
        raise ConfigError(
            shown(chain[-1]), f"extends forms a cycle: {names}", "remove one of these extends"
        )
    document = _read(path)
    bases: list[LegacyTree] = []
    merged: dict[Any, Any] = {}
    for name in _bases_of(path, document):
        base_path = path.parent / name
        if not base_path.exists():
            raise ConfigError(
                shown(path),
                f"extends {name!r}, but {shown(_identity(base_path))} does not exist",
                "correct the path (it is relative to this file)",
            )
        base = _load(base_path, (*chain, identity))
        bases.append(base)
        merged = merge(merged, base.data)
    own = {key: value for key, value in document.items() if key != "extends"}
    return LegacyTree(path, merge(merged, own), tuple(bases))


def _identity(path: Path) -> Path:
    try:
        return path.resolve()
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
        if not isinstance(name, str) or not name:
            raise ConfigError(
                shown(path),
                f"extends must be a file name or a list of them, not {name!r}",
                "write extends: base.yaml",
            )
    return cast("list[str]", names)


def _read(path: Path) -> dict[Any, Any]:
    text = read_text_guarded(path)
    stat = path.stat()
    data = _parse(path, stat.st_mtime_ns, stat.st_size, text)
    if not isinstance(data, dict):
        raise ConfigError(
            shown(path),
            f"holds a {type(data).__name__} at the top, not a mapping",
            "write 'key: value' lines",
        )
    return cast("dict[Any, Any]", data)


def _read_origins(path: Path) -> dict[Any, Any]:
    """The tree of ``Origin`` for one file; a mapping's own origin is under ``_SELF``."""
    with _Document(path, read_text_guarded(path)) as document:
        node = document.node
        if node is None:
            return {}
        document.data()
        tree = document.origins(cast("yaml.MappingNode", node), Origin(path, 1))
    tree.pop("extends", None)
    return tree


@functools.lru_cache(maxsize=1024)
def _parse(path: Path, mtime_ns: int, size: int, text: bytes) -> Any:
    """Parse one file; memoised, since Hydra composes everything twice."""
    del mtime_ns, size
    with _Document(path, text) as document:
        data = {} if document.node is None else document.data()
    _check_size(path, data)
    return data


class _Document:
    """One parsed YAML file: its node tree, its data, and where each key stands."""

    def __init__(self, path: Path, text: bytes) -> None:
        self._path = path
        # libyaml and PyYAML disagree about tabs; PyYAML's reading is the rule.
        loader = yaml.SafeLoader if b"\t" in text else _FAST_LOADER
        self._text = text
        self._loader_type = loader
        self._memo: dict[int, Any] = {}

    def __enter__(self) -> _Document:
        try:
            self._loader = self._loader_type(self._text)
            self.node: yaml.Node | None = self._loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            raise self._malformed(error) from None
        except (yaml.YAMLError, UnicodeError, RecursionError) as error:
            raise ConfigError(
                shown(self._path), f"is not YAML ({error})", "mend or re-save the file as UTF-8"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._loader.dispose()

    def data(self) -> Any:
        """The document as ``yaml.safe_load`` gives it."""
        try:
            return self._loader.construct_document(self.node)
        except yaml.MarkedYAMLError as error:
            raise self._malformed(error) from None
        except Exception as error:
            # PyYAML's constructors raise whatever int(), date() and re give them.
            raise ConfigError(
                shown(self._path), f"holds a malformed value ({error})", "correct or quote it"
            ) from None

    def origins(self, node: yaml.MappingNode, own: Origin) -> dict[Any, Any]:
        """The origin of each key below ``node``; call after :meth:`data` (merge keys)."""
        if id(node) in self._memo:
            return self._memo[id(node)]
        tree: dict[Any, Any] = {_SELF: own}
        self._memo[id(node)] = tree
        for key_node, value_node in node.value:
            key = self._loader.construct_object(key_node, deep=True)
            origin = Origin(self._path, key_node.start_mark.line + 1)
            if isinstance(value_node, yaml.MappingNode) and value_node.tag == _MAPPING:
                tree[key] = self.origins(value_node, origin)
            else:
                tree[key] = origin
        return tree

    def _malformed(self, error: yaml.MarkedYAMLError) -> ConfigError:
        mark = error.problem_mark or error.context_mark
        where = shown(self._path)
        if mark is not None:
            where = f"{where}:{mark.line + 1}:{mark.column + 1}"
        return ConfigError(where, f"malformed YAML: {error.problem or error.context}", "correct it")


_MAPPING = "tag:yaml.org,2002:map"
_FAST_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _check_size(path: Path, data: Any) -> None:
    """Refuse aliases that contain themselves or that expand without bound."""
    sizes: dict[int, int] = {}
    open_: set[int] = set()

    def size(value: Any) -> int:
        if not isinstance(value, dict | list):
            return 1
        container = cast("dict[Any, Any] | list[Any]", value)
        identity = id(container)
        if identity in sizes:
            return sizes[identity]
        if identity in open_:
            raise ConfigError(shown(path), "an alias contains itself", "remove the alias")
        open_.add(identity)
        children = container.values() if isinstance(container, dict) else container
        total = 1 + sum(size(child) for child in children)
        open_.discard(identity)
        sizes[identity] = total
        return total

    try:
        total = size(data)
    except RecursionError:
        raise ConfigError(shown(path), "is nested too deeply", "flatten it") from None
    if total > MAX_VALUES:
        raise ConfigError(
            shown(path),
            f"expands to more than {MAX_VALUES} values",
            "remove aliases or split the file",
        )


def _flatten(data: Any, origins: Any, keys: KeyPath) -> Iterator[tuple[KeyPath, Origin]]:
    if isinstance(data, dict) and data:
        for key, value in cast("dict[Any, Any]", data).items():
            yield from _flatten(value, origins[key], (*keys, key))
    elif keys:
        yield keys, origins[_SELF] if isinstance(origins, dict) else origins
