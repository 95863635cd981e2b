"""The game: OpenSpiel's ``hanabi`` (DeepMind's implementation), its deck drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from .settings import Settings

__all__ = ["Table"]


class Table:
    """One game in progress.

    Nothing here knows a rule of Hanabi: legal moves, scores, and what a player sees are the
    library's. Drawing cards is the part that OpenSpiel leaves to its caller (chance nodes).

    Args:
        settings: a game that :meth:`Settings.of_row` accepted; with others the library ends the
            process.
    """

    def __init__(self, settings: Settings) -> None:
        import pyspiel  # Python 3.11 or newer; what needs no game can do without.

        game: Any = pyspiel.load_game(
            "hanabi",
            {
                "players": settings.players,
                "hand_size": settings.hand_size,
                "colors": settings.colors,
                "ranks": settings.ranks,
                "max_information_tokens": settings.max_information_tokens,
                "max_life_tokens": settings.max_life_tokens,
            },
        )
        self.max_score = int(game.max_utility())
        self._state: Any = game.new_initial_state()
        self._chance = random.Random(settings.seed)  # noqa: S311
        self._deal()

    @property
    def over(self) -> bool:
        """Whether the game has ended."""
        return bool(self._state.is_terminal())

    @property
    def score(self) -> int:
        """Points so far: cards on the fireworks, 0 once all lives are lost."""
        return int(self._state.returns()[0])

    @property
    def player(self) -> int:
        """The seat whose turn it is; negative when the game is over."""
        return int(self._state.current_player())

    def moves(self) -> dict[int, str]:
        """Legal moves of the seat whose turn it is, as numbers and the library's names.

        A number means the same move throughout a game: with hands of h cards, 0 to h-1 discard,
        h to 2h-1 play, then hints by colour, then hints by rank.
        """
        if self.over:
            return {}
        return {
            int(move): str(self._state.action_to_string(self.player, move)).strip("()")
            for move in self._state.legal_actions()
        }

    def observation(self) -> str:
        """What the seat whose turn it is sees, in the library's words."""
        return str(self._state.observation_string(self.player))

    def play(self, move: int) -> None:
        """Play a move for the seat whose turn it is, and draw the card that follows.

        Raises:
            ValueError: the move is not legal; nothing has happened.
        """
        if move not in self.moves():
            raise ValueError(f"move {move} is not legal now")
        self._state.apply_action(move)
        self._deal()

    def _deal(self) -> None:
        while self._state.is_chance_node() and not self.over:
            self._state.apply_action(self._draw(self._state.chance_outcomes()))

    def _draw(self, cards: Sequence[tuple[int, float]]) -> int:
        """One of the cards, by its weight; of the weights' sum, rounding may lose a little."""
        # Of Python's generators, random() alone keeps its sequence from one version to the next.
        drawn = self._chance.random()
        for card, weight in cards:
            drawn -= weight
            if drawn < 0:
                return card
        return cards[-1][0]
