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

from grpo_launch.base import files
from grpo_launch.config.formats import json_text, limits, malformed
from grpo_launch.errors import ConfigError

MAX_FILE_BYTES = 2 * 1024 * 1024
"""Above this a file is refused: no experiment is that long, but a log or a data set is."""

MAX_DIGITS = 1000
"""Above this length an integer is refused; Python does not print one of 4,300 digits."""

JSON = ".json"
"""The suffix of files that are read as JSON."""

PYTHON = ".py"
"""The suffix of files that are run; whatever is not named with ``config=`` must not be read."""

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
    if fault := unreadable(path):
        raise ConfigError(shown(path), fault, "name a readable YAML file")
    try:
        return files.read(path, MAX_FILE_BYTES)  # it may be another by now
    except OSError as error:
        raise ConfigError(shown(path), _reason(error), "name a readable YAML file") from None


def unreadable(path: Path) -> str | None:
    """Why ``path`` is no file of an experiment ("is a directory"), or None."""
    try:
        status = path.stat()
    except OSError as error:
        return _reason(error)
    if stat.S_ISDIR(status.st_mode):
        return "is a directory"
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
        return "is no regular file"
    if status.st_size > MAX_FILE_BYTES:
        return f"has {status.st_size} bytes, more than {MAX_FILE_BYTES} is no experiment file"
    return None if os.access(path, os.R_OK) else "cannot be read (Permission denied)"


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "does not exist"
    return f"cannot be read ({error.strerror or type(error).__name__})"


def read_origins(path: Path, text: bytes | None = None) -> dict[Any, Any]:
    """The tree of ``Origin`` for one file; a mapping's own origin is under ``SELF``.

    Args:
        path: of the file.
        text: what it holds, where that is known.
    """
    text = read_bytes(path) if text is None else text
    if path.suffix == PYTHON:
        from grpo_launch.config.formats import python_text

        return {SELF: Origin(path, python_text.line(text))}
    if path.suffix == JSON:
        text = text.replace(b"\t", b" ")  # none stands inside a string of JSON
    with _Document(path, text) as document:
        if document.is_empty:
            return {}
        document.data()
        tree = document.origins(cast("yaml.MappingNode", document.node), Origin(path, 1))
    tree.pop("extends", None)
    return tree


def parse(path: Path, text: bytes) -> Any:
    """Parse one file; memoised, a refusal as well: several that compose it ask.

    Raises:
        ConfigError: the file is refused.
    """
    data = _parsed(path, text)
    if isinstance(data, ConfigError):
        raise data.with_traceback(None)
    return data


@functools.lru_cache(maxsize=1024)
def _parsed(path: Path, text: bytes) -> Any:
    try:
        if path.suffix == JSON:
            data = json_text.parse(shown(path), text)
        elif path.suffix == PYTHON:
            from grpo_launch.config.formats import python_text

            data = python_text.parse(shown(path), path)
        else:
            with _Document(path, text) as document:
                data = {} if document.is_empty else document.data()
        limits.check_size(shown(path), data)
    except ConfigError as error:
        return error
    return data


