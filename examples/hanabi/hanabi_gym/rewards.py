"""What a turn is worth."""

from __future__ import annotations

__all__ = ["KINDS", "LEGAL_MOVE", "turn_reward"]

KINDS = ("score", "shaped")
"""Kinds of reward."""

LEGAL_MOVE = 0.1
"""What a legal move is worth under ``shaped``: four of them count like 40 % of all points."""


def turn_reward(kind: str, gained: int, max_score: int, legal: bool) -> float:
    """Reward of one turn of the model.

    ``score``: points gained over the largest score. They add up to the game's final score over
    the largest, since a lost game takes back its points. ``shaped``: the same, and
    :data:`LEGAL_MOVE` for a legal move, which a model learns long before it scores.

    Args:
        kind: one of :data:`KINDS`.
        gained: points from this turn to the next one, those of the other players included.
        max_score: the game's largest score.
        legal: whether the answer named a legal move.
    """
    points = gained / max_score
    return points + LEGAL_MOVE if kind == "shaped" and legal else points
