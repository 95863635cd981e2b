"""A plugin as people write it: one environment, registered by its name."""

from swift.rollout.gym_env import Env, envs


class Cards(Env):
    """Nobody imports it; the checks read its source."""


envs["cards_env"] = Cards
