"""What the model reads and writes: observations out, moves in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .settings import cards_of_rank
from .view import View

__all__ = ["COMPACT_SYSTEM", "KINDS", "Reading", "compact", "full", "read_move", "system"]

KINDS = ("full", "compact")
"""Kinds of observation."""

COMPACT_SYSTEM = "Hanabi"
"""Of compact observations; without one, some templates put a long default in its place."""

_SYSTEM = """\
You play the cooperative card game Hanabi with {partners}. You are player 0.

All players build one firework per colour ({colors}), from rank 1 up to rank {ranks}. You see the
other players' cards, not your own. On your turn you do one of three things:
- Play a card of yours. If it is the next rank of its colour, the team scores a point; otherwise
  the card is discarded and the team loses a life. Without lives the game is over, with score 0.
- Discard a card of yours, which gives back one information token.
- Reveal to one other player all cards of one colour or one rank in that player's hand, which
  costs one information token.
{deck} When the deck is empty, each player has one more turn.

Each turn shows the table. "Hands" lists your own hand first, then those of players +1, +2, ...
after you; the oldest card is card 0. A line such as "XX || RX|R12" is a card of yours: its face
hidden, hinted to be R, possibly of rank 1 or 2. A line such as "G3 || X3|RG3" is another player's
card G3, and what its owner knows of it.

Choose one of the legal moves listed. End your answer with its number: "Move: N"."""


@dataclass(frozen=True)
class Reading:
    """What an answer says.

    Attributes:
        move: number of a legal move, or None.
        problem: without a move, why there is none, as a sentence for the answer's author.
    """

    move: int | None
    problem: str = ""


_NAME = re.compile(
    r"\b(?:(?:play|discard)\s+\d+|reveal\s+player\s+\+?\d+\s+(?:color\s+[a-z]|rank\s+\d+))\b",
    re.IGNORECASE | re.ASCII,
)
_NUMBERED = re.compile(r"\bmove\W{0,4}(\d+)", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"\d+", re.ASCII)
_LONGEST_NUMBER = 9
"""Digits; ``int`` refuses thousands of them."""


def full(observation: str, moves: Mapping[int, str], since: Sequence[str]) -> str:
    """The library's text, what the others did since the last turn, and all legal moves.

    Args:
        observation: the library's text.
        moves: legal moves by number.
        since: what happened since the reader's last turn, a line each.
    """
    happened = "".join(f"{line}\n" for line in since)
    listed = "\n".join(f"{number}: {name}" for number, name in moves.items())
    return f"{happened}{observation.rstrip()}\nLegal moves:\n{listed}"


def compact(view: View, moves: Mapping[int, str]) -> str:
    """One short line for a model with few tokens, for example ``3 2 R0Y1 XXX2 R1Y2 4 | 0 1 2 3``.

    Lives, hints, fireworks, own hints, the others' cards, size of the deck, numbers of legal moves.
    """
    fireworks = "".join(f"{color}{rank}" for color, rank in view.fireworks.items())
    own = "".join(card.hinted for card in view.hands[0])
    others = ["".join(card.face for card in hand) for hand in view.hands[1:]]
    words = [str(view.lives), str(view.hints), fireworks, own, *others, str(view.deck), "|"]
    return " ".join([*words, *map(str, moves)])


def read_move(answer: str, moves: Mapping[int, str]) -> Reading:
    """The legal move that an answer names.

    What precedes ``</think>`` does not count, and an unfinished thought is no answer. Of the rest:
    the last ``Move: N``; without one, the last name of a move (``Play 0``); without one, the
    number, if there is one alone, once or repeated. Never raises, whatever the text.
    """
    _, closed, said = answer.rpartition("</think>")
    if not closed and "<think>" in answer:
        return Reading(None, "The answer was cut off before a move.")
    if numbered := _NUMBERED.findall(said):
        return _legal(numbered[-1], moves)
    if named := _NAME.findall(said):
        return _by_name(named[-1], moves)
    numbers = set(_NUMBER.findall(said))
    if len(numbers) != 1:
        return Reading(None, "The answer names no move.")
    return _legal(numbers.pop(), moves)


def system(view: View, players: int, ranks: int) -> str:
    """The system prompt of full observations."""
    others = players - 1
    counts = [f"{cards_of_rank(rank, ranks)} of rank {rank}" for rank in range(1, ranks + 1)]
    return _SYSTEM.format(
        partners=f"{others} other player" + ("s" if others > 1 else ""),
        colors=", ".join(view.fireworks),
        ranks=ranks,
        deck=f"The deck has, of each colour, {', '.join(counts)}.",
    )


def _legal(digits: str, moves: Mapping[int, str]) -> Reading:
    if len(digits) > _LONGEST_NUMBER or int(digits) not in moves:
        return Reading(None, f"Move {digits[:_LONGEST_NUMBER]} is not legal now.")
    return Reading(int(digits))


def _by_name(name: str, moves: Mapping[int, str]) -> Reading:
    wanted = _plain(name)
    for number, legal in moves.items():
        if _plain(legal) == wanted:
            return Reading(number)
    return Reading(None, f"{' '.join(name.split())[:40]} is not legal now.")


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("+", "").split())
