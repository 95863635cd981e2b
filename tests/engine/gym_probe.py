"""Runs in the engine's environment: what ms-swift does with schedulers and environments.

Prints one JSON object. Its functions are called on objects that never were initialised, with as
much of their state as they read.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from types import SimpleNamespace
from typing import Any

import torch
from swift.arguments import RolloutArguments
from swift.infer_engine.protocol import RolloutInferRequest
from swift.pipelines.infer.rollout import SwiftRolloutDeploy, get_rollout_engine_type
from swift.rl_core.data import GRPOSample
from swift.rl_core.grpo_algorithm import score_completions
from swift.rlhf_trainers.args_mixin import GRPOArgumentsMixin
from swift.rlhf_trainers.grpo_trainer import GRPOTrainer
from swift.rollout.gym_env import Env, envs
from swift.rollout.multi_turn import multi_turns

ROW = {"messages": [{"role": "user", "content": "x"}], "env_config": {"name": "b", "seed": 3}}


def bare(cls: type, **state: Any) -> Any:
    made = object.__new__(cls)
    vars(made).update(state)
    return made


def rollout_arguments(**given: Any) -> Any:
    made = bare(RolloutArguments, **given)
    made._set_default_engine_type()
    return made


def refusal(**given: Any) -> str | None:
    try:
        rollout_arguments(**given)._check_args()
    except ValueError as error:
        return str(error)
    return None


def engine_type(**state: Any) -> dict[str, Any]:
    arguments = SimpleNamespace(multi_turn_scheduler=None, vllm_enable_lora=False)
    return asyncio.run(bare(SwiftRolloutDeploy, args=arguments, **state).get_engine_type())


def learners_use_gym_env(**given: Any) -> bool | None:
    return GRPOArgumentsMixin(**given).use_gym_env


class Recorded(Env):
    """Says which environment was asked, with what."""

    seen: list[Any] = []  # noqa: RUF012

    async def reset(self, config):
        self.seen.append([type(self).__name__, self.env_config])
        return "begin", {}, ""

    async def step(self, action):
        return "", 0.0, True, {}

    async def close(self):
        pass


def environments_of_rows(arguments: Any, *rows: dict[str, Any] | None) -> list[Any]:
    """For each row the environment that the server's scheduler makes, and its configuration."""
    envs["a"], envs["b"] = type("a", (Recorded,), {}), type("b", (Recorded,), {})
    engine = SimpleNamespace(template=SimpleNamespace(tokenizer=None))
    scheduler = get_rollout_engine_type(arguments, engine)
    Recorded.seen.clear()
    for number, row in enumerate(rows):
        request = RolloutInferRequest(messages=[], data_dict=row or {}, uuid=str(number))
        try:
            asyncio.run(scheduler.on_trajectory_start([request]))
        except ValueError as error:
            Recorded.seen.append(str(error).partition(" Available")[0])
    return list(Recorded.seen)


def columns_sent(**arguments: Any) -> Any:
    """What a request to the server has of the row."""
    scheduler = arguments.pop("scheduler", None)
    trainer = bare(GRPOTrainer, args=SimpleNamespace(**arguments), multi_turn_scheduler=scheduler)
    sample = GRPOSample.from_row(ROW)
    (request,) = trainer.samples2requests([sample])
    return request.data_dict


def who_plays(*, own: bool, servers: bool) -> str:
    """The half that decides on the next turn."""
    trainer = bare(GRPOTrainer, enable_server_multi_turn=servers)
    hook = SimpleNamespace(on_trajectory_start=_nothing)
    trainer.multi_turn_scheduler = hook if own else None
    trainer.args = SimpleNamespace()
    trainer._rollout = lambda *_: []
    trainer._postprocess_rollout_outputs = lambda *_: "the server"
    trainer._colocate_multi_turn_infer = lambda *_: "the learner"
    return trainer._infer_single_or_multi_turn([], None)


async def _nothing(requests: Any) -> None:
    del requests


def turns_share_a_length(vllm_mode: str, scope: str) -> bool:
    """Whether ``completion_length_limit_scope`` changes how the engine limits a completion."""
    engine = SimpleNamespace(set_default_max_tokens=len, max_model_len=1)
    engine.set_grpo_max_model_len = True  # taken away at the end
    trainer = bare(GRPOTrainer, engine=engine, vllm_mode=vllm_mode, use_fast_infer=True)
    trainer.multi_turn_scheduler, trainer.completion_length_limit_scope = object(), scope
    with trainer.multi_turn_completion_length_context():
        return engine.set_default_max_tokens is not len


def rewards(*functions: Any) -> list[list[float]]:
    """The reward columns of two completions whose episodes were rewarded with 0.5 and 2."""
    samples = [
        GRPOSample(messages=[*ROW["messages"], {"role": "assistant", "content": "y"}])
        for _ in range(2)
    ]
    for sample, total in zip(samples, (0.5, 2.0), strict=True):
        sample.rollout_infos = {"total_reward": total}
    plugins = [None] * len(functions)
    return score_completions(samples, list(functions), plugins, True, torch.device("cpu")).tolist()


def one(completions: list[str], **_: Any) -> list[float]:
    return [1.0] * len(completions)


names = {"envs": sorted(envs), "multi_turns": sorted(multi_turns)}
scheduled = {"multi_turn_scheduler": "gym_scheduler", "max_turns": 2}
print(
    json.dumps(
        {
            **names,
            "synchronous": refusal(**scheduled, vllm_use_async_engine=False),
            "asynchronous": refusal(**scheduled, vllm_use_async_engine=True),
            "by default": refusal(**scheduled),
            "server's use_gym_env": [
                rollout_arguments(gym_env=env, use_gym_env=use).use_gym_env
                for env, use in itertools.product((None, "a"), (None, True, False))
            ],
            "learner's use_gym_env": [
                learners_use_gym_env(gym_env=env, use_gym_env=use)
                for env, use in itertools.product((None, "a"), (None, True, False))
            ],
            "reported use_gym_env": [
                engine_type(use_async_engine=engine, use_gym_env=gym)["use_gym_env"]
                for engine, gym in itertools.product((False, True), (False, True))
            ],
            "environments": environments_of_rows(
                rollout_arguments(**scheduled, gym_env="a"),
                {"env_config": {"name": "b", "seed": 3}},
                {"env_config": {"seed": 4}},
                None,
            ),
            "environments without use_gym_env": environments_of_rows(
                rollout_arguments(**scheduled, gym_env="a", use_gym_env=False), None
            ),
            "columns": [
                columns_sent(vllm_server_pass_dataset=False),
                columns_sent(vllm_server_pass_dataset=True),
                columns_sent(vllm_server_pass_dataset=False, scheduler=object()),
            ],
            "players": [
                who_plays(own=own, servers=servers)
                for own, servers in itertools.product((False, True), (False, True))
            ],
            "lengths": [
                turns_share_a_length(mode, scope)
                for mode, scope in itertools.product(("server", "colocate"), ("per_round", "total"))
            ],
            "gym alone": rewards(),
            "gym and a function": rewards(one),
        }
    )
)
