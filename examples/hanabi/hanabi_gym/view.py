"""What a player sees, read from the library's text."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Card", "View", "read_view"]


@dataclass(frozen=True)
class Card:
    """One card in a hand.

    Attributes:
        face: colour and rank, ``R1``; ``XX`` in the viewer's own hand.
        hinted: what hints have said of it, ``RX``, ``X1``, ``R1`` or ``XX``.
        colors: colours that it may still have, for its owner.
        ranks: ranks that it may still have, for its owner.
    """

    face: str
    hinted: str
    colors: str
    ranks: str


@dataclass(frozen=True)
class View:
    """What the player whose turn it is sees.

    Attributes:
        lives: life tokens left.
        hints: information tokens left.
        fireworks: highest rank on each colour, 0 to the number of ranks.
        hands: the viewer's own first, then those of the next players in turn; oldest card first.
        deck: cards left to draw.
        discards: cards that are out of the game, ``R1``.
    """

    lives: int
    hints: int
    fireworks: dict[str, int]
    hands: list[list[Card]]
    deck: int
    discards: list[str]

    def playable(self, color: str, rank: str) -> bool:
        """Whether that card would score now."""
        return self.fireworks.get(color) == int(rank) - 1


def read_view(observation: str) -> View:
    """The view in an observation of OpenSpiel's ``hanabi`` (``HanabiObservation::ToString``).

    Raises:
        ValueError: the text has another form.
    """
    head, _, rest = observation.partition("Hands:\n")
    hands, _, tail = rest.partition("Deck size: ")
    deck, _, discards = tail.partition("\nDiscards:")
    lives, hints, fireworks = (line.partition(": ")[2] for line in head.splitlines())
    return View(
        lives=int(lives),
        hints=int(hints),
        fireworks={word[0]: int(word[1:]) for word in fireworks.split()},
        hands=[
            [_card(line) for line in hand.splitlines() if "||" in line]
            for hand in hands.split("-----\n")
        ],
        deck=int(deck),
        discards=discards.split(),
    )


def _card(line: str) -> Card:
    face, _, known = line.partition(" || ")
    hinted, _, possible = known.partition("|")
    return Card(
        face=face,
        hinted=hinted,
        colors="".join(sign for sign in possible if sign.isalpha()),
        ranks="".join(sign for sign in possible if sign.isdigit()),
    )
