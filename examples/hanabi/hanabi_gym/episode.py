"""One conversation: the model plays seat 0, the partner all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from . import partner, rewards, text
from .settings import Settings
from .table import Table
from .view import read_view

__all__ = ["MAX_ILLEGAL", "Episode", "Options", "OptionsError", "Turn"]

MAX_ILLEGAL = 3
"""Answers without a legal move, one after the other, that end an episode."""


class OptionsError(ValueError):
    """A variable of the environment has an impossible value; the message is one line."""


@dataclass(frozen=True)
class Options:
    """How episodes are shown and rewarded.

    Attributes:
        reward: ``score`` or ``shaped``, see :func:`.rewards.turn_reward`.
        observation: ``full`` or ``compact``, see :mod:`.text`.
        max_bytes: UTF-8 bytes of a conversation after which no turn follows; None: no limit. A
            token is at least a byte, so it bounds the context that a next turn needs.
    """

    reward: str = "score"
    observation: str = "full"
    max_bytes: int | None = None

    @classmethod
    def of_environ(cls, environ: Mapping[str, str]) -> Options:
        """Options in HANABI_REWARD, HANABI_OBSERVATION and HANABI_MAX_BYTES; empty is unset.

        Raises:
            OptionsError: a value is impossible.
        """
        reward = environ.get("HANABI_REWARD") or cls.reward
        observation = environ.get("HANABI_OBSERVATION") or cls.observation
        for name, value, kinds in (
            ("HANABI_REWARD", reward, rewards.KINDS),
            ("HANABI_OBSERVATION", observation, text.KINDS),
        ):
            if value not in kinds:
                raise OptionsError(f"{name} is {value!r}, choose from {', '.join(kinds)}")
        limit = environ.get("HANABI_MAX_BYTES") or None
        if limit is not None and not (limit.isdecimal() and int(limit) > 0):
            raise OptionsError(f"HANABI_MAX_BYTES is {limit!r}, set it to a number above 0")
        return cls(reward, observation, None if limit is None else int(limit))


@dataclass(frozen=True)
class Turn:
    """What follows an answer of the model.

    Attributes:
        observation: what it sees next; a closing line when the episode is over.
        reward: of this turn.
        done: whether the episode is over.
        legal: whether the answer named a legal move.
        score: the game's score.
        reason: why the episode is over, else empty.
    """

    observation: str
    reward: float
    done: bool
    legal: bool
    score: int
    reason: str


class Episode:
    """A game between the model and its partners.

    An answer without a legal move leaves the game as it is; the model sees why and is asked again.
    :data:`MAX_ILLEGAL` of them in a row end the episode.

    Args:
        settings: the game.
        options: how it is shown and rewarded.
    """

    def __init__(self, settings: Settings, options: Options) -> None:
        self._settings = settings
        self._options = options
        self._table = Table(settings)
        self._illegal = 0

    @property
    def table(self) -> Table:
        """The game."""
        return self._table

    def begin(self) -> tuple[str, str]:
        """The first observation, and the system prompt."""
        if self._options.observation == "compact":
            return self._observe([]), text.COMPACT_SYSTEM
        view = read_view(self._table.observation())
        return self._observe([]), text.system(view, self._settings.players, self._settings.ranks)

    def answer(self, said: str, conversation_bytes: int = 0) -> Turn:
        """Play the move that the model's answer names, and the partners' moves after it.

        Args:
            said: the model's answer.
            conversation_bytes: UTF-8 bytes of the conversation so far, this answer included.

        Raises:
            ValueError: the game is over.
        """
        if self._table.over:
            raise ValueError("the game is over")
        before = self._table.score
        reading = text.read_move(said, self._table.moves())
        if reading.move is None:
            self._illegal += 1
            since = [reading.problem]
        else:
            self._illegal = 0
            self._table.play(reading.move)
            since = self._partners()
        reason = self._end(conversation_bytes)
        return Turn(
            observation=f"The episode is over: {reason}." if reason else self._observe(since),
            reward=rewards.turn_reward(
                self._options.reward,
                self._table.score - before,
                self._table.max_score,
                legal=reading.move is not None,
            ),
            done=bool(reason),
            legal=reading.move is not None,
            score=self._table.score,
            reason=reason,
        )

    def _partners(self) -> list[str]:
        """Let the others play until it is the model's turn; what they did, a line each."""
        did: list[str] = []
        while not self._table.over and self._table.player != 0:
            seat, moves = self._table.player, self._table.moves()
            move = partner.choose(read_view(self._table.observation()), moves)
            did.append(f"Player {seat}: {moves[move]}")
            self._table.play(move)
        return did

    def _observe(self, since: list[str]) -> str:
        observation, moves = self._table.observation(), self._table.moves()
        if self._options.observation == "full":
            return text.full(observation, moves, since)
        return text.compact(read_view(observation), moves)

    def _end(self, conversation_bytes: int) -> str:
        if self._table.over:
            return f"the score is {self._table.score} of {self._table.max_score}"
        if self._illegal >= MAX_ILLEGAL:
            return f"{MAX_ILLEGAL} answers without a legal move"
        limit = self._options.max_bytes
        if limit is not None and conversation_bytes > limit:
            return f"the conversation has more than {limit} bytes"
        return ""
