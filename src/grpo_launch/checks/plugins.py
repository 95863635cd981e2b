"""What the engine and the learner of a configuration bring to validation."""

from __future__ import annotations

from collections.abc import Iterator

from grpo_launch.config import endpoint, kinds, loops
from grpo_launch.config.facts import Facts
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.config.schema import NO_PLUGIN
from grpo_launch.engines.asking import FlagAnswer
from grpo_launch.engines.base import engine
from grpo_launch.engines.flag_facts import FlagNotes, flag_facts
from grpo_launch.learners.base import learner


def plugin_rules(config: LaunchConfig) -> tuple[Rule, ...]:
    """The rules of the engine, where there are servers, then those of the learner, if it learns."""
    served = engine(config.engine.name).rules if endpoint.has_servers(config) else ()
    trained = learner(config.learner.name).rules if _learns(config) else ()
    return (*served, *trained)


def shipped_facts(config: LaunchConfig) -> Facts:
    """What is known without looking at the machine: the flags of the shipped versions."""
    questions = (engine(config.engine.name).flags, learner(config.learner.name).flags_of(config))
    return flag_facts(*(FlagAnswer(q.shipped().table) if q else None for q in questions))


@rule(needs=(FlagNotes,))
def installed_flags_are_known(context: Context) -> Iterator[Problem]:
    """A warning where the flags of what is installed could not be asked for."""
    yield from context[FlagNotes].problems


@rule
def weights_can_be_transferred(context: Context) -> Iterator[Problem]:
    """Engine and learner have a way in common to bring new weights to the server.

    A server alone is asked by whoever comes, a learner that needs none asks nobody.
    """
    config = context.config
    served, trained = engine(config.engine.name), learner(config.learner.name)
    if config.role == "server" or not trained.needs_servers(config):
        return
    if served.transfers & trained.transfers:
        return
    if config.engine.name == NO_PLUGIN:
        what = f"is none, but {config.learner.name} trains against rollout servers"
        yield Problem(config.where("engine.name"), what, "choose an engine, or another learner")
        return
    what = f"{config.learner.name} gives new weights by {_words(trained.transfers)}, "
    what += f"but {config.engine.name} takes them by {_words(served.transfers)}"
    yield Problem(config.where("learner.name"), what, "choose another engine or learner")


@rule
def the_role_has_its_halves(context: Context) -> Iterator[Problem]:
    """What the role starts is there: servers, a learner, and for both one that asks them."""
    config = context.config
    serves = ("server", "both", loops.LOOP, loops.ROLLOUT)
    if config.role in serves and config.engine.name == NO_PLUGIN:
        fix = "say role=learner" if config.role == "both" else "choose an engine"
        yield Problem(config.where("engine.name"), "is none, there is no server to start", fix)
    elif config.role == "server" and not config.starts_servers:
        key = "engine.managed" if not config.engine.managed else "engine.name"
        what = "says that somebody else runs the servers, there is none to start"
        yield Problem(config.where(key), what, "say role=check to ask them, or role=learner")
    if config.role in ("learner", "both", loops.LOOP, loops.UPDATE) and not _learns(config):
        yield Problem(
            config.where("learner.name"), "is none, nothing is trained", "say role=server"
        )
    elif config.role == "both" and not learner(config.learner.name).needs_servers(config):
        key = "learner.name" if config.learner.stage is None else "learner.stage"
        product = learner(config.learner.name).product
        what = f"{product} asks no rollout server for what it trains here"
        yield Problem(config.where(key), what, "say role=learner")


@rule(when=endpoint.has_servers)
def servers_have_what_the_learner_demands(context: Context) -> Iterator[Problem]:
    """The settings of the servers that the learner cannot do without have their values."""
    config = context.config
    product = learner(config.learner.name).product
    for name, wanted in learner(config.learner.name).demands(config).items():
        value = config.rollout_server.get(name)
        if config.starts_servers and value != wanted:
            what = f"is {kinds.said(value)}, but {product} needs {kinds.said(wanted)}"
            fix = f"set it to {kinds.said(wanted)}"
            yield Problem(config.where(f"rollout_server.{name}"), what, fix)


@rule
def stage_is_one_of_the_learner(context: Context) -> Iterator[Problem]:
    """``learner.stage`` is something that the learner trains."""
    config = context.config
    stage, known = config.learner.stage, learner(config.learner.name).stages
    if stage is None or stage in known:
        return
    product = learner(config.learner.name).product
    meant = kinds.nearest(stage, known)
    what = f"{kinds.said(stage)} is no stage of {product}"
    fix = f"use one of {', '.join(known)}" if known else "remove it"
    yield Problem(config.where("learner.stage"), what, f"did you mean {meant}?" if meant else fix)


@rule
def timeout_of_the_learner_is_positive(context: Context) -> Iterator[Problem]:
    """``learner.timeout_s`` gives the learner some time."""
    seconds = context.config.learner.timeout_s
    if seconds is not None and not seconds > 0:
        where = context.config.where("learner.timeout_s")
        yield Problem(where, f"{seconds:g} is no time to train", "use seconds above 0, or null")


PAIR_RULES = (
    installed_flags_are_known,
    the_role_has_its_halves,
    weights_can_be_transferred,
    servers_have_what_the_learner_demands,
    stage_is_one_of_the_learner,
    timeout_of_the_learner_is_positive,
)
"""The rules about the two together."""


def _learns(config: LaunchConfig) -> bool:
    return config.learner.name != NO_PLUGIN


def _words(transfers: frozenset[str]) -> str:
    return " or ".join(sorted(transfers))
