"""The rules on LoRA: which adapters a server takes, and where it needs none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.checks.examine import Outcome, Severity
from grpo_launch.config.compose import compose
from grpo_launch.config.facts import Facts
from grpo_launch.config.hydra import lookup
from grpo_launch.config.rule import Context
from grpo_launch.engines.swift import lora_rules as served
from grpo_launch.learners.swift import lora_rules as trained

SERVES = {"vllm_enable_lora": True, "lora_policy": "allow"}
RULES = (*served.LORA_RULES, *trained.LORA_RULES)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


def outcomes(tuner: dict[str, Any], server: dict[str, Any], **sections: Any) -> list[Outcome]:
    custom = {"extra": {"rollout_server": server}}
    body = {"tuner": tuner, **sections, "custom": custom}
    Path("x.yaml").write_text(yaml.safe_dump(body))
    config = compose("x")
    context = Context.of(config, Facts())
    return [rule.check(context) for rule in RULES if rule.when(config)]


def found(tuner: dict[str, Any], server: dict[str, Any]) -> list[str]:
    marks = {Severity.ERROR: "", Severity.WARNING: "warning: "}
    problems = [problem for outcome in outcomes(tuner, server) for problem in outcome.problems]
    return [marks[p.severity] + str(p).replace("x.yaml: ", "") for p in problems]


LORA = {"tuner_type": "lora"}


@pytest.mark.parametrize(
    ("tuner", "server"),
    [
        ({}, SERVES),
        ({**LORA, "lora_rank": 16}, SERVES),
        ({**LORA, "lora_rank": "16"}, SERVES),
        ({**LORA, "lora_rank": 64}, {**SERVES, "vllm_max_lora_rank": 64}),
        ({**LORA, "lora_rank": 33}, {**SERVES, "vllm_max_lora_rank": 64}),
        ({**LORA, "lora_rank": 64}, {}),
        ({**LORA, "lora_rank": 1024, "use_dora": True}, {"vllm_enable_lora": False}),
        ({**LORA, "lora_rank": 64}, {"vllm_max_lora_rank": 24}),
        ({"tuner_type": "adalora", "lora_rank": 64}, SERVES),
        ({"tuner_type": "full"}, {}),
        ({"tuner_type": "full"}, {"vllm_enable_lora": True}),  # refused by lora_policy
        ({**LORA, "lora_rank": 64, "adapters": ["trained"]}, SERVES),
        ({**LORA, "use_dora": False, "modules_to_save": [], "lora_bias": "none"}, SERVES),
        ({**LORA, "use_rslora": True, "lora_alpha": 128}, SERVES),
    ],
)
def test_adapters_that_the_server_takes_and_servers_without_adapters(
    tuner: dict[str, Any], server: dict[str, Any]
) -> None:
    assert found(tuner, server) == []


ENABLE = "custom.extra.rollout_server.vllm_enable_lora"
MAX_RANK = "custom.extra.rollout_server.vllm_max_lora_rank"


@pytest.mark.parametrize(
    ("tuner", "server", "message"),
    [
        (
            {**LORA, "lora_rank": 64},
            SERVES,
            (
                f"tuner.lora_rank: 64 is above the server's vllm_max_lora_rank 16 ({MAX_RANK}), "
                f"it would not take the adapter, set {MAX_RANK} to 64, or {ENABLE} to false"
            ),
        ),
        (
            {"lora_rank": 17},
            {**SERVES, "vllm_max_lora_rank": 8},
            (
                f"tuner.lora_rank: 17 is above the server's vllm_max_lora_rank 8 ({MAX_RANK}), "
                f"it would not take the adapter, set {MAX_RANK} to 32, or {ENABLE} to false"
            ),
        ),
        (
            {"tuner_type": "longlora", "lora_rank": 600},
            {**SERVES, "vllm_max_lora_rank": 512},
            (
                f"tuner.lora_rank: 600 is above the server's vllm_max_lora_rank 512 ({MAX_RANK}), "
                f"it would not take the adapter, set {ENABLE} to false"
            ),
        ),
        (
            {},
            {**SERVES, "vllm_max_lora_rank": 1},
            (
                f"tuner.lora_rank: 8 is above the server's vllm_max_lora_rank 1 ({MAX_RANK}), "
                f"it would not take the adapter, set {MAX_RANK} to 8, or {ENABLE} to false"
            ),
        ),
        (
            LORA,
            {**SERVES, "vllm_max_lora_rank": 24},
            f"{MAX_RANK}: 24 is none of 1, 8, 16, 32, 64, 128, 256, 320, 512, set it to 32",
        ),
        (
            LORA,
            {**SERVES, "vllm_max_lora_rank": 1000},
            f"{MAX_RANK}: 1000 is none of 1, 8, 16, 32, 64, 128, 256, 320, 512, set it to 512",
        ),
        *(
            (
                {**LORA, key: value},
                SERVES,
                (
                    f"tuner.{key}: is not served by vLLM, it would not take the adapter, "
                    f"remove it, or set {ENABLE} to false"
                ),
            )
            for key, value in (
                ("use_dora", "true"),
                ("lora_bias", "all"),
                ("modules_to_save", ["embed_tokens"]),
            )
        ),
        (
            {"tuner_type": "full"},
            SERVES,
            (
                f"warning: {ENABLE}: costs memory and time for nothing, "
                "tuner_type full sends whole weights, set it to false"
            ),
        ),
    ],
)
def test_what_the_server_would_not_take_or_not_need(
    tuner: dict[str, Any], server: dict[str, Any], message: str
) -> None:
    assert found(tuner, server) == [message]


@pytest.mark.parametrize("key", ["adapters", "resume_from_checkpoint"])
def test_the_rank_of_an_adapter_from_a_checkpoint_is_not_known(key: str) -> None:
    made = outcomes({"lora_rank": 64}, SERVES, training={key: "output/checkpoint-4"})
    reasons = {outcome.rule: outcome.skipped for outcome in made if outcome.skipped}
    reason = f"the rank of an adapter from training.{key} is that checkpoint's own"
    assert reasons == {"lora_rank_fits_the_server": reason}


@given(st.integers(1, 600))
def test_the_least_maximum_takes_the_rank_and_the_one_below_does_not(rank: int) -> None:
    most = served.max_rank_for(rank)
    if most is None:
        assert rank > max(served.MAX_RANKS)
    else:
        assert most in served.MAX_RANKS
        assert [m for m in served.MAX_RANKS if rank <= m < most] == []


@pytest.mark.parametrize(
    ("tuner", "messages"),
    [
        ({"tuner_type": "full"}, []),
        ({"tuner_type": "ia3"}, []),
        ({"tuner_type": "full", "lora_rank": 0}, []),
        ({"lora_rank": 1}, []),
        ({"tuner_type": "mine", "external_plugins": ["p.py"]}, []),
        (
            {"tuner_type": "lorra"},
            ["tuner.tuner_type: 'lorra' is not a tuner of ms-swift, did you mean lora?"],
        ),
        ({"lora_rank": 0}, ["tuner.lora_rank: 0 is below 1, use a positive integer"]),
        ({**LORA, "lora_rank": -8}, ["tuner.lora_rank: -8 is below 1, use a positive integer"]),
    ],
)
def test_the_tuner_exists(tuner: dict[str, Any], messages: list[str]) -> None:
    assert found(tuner, {}) == messages


def test_a_tuner_that_is_like_none_is_a_warning() -> None:
    (message,) = found({"tuner_type": "zzzz"}, {})
    assert message.startswith("warning: tuner.tuner_type: 'zzzz' is not a tuner of ms-swift, use ")
