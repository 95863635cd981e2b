"""The rules of rewards, which the learner enforces after it has loaded the model.

Source: ms-swift 4.6.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from grpo_launch.config import kinds
from grpo_launch.config.arguments import find, listed
from grpo_launch.config.problem import Problem
from grpo_launch.config.readable import Sections
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.learners.swift.batches import has_teacher, learns_in_groups, rewards

_REWARDS = ("reward_funcs", "reward_model", "use_gym_env", "gym_env")


@rule(needs=(Sections,), when=learns_in_groups)
def one_reward_weight_per_reward(context: Context) -> Iterator[Problem]:
    """``reward_weights``, if given, has one weight for each reward.

    Source: ``GRPOTrainer._prepare_rewards`` (``swift/rlhf_trainers/grpo_trainer.py``): the
    ``reward_funcs``, then the models of ``reward_model``, then a gym environment.
    """
    config = context.config
    key, weights = find(config, "reward_weights", "rlhf")
    named = rewards(config)
    if weights is None or isinstance(weights, dict) or len(listed(weights)) == len(named):
        return
    given, needed = len(listed(weights)), len(named)
    what = f"has {kinds.counted(given, 'weight')} for {kinds.counted(needed, 'reward')}"
    pairs = (find(config, name, "rlhf") for name in _REWARDS)
    first = next((key for key, value in pairs if value is not None), None)
    if first is not None:
        places = filter(None, (", ".join(named), config.where(f"train.{first}")))
        what += f" ({'; '.join(places)})"
    yield Problem(config.where(f"train.{key}"), what, "give one weight for each, in that order")


@rule(needs=(Sections,), when=learns_in_groups)
def there_is_a_reward(context: Context) -> Iterator[Problem]:
    """There is a reward, or a teacher.

    Source: ``GRPOTrainer.__init__`` ("You must specify reward_funcs or reward_model").
    """
    config = context.config
    if rewards(config) or has_teacher(config):
        return
    key = find(config, "reward_funcs", "rlhf")[0]
    fix = f"set {config.spelled('train.rlhf.reward_funcs')}"
    decided = find(config, "use_gym_env", "rlhf")[1] is not None
    if config.rollout_server.get("multi_turn_scheduler") and not decided:
        fix += f", or {config.spelled('rollout_server.use_gym_env')} to true for an environment's"
    yield Problem(config.where(f"train.{key}"), "names no reward", fix)


REWARD_RULES: Sequence[Rule] = (one_reward_weight_per_reward, there_is_a_reward)
