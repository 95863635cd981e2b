"""The rules of episodes that a scheduler, and mostly an environment, plays over several turns.

Source: ms-swift 4.6.0. It finds most of this out in the first rollout, when both halves have loaded
the model: ``GYMScheduler`` (``swift/rollout/multi_turn.py``) looks the environment up and resets it
with the row's ``env_config``.
"""

from __future__ import annotations

from collections.abc import Sequence

from grpo_launch.config import kinds
from grpo_launch.config.arguments import find, is_true
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Rule
from grpo_launch.learners.swift import episodes
from grpo_launch.learners.swift.batches import environment_rewards, rewards
from grpo_launch.learners.swift.episodes import Episodes, episode_rule
from grpo_launch.learners.swift.gym_files import FILE_RULES


@episode_rule
def environment_has_a_scheduler(context: Context) -> list[Problem]:
    """An environment has a scheduler that asks it.

    Without one the server answers once and no environment is made; the learner then misses
    ``total_reward`` (``score_completions`` in ``swift/rl_core/grpo_algorithm.py``).
    """
    config = context.config
    played = Episodes.of(config)
    key = played.key(config, "multi_turn_scheduler")
    if played.scheduler is None:
        names = [(name, half) for half in (True, False) for name in ("gym_env", "use_gym_env")]
        said = (
            episodes.key_of(config, name, on_server=half)
            for name, half in names
            if episodes.said(config, name, on_server=half)
        )
        what = f"is set, but without {config.spelled(key)} no environment is asked"
        fix = f"set {config.spelled(key)} to {episodes.GYM_SCHEDULER}"
        return [Problem(config.where(first), what, fix) for first in list(said)[:1]]
    own = played.scheduler in episodes.SCHEDULERS
    if own and config.trains and not played.asks_environment and environment_rewards(config):
        what = f"{kinds.said(played.scheduler)} asks no environment, "
        what += "but the learner takes an environment's reward"
        fix = f"use {episodes.GYM_SCHEDULER}, or set use_gym_env to false for server and learner"
        return [Problem(config.where(key), what, fix)]
    return []


@episode_rule
def multi_turn_engine_is_asynchronous(context: Context) -> list[Problem]:
    """A scheduler needs vLLM's asynchronous engine, which is its default then.

    Source: ``RolloutArguments._check_args`` in ``swift/arguments/deploy_args.py`` ("please set
    vllm_use_async_engine to True with multi-turn scheduler").
    """
    config = context.config
    played = Episodes.of(config)
    said = config.rollout_server.get("vllm_use_async_engine")
    if not played.on_server or played.scheduler is None or said is not False:
        return []
    what = f"is false, but {kinds.said(played.scheduler)} needs the asynchronous engine"
    where = config.where(f"{episodes.SERVER}.vllm_use_async_engine")
    return [Problem(where, what, "set it to true or remove it")]


@episode_rule
def server_receives_dataset_columns(context: Context) -> list[Problem]:
    """``vllm_server_pass_dataset`` sends the columns of a row to the server.

    Source: ``samples2requests`` in ``swift/rlhf_trainers/rollout_mixin.py``; a scheduler of the
    learner's own sends them as well. Without it every environment gets an empty ``env_config``.
    """
    config = context.config
    played = Episodes.of(config)
    key, said = find(config, "vllm_server_pass_dataset", "rlhf")
    if not config.trains or not (played.on_server and played.asks_environment) or is_true(said):
        return []
    if episodes.said(config, "multi_turn_scheduler", on_server=False):
        return []
    state = "is not set" if said is None else f"is {kinds.said(said)}"
    what = f"{state}, so the environment on the server gets no column of a row, not even env_config"
    return [Problem(config.where(f"train.{key}"), what, "set it to true")]


