"""An environment of a loop: two answers, and a reward that the task says, see ``tests/loop``."""

import asyncio

from swift.rollout.gym_env import Env, envs


class Counting(Env):
    """Asks twice; the reward of the second answer is the task's."""

    async def reset(self, config):
        self.reward = float(self.env_config.get("reward", 1.0))
        self.asked = 1
        return "which version?", {}, ""

    async def step(self, action):
        await asyncio.sleep(0.005)
        self.asked += 1
        if self.asked <= 2:
            return "and now?", 0.0, False, {}
        return "", self.reward, True, {"success": self.reward > 0}

    async def close(self):
        pass


envs["counting"] = Counting
