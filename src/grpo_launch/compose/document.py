"""One YAML file: its data as ``yaml.safe_load`` gives it, and where each key stands."""

from __future__ import annotations

import functools
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from grpo_launch.errors import ConfigError

MAX_FILE_BYTES = 8 * 1024 * 1024
"""Above this a file is refused: no experiment is that long, but a log or a data set is."""

MAX_VALUES = 200_000
"""Above this many values, aliases expanded, a file is refused (an alias bomb)."""

SELF = object()
"""In a tree of origins the key of the mapping's own origin; no YAML key is equal to it."""


@dataclass(frozen=True)
class Origin:
    """The place that set a value.

    Attributes:
        file: the file, absolute.
        line: the line of the key, counted from 1.
    """

    file: Path
    line: int


def shown(path: Path) -> str:
    """``path`` as people write it: without ``..``, and relative to the working directory."""
    plain = Path(os.path.normpath(path))
    try:
        return str(plain.relative_to(Path.cwd()))
    except ValueError:
        return str(plain)


def read_bytes(path: Path) -> bytes:
    """The bytes of a YAML file.

    Raises:
        ConfigError: it is missing, a directory, unreadable or too large.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
            kind = "a directory" if path.is_dir() else "no regular file"
            raise ConfigError(shown(path), f"is {kind}", "name a YAML file")
        if status.st_size > MAX_FILE_BYTES:
            raise ConfigError(
                shown(path),
                f"has {status.st_size} bytes, more than {MAX_FILE_BYTES} is no experiment file",
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


def read_origins(path: Path) -> dict[Any, Any]:
    """The tree of ``Origin`` for one file; a mapping's own origin is under ``SELF``."""
    with _Document(path, read_bytes(path)) as document:
        if document.is_empty:
            return {}
        document.data()
        tree = document.origins(cast("yaml.MappingNode", document.node), Origin(path, 1))
    tree.pop("extends", None)
    return tree


@functools.lru_cache(maxsize=1024)
def parse(path: Path, mtime_ns: int, size: int, text: bytes) -> Any:
    """Parse one file; memoised, since Hydra composes everything twice."""
    del mtime_ns, size
    with _Document(path, text) as document:
        data = {} if document.is_empty else document.data()
    _check_size(path, data)
    return data


class _Document:
    """One parsed YAML file: its node tree, its data, and where each key stands."""

    def __init__(self, path: Path, text: bytes) -> None:
        self._path = path
        loader = yaml.SafeLoader if _READ_DIFFERENTLY.search(text) else _FAST_LOADER
        self._text = text
        self._loader_type = loader
        self._memo: dict[int, Any] = {}

    def __enter__(self) -> _Document:
        try:
            self._loader = self._loader_type(self._text)
            self.node: yaml.Node | None = self._loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            raise self._malformed(error) from None
        except RecursionError:
            raise _too_deep(self._path) from None
        except (yaml.YAMLError, UnicodeError) as error:
            raise ConfigError(
                shown(self._path), f"is not YAML ({error})", "mend or re-save the file as UTF-8"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._loader.dispose()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it, or null alone."""
        return self.node is None or self.node.tag == _NULL

    def data(self) -> Any:
        """The document as ``yaml.safe_load`` gives it."""
        try:
            return self._loader.construct_document(self.node)
        except yaml.MarkedYAMLError as error:
            raise self._malformed(error) from None
        except RecursionError:
            raise _too_deep(self._path) from None
        except Exception as error:
            # PyYAML's constructors raise whatever int(), date() and re give them.
            raise ConfigError(
                shown(self._path), f"holds a malformed value ({error})", "correct or quote it"
            ) from None

    def origins(self, node: yaml.MappingNode, own: Origin) -> dict[Any, Any]:
        """The origin of each key below ``node``; call after :meth:`data` (merge keys)."""
        if id(node) in self._memo:  # an alias: the same keys, mentioned elsewhere
            return {**self._memo[id(node)], SELF: own}
        tree: dict[Any, Any] = {SELF: own}
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
_NULL = "tag:yaml.org,2002:null"
_FAST_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# libyaml and PyYAML disagree about tabs, a lone "!", "|#", "a? b" in flow mappings, byte
# order marks, Unicode line breaks and UTF-16; PyYAML's reading is the rule.
_READ_DIFFERENTLY = re.compile(
    rb"[\t!\0]|[|>][-+0-9]*#|\?\s|\xef\xbb\xbf|\xc2\x85|\xe2\x80[\xa8\xa9]"
)


def _check_size(path: Path, data: Any) -> None:
    """Refuse aliases that contain themselves or that expand without bound."""
    sizes: dict[int, int] = {}
    open_: set[int] = set()

    def size(value: Any) -> int:
        if not isinstance(value, dict | list | tuple):
            return 1
        container = cast("dict[Any, Any] | list[Any] | tuple[Any, ...]", value)
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
        raise _too_deep(path) from None
    if total > MAX_VALUES:
        raise ConfigError(
            shown(path),
            f"expands to more than {MAX_VALUES} values",
            "remove aliases or split the file",
        )


def _too_deep(path: Path) -> ConfigError:
    return ConfigError(shown(path), "is nested too deeply", "flatten it")
