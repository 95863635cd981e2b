"""What a collector wrote, read so that a file may be larger than the memory.

A line of ``episodes.jsonl`` is one episode; of each only what a selection needs is kept, and where
the line is. What cannot be trained on is left out, and counted by reason.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from grpo_launch.base import files
from grpo_launch.stages import lines, rows
from grpo_launch.stages.rows import Data

DAMAGED = "damaged"
"""A line that is no episode, as the last one of a collector that was killed."""

REPEATED = "repeated"
"""An episode that stands there twice; the first counts."""

FAILED = "failed"
"""The episode did not come to its end."""

UNREWARDED = "unrewarded"
"""Its reward is no finite number."""

EMPTY = "empty"
"""The policy said nothing."""

TRUNCATED = "truncated"
"""The answer was cut at a length."""

UNSUITABLE = "unsuitable"
"""Its messages cannot be said in the format of the data."""

REASONS = (DAMAGED, REPEATED, FAILED, UNREWARDED, EMPTY, TRUNCATED, UNSUITABLE)

_LENGTH = "length"


@dataclass(frozen=True, slots=True)
class Episode:
    """What is known of an episode without its messages.

    Attributes:
        id: of the episode.
        task: that it was about.
        sample: which of the task's episodes it is.
        at: where its line begins, in bytes.
        reward: in total.
        success: whether the environment says so; None: it says nothing of it.
        turns, characters: answers of the policy, and their characters.
        tokens: of the answers; None: not known.
        has_images: whether there are images in it.
        reason: why it is left out; empty: it is not.
    """

    id: str
    task: str
    sample: int
    at: int
    reward: float
    success: bool | None
    turns: int
    characters: int
    tokens: int | None
    has_images: bool = False
    reason: str = ""


@dataclass
class Collected:
    """The episodes of a file.

    Attributes:
        episodes: with a reward, in the order of the file, those that are left out included.
        left_out: how many lines or episodes were, by reason.
        examples: the first of each reason, for messages.
        versions: the weights that the episodes were collected with.
    """

    episodes: list[Episode] = field(default_factory=list[Episode])
    left_out: Counter[str] = field(default_factory=Counter[str])
    examples: dict[str, str] = field(default_factory=dict[str, str])
    versions: set[str] = field(default_factory=set[str])

    def usable(self) -> list[Episode]:
        """Those that may be selected."""
        return [episode for episode in self.episodes if not episode.reason]

    def leave_out(self, reason: str, example: str) -> None:
        """Count one that is left out."""
        self.left_out[reason] += 1
        self.examples.setdefault(reason, example)


def read(path: Path, data: Data, *, truncated: bool = False) -> Collected:
    """The episodes of a file.

    Args:
        path: ``episodes.jsonl``.
        data: what they are to become.
        truncated: whether those that were cut at a length are kept.

    Raises:
        OSError: it cannot be read.
    """
    found = Collected()
    failed: dict[str, str] = {}
    seen: set[str] = set()
    with files.opened(path) as file:
        for number, (at, line) in enumerate(lines.of(file), 1):
            where = f"line {number}"
            row = lines.parsed(line)
            if row is None:
                found.leave_out(DAMAGED, where)
                continue
            name = _name(row, where)
            if name in seen:
                found.leave_out(REPEATED, f"{where}, {name}")
            elif row.get("error"):
                failed[name] = f"{where}, {name}: {row['error']}"
            else:
                seen.add(name)
                _take(found, row, name, at, where, data, path.parent, truncated=truncated)
    for name, example in failed.items():
        if name not in seen:  # a later attempt may have come to its end
            found.leave_out(FAILED, example)
    return found


def messages(file: BinaryIO, episode: Episode) -> Mapping[str, Any]:
    """The line of an episode again.

    Raises:
        OSError: it cannot be read.
        ValueError: it is another one by now.
    """
    file.seek(episode.at)
    row = lines.parsed(file.readline(files.AT_MOST))
    if row is None or _name(row, episode.id) != episode.id:
        raise ValueError(f"has another episode than {episode.id} at byte {episode.at} by now")
    return row


def _take(
    found: Collected,
    row: Mapping[str, Any],
    name: str,
    at: int,
    where: str,
    data: Data,
    directory: Path,
    *,
    truncated: bool,
) -> None:
    reward = _finite(row.get("reward"))
    if reward is None:
        found.leave_out(UNREWARDED, f"{where}, {name}: {str(row.get('reward'))[:50]}")
        return
    said = rows.answers(row["messages"])
    reason, why = "", ""
    if not any(text.strip() for text in said):
        reason = EMPTY
    elif not truncated and _is_truncated(row.get("finish_reason")):
        reason = TRUNCATED
    else:
        try:
            rows.of(row, name, data, directory)
        except ValueError as error:
            reason, why = UNSUITABLE, f": {error}"
    sample, success = row.get("sample"), row.get("success")
    episode = Episode(
        id=name,
        task=_task(row, name),
        sample=sample if type(sample) is int else 0,
        at=at,
        reward=reward,
        success=success if type(success) is bool else None,
        turns=len(said),
        characters=sum(map(len, said)),
        tokens=_tokens(row),
        has_images=bool(row.get("images")),
        reason=reason,
    )
    found.episodes.append(episode)
    if "version" in row:
        found.versions.add(str(row["version"]))
    if reason:
        found.leave_out(reason, f"{where}, {name}{why}")


def _name(row: Mapping[str, Any], otherwise: str) -> str:
    if isinstance(row.get("id"), str | int):
        return str(row["id"])
    if "task" in row and "sample" in row:
        return f"{row['task']}/{row['sample']}"
    return otherwise


def _task(row: Mapping[str, Any], name: str) -> str:
    return str(row["task"]) if "task" in row else name.rpartition("/")[0] or name


def _finite(value: Any) -> float | None:
    if type(value) not in (int, float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _is_truncated(reason: Any) -> bool:
    return _LENGTH in cast("list[Any]", reason) if isinstance(reason, list) else reason == _LENGTH


def _tokens(row: Mapping[str, Any]) -> int | None:
    """The tokens of the answers: as the server counted them, or those that it named."""
    counted = row.get("completion_tokens")
    if type(counted) is int and counted > 0:
        return counted
    turns = row.get("token_ids")
    if not isinstance(turns, list) or not turns:
        return None
    named = cast("list[Any]", turns)
    if not all(isinstance(turn, list) for turn in named):
        return None
    return sum(len(cast("list[Any]", turn)) for turn in named)
