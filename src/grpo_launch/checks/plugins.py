"""What the engine and the learner of a configuration bring to validation."""

from __future__ import annotations

from collections.abc import Iterator

from grpo_launch.config.facts import Facts
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.engines.asking import FlagAnswer
from grpo_launch.engines.base import engine
from grpo_launch.engines.flag_facts import FlagNotes, flag_facts
from grpo_launch.learners.base import learner


def plugin_rules(config: LaunchConfig) -> tuple[Rule, ...]:
    """The rules of the engine, then those of the learner."""
    return (*engine(config.engine.name).rules, *learner(config.learner.name).rules)


def shipped_facts(config: LaunchConfig) -> Facts:
    """What is known without looking at the machine: the flags of the shipped versions."""
    questions = (engine(config.engine.name).flags, learner(config.learner.name).flags)
    return flag_facts(*(FlagAnswer(q.shipped().table) if q else None for q in questions))


@rule(needs=(FlagNotes,))
def installed_flags_are_known(context: Context) -> Iterator[Problem]:
    """A warning where the flags of what is installed could not be asked for."""
    yield from context[FlagNotes].problems


@rule
def weights_can_be_transferred(context: Context) -> Iterator[Problem]:
    """Engine and learner have a way in common to bring new weights to the server."""
    config = context.config
    served, trained = engine(config.engine.name), learner(config.learner.name)
    if not trained.transfers or served.transfers & trained.transfers:
        return
    what = f"{config.learner.name} gives new weights by {_words(trained.transfers)}, "
    what += f"but {config.engine.name} takes them by {_words(served.transfers)}"
    yield Problem(config.where("learner.name"), what, "choose another engine or learner")


PAIR_RULES = (installed_flags_are_known, weights_can_be_transferred)
"""The rules about the two together."""


def _words(transfers: frozenset[str]) -> str:
    return " or ".join(sorted(transfers))
