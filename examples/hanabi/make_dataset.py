"""Make ``data/hanabi.grpo.jsonl``: one game of Hanabi a row, as an ``env_config``.

Usage: ``python make_dataset.py [--rows N] [--players N] [--seed N] [--hand-size N] [--colors N]
[--ranks N] [--output FILE]``. Row i plays the deal of seed + i, so rows differ and the file is the
same on every machine. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from hanabi_gym.settings import Settings, SettingsError

__all__ = ["OUTPUT", "ROWS", "SEED", "EnvConfig", "Message", "Row", "main", "make_rows", "render"]

ROWS = 128
SEED = 1
OUTPUT = Path(__file__).resolve().parents[2] / "data" / "hanabi.grpo.jsonl"

ENVIRONMENT = "hanabi_env"
"""The name under which ``plugin.py`` registers the environment."""


class Message(TypedDict):
    """One message of a conversation, in ms-swift's form."""

    role: str
    content: str


class EnvConfig(TypedDict):
    """What the environment gets to know of a row."""

    name: str
    players: int
    seed: int
    hand_size: int
    colors: int
    ranks: int


class Row(TypedDict):
    """One row of the dataset.

    Attributes:
        messages: says which game it is; the environment puts its first observation in its place.
        env_config: the game.
    """

    messages: list[Message]
    env_config: EnvConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Write the dataset; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for option, default, text in (
        ("--rows", ROWS, "number of games"),
        ("--players", 2, "at the table, 2 to 5"),
        ("--seed", SEED, "of the first row"),
        ("--hand-size", None, "cards in a hand; by the rules 5, or 4 from 4 players"),
        ("--colors", 5, "of the deck, 1 to 5"),
        ("--ranks", 5, "of the deck, 1 to 5"),
    ):
        parser.add_argument(option, type=int, default=default, metavar="N", help=text)
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="FILE")
    options = parser.parse_args(argv)
    try:
        rows = make_rows(
            rows=options.rows,
            players=options.players,
            seed=options.seed,
            hand_size=options.hand_size,
            colors=options.colors,
            ranks=options.ranks,
        )
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    output: Path = options.output
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(render(rows), encoding="utf-8")
    print(f"{output}: {len(rows)} rows")
    return 0


def make_rows(
    *,
    rows: int = ROWS,
    players: int = 2,
    seed: int = SEED,
    hand_size: int | None = None,
    colors: int = 5,
    ranks: int = 5,
) -> list[Row]:
    """Games that differ in their deal alone, the same for the same arguments.

    Args:
        rows: number of games, at least 1.
        players: at each table.
        seed: of the first game; each further one has the next.
        hand_size: cards in a hand; None: by the rules.
        colors: colours of the deck.
        ranks: ranks of the deck.

    Raises:
        SettingsError: there is no such game, or ``rows`` is below 1.
    """
    if rows < 1:
        raise SettingsError(f"--rows is {rows}, set at least 1")
    wanted = {"players": players, "hand_size": hand_size, "colors": colors, "ranks": ranks}
    return [_row(Settings.of_row({**wanted, "seed": seed + index})) for index in range(rows)]


def render(rows: Sequence[Row]) -> str:
    """Text of the file: one JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _row(game: Settings) -> Row:
    content = (
        f"Hanabi: {game.players} players, {game.hand_size} cards each, {game.colors} colors, "
        f"{game.ranks} ranks, deal {game.seed}."
    )
    return Row(
        messages=[Message(role="user", content=content)],
        env_config=EnvConfig(
            name=ENVIRONMENT,
            players=game.players,
            seed=game.seed,
            hand_size=game.hand_size,
            colors=game.colors,
            ranks=game.ranks,
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
