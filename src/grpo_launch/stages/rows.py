"""Episodes as rows that a learner trains on: ``{"id", "messages": [{"role", "content"}]}``.

Images are ``<image>`` in a text and paths in ``images``, as the collector writes them and as
learners read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MESSAGES, SHAREGPT = "messages", "sharegpt"
FORMATS = (MESSAGES, SHAREGPT)
ALL, LAST = "all", "last"
HISTORIES = (ALL, LAST)

_SYSTEM, _USER, _ASSISTANT = "system", "user", "assistant"
_IMAGE = "<image>"


@dataclass(frozen=True)
class Data:
    """What episodes become (``update.data`` of the configuration).

    Attributes:
        format: ``messages``; or ``sharegpt``, in which user and assistant take turns, and others
            are refused: a learner would pass over them without an error.
        history: ``all``, a row an episode; or ``last``, a row a turn, with the system message,
            the last message before the answer, and the answer.
        system: whether system messages are kept.
    """

    format: str = SHAREGPT
    history: str = ALL
    system: bool = True

    def __post_init__(self) -> None:
        """``ValueError`` for a value that is none."""
        if self.format not in FORMATS:
            raise ValueError(f"format: {self.format} is none of {', '.join(FORMATS)}")
        if self.history not in HISTORIES:
            raise ValueError(f"history: {self.history} is none of {', '.join(HISTORIES)}")


def answers(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the policy said, one text a turn."""
    said = (m.get("content") for m in messages if m.get("role") == _ASSISTANT)
    return [text if isinstance(text, str) else "" for text in said]


def of(row: Mapping[str, Any], name: str, data: Data, directory: Path) -> list[dict[str, Any]]:
    """The rows of an episode in which the policy said something.

    Args:
        row: of the collector.
        name: of the episode.
        data: what it is to become.
        directory: what its images are relative to.

    Raises:
        ValueError: its messages cannot be said so; says why.
    """
    said = _messages(row, directory)
    while said and not (said[-1].role == _ASSISTANT and said[-1].text.strip()):
        said.pop()  # what the environment said at the end, nobody answered
    turns = [message for message in said if message.role != _SYSTEM]
    if not turns or turns[0].role == _ASSISTANT:
        raise ValueError("an answer to nothing")
    if data.format == SHAREGPT:
        _check_turns(said)
    if data.history == ALL:
        return [_row(name, said if data.system else turns)]
    system = [message for message in said if message.role == _SYSTEM and data.system]
    spoken = [
        number
        for number, message in enumerate(turns)
        if message.role == _ASSISTANT and message.text.strip()
    ]
    return [
        _row(f"{name}/{turn}", [*system, *turns[number - 1 : number + 1]])
        for turn, number in enumerate(spoken)
    ]


@dataclass(frozen=True)
class _Message:
    role: str
    text: str
    images: tuple[str, ...] = ()


def _messages(row: Mapping[str, Any], directory: Path) -> list[_Message]:
    """The messages of an episode, each with its images.

    Raises:
        ValueError: one is no text, or its images are not there.
    """
    named = row.get("images") or []
    images = [_image(name, directory) for name in named]
    said: list[_Message] = []
    for message in row["messages"]:
        role, text = message.get("role"), message.get("content")
        if message.get("tool_calls"):
            raise ValueError("a call of a tool")
        if not isinstance(role, str) or not isinstance(text, str):
            raise ValueError("a message that is no text")
        count = text.count(_IMAGE)
        if count > len(images):
            raise ValueError(f"more {_IMAGE} than images")  # a learner fails at it
        said.append(_Message(role, text, tuple(images[:count])))
        del images[:count]
    if images:
        raise ValueError(f"more images than {_IMAGE}")
    return said


def _check_turns(said: Sequence[_Message]) -> None:
    """See whether user and assistant take turns, behind at most one system message.

    Raises:
        ValueError: they do not.
    """
    for number, message in enumerate(said[said[0].role == _SYSTEM :]):
        expected = _ASSISTANT if number % 2 else _USER
        if message.role != expected:
            raise ValueError(f"{message.role} where {expected} is due")


def _row(name: str, said: Sequence[_Message]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": name,
        "messages": [{"role": message.role, "content": message.text} for message in said],
    }
    if images := [image for message in said for image in message.images]:
        row["images"] = images
    return row


def _image(name: Any, directory: Path) -> str:
    """The path of an image.

    Raises:
        ValueError: it is no file.
    """
    if isinstance(name, str) and (path := (directory / name).absolute()).is_file():
        return str(path)
    raise ValueError(f"an image that is no file: {str(name)[:50]}")
