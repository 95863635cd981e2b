"""What the rules of episodes assume of ms-swift, in the source of the installed one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from grpo_launch.engines.flags.introspect import find
from grpo_launch.learners.swift import episodes
from grpo_launch.learners.swift.plugin_source import ENVIRONMENTS, SCHEDULERS
from tests.conftest import ROOT

pytestmark = [pytest.mark.engine]


def swift() -> Path:
    site = find(ROOT / ".venv-engine")
    assert site is not None
    return site / "swift"


def literal_keys(file: Path, name: str) -> set[str]:
    """The keys of the dictionary that a module assigns to ``name``."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            target = node.targets[0]
            if isinstance(target, ast.Name) and target.id == name:
                return {ast.literal_eval(key) for key in node.value.keys if key is not None}
    raise AssertionError(f"{file} assigns no dictionary to {name}")


@pytest.mark.parametrize(
    ("file", "registry", "names"),
    [
        ("gym_env.py", ENVIRONMENTS, episodes.ENVIRONMENTS),
        ("multi_turn.py", SCHEDULERS, episodes.SCHEDULERS),
    ],
)
def test_ms_swift_registers_what_the_rules_take_for_its_own(
    file: str, registry: str, names: tuple[str, ...]
) -> None:
    assert literal_keys(swift() / "rollout" / file, registry) == set(names)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("arguments/deploy_args.py", "if self.multi_turn_scheduler and not self.vllm_use_async"),
        ("arguments/deploy_args.py", "self.use_gym_env = self.gym_env is not None"),
        ("pipelines/infer/rollout.py", "if self.use_async_engine and self.use_gym_env:"),
        ("rollout/multi_turn.py", "env_name = env_config.get('name', self.gym_env_name)"),
        ("rollout/multi_turn.py", "(req.data_dict or {}).get('env_config', {})"),
        ("rl_core/data.py", "base_data_dict = self.extra.get('data_dict')"),
        ("rl_core/grpo_algorithm.py", "s.rollout_infos['total_reward']"),
        ("rlhf_trainers/args_mixin.py", "if self.use_gym_env is None and self.gym_env is not None"),
        (
            "rlhf_trainers/rollout_mixin.py",
            "getattr(self.args, 'vllm_server_pass_dataset', False)) or bool(self.multi_turn_sched",
        ),
        (
            "rlhf_trainers/rollout_mixin.py",
            "if not self.multi_turn_scheduler or self.enable_server_multi_turn:",
        ),
        (
            "rlhf_trainers/rollout_mixin.py",
            "or self.vllm_mode == 'server' or self.completion_length_limit_scope == 'per_round'",
        ),
    ],
)
def test_the_lines_that_the_rules_follow_are_there(file: str, line: str) -> None:
    assert line in (swift() / file).read_text()
