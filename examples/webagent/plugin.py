"""ms-swift plugin: the gym environment ``webagent``, pages of MiniWoB++ in a real browser.

For the loop: ``collector.plugins=[plugin.py] collector.environment=webagent``. For GRPO training
with ms-swift: ``--external_plugins plugin.py --multi_turn_scheduler gym_scheduler
--use_gym_env true --gym_env webagent`` on the rollout server, and ``on_failure: end`` in each row's
``env_config``.

Needs ``miniwob``, Chromium and its driver: ``bash scripts/setup_webagent.sh``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from swift.rollout.gym_env import Env, envs
from swift.utils import get_logger

# ms-swift puts this directory in front of sys.path (swift/utils/utils.py, import_external_file).
from webagent_gym.browser import programs
from webagent_gym.episode import Episode
from webagent_gym.pool import Pool
from webagent_gym.settings import Settings
from webagent_gym.text import SYSTEM

__all__ = ["POOL", "WebEnv"]

POOL = Pool()
"""The browsers of this process."""


class WebEnv(Env):  # pyright: ignore[reportUntypedBaseClass]
    """One episode; its browser is lent by the pool of the process."""

    def __init__(self, env_config: Mapping[str, Any] | None) -> None:
        super().__init__(env_config)
        self._episode: Episode | None = None
        self._ends_on_failure = (env_config or {}).get("on_failure") == "end"

    async def reset(self, config: Any) -> tuple[str, dict[str, Any], str]:
        """Open the page of the row's ``env_config``.

        Args:
            config: the request; unused, its ``env_config`` was given before.

        Returns:
            The page as text, nothing more, the system prompt.

        Raises:
            SettingsError: the row asks for a page that does not exist.
            BrowserError: no browser can show it.
        """
        del config
        try:
            episode = self._episode = Episode(Settings.of_row(self.env_config or {}), POOL)
            return await episode.begin(), {}, SYSTEM
        except Exception as error:
            await self.close()
            if not self._ends_on_failure:
                raise
            get_logger().warning(f"webagent: no page: {error}")
            return "No page.", {}, SYSTEM

    async def step(self, action: list[dict[str, Any]]) -> tuple[str, float, bool, dict[str, Any]]:
        """Carry out the action in the last message.

        Args:
            action: the conversation; its last message is the model's answer.

        Returns:
            The page as text, the turn's reward (0 to 1), whether the episode is over, and what
            ``webagent_gym.episode.Turn.info`` holds.

        Raises:
            BrowserError: browsers ended and could not be replaced.
        """
        if self._episode is None:
            return "", 0.0, True, {"success": False}
        try:
            turn = await self._episode.answer(str(action[-1]["content"]))
        except Exception as error:
            await self.close()
            if not self._ends_on_failure:
                raise
            get_logger().warning(f"webagent: the episode ends: {error}")
            return "", 0.0, True, {"success": False}
        if turn.done:
            await self.close()
        return turn.observation, turn.reward, turn.done, turn.info

    async def close(self) -> None:
        """Give the browser back."""
        episode, self._episode = self._episode, None
        if episode:
            episode.end()


if importlib.util.find_spec("miniwob") is None:
    raise ImportError("webagent: miniwob is missing, run 'bash scripts/setup_webagent.sh'")
programs()
envs["webagent"] = WebEnv
