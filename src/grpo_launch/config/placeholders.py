"""Places in a text that are filled in when the rest is known: ``{port}``; ``{{`` is a brace."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

_PARTS = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]")


def names(text: str) -> list[str]:
    """The placeholders of a text, in their order.

    Raises:
        ValueError: a brace that is neither doubled nor part of a placeholder; says where.
    """
    found: list[str] = []
    for part in _PARTS.finditer(text):
        if part[0] in "{}":
            rest = text[part.start() : part.start() + 20]
            raise ValueError(f"the brace at {rest!r} begins or ends no placeholder")
        if part[1]:
            found.append(part[1])
    return found


def fill(text: str, values: Mapping[str, str]) -> str:
    """``text`` with its placeholders replaced; one without a value stays as it is."""

    def filled(part: re.Match[str]) -> str:
        if part[1]:
            return values.get(part[1], part[0])
        return part[0][0]

    return _PARTS.sub(filled, text)


def fill_all(node: Any, values: Mapping[str, str]) -> Any:
    """A tree with the placeholders of all its texts replaced; keys stay as they are."""
    if isinstance(node, str):
        return fill(node, values)
    if isinstance(node, list):
        return [fill_all(item, values) for item in cast("list[Any]", node)]
    if isinstance(node, dict):
        return {k: fill_all(item, values) for k, item in cast("dict[Any, Any]", node).items()}
    return node


def literal(text: str) -> str:
    """What :func:`fill` turns into ``text``, whatever braces it has."""
    return text.replace("{", "{{").replace("}", "}}")


def fault(text: str, known: Iterable[str], elsewhere: Mapping[str, str]) -> tuple[str, str] | None:
    """What is wrong with the placeholders of a text, and what to do; None: nothing.

    Args:
        text: to be filled.
        known: the placeholders that may stand in it.
        elsewhere: those that have another place, and which.
    """
    allowed = [*known]
    try:
        found = names(text)
    except ValueError as error:
        return str(error), "write {{ and }} for braces that are text"
    for name in found:
        if name in allowed:
            continue
        if name in elsewhere:
            return f"{{{name}}} is not filled in here", f"it belongs in {elsewhere[name]}"
        choices = ", ".join(f"{{{each}}}" for each in allowed) or "none"
        fix = f"use {choices}, or write {{{{{name}}}}} for the text itself"
        return f"there is no placeholder {{{name}}}", fix
    return None