@episode_rule
def server_and_learner_agree_on_use_gym_env(context: Context) -> list[Problem]:
    """The environment's reward counts, and both halves say so.

    Source: ``get_rollout_engine_type``: with ``use_gym_env`` false the scheduler does not get
    ``gym_env``. ``prepare_rollout``: what the learner is told counts, not what the server says.
    """
    config = context.config
    played = Episodes.of(config)
    if played.scheduler is None or not played.asks_environment:
        return []
    server, learner = (episodes.said(config, "use_gym_env", on_server=h) for h in (True, False))
    here, there = (episodes.key_of(config, "use_gym_env", on_server=h) for h in (True, False))
    if played.on_server and server is False and played.environment is not None:
        what = f"is false, so the scheduler does not get gym_env {kinds.said(played.environment)}"
        return [Problem(config.where(here), what, "set it to true or remove it")]
    if config.trains and not environment_rewards(config) and (learner is not None or not server):
        by_server = played.on_server and learner is None
        state = "is not set" if (server if by_server else learner) is None else "is false"
        what = f"{state}, so the reward of the environment is dropped"
        where = config.where(here if by_server else there)
        return [Problem(where, what, "set it to true", Severity.WARNING)]
    if played.on_server and server is False:
        what = f"is false, but {config.spelled(there)} is true, which counts"
        return [Problem(config.where(here), what, "remove it", Severity.WARNING)]
    return []


@episode_rule
def environment_is_the_only_reward(context: Context) -> list[Problem]:
    """Reward functions beside an environment are meant: its reward is one more column.

    Source: ``_prepare_rewards`` in ``swift/rlhf_trainers/grpo_trainer.py``.
    """
    config = context.config
    played = Episodes.of(config)
    named = rewards(config)
    if not environment_rewards(config) or not played.asks_environment or len(named) == 1:
        return []
    what = f"{', '.join(named[:-1])} count beside the environment's reward, which is the last one"
    if find(config, "reward_weights", "rlhf")[1] is None:
        what += "; each has the weight 1"
    key = next(k for n in ("reward_funcs", "reward_model") if (k := _key_if_said(config, n)))
    fix = "remove them, or set reward_weights for all"
    return [Problem(config.where(f"train.{key}"), what, fix, Severity.WARNING)]


@episode_rule
def multi_turn_settings_have_an_effect(context: Context) -> list[Problem]:
    """What only the half that plays acts on is not said differently for the other one.

    Source: ``_infer_single_or_multi_turn``: where the server has a scheduler, the learner leaves
    scheduler, turns and environment to it. ``completion_length_limit_scope: total`` is for
    colocate mode (``multi_turn_completion_length_context``); here ``max_completion_length`` is
    always one of a turn.
    """
    config = context.config
    played = Episodes.of(config)
    if played.scheduler is None:
        return []
    problems: list[Problem] = []
    for name in ("multi_turn_scheduler", "max_turns", "gym_env"):
        counts = episodes.said(config, name, on_server=played.on_server)
        other = episodes.said(config, name, on_server=not played.on_server)
        if other is None or str(other) == str(counts):
            continue
        key = played.key(config, name)
        state = "not set" if counts is None else kinds.said(counts)
        what = f"{kinds.said(other)} has no effect: {config.spelled(key)} counts, and is {state}"
        where = config.where(episodes.key_of(config, name, on_server=not played.on_server))
        problems.append(Problem(where, what, "remove it, or set it there", Severity.WARNING))
    key, scope = find(config, "completion_length_limit_scope", "rlhf")
    if scope == "total":
        what = "total has no effect in server mode, max_completion_length is that of a turn"
        problems.append(Problem(config.where(f"train.{key}"), what, "remove it", Severity.WARNING))
    return problems


GYM_RULES: Sequence[Rule] = (
    environment_has_a_scheduler,
    multi_turn_engine_is_asynchronous,
    *FILE_RULES,
    server_receives_dataset_columns,
    server_and_learner_agree_on_use_gym_env,
    environment_is_the_only_reward,
    multi_turn_settings_have_an_effect,
)
"""All rules about episodes, in the order in which their findings are reported."""


def _key_if_said(config: LaunchConfig, name: str) -> str | None:
    key, value = find(config, name, "rlhf")
    return key if value not in (None, []) else None
