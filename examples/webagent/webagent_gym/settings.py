"""Which page a row of the tasks asks for, checked before a browser sees it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["LARGEST_SEED", "Settings", "SettingsError"]

LARGEST_SEED = 2**31 - 1

_LIMITS = {
    "seed": (0, LARGEST_SEED),
    "max_steps": (1, 1000),
    "max_elements": (1, 1000),
    "browsers": (1, 256),
}
_CHOICES = {"elements": ("all", "actionable"), "on_failure": ("raise", "end")}
_TASK = re.compile(r"[A-Za-z0-9]+([-.][A-Za-z0-9]+)*")


class SettingsError(ValueError):
    """A row asks for a page that does not exist; the message is one line."""


@dataclass(frozen=True)
class Settings:
    """One episode.

    Attributes:
        task: of MiniWoB++, such as ``click-button``.
        seed: of the page; the same seed gives the same page.
        max_steps: answers until the episode ends without a reward.
        elements: ``all`` that show something, or only what can be clicked or typed into.
        max_elements: shown of a page; how many more there are is said.
        browsers: of the process, at most; the largest number that a row asks for.
        on_failure: of an episode that no browser can finish: ``raise``, so that the collector
            counts it as failed; or ``end`` it with reward 0, for ms-swift, where an exception
            would end the learner.
    """

    task: str
    seed: int
    max_steps: int = 10
    elements: str = "all"
    max_elements: int = 60
    browsers: int = min(8, os.cpu_count() or 1)
    on_failure: str = "raise"

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Settings:
        """The episode of a row's ``env_config``; null means unset, ``name`` is ms-swift's.

        Raises:
            SettingsError: a key is unknown or missing, or its value impossible.
        """
        values = {key: value for key, value in row.items() if value is not None and key != "name"}
        known = [field.name for field in fields(cls)]
        for key, value in values.items():
            if key not in known:
                raise SettingsError(f"env_config.{key} is unknown, choose from {', '.join(known)}")
            _check(key, value)
        for key in ("task", "seed"):
            if key not in values:
                raise SettingsError(f"env_config.{key} is missing, set it in each row")
        return cls(**values)


def _check(key: str, value: Any) -> None:
    if key in _LIMITS:
        low, high = _LIMITS[key]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise SettingsError(f"env_config.{key} is {value!r}, set a number from {low} to {high}")
    elif key in _CHOICES and value not in _CHOICES[key]:
        raise SettingsError(f"env_config.{key} is {value!r}, use {' or '.join(_CHOICES[key])}")
    elif key == "task" and not (isinstance(value, str) and _TASK.fullmatch(value)):
        raise SettingsError(f"env_config.task is {value!r}, set a name such as click-button")
