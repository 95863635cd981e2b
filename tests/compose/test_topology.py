"""`rollout_server/topology=NAME`: how many servers there are, and what wins over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from legacy_reference import write

from grpo_launch.base import resources
from grpo_launch.checks.examine import validate
from grpo_launch.checks.explain import explain
from grpo_launch.checks.plugins import shipped_facts
from grpo_launch.config.compose import compose, compose_arguments
from grpo_launch.config.hydra import lookup
from grpo_launch.config.schema import TOPOLOGY
from grpo_launch.errors import ConfigError

OPTIONS = sorted(path.stem for path in resources.path(f"conf/{TOPOLOGY}").glob("*.yaml"))
KEYS = {
    "rollout_server.vllm_tensor_parallel_size",
    "rollout_server.vllm_data_parallel_size",
    "train.rlhf.vllm_server_host",
    "train.rlhf.vllm_server_port",
    "train.rlhf.vllm_server_group_port",
}
TP, DP = "vllm_tensor_parallel_size", "vllm_data_parallel_size"
EPHEMERAL = range(32768, 61000)  # Linux's default for outgoing connections


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One experiment, ``exp``, which says another topology for itself and for the CPU."""
    text = (
        "rlhf: {vllm_server_host: [localhost], vllm_server_port: [8080], num_generations: 8}\n"
        "custom: {extra: {rollout_server: {vllm_tensor_parallel_size: 2,"
        " vllm_data_parallel_size: 3, vllm_max_model_len: 64}, launch: {gpus: {server: [5]},"
        " accelerators: {cpu: {train: {rlhf: {vllm_server_port: [8090]}}}}}}}\n"
    )
    write(tmp_path, {"configs/exp.yaml": text})
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)
    return tmp_path


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of a mapping by dotted key; lists are leaves."""
    if not isinstance(node, dict):
        return {prefix.rstrip("."): node}
    return {k: v for key, item in node.items() for k, v in flat(item, f"{prefix}{key}.").items()}


def leaves(*overrides: str) -> dict[str, Any]:
    config = compose("exp", overrides)
    train = {k: v for k, v in config.train.items() if k != "custom"}
    return {
        **flat({"train": train, "rollout_server": dict(config.rollout_server)}),
        "gpus": config.gpus.server,
    }


@pytest.mark.parametrize(
    ("option", "tensor", "data", "servers"),
    [("one_tp4", 4, 1, 1), ("one_dp4", 1, 4, 1), ("two", 1, 1, 2), ("four", 1, 1, 4)],
)
@pytest.mark.parametrize("accelerator", ["cuda", "cpu", "cpu_native"])
def test_an_option_wins_over_the_experiment_and_what_the_accelerator_brings(
    option: str, tensor: int, data: int, servers: int, accelerator: str
) -> None:
    config = compose("exp", [f"{TOPOLOGY}={option}", f"accelerator={accelerator}"])
    rlhf = config.train["rlhf"]
    assert (config.rollout_server[TP], config.rollout_server[DP]) == (tensor, data)
    assert rlhf["vllm_server_host"] == ["127.0.0.1"] * servers
    assert rlhf["vllm_server_port"] == list(range(8000, 8000 + servers))
    assert len(rlhf["vllm_server_group_port"]) == servers


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_sets_its_keys_and_nothing_else(option: str) -> None:
    before, after = leaves(), leaves(f"{TOPOLOGY}={option}")
    changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    assert changed <= KEYS
    assert {*after} >= KEYS


@pytest.mark.parametrize("option", OPTIONS)
def test_no_two_ports_of_an_option_are_one_or_may_be_given_away(option: str) -> None:
    rlhf = compose("exp", [f"{TOPOLOGY}={option}"]).train["rlhf"]
    ports = [*rlhf["vllm_server_port"], *rlhf["vllm_server_group_port"]]
    assert len({*ports}) == len(ports)
    assert not [port for port in ports if port in EPHEMERAL or port < 1024]


def test_every_option_is_tried_above() -> None:
    assert OPTIONS == ["four", "one_dp4", "one_tp4", "two"]


def test_the_command_line_wins() -> None:
    overrides = [
        f"{TOPOLOGY}=two",
        "train.rlhf.vllm_server_port=[9000,9001]",
        f"rollout_server.{TP}=2",
    ]
    config = compose("exp", overrides)
    assert config.train["rlhf"]["vllm_server_port"] == [9000, 9001]
    assert config.rollout_server[TP] == 2
    assert config.rollout_server[DP] == 1


def test_where_and_explain_name_the_topology() -> None:
    config = compose("exp", [f"{TOPOLOGY}=two", "accelerator=cpu", f"rollout_server.{DP}=2"])
    assert config.where("train.rlhf.vllm_server_port") == (
        "rollout_server/topology=two: train.rlhf.vllm_server_port"
    )
    assert config.where(f"rollout_server.{DP}") == f"command line: rollout_server.{DP}"
    assert config.where("train.rlhf.num_generations") == "configs/exp.yaml: rlhf.num_generations"
    (found,) = explain(config, "rlhf.vllm_server_port", shipped_facts(config))
    chain = found.chain
    assert [(said.place, said.value) for said in chain] == [
        ("configs/exp.yaml:1", [8080]),
        ("configs/exp.yaml:2", [8090]),
        ("rollout_server/topology=two", [8000, 8001]),
    ]


def test_the_record_of_both_spellings_reads_the_same() -> None:
    config = compose("exp", [f"{TOPOLOGY}=one_tp4"])
    assert config.train["custom"]["extra"]["rollout_server"][TP] == 4


OPTION_NAMES = "four, one_dp4, one_tp4, two"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (f"{TOPOLOGY}=for", f"{TOPOLOGY}=for: no such option, did you mean four?"),
        (f"{TOPOLOGY}=zzz", f"{TOPOLOGY}=zzz: no such option, choose one of {OPTION_NAMES}"),
        (
            f"{TOPOLOGY}=4",
            f"{TOPOLOGY}: '4' is not the name of an option, choose one of {OPTION_NAMES}",
        ),
        (
            f"{TOPOLOGY}=[one_tp4,two]",
            f"{TOPOLOGY}: '[one_tp4,two]' is not the name of an option, name one option",
        ),
        ("topology=four", f"topology: no such key, write {TOPOLOGY}=four"),
        (
            "rollout_server.topology=two",
            f"rollout_server.topology: no such key, write {TOPOLOGY}=two",
        ),
        (
            "rollout_server/topolgy=two",
            f"rollout_server/topolgy: no such group, did you mean {TOPOLOGY}?",
        ),
        (
            "rollout_server=four",
            f"rollout_server=four: no such option, did you mean {TOPOLOGY}=four?",
        ),
        (
            "rollout_server=zzz",
            "rollout_server=zzz: no such option, set rollout_server.KEY=VALUE for each key",
        ),
        (
            f"+{TOPOLOGY}=two",
            f"{TOPOLOGY}: the group has a choice already, write {TOPOLOGY}=two",
        ),
        (f"++{TOPOLOGY}=two", f"{TOPOLOGY}: is a group, write {TOPOLOGY}=two"),
    ],
)
def test_a_wrong_choice_says_what_to_type(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose("exp", [override])
    assert str(error.value) == f"command line: {message}"


@pytest.mark.slow
def test_it_composes_with_hydra_s_own_groups_too() -> None:
    arguments = ["role=check", "config=exp", f"{TOPOLOGY}=two", "hydra.verbose=false"]
    assert compose_arguments(arguments).train["rlhf"]["vllm_server_port"] == [8000, 8001]


def test_a_near_miss_of_a_key_of_a_topology_is_known() -> None:
    config = compose("exp", [f"{TOPOLOGY}=two", "train.rlhf.vllm_server_groupport=1"])
    assert "did you mean vllm_server_group_port?" in "\n".join(map(str, validate(config)))


# Presets, the settings of a kind of use

WEBAGENT = ["role=server", "engine=vllm", "learner=none", "rollout_server/preset=webagent"]


def served(*overrides: str, text: str = "rollout_server: {model: m, max_num_seqs: 4}") -> Any:
    Path("configs/served.yaml").write_text(f"engine: vllm\nlearner: none\n{text}\n")
    return compose("served", [*WEBAGENT, *overrides])


@pytest.mark.parametrize(("devices", "replicas"), [("[0,1,2]", 3), ("[0]", 1), ("null", None)])
def test_webagent_has_a_replica_on_each_device(devices: str, replicas: int | None) -> None:
    config = served(f"gpus.server={devices}")
    assert config.rollout_server == {
        "model": "m",
        "port": 8999,
        "max_num_seqs": 512,
        "gpu_memory_utilization": 0.95,
        "max_model_len": 32768,
        "tensor_parallel_size": 1,
        "limit_mm_per_prompt": {"video": 0},
        **({} if replicas is None else {"data_parallel_size": replicas}),
    }
    assert config.where("rollout_server.max_num_seqs").startswith("rollout_server/preset=webagent")


def test_the_command_line_wins_over_a_preset_and_reaches_others_only_when_told() -> None:
    config = served("rollout_server.max_num_seqs=8", "rollout_server.host=0.0.0.0")
    assert config.rollout_server["max_num_seqs"] == 8
    assert config.rollout_server["host"] == "0.0.0.0"
    assert "host" not in served().rollout_server


@pytest.mark.slow
def test_a_preset_that_is_misspelled_is_answered_with_the_nearest() -> None:
    served()
    for said, meant in (
        ("rollout_server/preset=webagnt", "did you mean webagent?"),
        ("rollout_server.preset=webagent", "write rollout_server/preset=webagent"),
        ("rollout_server/presets=webagent", "did you mean rollout_server/preset?"),
    ):
        with pytest.raises(ConfigError, match=meant.replace("?", r"\?")):
            compose_arguments(["role=check", "config=served", said])
