"""Scripts as trees: what ``shfmt`` parses, with the text behind every node."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from grpo_launch.errors import ConfigError, one_line

Node = Mapping[str, Any]
"""A node of the tree, as ``shfmt --to-json`` writes it (mvdan.cc/sh/v3/syntax)."""

HERE = "/\x02"
"""Stands for the path of the directory that a script is started in, where that is not said."""

_SECONDS = 30
_LONGEST = 160
_FAULT = re.compile(r"^(?:.*?:)?(\d+):(\d+): (.*)$")
_PLACEHOLDER = re.compile(r"<[A-Za-z][\w ./-]*>")


@dataclass(frozen=True)
class Source:
    """A script, or a text that one evaluates.

    Attributes:
        name: of the file; empty for the script itself.
        data: its bytes, lines ending with a line feed.
        tree: of ``shfmt``.
        line: of the statement that evaluates the text (``eval``, ``bash -c``), which then stands
            for all lines of it; 0 for files.
    """

    name: str
    data: bytes
    tree: Node = field(default_factory=dict)
    line: int = 0

    @cached_property
    def lines(self) -> list[str]:
        """Its lines, without their ends."""
        return self.data.decode(errors="replace").split("\n")

    def text(self, node: Node) -> str:
        """What the script says at a node."""
        return self.between(offset(node), offset(node, "End"))

    def between(self, start: int, end: int) -> str:
        """What stands between two offsets, in bytes."""
        return self.data[start:end].decode(errors="replace")

    def line_of(self, node: Node, end: bool = False) -> int:
        """The line of a node's beginning or end."""
        place = node.get("End" if end else "Pos") or {}
        return self.line or int(place.get("Line", 1))

    def shown(self, node: Node) -> str:
        """A node for people: on one line, shortened."""
        return short(self.text(node))


def short(text: str) -> str:
    """Text of a script on one line, shortened."""
    line = one_line(re.sub(r"\\\n", " ", text).replace(HERE, "."))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 4]} ..."


def offset(node: Node, place: str = "Pos") -> int:
    """Where a node begins or ends, in bytes."""
    return int((node.get(place) or {}).get("Offset", 0))


def nodes(tree: Any) -> Iterator[Node]:
    """All nodes of a tree, outer ones first."""
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting += [child for child in reversed(one.values()) if isinstance(child, dict | list)]
        elif isinstance(one, list):
            waiting += reversed(one)


def parse(data: bytes, name: str, shown: str, line: int = 0) -> Source:
    """Parse a script.

    Args:
        data: its bytes, lines ending with a line feed.
        name: what the source is called.
        shown: what the file is called in messages.
        line: see ``Source``.

    Raises:
        ConfigError: the syntax is wrong, or ``shfmt`` is not installed.
    """
    tree = _tree(data, shown, line)
    text = data
    while (ended := _without_ends(text, tree)) != text:
        text, tree = ended, _tree(ended, shown, line)
    return Source(name, data, tree, line)


def _without_ends(data: bytes, tree: Node) -> bytes:
    """A script without the backslash that a comment ends with.

    It belongs to the comment, which shfmt 3.14 goes on with in the next line.
    """
    made = bytearray(data)
    for comment in (one for node in nodes(tree) for one in comments_of(node)):
        end = offset(comment, "End")
        if data[end - 2 : end] == b"\\\n":
            made[end - 2] = ord(" ")
    return bytes(made)


def comments_of(node: Node) -> list[Node]:
    """The comments that a node has beside it."""
    return [*(node.get("Comments") or []), *(node.get("Last") or [])]


def _tree(data: bytes, shown: str, line: int) -> Node:
    """What shfmt makes of a script.

    Raises:
        ConfigError: see :func:`parse`.
    """
    import subprocess

    try:
        done = subprocess.run(
            [_shfmt(), "-ln=bash", "--to-json"],
            input=data,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(shown, f"shfmt cannot parse it: {error}", "shorten the script") from None
    if done.returncode != 0:
        raise _fault(done.stderr.decode(errors="replace"), data, shown, line)
    return json.loads(done.stdout)


def _shfmt() -> str:
    """The parser: of this interpreter's environment, or on the PATH."""
    beside = Path(sys.executable).parent / "shfmt"
    found = str(beside) if beside.is_file() else shutil.which("shfmt")
    if found is None:
        fix = "pip install 'grpo_launch[import]'"
        raise ConfigError("shfmt", "the parser of shell scripts is not installed", fix)
    return found


def _fault(said: str, data: bytes, shown: str, line: int) -> ConfigError:
    """The error of a script that does not parse."""
    match = _FAULT.match(said.strip().splitlines()[0] if said.strip() else "")
    if match is None:
        return ConfigError(shown, f"shfmt cannot parse it: {said}", "correct the script")
    at = int(match[1])
    lines = data.decode(errors="replace").split("\n")
    text = lines[at - 1] if at <= len(lines) else ""
    placeholder = _PLACEHOLDER.search(text)
    fix = "correct the script (bash -n shows where)"
    if placeholder is not None:
        fix = f"replace the placeholder {placeholder[0]}"
    return ConfigError(f"{shown}:{line or at}", match[3], fix)
