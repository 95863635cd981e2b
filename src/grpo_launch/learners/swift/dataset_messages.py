"""Messages that ms-swift cannot read; it drops their rows without a word.

Source: ``MessagesPreprocessor.preprocess`` and ``RowPreprocessor._check_messages``
(``swift/dataset/preprocessor/core.py`` of ms-swift 4.6.0).
"""

from __future__ import annotations

import ast
import json
from typing import Any, cast

_KEYS = ("messages", "conversations", "conversation")
_ROLES = frozenset(
    (
        *("system", "user", "human", "assistant", "gpt", "bot", "tool"),
        *("tool_call", "tool_response", "function_call", "function_response"),
        *("observation", "observations"),
    )
)


def is_dropped(row: dict[str, Any]) -> bool:
    """Whether a row has messages, and ms-swift cannot read them."""
    said = [row[key] for key in _KEYS if key in row]
    if len(said) != 1:
        return False
    messages = _parsed(said[0])
    if not isinstance(messages, list) or not messages:
        return True
    return not all(map(_is_message, cast("list[Any]", messages)))


def _parsed(messages: Any) -> Any:
    """What a text holds: JSON, or a literal of Python."""
    if not isinstance(messages, str):
        return messages
    try:
        return json.loads(messages)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(messages)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _is_message(message: Any) -> bool:
    if not isinstance(message, dict):
        return False
    turn = cast("dict[str, Any]", message)
    role = turn.get("role", turn.get("from"))
    if role is None or "tool_calls" in turn:
        return True  # of another form, {user, assistant} or with calls
    return isinstance(role, str) and role.replace("-", "_") in _ROLES
