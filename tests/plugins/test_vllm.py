"""The command lines of vLLM's server, and what it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grpo_launch.config.compose import compose
from grpo_launch.engines.base import ServeRequest
from grpo_launch.engines.vllm import serve
from grpo_launch.engines.vllm.engine import ENGINE
from grpo_launch.engines.vllm.importing import keys_of

AT = ["--host", "127.0.0.1", "--port", "8123"]


def request(entry: tuple[str, ...] = ENGINE.entry, **settings: Any) -> ServeRequest:
    return ServeRequest(
        entry=entry,
        model="some/model",
        host="127.0.0.1",
        port=8123,
        group_port=None,
        settings=settings,
        encoding={"torch_dtype": "float32", "template": "qwen2_5"},
        cwd=Path("/somewhere"),
    )


@pytest.mark.parametrize(
    ("entry", "model"),
    [
        (("vllm", "serve"), ["some/model"]),
        (("my-wrapper", "vllm", "serve"), ["some/model"]),
        # The module form reads a bare word and serves its own default model all the same.
        (ENGINE.cpu_entry, ["--model", "some/model"]),
        (
            ("python", "-m", "vllm.entrypoints.launchers.api_server.entry"),
            ["--model", "some/model"],
        ),
    ],
)
def test_the_model_stands_where_the_entry_takes_it(
    entry: tuple[str, ...], model: list[str]
) -> None:
    assert ENGINE.argv(request(entry)) == [*entry, *model, *AT]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"enforce_eager": True}, ["--enforce-eager"]),
        ({"enforce_eager": False}, ["--no-enforce-eager"]),
        ({"disable_log_stats": True}, ["--disable-log-stats"]),
        ({"disable_log_stats": False}, []),  # it has no opposite
        ({"max_model_len": "32k"}, ["--max-model-len", "32k"]),
        ({"limit_mm_per_prompt": {"video": 0}}, ["--limit-mm-per-prompt", '{"video": 0}']),
        ({"served_model_name": "policy"}, ["--served-model-name", "policy"]),
        ({"served_model_name": ["a", "b"]}, ["--served-model-name", "a", "b"]),
        ({"allowed_origins": ["*", "a"]}, ["--allowed-origins", '["*", "a"]']),
        ({"middleware": ["m.M"]}, ["--middleware", "m.M"]),
        ({"lora_modules": [{"name": "a"}]}, ["--lora-modules", '{"name": "a"}']),
        ({"watermark": -0.5}, ["--watermark=-0.5"]),
        ({"chat_template": "-x {{ y }}"}, ["--chat-template=-x {{ y }}"]),
        ({"gpu_memory_utilization": 0.95}, ["--gpu-memory-utilization", "0.95"]),
        ({"model": "x", "host": "h", "port": 1, "development_mode": True}, []),
    ],
)
def test_settings_are_flags_as_its_parser_reads_them(
    settings: dict[str, Any], words: list[str]
) -> None:
    assert ENGINE.argv(request(**settings)) == [*ENGINE.entry, "some/model", *AT, *words]


def test_development_mode_is_a_variable() -> None:
    assert ENGINE.env(request(development_mode=True)) == {"VLLM_SERVER_DEV_MODE": "1"}
    assert ENGINE.env(request(development_mode=False)) == ENGINE.env(request()) == {}


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        *(
            (4096, 4096),
            ("4096", 4096),
            ("4_096", 4096),
            ("32k", 32_000),
            ("32K", 32_768),
            ("1.5k", 1500),
        ),
        *((" 1m ", 1_000_000), ("1M", 1 << 20)),
        *(("auto", None), (-1, None), (None, None), ("1.5K", None), ("12.0", None), ("x", None)),
    ],
)
def test_a_length_is_read_as_vllm_reads_it(text: Any, tokens: int | None) -> None:
    assert serve.length(text) == tokens


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "some/model"),
        ({"served_model_name": "policy"}, "policy"),
        ({"served_model_name": ["policy", "other"]}, "policy"),
        ({"served_model_name": []}, "some/model"),
    ],
)
def test_the_served_name_is_what_requests_say(settings: dict[str, Any], name: str) -> None:
    asked = request(**settings)
    _, models, token = ENGINE.checks(asked, "/health")
    assert token == ENGINE.generation(asked)
    assert (models.path, models.value, models.bearer) == ("/v1/models", name, "VLLM_API_KEY")
    assert token.body is not None
    assert token.fallback_body is not None
    assert (token.body["model"], token.body["max_tokens"]) == (name, 1)
    assert (token.fallback_body["model"], token.fallback_body["prompt"]) == (name, "1")


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        (
            "vllm serve org/m -tp 4 --data-parallel-size=2 --enforce-eager --port 8999",
            {
                "model": "org/m",
                "tensor_parallel_size": 4,
                "data_parallel_size": 2,
                "enforce_eager": True,
                "port": 8999,
            },
        ),
        (
            "python -m vllm.entrypoints.openai.api_server --model m --disable-log-stats",
            {"model": "m", "disable_log_stats": True},
        ),
        (
            "vllm serve m --max_model_len 32k --no-enforce-eager --limit-mm-per-prompt {}",
            {
                "model": "m",
                "enforce_eager": False,
                "limit_mm_per_prompt": {},
                "max_model_len": "32k",
            },
        ),
        ("vllm serve --model m --served-model-name a b --gpu-memory-utilization 0.9",
         {"model": "m", "served_model_name": ["a", "b"], "gpu_memory_utilization": 0.9}),
    ],
)  # fmt: skip
def test_a_line_of_others_is_read(line: str, keys: dict[str, Any]) -> None:
    read = keys_of(line.split())
    entry = read.pop("engine.entry")
    assert entry in (["vllm", "serve"], [*ENGINE.cpu_entry])
    assert read == {f"rollout_server.{name}": value for name, value in keys.items()}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("swift rollout --model m", "no vllm serve"),
        ("vllm serve m --api-key abc", "--api-key: use VLLM_API_KEY in the environment instead"),
        ("vllm serve m --hf-token abc", "--hf-token: use HF_TOKEN in the environment instead"),
        ("vllm serve m --config a.yaml", "--config: use its keys below rollout_server instead"),
        ("vllm serve m --no-port", "--no-port is no flag"),
        ("vllm serve m --flags 3", "--flags is no flag"),
        ("vllm serve m more --port 3", "'more' stands before the first flag"),
        ("vllm serve m --enforce-eager true", "--enforce-eager takes no value, not 'true'"),
        ("vllm serve m --port", "--port takes one word, not 0"),
    ],
)
def test_what_is_not_understood_is_named(line: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        keys_of(line.split())
    assert "abc" not in str(error.value)


@pytest.mark.slow
def test_on_a_cpu_a_tiny_model_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    server = "rollout_server: {model: org/big, gpu_memory_utilization: 0.9}"
    Path("x.yaml").write_text(f"engine: vllm\nlearner: none\n{server}\n")
    config = compose("x", ["role=server", "accelerator=cpu"])
    assert config.model == "models/tiny-qwen2"
    assert config.rollout_server["dtype"] == "float32"
    assert "gpu_memory_utilization" not in config.rollout_server
    assert config.engine.entry == [*ENGINE.cpu_entry]
