"""``python -m grpo_launch.stages.select``: collected episodes become the data of a training.

    OUTPUT/trajectories.jsonl   a row an episode, or one a turn
    OUTPUT/card.json            what was left out and why; rewards and lengths before and after
    OUTPUT/dataset_info.json    and what else tells a learner what the rows are

The directory is filled aside and renamed. One that was made of the same episodes with the same
settings is left as it is.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from grpo_launch.base import codec, files
from grpo_launch.errors import ConfigError, PreflightError
from grpo_launch.learners.base import OnTrajectories
from grpo_launch.plugins import LEARNERS
from grpo_launch.stages import aside, card, choosing, episodes, program, rows
from grpo_launch.stages.choosing import Selection
from grpo_launch.stages.episodes import Collected, Episode

DATA = "trajectories.jsonl"


def select(how: Selection, collected: Path, output: Path) -> dict[str, Any]:
    """Make the data of a training.

    Args:
        how: the settings.
        collected: ``episodes.jsonl`` of a collector that has ended.
        output: the directory to make.

    Returns:
        The card.

    Raises:
        ConfigError: there are no episodes.
        OSError: something cannot be read or written.
    """
    if not collected.is_file():
        raise ConfigError(str(collected), "does not exist", "collect episodes first")
    source = {"file": str(collected.absolute()), "bytes": collected.stat().st_size}
    made_of = {"select": asdict(how), "source": source}
    with aside.held(output.parent):
        aside.clear(output.parent, output.name)
        if (known := _known(output, made_of)) is not None:
            return known
        found = episodes.read(collected, how.data, truncated=how.truncated)
        kept = choosing.chosen(found.usable(), how)
        if output.exists():
            aside.remove(output)
        with aside.made(output) as fresh:
            return _fill(fresh, how, collected, found, kept, made_of)


def _fill(
    fresh: Path,
    how: Selection,
    collected: Path,
    found: Collected,
    kept: Sequence[Episode],
    made_of: Mapping[str, Any],
) -> dict[str, Any]:
    count = 0
    images = any(episode.has_images for episode in kept)
    with open(fresh / DATA, "xb") as file:
        for row in _rows(how, collected, kept):
            count += 1
            same = {"images": [], **row} if images else row  # columns in all rows
            file.write(json.dumps(same, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        file.flush()
        os.fsync(file.fileno())
    made = {**card.of(found, kept, count), **made_of}
    texts = {**_descriptions(images=images), card.NAME: json.dumps(made, indent=2) + "\n"}
    for name, text in texts.items():
        with open(fresh / name, "x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    return made


def _rows(how: Selection, collected: Path, kept: Sequence[Episode]) -> Iterator[Mapping[str, Any]]:
    with files.opened(collected) as file:
        for episode in kept:
            try:
                row = episodes.messages(file, episode)
            except ValueError as error:
                fix = "wait until the collector has ended"
                raise PreflightError(str(collected), str(error), fix) from None
            yield from rows.of(row, episode.id, how.data, collected.parent)


def _descriptions(*, images: bool) -> dict[str, str]:
    """What tells learners of the rows: the data may be trained on by any of them."""
    found: dict[str, str] = {}
    for name in LEARNERS.shipped:
        learner = LEARNERS.get(name)
        if isinstance(learner, OnTrajectories):
            found |= learner.described(DATA, images=images)
    return found


def _known(output: Path, made_of: Mapping[str, Any]) -> dict[str, Any] | None:
    """The card of a directory that is what would be made."""
    try:
        found = codec.read(output / card.NAME)
    except (OSError, ValueError):
        return None
    plain = cast("dict[str, Any]", json.loads(json.dumps(made_of)))
    is_same = all(found.get(key) == value for key, value in plain.items())
    return found if is_same and (output / DATA).is_file() else None


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns its status."""
    parser = program.Arguments(prog="select", description=__doc__)
    parser.add_argument("settings", type=Path, help="select.json")
    parser.add_argument("--episodes", type=Path, required=True, help="episodes.jsonl")
    parser.add_argument("--output", type=Path, required=True, help="the directory to make")
    return program.run(parser, argv, _run)


def _run(arguments: argparse.Namespace) -> int:
    how = program.settings(Selection, arguments.settings)
    made = select(how, arguments.episodes, arguments.output)
    program.say(card.sentence(made))
    for reason, example in cast("dict[str, str]", made["examples"]).items():
        if reason in (episodes.DAMAGED, episodes.UNREWARDED, episodes.UNSUITABLE):
            program.say(f"warning: {arguments.episodes}: {made[reason]} {reason}: {example}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
