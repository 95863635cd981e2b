"""Who plays the other seats: a fixed, simple player.

Its strategy is that of the ``SimpleAgent`` of DeepMind's Hanabi learning environment
(``agents/simple_agent.py``: play what was hinted, hint what can be played, else discard), more
careful with lives, which that agent loses in most games. It knows no more than its seat sees, and
has no randomness.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .view import Card, View

__all__ = ["choose"]


def choose(view: View, moves: Mapping[int, str]) -> int:
    """The partner's move, the first of these that is legal.

    1. Play the oldest card that surely scores.
    2. While more than one life is left: play the oldest hinted card that may score.
    3. Hint a card that scores now, so that rule 2 lets its owner play that card.
    4. Discard the oldest card of which no hint has said anything, else the oldest.
    5. Any hint, else any move.

    Args:
        view: what the seat sees.
        moves: its legal moves, at least one, by number.

    Returns:
        The number of a legal move.
    """
    numbers = {name: number for number, name in moves.items()}
    for wish in _wishes(view):
        if wish in numbers:
            return numbers[wish]
    hints = [number for number, name in moves.items() if name.startswith("Reveal")]
    return hints[0] if hints else min(moves)


def _wishes(view: View) -> Iterator[str]:
    own = view.hands[0]
    yield from (f"Play {at}" for at, card in enumerate(own) if _surely_scores(view, card))
    if view.lives > 1 and (at := _next_play(view, own)) is not None:
        yield f"Play {at}"
    for offset, hand in enumerate(view.hands[1:], start=1):
        for card in hand:
            if not view.playable(card.face[0], card.face[1]):
                continue
            for kind, sign in (("rank", card.face[1]), ("color", card.face[0])):
                at = _next_play(view, [_told(other, sign) for other in hand])
                if at is not None and hand[at] is card and sign not in card.hinted:
                    yield f"Reveal player +{offset} {kind} {sign}"
    yield from (f"Discard {at}" for at, card in enumerate(own) if card.hinted == "XX")
    yield "Discard 0"


def _next_play(view: View, hand: Sequence[Card]) -> int | None:
    """The oldest hinted card that may score, as its owner sees it."""
    for at, card in enumerate(hand):
        if card.hinted != "XX" and any(_outcomes(view, card)):
            return at
    return None


def _surely_scores(view: View, card: Card) -> bool:
    return all(_outcomes(view, card))


def _outcomes(view: View, card: Card) -> list[bool]:
    """For each face that a card may have, for its owner, whether it scores."""
    return [view.playable(color, rank) for color in card.colors for rank in card.ranks]


def _told(card: Card, sign: str) -> Card:
    """The card as its owner knows it after a hint of that colour or rank."""
    if sign.isdigit():
        if card.face[1] == sign:
            return Card(card.face, card.hinted[0] + sign, card.colors, sign)
        return Card(card.face, card.hinted, card.colors, card.ranks.replace(sign, ""))
    if card.face[0] == sign:
        return Card(card.face, sign + card.hinted[1], sign, card.ranks)
    return Card(card.face, card.hinted, card.colors.replace(sign, ""), card.ranks)
