"""The rules on a loop: what it collects, when it evaluates, how servers get a new model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from grpo_launch.config import key_names, kinds, loops, schema
from grpo_launch.config.endpoint import server_count
from grpo_launch.config.problem import Problem
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.engines.base import Reloading, engine
from grpo_launch.learners.base import OnTrajectories, learner
from grpo_launch.plugins import LEARNERS

_COUNTS = {
    **dict.fromkeys(("loop.iterations", "loop.eval_interval", "update.max_episodes"), 1),
    **dict.fromkeys(("update.min_episodes", "update.per_task", "collector.server_size"), 1),
    **dict.fromkeys(("collector.train_tasks_rollout_size", "collector.environments"), 1),
    **dict.fromkeys(("collector.eval_tasks_rollout_size", "collector.max_turns"), 1),
    **dict.fromkeys(("collector.train_limit", "collector.eval_limit"), 1),
    **dict.fromkeys(("collector.max_tokens_spent",), 1),
    **dict.fromkeys(("loop.max_failures", "publish.keep"), 0),
}
"""The least that a whole number may be."""

_SHARES = ("collector.completion_threshold", "collector.max_failed", "update.share")
_SECONDS = ("collector.grace_s", "collector.sync_s")
_AMOUNTS = ("gpu_wait.below_gib", "update.threshold")
_TIMES = ("collector.episode_timeout_s", "collector.call_timeout_s", "gpu_wait.timeout_s")


@rule(when=loops.is_loop)
def loop_numbers_make_sense(context: Context) -> Iterator[Problem]:
    """Counts, shares and times of a loop are in their ranges."""
    config = context.config

    def value(key: str) -> float | None:
        node, _, name = key.partition(".")
        return getattr(getattr(config, node), name)

    for key, least in _COUNTS.items():
        if (said := value(key)) is not None and said < least:
            yield Problem(config.where(key), f"is {said}", f"use {least} or more")
    for key in _SHARES:
        if (said := value(key)) is not None and not 0 <= said <= 1:
            yield Problem(config.where(key), f"is {said:g}", "use a share from 0 to 1")
    for key in (*_SECONDS, *_TIMES):
        said = value(key)
        if said is None:
            continue
        if not math.isfinite(said) or said < 0 or (key in _TIMES and said == 0):
            yield Problem(config.where(key), f"is {said:g}", "use seconds above 0")
    for key in _AMOUNTS:
        said = value(key)
        if said is not None and not math.isfinite(said):
            yield Problem(config.where(key), f"is {said:g}", "use a number")
    if (least := config.gpu_wait.below_gib) <= 0:
        yield Problem(config.where("gpu_wait.below_gib"), f"is {least:g}", "use GiB above 0")


@rule(when=loops.is_loop)
def loop_has_tasks(context: Context) -> Iterator[Problem]:
    """There are tasks for each collection of the role."""
    config = context.config
    wanted: list[str] = []
    if config.role == loops.LOOP:
        wanted = ["train"] + (["eval"] if config.loop.eval_interval is not None else [])
    elif config.role == loops.ROLLOUT:
        wanted = [config.loop.split.value]
    for split in wanted:
        key = f"collector.{split}_tasks"
        if getattr(config.collector, f"{split}_tasks") is None:
            yield Problem(config.where(key), "is not set", "name a file of tasks, tasks.jsonl")


@rule(when=loops.is_loop)
def learner_trains_on_what_is_collected(context: Context) -> Iterator[Problem]:
    """The learner of a loop takes its data from it, and nothing else."""
    config = context.config
    if config.role == loops.ROLLOUT or config.learner.name == schema.NO_PLUGIN:
        return
    trained = learner(config.learner.name)
    if not isinstance(trained, OnTrajectories):
        known = [n for n in LEARNERS.names() if isinstance(learner(n), OnTrajectories)]
        what = f"{trained.product} does not train on what a loop collects"
        yield Problem(config.where("learner.name"), what, f"choose {' or '.join(known)}")
    elif trained.needs_servers(config):
        what = (
            f"{config.learner.stage or 'the usual stage'} of {trained.product} asks servers itself"
        )
        fix = "choose a stage that trains on rows, learner.stage=sft"
        yield Problem(config.where("learner.stage"), what, fix)
    elif config.get(trained.data_key) is not None:
        what = "is what the loop collects, it cannot be said"
        yield Problem(config.where(f"train.{trained.data_key}"), what, "remove it")


@rule(when=loops.is_loop)
def servers_can_take_new_models(context: Context) -> Iterator[Problem]:
    """``loop.swap=reload`` is something that the engine can do, on servers of the launcher."""
    config = context.config
    if config.role != loops.LOOP:
        return
    reloads = config.loop.swap is schema.Swap.reload
    if reloads and not isinstance(engine(config.engine.name), Reloading):
        what = f"{config.engine.name} loads no new model while it runs"
        fix = "say loop.swap=restart" if config.starts_servers else "say role=rollout"
        yield Problem(config.where("loop.swap"), what, fix)
    elif not config.starts_servers and not reloads:
        what = "would restart servers that somebody else runs"
        yield Problem(config.where("loop.swap"), what, "say loop.swap=reload")


@rule(when=loops.is_loop)
def weights_are_those_of_the_servers(context: Context) -> Iterator[Problem]:
    """``collector.weights`` has a number above 0 for each server."""
    config = context.config
    weights = config.collector.weights
    if weights is None or config.role == loops.UPDATE:
        return
    where = config.where("collector.weights")
    if (count := server_count(config)) != len(weights):
        yield Problem(where, f"has {len(weights)} numbers for {count} servers", "give each one")
    if any(not weight > 0 for weight in weights):
        yield Problem(where, f"is {kinds.said(weights)}", "use numbers above 0")


@rule(when=loops.is_loop)
def collector_takes_its_settings(context: Context) -> Iterator[Problem]:
    """``collector.sampling`` is what a request may have, and ``collector.key`` names a variable."""
    config = context.config
    if config.role == loops.UPDATE:
        return
    if (key := config.collector.key) is not None:
        yield from key_names.problems(config.where("collector.key"), key)
    from grpo_launch.rollout import settings  # brings asyncio

    try:
        settings.parse({"sampling": config.collector.sampling})
    except ValueError as error:
        name, _, what = str(error).partition(": ")
        yield Problem(config.where(f"collector.{name}"), what, "remove it, or correct it")


@rule(when=loops.is_loop)
def answers_fit_the_servers(context: Context) -> Iterator[Problem]:
    """``collector.sampling.max_tokens`` leaves room for a prompt."""
    config = context.config
    served = engine(config.engine.name)
    if config.role == loops.UPDATE or config.engine.name == schema.NO_PLUGIN:
        return
    room = served.sizes(config.rollout_server).max_model_len
    sampling = config.collector.sampling
    tokens = sampling.get("max_tokens") if isinstance(sampling, dict) else None
    if isinstance(tokens, int) and room is not None and tokens >= room:
        what = f"is {tokens}, the servers take {room} tokens of prompt and answer together"
        where = config.where("collector.sampling.max_tokens")
        yield Problem(where, what, f"use less than {room}")


LOOP_RULES: Sequence[Rule] = (
    loop_numbers_make_sense,
    loop_has_tasks,
    learner_trains_on_what_is_collected,
    servers_can_take_new_models,
    weights_are_those_of_the_servers,
    collector_takes_its_settings,
    answers_fit_the_servers,
)
"""The rules on loops."""
