"""Which parts of an experiment could be read, as facts for the rules that need them whole."""

from __future__ import annotations

from dataclasses import dataclass

from grpo_launch.config.arguments import SIZES
from grpo_launch.config.facts import Facts
from grpo_launch.config.launch_config import LaunchConfig


@dataclass(frozen=True)
class Sections:
    """Every section of the learner is a mapping, so what they say together can be judged."""


@dataclass(frozen=True)
class BatchSizes:
    """No value that gives a batch size had to be left out."""


def readable(config: LaunchConfig) -> Facts:
    """The facts above, or why they do not hold."""
    missing: dict[type, str] = {}
    if reason := _unread_section(config):
        missing = {Sections: reason, BatchSizes: reason}
    elif reason := _unread_size(config):
        missing = {BatchSizes: reason}
    facts = (fact for fact in (Sections(), BatchSizes()) if type(fact) not in missing)
    return Facts.of(*facts, missing=missing)


def _unread_section(config: LaunchConfig) -> str | None:
    sections = [name for name in config.sections if name != "deepspeed"]
    broken = [name for name in sections if not isinstance(config.train.get(name), dict | None)]
    return f"the section {broken[0]} is not a mapping" if broken else None


def _unread_size(config: LaunchConfig) -> str | None:
    keys = (wrong.key or "" for wrong in config.environment.wrong)
    if any(key.rpartition(".")[2] in SIZES for key in keys):
        return "a variable that says a batch size is wrong"
    left_out = [keys for mistake in config.mistakes for keys in mistake.unread]
    if any(path and path[-1] in SIZES and path[0] in config.sections for path in left_out):
        return "the batch plan is wrong"
    return None
