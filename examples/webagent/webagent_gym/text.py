"""Pages and answers as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["SYSTEM", "Action", "Element", "parse", "render"]

SYSTEM = "Do the task on the web page. Answer with one line: click N, type N TEXT or press KEY."

UNREADABLE = "No action found. Answer with one line: click N, type N TEXT or press KEY."

KEYS = ("enter", "tab", "escape", "backspace", "delete", "space", "up", "down", "left", "right")
"""Keys of ``press``; some of those of ``miniwob/constants.py``, in lower case."""

_ACTIONABLE = ("a", "button", "input", "option", "select", "textarea")
_COMMAND = re.compile(
    r"\b(?:(?P<click>click)\W*(?:on\W+)?(?:element\W*)?(?P<ref>[0-9]{1,6})"
    r"|type\W*?(?:element\W*)?(?P<field>[0-9]{1,6})\b[\]):,]*[ \t]*(?P<text>[^\r\n]*)"
    r"|press\W*(?P<key>[a-z]+))",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True)
class Element:
    """One element of a page.

    Attributes:
        ref: its number; negative for text between elements.
        tag: lower case; for inputs with their type, such as ``input_text``.
        text: what it shows.
        value: of an input; ``checked`` for a ticked box.
        hint: id or class, for an element without text.
    """

    ref: int
    tag: str
    text: str = ""
    value: str = ""
    hint: str = ""

    @property
    def actionable(self) -> bool:
        """Whether it is made to be clicked or typed into."""
        return self.tag.partition("_")[0] in _ACTIONABLE


@dataclass(frozen=True)
class Action:
    """What an answer asks for.

    Attributes:
        name: ``click``, ``type`` or ``press``.
        ref: of the element; 0 for ``press``.
        text: to type, or the key.
    """

    name: str
    ref: int = 0
    text: str = ""


def render(
    utterance: str, elements: Sequence[Element], *, actionable: bool = False, limit: int = 60
) -> str:
    """The page as the model reads it: the task, then a line for each element.

    Args:
        utterance: what the page asks for.
        elements: in document order.
        actionable: leave out what is not made to be clicked or typed into.
        limit: elements shown; how many more there are is the last line.
    """
    lines = list(_lines(elements, actionable))
    if len(lines) > limit:
        lines[limit:] = [f"({len(lines) - limit} more elements)"]
    return "\n".join([utterance, *lines])


def parse(answer: str) -> Action | None:
    """The action in a model's answer; None if there is none.

    The last ``click N``, ``type N TEXT`` or ``press KEY`` counts, in any case and with brackets or
    quotes around its parts. Without one, a number is clicked if the answer holds no other. What
    stands before ``</think>`` does not count.
    """
    answer = answer.rpartition("</think>")[2]
    commands = list(_COMMAND.finditer(answer))
    if commands:
        return _action(commands[-1])
    numbers = {int(number) for number in _NUMBER.findall(answer)}
    return Action("click", numbers.pop()) if len(numbers) == 1 else None


def _action(command: re.Match[str]) -> Action | None:
    if command["click"]:
        return Action("click", int(command["ref"]))
    if command["field"]:
        text = command["text"].strip().strip("`")
        if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
            text = text[1:-1]
        return Action("type", int(command["field"]), text) if text else None
    key = command["key"].lower()
    return Action("press", text=key) if key in KEYS else None


def _lines(elements: Sequence[Element], actionable: bool) -> Iterator[str]:
    for element in elements:
        if actionable and not element.actionable:
            continue
        if element.ref < 0:
            yield f'"{element.text}"'
            continue
        parts = [f"[{element.ref}]", element.tag]
        if element.text:
            parts.append(f'"{element.text}"')
        elif element.hint:
            parts.append(element.hint)
        if element.value:
            parts.append(f'value "{element.value}"')
        yield " ".join(parts)
