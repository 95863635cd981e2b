"""How a server takes new weights while it runs, as its engine knows it: data of the plan.

What a text of a body or a path may hold: ``{path}``, the directory with the weights,
``{version}``, their name, and ``{mode}``, what becomes of requests in flight.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WAIT = "wait"
"""Requests in flight are answered first."""

ABORT = "abort"
"""Requests in flight end at once, with what they have."""

KEEP = "keep"
"""Requests in flight are frozen, and go on with the new weights."""

MODES = (WAIT, ABORT, KEEP)


@dataclass(frozen=True)
class ReloadStep:
    """One request (POST), and what a server that has done it answers.

    Attributes:
        name: what it does, in messages: ``pause``.
        path: of the URL, with its slash.
        body: posted as JSON; None: no body.
        answer: fields of the JSON that a status of 200 must come with, and their values. Of a
            list there may be any number of the one value that is given: one for each worker.
        spoils: whether the server must be restarted where this fails: its weights are neither
            the old nor the new ones, or its cache is of the old ones.
        timeout_s: seconds for the whole answer.
    """

    name: str
    path: str
    body: Mapping[str, Any] | None = None
    answer: Mapping[str, Any] = field(default_factory=dict)
    spoils: bool = False
    timeout_s: float = 60.0


@dataclass(frozen=True)
class Probe:
    """A greedy prompt whose log-probabilities tell one set of weights from another.

    Attributes:
        path: of the URL, with its slash.
        body: posted as JSON.
        tokens, logprobs: where the answer has a list of each, as paths of keys and indices
            (``choices.0.logprobs.tokens``).
        timeout_s: seconds for the whole answer.
    """

    path: str
    body: Mapping[str, Any]
    tokens: str
    logprobs: str
    timeout_s: float = 60.0


@dataclass(frozen=True)
class Reload:
    """How a server takes new weights from a directory.

    Attributes:
        pause: lets no request be worked on.
        steps: what is done meanwhile, in this order; the first loads the weights.
        resume: lets requests be worked on again.
        probe: asked before and after.
        modes: the engine's words for those of :data:`MODES` that it has; the first is usual.
        bearer: the environment variable with the key that is sent to the server, where the
            variable is set; never the key itself. Empty: none is sent.
        unloaded: regular expressions of the tensors that the engine does not load.
        absent: what it means that the server does not know the path of ``pause``.
        enable: what to do about that.
        only_here: whether only a server on a loopback address is asked.
    """

    pause: ReloadStep
    steps: tuple[ReloadStep, ...]
    resume: ReloadStep
    probe: Probe
    modes: Mapping[str, str]
    bearer: str = ""
    unloaded: tuple[str, ...] = ()
    absent: str = ""
    enable: str = ""
    only_here: bool = True

    def __post_init__(self) -> None:
        """``ValueError`` for an unknown mode, no step, or what is no regular expression."""
        if not self.steps:
            raise ValueError("steps: nothing loads the weights")
        if unknown := [mode for mode in self.modes if mode not in MODES]:
            raise ValueError(f"modes: {unknown[0]} is none of {', '.join(MODES)}")
        try:
            re.compile("|".join(self.unloaded))
        except re.error as error:
            raise ValueError(f"unloaded: {error}") from None
