"""The columns of rows once ms-swift has preprocessed them.

Source: ``AutoPreprocessor`` and the preprocessors that it chooses
(``swift/dataset/preprocessor/core.py`` of ms-swift 4.6.0). Column names are translated to those
of ms-swift, and what becomes part of ``messages`` is no column any more: rewards do not get it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

_MESSAGES = ("conversation", "conversations", "messages")
_MEDIA = {"image": "images", "audio": "audios", "video": "videos"}
_SYSTEM = ("system", "system_prompt")
_QUERY = ("query", "prompt", "input", "instruction", "question", "problem")
_RESPONSE = (
    *("response", "answer", "output", "targets", "target", "answer_key", "answers", "solution"),
    *("text", "completion", "content"),
)


@dataclass(frozen=True)
class Preprocessed:
    """Rows after preprocessing.

    Attributes:
        columns: what is left of them, ``messages`` included.
        has_prompt: whether something of a row is taken for the prompt.
        has_messages: whether ``messages`` holds anything at all; rows without are dropped.
    """

    columns: frozenset[str]
    has_prompt: bool
    has_messages: bool


def preprocessed(
    columns: Collection[str], mapping: Mapping[str, str], *, automatic: bool
) -> Preprocessed:
    """What becomes of rows.

    Args:
        columns: of all rows together; ``datasets`` fills in null.
        mapping: the argument ``columns``.
        automatic: whether names are translated (``disable_auto_column_mapping``).
    """
    said = _renamed(columns, mapping)
    kept = {"solution"} & said
    media = {**_MEDIA, **{name: name for name in _MEDIA.values()}}
    if said & set(_MESSAGES):
        names = {
            **media,
            **dict.fromkeys(_MESSAGES, "messages"),
            **dict.fromkeys(_SYSTEM, "system"),
        }
        made = _renamed(said, names) if automatic else said
        known = "messages" in made
        return Preprocessed(frozenset(made - {"system"} | kept), known, known)
    alpaca = {"instruction", "input"} <= said
    names = {
        **media,
        **dict.fromkeys(_SYSTEM, "system"),
        **dict.fromkeys(_QUERY, "query"),
        **dict.fromkeys(_RESPONSE, "response"),
    }
    made = _renamed(said, names) if automatic else said
    asks = {"query", "history", *(("instruction", "input") if alpaca else ())}
    answers = {"response", *(("output",) if alpaca else ())}
    left = made - asks - answers - {"system"} | kept | {"messages"}
    has_prompt = bool(made & asks)
    return Preprocessed(
        frozenset(left), has_prompt, has_prompt or bool(made & (answers | {"system"}))
    )


def _renamed(columns: Collection[str], names: Mapping[str, str]) -> set[str]:
    """``RowPreprocessor.safe_rename_columns``: two columns of one new name stay."""
    there = {column.lower(): column for column in columns}
    new = {there[old.lower()]: name for old, name in names.items() if old.lower() in there}
    counts = Counter(new.values())
    return {new[c] if c in new and counts[new[c]] == 1 else c for c in columns}
