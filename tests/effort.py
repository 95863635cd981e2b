"""How much the tests try: one profile for examples, mutated files and random ends of runs.

``HYPOTHESIS_PROFILE`` names it. ``scripts/test.sh`` sets it: ``fast`` with ``--fast``, which is
also what holds where nothing is set, ``medium`` in continuous integration, ``full`` with
``--nightly``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings


@dataclass(frozen=True)
class Effort:
    """What a profile tries.

    Attributes:
        examples: of a property that is cheap to look at.
        costly: examples of a property that takes a tenth of a second for each, to compose an
            experiment or to start a process.
        graphs: of files that extend each other, composed.
        fuzz_blocks: blocks of mutated files, see ``tests/compose/test_fuzz.py``.
        trials: runs that are ended at random, see ``tests/supervise/test_trials.py``.
        loops: loops of which something is killed five times each, see ``tests/loop/trials.py``.
    """

    examples: int
    costly: int
    graphs: int
    fuzz_blocks: int
    trials: int
    loops: int


PROFILES = {
    "fast": Effort(examples=25, costly=4, graphs=10, fuzz_blocks=2, trials=10, loops=1),
    "medium": Effort(examples=50, costly=10, graphs=40, fuzz_blocks=5, trials=30, loops=3),
    "full": Effort(examples=1000, costly=200, graphs=500, fuzz_blocks=200, trials=1000, loops=12),
}
NAME = os.environ.get("HYPOTHESIS_PROFILE", "fast")
EFFORT = PROFILES[NAME]


def load() -> None:
    """Make hypothesis use the profile."""
    for name, profile in PROFILES.items():
        # A busy machine is no failure; what takes too long shows in --durations. No session keeps
        # examples for another one.
        settings.register_profile(name, max_examples=profile.examples, deadline=None, database=None)
    settings.load_profile(NAME)


def costly(test: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a property that takes a tenth of a second for each example."""
    return pytest.mark.timeout(300 + EFFORT.costly)(settings(max_examples=EFFORT.costly)(test))
