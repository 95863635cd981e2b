"""The plug-ins that ship pass the suites that plug-ins of others are judged by."""

from __future__ import annotations

import pytest

from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.engines.command.engine import ENGINE as COMMAND_ENGINE
from grpo_launch.engines.external.engine import ENGINE as EXTERNAL
from grpo_launch.engines.swift.engine import ENGINE
from grpo_launch.engines.vllm.engine import ENGINE as VLLM
from grpo_launch.learners.command.learner import LEARNER as COMMAND_LEARNER
from grpo_launch.learners.llamafactory.learner import LEARNER as LLAMAFACTORY
from grpo_launch.learners.swift.learner import LEARNER
from grpo_launch.testing import EngineSuite, LearnerSuite
from tests.composed import shipped


class TestSwiftEngine(EngineSuite):
    engine = ENGINE
    settings = (
        {},
        {"vllm_tensor_parallel_size": 2, "vllm_data_parallel_size": 1},
        {
            "vllm_max_model_len": 4096,
            "vllm_gpu_memory_utilization": 0.6,
            "vllm_enforce_eager": True,
            "vllm_limit_mm_per_prompt": {"image": 2},
            "vllm_quantization": "8",
            "external_plugins": ["a.py", "b.py"],
            "multi_turn_scheduler": "gym_scheduler",
        },
    )


class TestCommandEngine(EngineSuite):
    engine = COMMAND_ENGINE
    settings = (
        {"argv": ["serve", "{model}", "--at={host}:{port}", '{{"a": {{}}}}']},
        {
            "argv": ["serve", "{port}", "{host}", "{devices}", "{tensor_parallel_size}"],
            "env": {"MODEL": "{model}"},
            "tensor_parallel_size": 2,
            "data_parallel_size": 2,
            "checks": [{"path": "/v1/models", "field": "id", "value": "{model}"}],
            "generation": {"path": "/generate", "body": {"model": "{model}"}, "tokens": "count"},
        },
    )

    def test_another_command_line_is_refused(self) -> None:
        """Any is one of it, but none at all."""
        with pytest.raises(ValueError, match="is empty"):
            self.engine.from_argv([])


class TestCommandLearner(LearnerSuite):
    learner = COMMAND_LEARNER

    def config(self) -> LaunchConfig:
        return shipped("examples/command/shell.yaml", ["role=learner"])

    def test_another_command_line_is_refused(self) -> None:
        """Any is one of it, but none at all."""
        with pytest.raises(ValueError, match="is empty"):
            self.learner.from_argv([])


class TestCommandLearnerWithItsConfig(TestCommandLearner):
    def config(self) -> LaunchConfig:
        return shipped("tests/command/formats/tunix.yaml", ["role=learner"])


class TestSwiftLearner(LearnerSuite):
    learner = LEARNER

    def config(self) -> LaunchConfig:
        return shipped("summary_1024", ["role=learner"])


class TestVllmEngine(EngineSuite):
    engine = VLLM
    settings = (
        {},
        {"tensor_parallel_size": 2, "data_parallel_size": 2, "max_model_len": "32k"},
        {
            "served_model_name": ["policy", "other"],
            "enforce_eager": False,
            "disable_log_stats": True,
            "limit_mm_per_prompt": {"video": 0},
            "gpu_memory_utilization": 0.95,
            "override_generation_config": {"temperature": 0.5},
            "lora_modules": ["a=b"],
        },
    )


class TestExternalEngine(EngineSuite):
    engine = EXTERNAL
    settings = ({}, {"url": "https://api.example.com/v1", "api_key_env": "OPENAI_API_KEY"})


class TestLlamaFactory(LearnerSuite):
    learner = LLAMAFACTORY

    def config(self) -> LaunchConfig:
        return shipped("sft_llamafactory", ["role=learner"])
