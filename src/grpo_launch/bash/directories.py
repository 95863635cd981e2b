"""Paths below a directory that nobody says: the one that the script is started in."""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace

from grpo_launch.bash.script import Kind, Unknown, Value, joined
from grpo_launch.bash.syntax import HERE


def is_open(text: str | None) -> bool:
    """Whether a text holds the path of the start, which only running tells."""
    return text is not None and HERE[1:] in text


def normal(text: str) -> str:
    """A path without ``.`` and ``..``, but for those that lead out of the start."""
    if not text.startswith(HERE):
        return posixpath.normpath(text)
    rest = posixpath.normpath(f".{text[len(HERE) :]}")
    return HERE if rest == "." else f"{HERE}/{rest}"


def below(text: str, start: str) -> str:
    """A path as seen from the start, where it is below it."""
    if text == start or text.startswith(f"{start.rstrip('/')}/"):
        return posixpath.relpath(text, start)
    return text


def within(directory: Value, path: Value) -> Value:
    """A path, seen from a directory; without ``.`` and ``..`` where all of it is known."""
    if not path.parts:
        return directory
    first = path.parts[0]
    is_whole = not isinstance(first, str) or first.startswith("/")
    result = path if is_whole else joined(directory, "/", path)
    return joined(normal(result.known)) if result.known is not None else result


def shown(value: Value, cwd: Value) -> Value:
    """A value for a call: the path of the start becomes one that leads there from ``cwd``."""
    if not any(HERE[1:] in (p if isinstance(p, str) else p.text) for p in value.parts):
        return value
    back = _back(cwd)
    here = re.compile(rf"{re.escape(f'{HERE}/{cwd}')}(?![^/:,;=\s])")
    parts: list[Value | str | Unknown] = []
    for part in value.parts:
        if isinstance(part, Unknown):
            parts.append(replace(part, text=part.text.replace(HERE, ".")))
            continue
        for index, text in enumerate(here.sub(".", part).split(HERE)):
            parts += [back] if index else []
            if HERE[1:] in text:  # a part of the path
                parts.append(Unknown(Kind.OTHER, text.replace(HERE[1:], "${PWD}"), "PWD"))
            else:
                parts.append(text)
    return joined(*parts)


def _back(cwd: Value) -> str | Unknown:
    names = (cwd.known or "/").split("/")
    if ".." in names or names[0] == "":
        return Unknown(Kind.OTHER, "${PWD}", "PWD")
    count = len([name for name in names if name != "."])
    return "/".join([".."] * count) or "."


def directory(cwd: Value) -> Value:
    """A working directory as ``Call.cwd`` says it."""
    first = cwd.parts[0] if cwd.parts else ""
    if isinstance(first, str) and first.startswith(f"{HERE}/"):
        return joined(first[len(HERE) + 1 :], *cwd.parts[1:])
    return shown(cwd, joined("."))
