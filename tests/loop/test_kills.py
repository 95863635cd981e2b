"""Random kills of loops: nothing is lost, repeated or served by halves, and nothing is left.

GRPO_LAUNCH_TRIAL=17 repeats the trial with that seed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.effort import EFFORT
from tests.loop.trials import HEAD, Trial

ONLY = os.environ.get("GRPO_LAUNCH_TRIAL")
SEEDS = [int(ONLY)] if ONLY else range(EFFORT.loops)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_loop_goes_on_where_it_was_killed(seed: int, tmp_path: Path) -> None:
    trial = Trial(seed, tmp_path / "user")
    try:
        trial.run()
    except Exception as error:
        table = "\n".join(kill.line() for kill in trial.kills)
        said = f"GRPO_LAUNCH_TRIAL={seed}: {error}\n{HEAD}\n{table}\n{trial.loop.said[-6000:]}"
        raise AssertionError(said) from error
    print(HEAD, *(kill.line() for kill in trial.kills if kill.pid), sep="\n")