class _Document:
    """One parsed YAML file: its node tree, its data, and where each key stands."""

    def __init__(self, path: Path, text: bytes) -> None:
        self._path = path
        self._text = text
        self._memo: dict[int, Any] = {}

    def __enter__(self) -> _Document:
        exact = _READ_DIFFERENTLY.search(self._text) is not None
        try:
            if not exact and _may_be_deep(self._text):
                _check_depth(self._path, self._text)
            self._loader = (_ExactLoader if exact else _FastLoader)(self._text)
            self.node: yaml.Node | None = self._loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            raise self._malformed(error) from None
        except RecursionError:
            raise limits.too_deep(shown(self._path)) from None
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            # Text that is not Unicode, and escapes that name no character.
            raise ConfigError(
                shown(self._path), f"is not YAML ({error})", "mend or re-save the file as UTF-8"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._loader.dispose()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it, or null alone."""
        node = self.node
        return node is None or (node.tag == _NULL and isinstance(node, yaml.ScalarNode))

    def data(self) -> Any:
        """The document as ``yaml.safe_load`` gives it."""
        try:
            return self._loader.construct_document(self.node)
        except yaml.MarkedYAMLError as error:
            raise self._malformed(error) from None
        except RecursionError:
            raise limits.too_deep(shown(self._path)) from None
        except _TooManyValuesError:
            raise limits.too_many_values(shown(self._path)) from None
        except _GivenTwiceError as twice:
            where = f"{shown(self._path)}:{twice.line}"
            what = f"{twice.key} is given in line {twice.first} already, which would be lost"
            raise ConfigError(where, what, "make one of the two") from None
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
        if "maximum nesting depth" in str(error.problem):  # the parser's own limit, of libyaml
            return limits.too_deep(shown(self._path))
        mark = error.problem_mark or error.context_mark
        where = shown(self._path)
        if mark is not None:
            where = f"{where}:{mark.line + 1}:{mark.column + 1}"
        what = f"malformed YAML: {error.problem or error.context}"
        return ConfigError(where, what, malformed.advice(error, self._text))


_MAPPING = "tag:yaml.org,2002:map"
_NO_KEYS = ("tag:yaml.org,2002:merge", "tag:yaml.org,2002:value")  # << and =
_NULL = "tag:yaml.org,2002:null"


class _TooManyValuesError(Exception):
    """Merge keys expand without bound."""


class _GivenTwiceError(Exception):
    """A mapping has a key twice; YAML forbids it, and PyYAML keeps the last."""

    def __init__(self, key: str, line: int, first: int) -> None:
        super().__init__(key, line, first)
        self.key, self.line, self.first = key, line, first


def _bounded(loader: Any) -> Any:
    """A PyYAML loader that refuses what would take for ever, be lost or could not be shown."""

    class Bounded(loader):
        pairs = 0

        def __init__(self, stream: Any) -> None:
            super().__init__(stream)
            self.flattened: set[int] = set()

        def flatten_mapping(self, node: Any) -> None:
            # Called for a mapping and for each mention of it in a merge key, inside out.
            if id(node) not in self.flattened:  # later it holds what it was merged with
                self.flattened.add(id(node))
                self.refuse_duplicates(node)
            super().flatten_mapping(node)
            self.pairs += len(node.value)
            if self.pairs > limits.MAX_VALUES:
                raise _TooManyValuesError

        def refuse_duplicates(self, node: Any) -> None:
            lines: dict[Any, int] = {}
            for key_node, _ in node.value:
                if key_node.tag in _NO_KEYS or not isinstance(key_node, yaml.ScalarNode):
                    continue
                key, line = self.construct_object(key_node), key_node.start_mark.line + 1
                if key in lines:
                    raise _GivenTwiceError(key_node.value, line, lines[key])
                lines[key] = line

        def construct_scalar(self, node: Any) -> Any:
            value = super().construct_scalar(node)
            if not value.isascii():
                value.encode()  # "\ud800" is no text: it can be neither printed nor written
            return value

        def construct_yaml_int(self, node: Any) -> int:
            if len(node.value) > MAX_DIGITS:
                # Base 60 takes quadratic time, and what was read could not be printed.
                raise ValueError(f"an integer of {len(node.value)} characters")
            return super().construct_yaml_int(node)

    Bounded.add_constructor("tag:yaml.org,2002:int", Bounded.construct_yaml_int)
    return Bounded


_ExactLoader = _bounded(yaml.SafeLoader)
_FastLoader = _bounded(getattr(yaml, "CSafeLoader", yaml.SafeLoader))

# libyaml and PyYAML disagree about tabs, a lone "!", "|#", "?" in flow collections,
# byte order marks, Unicode line breaks and UTF-16; PyYAML's reading is the rule.
_READ_DIFFERENTLY = re.compile(rb"[\t!?\0]|[|>][-+0-9]*#|\xef\xbb\xbf|\xc2\x85|\xe2\x80[\xa8\xa9]")


def _may_be_deep(text: bytes) -> bool:
    """Whether the text might nest so deeply that libyaml's loader overflows the stack.

    Each level of nesting takes a bracket, or a column of a line (at most two levels
    begin in one). The overflow is at tens of thousands of levels.
    """
    brackets = text.count(b"[") + text.count(b"{")
    return brackets + 2 * max(map(len, text.split(b"\n"))) > 2000


def _check_depth(path: Path, text: bytes) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_FastLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > limits.MAX_DEPTH:
            raise limits.too_deep(shown(path))
