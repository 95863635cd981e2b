"""Which game a row of the dataset asks for, checked before the library sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["LARGEST_SEED", "Settings", "SettingsError", "cards_of_rank"]

LARGEST_SEED = 2**31 - 1

_LIMITS = {
    "players": (2, 5),
    "hand_size": (1, 5),
    "colors": (1, 5),
    "ranks": (1, 5),
    "max_information_tokens": (0, 8),
    "max_life_tokens": (1, 3),
    "seed": (0, LARGEST_SEED),
}
"""Smallest and largest value of each key. The real game is the largest of each but ``players``.

The library accepts more information tokens and lives; it ends the process on an impossible number
of players, colours, ranks or cards (``REQUIRE`` in OpenSpiel's ``hanabi_game.cc``).
"""


class SettingsError(ValueError):
    """A row asks for a game that does not exist; the message is one line."""


@dataclass(frozen=True)
class Settings:
    """One game of Hanabi.

    Attributes:
        players: at the table, 2 to 5.
        seed: of the cards; the same seed deals the same cards in the same order.
        hand_size: cards a player holds, 1 to 5; by the rules 5 with two or three players, else 4.
        colors: 1 to 5.
        ranks: 1 to 5; of each colour there are three 1s, one of the highest, two of the others.
        max_information_tokens: hints at the start and at most, 0 to 8.
        max_life_tokens: wrong cards until the game is lost, 1 to 3.
    """

    players: int
    seed: int
    hand_size: int
    colors: int = 5
    ranks: int = 5
    max_information_tokens: int = 8
    max_life_tokens: int = 3

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Settings:
        """The game of a row's ``env_config``; null means "not said", ``name`` is ms-swift's.

        Raises:
            SettingsError: a key is unknown, missing, or its value impossible.
        """
        said = {key: value for key, value in row.items() if value is not None and key != "name"}
        known = [field.name for field in fields(cls)]
        for key in said:
            if key not in known:
                raise SettingsError(f"env_config.{key} is unknown, choose from {', '.join(known)}")
        if "seed" not in said:
            raise SettingsError(
                "env_config.seed is missing, set it: all generations of a prompt play one deal"
            )
        said.setdefault("players", 2)
        for key, value in said.items():
            _check(key, value)
        said.setdefault("hand_size", 5 if said["players"] < 4 else 4)
        settings = cls(**said)
        dealt, cards = settings.players * settings.hand_size, settings.deck_size
        if dealt > cards:
            raise SettingsError(
                f"env_config: {settings.players} players with {settings.hand_size} cards need "
                f"{dealt}, {settings.colors} colors of {settings.ranks} ranks have {cards}, "
                "set fewer players, a smaller hand_size, or more colors or ranks"
            )
        return settings

    @property
    def deck_size(self) -> int:
        """Cards in the game."""
        return self.colors * sum(
            cards_of_rank(rank, self.ranks) for rank in range(1, self.ranks + 1)
        )


def cards_of_rank(rank: int, ranks: int) -> int:
    """Cards of a rank in each colour (``HanabiGame::NumberCardInstances``, ``hanabi_game.cc``)."""
    if rank == 1:
        return 3
    return 1 if rank == ranks else 2


def _check(key: str, value: Any) -> None:
    low, high = _LIMITS[key]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SettingsError(f"env_config.{key} is {value!r}, choose a number from {low} to {high}")
