"""The environment variables that a configuration sets for one half of a run."""

from __future__ import annotations

from grpo_launch.config.schema import Env, HalfEnv


def of_half(env: Env, half: str) -> HalfEnv:
    """What is set for ``server`` or ``learner``; what is said for it alone wins."""
    own: HalfEnv = getattr(env, half)
    return HalfEnv(defaults={**env.defaults, **own.defaults}, set={**env.set, **own.set})
