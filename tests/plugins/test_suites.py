"""The plug-ins that ship pass the suites that plug-ins of others are judged by."""

from __future__ import annotations

from grpo_launch.config import compose
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.engines.swift.engine import ENGINE
from grpo_launch.learners.llamafactory.learner import LEARNER as LLAMAFACTORY
from grpo_launch.learners.swift.learner import LEARNER
from grpo_launch.testing import EngineSuite, LearnerSuite


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


class TestSwiftLearner(LearnerSuite):
    learner = LEARNER

    def config(self) -> LaunchConfig:
        return compose.compose("summary_1024", ["role=learner"])


class TestLlamaFactory(LearnerSuite):
    learner = LLAMAFACTORY

    def config(self) -> LaunchConfig:
        return compose.compose("sft_llamafactory", ["role=learner"])
