"""What an experiment says for one accelerator: its place in the precedence, and its mistakes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from legacy_reference import exact, expected, write

from grpo_launch.checks.explain import explain
from grpo_launch.checks.plugins import shipped_facts
from grpo_launch.config import compose as composing
from grpo_launch.config.compose import compose
from grpo_launch.config.hydra import lookup
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.errors import ConfigError, LaunchError
from tests.effort import costly

BLOCK = "custom.extra.launch.accelerators"
NATIVE = "# @package _global_\ntrain: {training: {a: 1, b: 2}}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a ``configs/``; nothing else is searched but what ships."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)
    (tmp_path / "configs").mkdir()
    return tmp_path


def experiment(project: Path, said: str, blocks: str, name: str = "x") -> None:
    """Write ``configs/NAME.yaml`` with these blocks, by accelerator."""
    text = f"{said}custom: {{extra: {{launch: {{accelerators: {blocks}}}}}}}\n"
    write(project, {f"configs/{name}.yaml": text})


# Precedence: schema < groups < experiment < overlay < experiment's block < command line


@pytest.mark.parametrize(
    ("block", "overrides", "max_steps"),
    [
        ("{}", ["accelerator=cuda"], 100),
        ("{}", ["accelerator=cpu"], 3),  # the overlay's
        ("{cpu: {train: {training: {max_steps: 12}}}}", ["accelerator=cpu"], 12),
        ("{cpu: {train: {training: {max_steps: 12}}}}", ["accelerator=cuda"], 100),
        ("{cpu: {train: {training: {max_steps: 12}}}}", ["accelerator=cpu_native"], 100),
        ("{cuda: {train: {training: {max_steps: 12}}}}", [], 12),
        ("{cuda: {train: {training: {max_steps: 12}}}}", ["accelerator=gpu"], 12),
        ("{gpu: {train: {training: {max_steps: 12}}}}", [], 12),
        ("{gpu: {train: {training: {max_steps: 12}}}}", ["accelerator=gpu"], 12),
        ("{gpu: {train: {training: {max_steps: 12}}}}", ["accelerator=cpu"], 3),
        ("{cpu: ~}", ["accelerator=cpu"], 3),
        ("{cpu: {train: ~}}", ["accelerator=cpu"], 3),
        ("~", ["accelerator=cpu"], 3),
        (
            "{cpu: {train: {training: {max_steps: 12}}}}",
            ["accelerator=cpu", "train.training.max_steps=7"],
            7,
        ),
    ],
)
def test_the_block_of_the_chosen_accelerator_wins_over_all_but_the_command_line(
    project: Path, block: str, overrides: list[str], max_steps: int
) -> None:
    experiment(project, "training: {max_steps: 100}\n", block)
    assert compose("x", overrides).train["training"]["max_steps"] == max_steps


@pytest.mark.parametrize("said", ["accelerator=gpu", "accelerator.kind=gpu"])
def test_gpu_is_another_name_of_cuda_and_the_record_says_cuda(project: Path, said: str) -> None:
    experiment(project, "training: {max_steps: 100}\n", "~")
    assert compose("x", [said]).as_dict()["accelerator"]["kind"] == "cuda"


@pytest.mark.parametrize("said", ["gpu", "{kind: gpu}"])
def test_an_experiment_may_say_gpu(project: Path, said: str) -> None:
    write(project, {"configs/x.yaml": f"custom: {{extra: {{launch: {{accelerator: {said}}}}}}}\n"})
    assert compose("x").as_dict()["accelerator"]["kind"] == "cuda"


@pytest.mark.parametrize("names", [("gpu", "cuda"), ("cuda", "gpu")])
def test_two_blocks_for_one_accelerator_are_a_mistake(
    project: Path, names: tuple[str, str]
) -> None:
    experiment(
        project, "", f"{{{names[0]}: {{preflight: false}}, {names[1]}: {{preflight: true}}}}"
    )
    (mistake,) = compose("x").mistakes
    assert f"{BLOCK}.{names[1]}: is another name of {names[0]}" in str(mistake.error)
    text = f"accelerators: {{{names[0]}: {{preflight: false}}, {names[1]}: {{preflight: true}}}}\n"
    write(project, {"configs/n.yaml": NATIVE + text})
    with pytest.raises(ConfigError, match=rf"accelerators\.{names[1]}: is another name of"):
        compose("n")


def test_a_native_block_and_explain_know_the_other_name(project: Path) -> None:
    write(project, {"configs/n.yaml": f"{NATIVE}accelerators: {{gpu: {{preflight: false}}}}\n"})
    assert not compose("n").preflight
    experiment(project, "", "{gpu: {health: {timeout_s: 9}}}")
    config = compose("x", ["accelerator=gpu"])
    (found,) = explain(config, "health.timeout_s", shipped_facts(config))
    assert [said.place for said in found.chain] == ["default", "configs/x.yaml:1"]
    assert config.where("health.timeout_s") == f"configs/x.yaml: {BLOCK}.gpu.health.timeout_s"


def test_a_block_sets_the_rollout_server_and_the_launcher_s_nodes(project: Path) -> None:
    block = (
        "{cpu: {rollout_server: {vllm_max_model_len: '512', vllm_data_parallel_size: 2},"
        " env: {set: {A: '${HOME}', B: false}}, gpus: {server: [0, 1]}, health: {timeout_s: 9},"
        " preflight: false}}"
    )
    experiment(project, "", block)
    config = compose("x", ["accelerator=cpu", "rollout_server.vllm_data_parallel_size=1"])
    assert config.rollout_server["vllm_max_model_len"] == 512
    assert config.rollout_server["vllm_data_parallel_size"] == 1
    assert config.env.set == {"VLLM_PLUGINS": "grpo_cpu_engine", "A": "${HOME}", "B": "false"}
    assert (config.gpus.server, config.health.timeout_s) == (["0", "1"], 9.0)
    assert not config.preflight


def test_an_experiment_that_chooses_its_accelerator_gets_its_block(project: Path) -> None:
    text = (
        "training: {max_steps: 1}\ncustom: {extra: {launch: {accelerator: cpu_native,"
        " accelerators: {cpu_native: {train: {training: {max_steps: 2}}}}}}}\n"
    )
    write(project, {"configs/x.yaml": text})
    assert compose("x").train["training"]["max_steps"] == 2


def test_blocks_of_bases_merge_like_everything(project: Path) -> None:
    base = (
        "custom: {extra: {launch: {accelerators: {cpu: {health: {timeout_s: 5},"
        " train: {training: {max_steps: 5, seed: 5}}}}}}}\n"
    )
    write(project, {"configs/b.yaml": base})
    experiment(project, "extends: b.yaml\n", "{cpu: {train: {training: {seed: 6}}}}")
    config = compose("x", ["accelerator=cpu"])
    assert config.train["training"]["max_steps"] == 5
    assert config.train["training"]["seed"] == 6
    assert config.health.timeout_s == 5.0
    where = f"{BLOCK}.cpu.train.training"
    assert config.where("train.training.seed") == f"configs/x.yaml: {where}.seed"
    assert config.where("train.training.max_steps") == f"configs/b.yaml: {where}.max_steps"


_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from(["", "a", "${x}", "???", "1e5", "null"]),
)
_trees = st.recursive(
    _scalars | st.just({}),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=8,
)
_tops = st.dictionaries(st.sampled_from(["training", "rlhf", "other"]), _trees, max_size=3)


@pytest.mark.slow
@costly
@given(_tops, _tops)
def test_a_block_merges_as_a_file_over_its_base_does(base: Any, over: Any) -> None:
    blocks = {"extra": {"launch": {"accelerators": {"cpu_native": {"train": over}}}}}
    with tempfile.TemporaryDirectory() as directory:
        files = {
            "x.yaml": yaml.safe_dump({**base, "custom": blocks}, sort_keys=False),
            "over.yaml": yaml.safe_dump({"extends": "x.yaml", **over}, sort_keys=False),
        }
        path = write(Path(directory), files)
        found = compose(str(path), ["accelerator=cpu_native"]).train
        assert exact(found) == exact(expected(path.parent / "over.yaml"))


@pytest.mark.slow
def test_a_list_replaces_and_what_no_section_holds_is_reached_too(project: Path) -> None:
    said = "data: {dataset: [a, b]}\nmine: {deep: {a: 1, b: [1]}}\n"
    experiment(project, said, "{cuda: {train: {data: {dataset: [c]}, mine: {deep: {a: 2}}}}}")
    train = compose("x").train
    assert train["data"] == {"dataset": ["c"]}
    assert train["mine"] == {"deep": {"a": 2, "b": [1]}}


def test_a_block_on_a_section_costs_no_second_composition(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment(project, "rlhf: {a: 1}\n", "{cpu: {train: {rlhf: {a: 2}}}}")
    calls: list[Any] = []
    inner = hydra.compose
    monkeypatch.setattr(hydra, "compose", lambda *a: calls.append(a) or inner(*a))
    compose("x", ["accelerator=cpu"])
    assert calls == []


# Every way to name an experiment


@pytest.mark.parametrize(
    "name",
    ["x", "x.yaml", "sub/x", "configs/sub/x.yaml", "./configs/x.yaml", "2048", "it's", "a b@c"],
)
def test_the_block_is_found_however_the_experiment_is_named(project: Path, name: str) -> None:
    for file in ("x", "sub/x", "2048", "it's", "a b@c"):
        (project / "configs" / file).parent.mkdir(exist_ok=True)
        experiment(project, "rlhf: {a: 1}\n", "{cuda: {train: {rlhf: {a: 2}}}}", file)
    assert compose(name).train["rlhf"] == {"a": 2}
    absolute = project / "configs" / f"{name.removesuffix('.yaml')}.yaml"
    if absolute.is_file():
        assert compose(str(absolute)).train["rlhf"] == {"a": 2}


def test_a_name_that_leads_out_of_the_directory_is_found(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment(project, "rlhf: {a: 1}\n", "{cuda: {train: {rlhf: {a: 2}}}}")
    (project / "elsewhere").mkdir()
    monkeypatch.chdir(project / "elsewhere")
    assert compose("../configs/x.yaml").train["rlhf"] == {"a": 2}


def test_a_missing_or_unknown_experiment_is_said_as_before(project: Path) -> None:
    experiment(project, "", "{}")
    with pytest.raises(ConfigError, match=r"config= is missing, say config=NAME, one of .*\bx\b"):
        composing.compose_arguments(["role=check"])
    with pytest.raises(ConfigError, match=r"^command line: config=nope: no such experiment"):
        compose("nope")


def test_an_experiment_of_another_source_has_no_block(project: Path) -> None:
    write(project, {"plain/config/n.yaml": "# @package _global_\nexperiment: {name: n, path: n}\n"})
    search = f"hydra.searchpath=[file://{project}/plain]"
    config = composing.compose_arguments(["role=check", "config=n", search])
    assert (config.experiment, config.accelerated) == ("n", "")


# Native files


def test_a_native_file_has_its_blocks_at_the_top(project: Path) -> None:
    blocks = "{cuda: {train: {training: {a: '${train.training.b}'}}, health: {timeout_s: 9}}}"
    write(project, {"configs/n.yaml": f"{NATIVE}accelerators: {blocks}\n"})
    config = compose("n")
    assert config.train == {"training": {"a": 2, "b": 2}}
    assert config.health.timeout_s == 9.0
    place = "configs/n.yaml: accelerators.cuda.train.training.a"
    assert config.where("train.training.a") == place
    assert config.where("train.training.b") == "configs/n.yaml: train.training.b"
    assert compose("n", ["accelerator=cpu_native"]).train == {"training": {"a": 1, "b": 2}}
    assert [
        said.place for said in explain(config, "health.timeout_s", shipped_facts(config))[0].chain
    ] == [
        "default",
        "configs/n.yaml:3",
    ]


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ("5", "accelerators: must be a mapping, not 5, write keys below"),
        ("{cuda: 5}", "accelerators.cuda: must be a mapping, not 5, write keys below"),
        (
            "{cuda: {health: {timeout: 9}}}",
            "accelerators.cuda.health.timeout: Key 'timeout' not in 'Health', correct the value",
        ),
        (
            "{cuda: {health: {timeout_s: x}}}",
            (
                "accelerators.cuda.health.timeout_s: Value 'x' of type 'str' could not be converted"
                " to Float, correct the value"
            ),
        ),
        (
            "{cuda: {train: {training: [1]}}}",
            (
                "accelerators.cuda: a list cannot stand for a mapping of the experiment,"
                " correct the value"
            ),
        ),
    ],
)
def test_a_wrong_native_block_names_file_and_key(project: Path, blocks: str, message: str) -> None:
    write(project, {"configs/n.yaml": f"{NATIVE}accelerators: {blocks}\n"})
    with pytest.raises(LaunchError) as error:
        compose("n")
    assert str(error.value) == f"configs/n.yaml: {message}"


def test_a_native_file_without_blocks_is_as_it_was(project: Path) -> None:
    write(project, {"configs/n.yaml": NATIVE, "configs/m.yaml": f"{NATIVE}accelerators:\n"})
    for name in ("n", "m"):
        assert compose(name).train == {"training": {"a": 1, "b": 2}}


# Mistakes travel


def mistakes(config: LaunchConfig) -> list[str]:
    return [str(mistake.error) for mistake in config.mistakes]


@pytest.mark.parametrize("overrides", [[], ["accelerator=cpu"]])
@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("5", ": must be a mapping, not 5, write keys below"),
        ("{cpuu: {}}", ".cpuu: unknown key, did you mean cpu?"),
        ("{tpu: {}}", ".tpu: unknown key, did you mean gpu?"),
        ("{rocm: {}}", ".rocm: unknown key, use one of cpu, cpu_native, cuda, gpu"),
        ("{cpu: [1]}", ".cpu: must be a mapping, not [1], write keys below"),
        ("{cpu: {train: 1}}", ".cpu.train: must be a mapping, not 1, write keys below"),
        ("{cpu: {healthy: {}}}", ".cpu.healthy: unknown key, did you mean health?"),
        ("{cpu: {trian: {}}}", ".cpu.trian: unknown key, did you mean train?"),
        ("{cpu: {env: 7}}", ".cpu.env: must be a mapping, not 7, write keys below"),
        (
            "{cpu: {gpus: {server: 3}}}",
            ".cpu.gpus.server: 3 is not a list, write a list, [a, b]",
        ),
        (
            "{cpu: {rollout_server: {vllm_max_model_length: 3}}}",
            (
                ".cpu.rollout_server.vllm_max_model_length: unknown key, did you mean"
                " vllm_max_model_len?"
            ),
        ),
        (
            "{cpu: {runtime: venv}}",
            (
                ".cpu.runtime: an accelerator's block sets keys, it cannot choose an option, write"
                " the keys below it, or say runtime=... on the command line"
            ),
        ),
        (
            "{cpu: {train: {custom: {extra: {rollout_server: {}}}}}}",
            (
                ".cpu.train.custom.extra.rollout_server: is read before an accelerator counts and"
                f" has no effect here, write {BLOCK}.cpu.rollout_server"
            ),
        ),
        (
            "{cpu: {train: {custom: {grpo: {batch_plan: {}}}}}}",
            (
                ".cpu.train.custom.grpo.batch_plan: is read before an accelerator counts and has no"
                f" effect here, set the batch sizes themselves in {BLOCK}.cpu.train"
            ),
        ),
    ],
)
def test_a_mistake_in_a_block_is_found_under_every_accelerator(
    project: Path, block: str, message: str, overrides: list[str]
) -> None:
    experiment(project, "rlhf: {a: 1}\n", block)
    config = compose("x", overrides)
    assert mistakes(config) == [f"configs/x.yaml: {BLOCK}{message}"]
    assert config.train["rlhf"]["a"] == 1


@pytest.mark.slow
def test_a_list_over_a_mapping_is_one_line(project: Path) -> None:
    experiment(project, "rlhf: {a: {b: 1}}\n", "{cuda: {train: {rlhf: {a: [1]}}}}")
    with pytest.raises(ConfigError) as error:
        compose("x")
    what = "a list cannot stand for a mapping of the experiment"
    assert str(error.value) == f"configs/x.yaml: {BLOCK}.cuda: {what}, correct the value"


@pytest.mark.parametrize(
    ("override", "advice"),
    [
        (f"train.{BLOCK}.cpu.train.training.max_steps=3", "train.training.max_steps=3"),
        (f"{BLOCK}.cpu.health.timeout_s=3", "health.timeout_s=3"),
        (f"{BLOCK}.cpu=3", "KEY=3"),
    ],
)
def test_a_block_is_not_overridden_but_what_it_says(
    project: Path, override: str, advice: str
) -> None:
    experiment(project, "", "{cpu: {}}")
    with pytest.raises(ConfigError, match="has no effect here") as error:
        compose("x", [override])
    assert error.value.fix == f"write {advice}"


# Where a value comes from


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        (["accelerator=cpu"], f"configs/x.yaml: {BLOCK}.cpu.train.rlhf.beta"),
        (["accelerator=cuda"], "configs/x.yaml: rlhf.beta"),
        (["accelerator=cpu", "train.rlhf.beta=2"], "command line: train.rlhf.beta"),
    ],
)
def test_where_names_the_block_that_brought_a_value(
    project: Path, overrides: list[str], place: str
) -> None:
    experiment(project, "rlhf: {beta: 1}\n", "{cpu: {train: {rlhf: {beta: 1}}}}")
    assert compose("x", overrides).where("train.rlhf.beta") == place


def test_where_names_the_block_for_what_it_removed_and_for_typed_nodes(project: Path) -> None:
    said = "deepspeed: {enabled: true, config: zero2}\n"
    block = "{cpu: {train: {deepspeed: ~}, gpus: {server: [0]}, health: ~}}"
    experiment(project, said, block)
    config = compose("x", ["accelerator=cpu"])
    assert config.where("train.deepspeed.config") == (
        f"configs/x.yaml: {BLOCK}.cpu.train.deepspeed.config"
    )
    assert config.where("gpus.server") == f"configs/x.yaml: {BLOCK}.cpu.gpus.server"
    assert (
        config.where("health.timeout_s") == "configs/x.yaml: custom.extra.launch.health.timeout_s"
    )
    assert config.where("train.training.max_steps") == "accelerator=cpu: train.training.max_steps"


@pytest.mark.parametrize(
    ("key", "overrides", "chain"),
    [
        ("rlhf.beta", [], [("configs/x.yaml:1", 1), ("configs/x.yaml:5", 2)]),
        (
            "beta",
            ["train.rlhf.beta=3"],
            [
                ("configs/x.yaml:1", 1),
                ("configs/x.yaml:5", 2),
                ("command line", "train.rlhf.beta=3"),
            ],
        ),
        ("health.timeout_s", [], [("default", 300.0), ("configs/x.yaml:6", 9)]),
        ("training.seed", [], [("configs/x.yaml:2", 7)]),
    ],
)
def test_explain_shows_the_block_as_a_link_of_the_chain(
    project: Path, key: str, overrides: Sequence[str], chain: list[tuple[str, Any]]
) -> None:
    text = (
        "rlhf: {beta: 1}\ntraining: {seed: 7}\n"
        "custom: {extra: {launch: {accelerators: {\n"
        "  cpu: {\n    train: {rlhf: {beta: 2}},\n    health: {timeout_s: 9}}}}}}\n"
    )
    write(project, {"configs/x.yaml": text})
    config = compose("x", ["accelerator=cpu", *overrides])
    (found,) = explain(config, key, shipped_facts(config))
    assert [(said.place, said.value) for said in found.chain] == chain
