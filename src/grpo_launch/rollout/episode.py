"""One episode: what has happened in it, and its line in the file of trajectories."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from grpo_launch.rollout.answers import Answer
from grpo_launch.rollout.environments import Instance, Messages
from grpo_launch.rollout.meter import ENVIRONMENT, MODEL, Meter
from grpo_launch.rollout.tasks import Task

DONE, MAX_TURNS, FAILED = "stop", "max_turns", "error"
"""Finish reasons that are the collector's; the server's ``length`` and others are kept."""

Ask = Callable[[Messages], Awaitable[Answer]]
Save = Callable[[Any], tuple[str, list[str]]]


@dataclass
class Episode:
    """What has happened so far; a failed or abandoned one still has it.

    Attributes:
        task: what it is about.
        sample: its number among those of the task.
        messages: the conversation, as the server gets it.
    """

    task: Task
    sample: int
    messages: Messages = field(default_factory=list[dict[str, Any]])
    answers: list[Answer] = field(default_factory=list[Answer])
    rewards: list[float] = field(default_factory=list[float])
    info: str = "{}"
    success: bool | None = None
    finish_reason: str = FAILED
    has_reward: bool = False
    started: float = field(default_factory=time.monotonic)

    @property
    def id(self) -> str:
        """``TASK/SAMPLE``."""
        return f"{self.task.id}/{self.sample}"

    async def play(
        self, instance: Instance, ask: Ask, meter: Meter, seed: int, max_turns: int | None
    ) -> None:
        """Play it to its end.

        Args:
            instance: its environment.
            ask: gets the model's next message.
            meter: is told what is waited for.
            seed: of this episode's environment.
            max_turns: answers at most.

        Raises:
            EpisodeError: it fails.
        """
        meter.begin(ENVIRONMENT)
        try:
            self.messages = await instance.begin(self.task, self.id, seed)
        finally:
            meter.end(ENVIRONMENT)
        while True:
            meter.begin(MODEL)
            try:
                answer = await ask(self.messages)
            finally:
                meter.end(MODEL)
            meter.tokens += answer.completion_tokens
            self.answers.append(answer)
            self.messages.append({"role": "assistant", "content": answer.text})
            meter.begin(ENVIRONMENT)
            try:
                step = await instance.step(self.messages)
            finally:
                meter.end(ENVIRONMENT)
            self.info, self.success = step.info, step.success
            if step.reward is not None:
                self.rewards.append(step.reward)
                self.has_reward = True
            if step.done:
                self.finish_reason = answer.finish_reason
                return
            if step.observation is not None:
                self.messages.append({"role": "user", "content": step.observation})
            if max_turns is not None and len(self.answers) >= max_turns:
                self.finish_reason = MAX_TURNS
                return

    def row(self, version: str, split: str, error: str, save: Save) -> dict[str, Any]:
        """The line of this episode. Every line has the same keys, with values of the same types.

        ``datasets`` takes the types of a file from its first 10 MB, where a column that is null
        or an empty list would be of no type; so texts are empty instead of null.

        Args:
            version: of the weights.
            split: of the tasks.
            error: why it failed; empty: it did not.
            save: puts images beside the file; the text with ``<image>`` for each, and their names.
        """
        images: list[str] = []
        messages: list[dict[str, str]] = []
        for message in self.messages:
            text, saved = save(message.get("content"))
            images += saved
            messages.append({"role": str(message["role"]), "content": text})
        answers = self.answers
        return {
            "id": self.id,
            "task": self.task.id,
            "sample": self.sample,
            "messages": messages,
            "images": images,
            "reward": float(sum(self.rewards)) if self.has_reward else None,
            "rewards": self.rewards,
            "turns": len(answers),
            "token_ids": _by_turn([list(each.token_ids) for each in answers]),
            "prompt_token_ids": _by_turn([list(each.prompt_token_ids) for each in answers]),
            "logprobs": _by_turn([list(each.logprobs) for each in answers]),
            "reasoning": [each.reasoning for each in answers],
            "prompt_tokens": sum(each.prompt_tokens for each in answers),
            "completion_tokens": sum(each.completion_tokens for each in answers),
            "finish_reason": FAILED if error else self.finish_reason,
            "seconds": round(time.monotonic() - self.started, 4),
            "version": version,
            "split": split,
            "error": error,
            "success": self.success,
            "info": self.info,
        }


def _by_turn(values: list[list[Any]]) -> list[list[Any]]:
    """Nothing where the server gave nothing for any turn."""
    return values if any(values) else []
