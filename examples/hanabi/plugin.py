"""ms-swift plugin: the gym environment ``hanabi_env``.

Pass it to the rollout server as ``--external_plugins plugin.py --multi_turn_scheduler gym_scheduler
--use_gym_env true --gym_env hanabi_env``; the learner needs ``--use_gym_env true
--vllm_server_pass_dataset true``, and the rows of its dataset the column ``env_config``.

HANABI_REWARD, HANABI_OBSERVATION and HANABI_MAX_BYTES in the server's environment choose how games
are rewarded and shown (``hanabi_gym/episode.py``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

# ms-swift puts this directory in front of sys.path (swift/utils/utils.py, import_external_file).
from hanabi_gym.episode import Episode, Options
from hanabi_gym.settings import Settings, SettingsError
from swift.rollout.gym_env import Env, envs
from swift.utils import get_logger

__all__ = ["HanabiEnv"]

_OPTIONS = Options.of_environ(os.environ)
"""Read at import: a mistake in them ends the server before it loads the model."""


class HanabiEnv(Env):  # pyright: ignore[reportUntypedBaseClass]
    """One episode of Hanabi for ms-swift's ``GYMScheduler``.

    An exception here would fail the whole batch and end the learner (``AsyncEngine`` of ms-swift
    4.6 raises the first one). So a row without a possible game becomes an episode of one turn with
    reward 0, and a line in the server's log says why.
    """

    def __init__(self, env_config: Mapping[str, Any] | None) -> None:
        super().__init__(env_config)
        self._episode: Episode | None = None

    async def reset(self, config: Any) -> tuple[str, dict[str, Any], str]:
        """Deal the cards.

        Args:
            config: ms-swift's request; unused, the scheduler has given its ``env_config`` before.

        Returns:
            The first observation, nothing more to say, the system prompt.
        """
        del config
        try:
            row = self.env_config
            if not row:
                # The launcher's first request, too, which asks for one token.
                raise SettingsError(
                    "a request without env_config; from a learner that means that "
                    "vllm_server_pass_dataset is off or the dataset lacks the column"
                )
            episode = Episode(Settings.of_row(row), _OPTIONS)
            observation, system = episode.begin()
        except Exception as error:  # a request must not fail the batch
            _log("no game", error)
            return "No game.", {}, ""
        self._episode = episode
        return observation, {}, system

    async def step(self, action: list[dict[str, Any]]) -> tuple[str, float, bool, dict[str, Any]]:
        """Play the move in the last message.

        Args:
            action: the conversation; its last message is the model's answer.

        Returns:
            The next observation, the turn's reward, whether the episode is over, and its score.
        """
        if self._episode is None:
            return "", 0.0, True, {}
        try:
            said = str(action[-1]["content"])
            size = sum(len(str(message["content"]).encode(errors="replace")) for message in action)
            turn = self._episode.answer(said, size)
        except Exception as error:  # as above
            _log("the episode ends", error)
            return "", 0.0, True, {}
        return turn.observation, turn.reward, turn.done, {"score": turn.score, "legal": turn.legal}

    async def close(self) -> None:
        """Let go of the game."""
        self._episode = None


def _log(what: str, error: Exception) -> None:
    if isinstance(error, SettingsError):
        get_logger().warning(f"hanabi_env: {what}: {error}")
    else:
        get_logger().exception(f"hanabi_env: {what}")


envs["hanabi_env"] = HanabiEnv
