"""Who plays the episodes of several turns that an experiment asks for, and with what.

In ms-swift 4.6 a scheduler decides on the next turn of a conversation. It runs in the rollout
server (``swift rollout --multi_turn_scheduler``), or else in the learner; where the server has one,
the learner leaves the turns to it (``_infer_single_or_multi_turn`` in
``swift/rlhf_trainers/rollout_mixin.py``). A gym scheduler asks an environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grpo_launch.config.arguments import find, listed
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.readable import Sections
from grpo_launch.config.rule import rule
from grpo_launch.learners.swift.dataset_rows import Rows
from grpo_launch.learners.swift.plugin_source import Plugin

ENVIRONMENTS = ("math_env",)
"""What ms-swift 4.6 registers itself (``swift/rollout/gym_env.py``)."""

SCHEDULERS = ("gym_scheduler", "math_tip_trick", "openenv_scheduler", "thinking_tips_scheduler")
"""What ms-swift 4.6 registers itself (``swift/rollout/multi_turn.py``)."""

GYM_SCHEDULER = "gym_scheduler"
"""The scheduler that finds environments by their names."""

ENVIRONMENT_SCHEDULERS = (GYM_SCHEDULER, "openenv_scheduler")
"""The schedulers that ask an environment, and report its reward."""

SERVER = "rollout_server"


@dataclass(frozen=True)
class GymFacts:
    """The files that the rules about episodes look at; None where they were not read.

    Attributes:
        rows: what the data set says, an item for each entry.
        plugins: what the plugins of :class:`Episodes` register.
    """

    rows: tuple[Rows, ...] | None = None
    plugins: tuple[Plugin, ...] | None = None


@dataclass(frozen=True)
class Episodes:
    """What an experiment says about episodes.

    Attributes:
        played: whether there are any; otherwise conversations have one turn and no environment.
        on_server: whether the scheduler runs in the rollout server.
        scheduler: its name; None where there is none, only an environment.
        environment: ``gym_env``, the environment of rows that name none.
        plugins: the files that may register both.
    """

    played: bool
    on_server: bool
    scheduler: str | None
    environment: str | None
    plugins: tuple[str, ...]

    @staticmethod
    def of(config: LaunchConfig) -> Episodes:
        """What ``config`` says."""
        halves = {half: _said(config, on_server=half) for half in (True, False)}
        scheduler = "multi_turn_scheduler"
        on_server = bool(halves[True][scheduler]) or not halves[False][scheduler]
        files = map(_text, _plugins(config, on_server=on_server))
        return Episodes(
            played=any((*halves[True].values(), *halves[False].values())),
            on_server=on_server,
            scheduler=_text(halves[on_server][scheduler]),
            environment=_text(halves[on_server]["gym_env"]),
            plugins=tuple(file for file in files if file),
        )

    def key(self, config: LaunchConfig, name: str) -> str:
        """The dotted key of an argument of the half that plays."""
        return key_of(config, name, on_server=self.on_server)

    @property
    def asks_environment(self) -> bool:
        """Whether an environment is asked, as far as that can be known of a plugin's scheduler."""
        if self.scheduler is None or self.scheduler not in SCHEDULERS:
            return self.environment is not None
        return self.scheduler in ENVIRONMENT_SCHEDULERS

    @property
    def needs_rows(self) -> bool:
        """Whether each row must say ``env_config``; ms-swift's own environment reads columns."""
        return self.asks_environment and self.environment not in ENVIRONMENTS


def _plays(config: LaunchConfig) -> bool:
    return Episodes.of(config).played


episode_rule = rule(needs=(Sections,), when=_plays)
"""Makes a rule about episodes; it is listed where the configuration plays some."""


def data_sets(config: LaunchConfig) -> list[tuple[str, str]]:
    """Each entry of ``dataset`` and ``val_dataset``, with its dotted key."""
    found = [find(config, name) for name in ("dataset", "val_dataset")]
    return [(f"train.{key}", item) for key, value in found for item in listed(value) if _text(item)]


def key_of(config: LaunchConfig, name: str, *, on_server: bool) -> str:
    """The dotted key of an argument of one half."""
    return f"{SERVER}.{name}" if on_server else f"train.{find(config, name, 'rlhf')[0]}"


def said(config: LaunchConfig, name: str, *, on_server: bool) -> Any:
    """The value of an argument of one half; None where it is not said."""
    return config.rollout_server.get(name) if on_server else find(config, name, "rlhf")[1]


def _said(config: LaunchConfig, *, on_server: bool) -> dict[str, Any]:
    names = ("multi_turn_scheduler", "gym_env", "use_gym_env")
    return {name: said(config, name, on_server=on_server) for name in names}


def _plugins(config: LaunchConfig, *, on_server: bool) -> list[Any]:
    names = ("external_plugins",) if on_server else ("external_plugins", "custom_register_path")
    return [item for n in names for item in listed(said(config, n, on_server=on_server))]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
