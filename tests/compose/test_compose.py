"""`compose`: what a command line and an experiment give together."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from legacy_reference import EDGE_CASES, Files, exact, expected, graphs, write
from omegaconf import OmegaConf

from grpo_launch.config import schema
from grpo_launch.config.compose import compose, compose_arguments
from grpo_launch.config.formats import leaves
from grpo_launch.config.formats.experiment import load as load_experiment
from grpo_launch.config.hydra import lookup
from grpo_launch.config.hydra.source import ExperimentSource
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.engines.swift.settings import SwiftSettings
from grpo_launch.errors import ConfigError
from tests.effort import EFFORT

SERVER = (
    "custom: {extra: {rollout_server: {vllm_tensor_parallel_size: 1, vllm_max_model_len: 64}}}\n"
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a ``configs/``; nothing else is searched but what ships."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)
    (tmp_path / "configs").mkdir()
    return tmp_path


def experiment(project: Path, text: str, name: str = "x") -> None:
    """Write ``configs/NAME.yaml``."""
    write(project, {f"configs/{name}.yaml": text})


# The experiment itself


@pytest.mark.costly
@pytest.mark.parametrize("files", EDGE_CASES.values(), ids=EDGE_CASES.keys())
def test_train_is_what_the_legacy_rules_give(tmp_path: Path, files: Files) -> None:
    path = write(tmp_path, files)
    assert exact(compose(str(path)).train) == exact(expected(path))


@pytest.mark.slow
@given(graphs())
def test_the_node_that_hydra_gets_holds_what_the_legacy_rules_give(files: Files) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = write(Path(directory), files)
        source = ExperimentSource("test", f"experiments://{directory}")
        node = source.load_config(config_path=f"config/{path.name}").config
        train = OmegaConf.merge(OmegaConf.create({"other": 1}), node).train
        plain = OmegaConf.to_container(train, resolve=True) if OmegaConf.is_config(train) else train
        assert exact(leaves.decode(plain)) == exact(expected(path))


@pytest.mark.slow
@pytest.mark.timeout(300 + EFFORT.graphs)
@settings(max_examples=EFFORT.graphs)
@given(graphs())
def test_train_is_what_the_legacy_rules_give_for_any_graph(files: Files) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = write(Path(directory), files)
        assert exact(compose(str(path)).train) == exact(expected(path))


def test_the_lifted_blocks_stay_in_train_as_they_were_written(project: Path) -> None:
    text = (
        "custom:\n  extra:\n"
        "    rollout_server: {vllm_max_model_len: '64', vllm_quantization: '${q}'}\n"
        "    launch: {gpus: {server: [0]}, env: {set: {A: '${HOME}'}}, preflight: no}\n"
    )
    experiment(project, text)
    assert exact(compose("x").train) == exact(expected(project / "configs/x.yaml"))


# Overrides


@pytest.mark.parametrize(
    ("override", "keys", "value"),
    [
        ("train.rlhf.beta=0.5", ("rlhf", "beta"), 0.5),
        ("train.rlhf.beta=null", ("rlhf", "beta"), None),
        ("train.rlhf.beta='1e5'", ("rlhf", "beta"), "1e5"),
        ("train.rlhf.beta=[1,a]", ("rlhf", "beta"), [1, "a"]),
        ("+train.rlhf.new=1", ("rlhf", "new"), 1),
        ("+train.rlhf.new={a:{b:c}}", ("rlhf", "new"), {"a": {"b": "c"}}),
        ("++train.custom.deep.er=x", ("custom", "deep", "er"), "x"),
        ("train.rlhf.beta='\\${x}'", ("rlhf", "beta"), "${x}"),
        ("train.rlhf.beta=${train.rlhf.gamma}", ("rlhf", "beta"), 2),
        ("train.rlhf.text='plain'", ("rlhf", "text"), "plain"),
    ],
)
def test_an_override_lands_in_train(
    project: Path, override: str, keys: tuple[str, ...], value: Any
) -> None:
    experiment(project, "rlhf: {beta: 0.1, gamma: 2, text: '${'}\n")
    node: Any = compose("x", [override]).train
    for key in keys:
        node = node[key]
    assert exact(node) == exact(value)


def test_a_deleted_key_is_gone_and_its_neighbours_stay(project: Path) -> None:
    experiment(project, "rlhf: {beta: 0.1, text: '${'}\n")
    assert compose("x", ["~train.rlhf.beta"]).train == {"rlhf": {"text": "${"}}


def test_an_override_lands_in_the_rollout_server_in_both_spellings(project: Path) -> None:
    experiment(project, SERVER)
    config = compose(
        "x", ["rollout_server.vllm_max_model_len=32", "rollout_server.vllm_data_parallel_size=2"]
    )
    flags = {
        "vllm_tensor_parallel_size": 1,
        "vllm_max_model_len": 32,
        "vllm_data_parallel_size": 2,
    }
    assert dict(config.rollout_server) == {key: flags[key] for key in sorted(flags, key=_order)}
    assert config.train["custom"]["extra"]["rollout_server"] == flags


def _order(name: str) -> int:
    return list(SwiftSettings.__dataclass_fields__).index(name)


def test_a_flag_that_is_unset_reads_as_null_in_the_legacy_spelling(project: Path) -> None:
    experiment(project, SERVER)
    config = compose("x", ["rollout_server.vllm_max_model_len=null"])
    assert "vllm_max_model_len" not in config.rollout_server
    assert config.get("custom.extra.rollout_server.vllm_max_model_len", "unset") == "unset"


def test_a_flag_lands_in_an_experiment_without_the_block(project: Path) -> None:
    experiment(project, "a: 1\n")
    config = compose("x", ["rollout_server.vllm_max_model_len=5"])
    assert config.train == {
        "a": 1,
        "custom": {"extra": {"rollout_server": {"vllm_max_model_len": 5}}},
    }


def test_free_values_of_the_rollout_server_pass_unchanged(project: Path) -> None:
    experiment(
        project,
        "custom: {extra: {rollout_server: {vllm_engine_kwargs: {a: '${x}', b: 2001-01-01, c: '???',"
        " 1: [{}]}, vllm_limit_mm_per_prompt: {image: 2}}}}\n",
    )
    config = compose("x", ["+rollout_server.vllm_limit_mm_per_prompt.video=1"])
    block = expected(project / "configs/x.yaml")["custom"]["extra"]["rollout_server"]
    assert exact(config.rollout_server["vllm_engine_kwargs"]) == exact(block["vllm_engine_kwargs"])
    assert config.rollout_server["vllm_limit_mm_per_prompt"] == {"image": 2, "video": 1}


# Precedence


@pytest.mark.slow
def test_schema_then_groups_then_experiment_then_accelerator_then_command_line(
    project: Path,
) -> None:
    said = "custom: {extra: {rollout_server: {vllm_tensor_parallel_size: 4}, launch: {%s}}}\n"
    experiment(project, said % "")
    plain = compose("x", ["role=server"])
    assert (plain.health.timeout_s, plain.runtime.kind.value) == (300.0, "conda")  # schema, group
    assert plain.health.probe is schema.HealthProbe.http
    assert compose("x", ["role=both"]).health.probe is schema.HealthProbe.generate  # group
    experiment(project, said % "health: {timeout_s: 7, probe: http}, runtime: {name: mine}")
    written = compose("x", ["role=both"])
    assert (written.health.timeout_s, written.health.probe.value) == (7.0, "http")  # experiment
    assert (written.runtime.kind.value, written.runtime.name) == ("conda", "mine")
    assert written.rollout_server["vllm_tensor_parallel_size"] == 4
    replaced = compose("x", ["accelerator=cpu"])
    assert (replaced.health.timeout_s, replaced.runtime.kind.value) == (600.0, "venv")
    assert replaced.rollout_server["vllm_tensor_parallel_size"] == 1  # accelerator
    typed = compose(
        "x",
        [
            "accelerator=cpu",
            "health.timeout_s=9",
            "rollout_server.vllm_tensor_parallel_size=2",
            "runtime=current",
            "train.model.model=mine",
        ],
    )
    assert (typed.health.timeout_s, typed.runtime.kind.value) == (9.0, "current")  # command line
    assert typed.rollout_server["vllm_tensor_parallel_size"] == 2
    assert typed.get("model.model") == "mine"


def test_an_experiment_written_for_the_cpu_keeps_its_own_values(project: Path) -> None:
    experiment(
        project,
        "model: {model: mine}\ncustom: {extra: {launch: {accelerator: cpu_native}}}\n",
    )
    config = compose("x")
    assert config.accelerator.kind is schema.AcceleratorKind.cpu
    assert config.train["model"] == {"model": "mine"}
    assert compose("x", ["accelerator=cuda"]).accelerator.kind is schema.AcceleratorKind.cuda


@pytest.mark.parametrize(
    ("launch", "overrides", "kind", "path", "name"),
    [
        ("runtime: current", [], "current", None, None),
        ("runtime: venv", [], "venv", ".venv-engine", None),
        ("runtime: {kind: venv, path: mine}", [], "venv", "mine", "ms"),
        ("runtime: {name: other}", [], "conda", None, "other"),
        ("runtime: venv", ["runtime=conda"], "conda", None, "ms"),
        ("runtime: venv", ["runtime.path=other"], "venv", "other", None),
        ("runtime: ~", [], "conda", None, "ms"),
    ],
)
def test_an_experiment_chooses_a_group_s_option_or_sets_its_values(
    project: Path,
    launch: str,
    overrides: list[str],
    kind: str,
    path: str | None,
    name: str | None,
) -> None:
    experiment(project, f"custom: {{extra: {{launch: {{{launch}}}}}}}\n")
    config = compose("x", overrides)
    for part in ("server", "learner"):
        runtime = config.runtime_of(part)
        assert (runtime.kind.value, runtime.path, runtime.name) == (kind, path, name)


@pytest.mark.parametrize(
    ("launch", "overrides", "server", "learner"),
    [
        ("runtime: {server: {kind: current}}", [], ("current", None), ("conda", None)),
        (
            "runtime: {kind: venv, learner: {path: own}}",
            [],
            ("venv", ".venv-engine"),
            ("venv", "own"),
        ),
        ("runtime: venv", ["runtime.server.path=s"], ("venv", "s"), ("venv", ".venv-engine")),
    ],
)
def test_each_half_may_have_an_environment_of_its_own(
    project: Path,
    launch: str,
    overrides: list[str],
    server: tuple[str, str | None],
    learner: tuple[str, str | None],
) -> None:
    experiment(project, f"custom: {{extra: {{launch: {{{launch}}}}}}}\n")
    config = compose("x", overrides)
    found = [config.runtime_of(part) for part in ("server", "learner")]
    assert [(runtime.kind.value, runtime.path) for runtime in found] == [server, learner]


def test_launch_settings_of_an_experiment_are_typed(project: Path) -> None:
    experiment(
        project,
        "custom:\n  extra:\n    launch:\n      gpus: {server: [0, GPU-a], learner: ['2']}\n"
        "      env: {defaults: {A: '${HOME}', B: '\\${x}', C: 'a\\'}, set: {D: 1, E: 'x=$y'}}\n"
        "      console: {learner: log}\n      run: {dir: '/r/${x}'}\n      preflight: false\n"
        "      dry_run: json\n      shutdown: {term_s: 1}\n      health: {path: /ok}\n",
    )
    config = compose("x")
    assert config.gpus == schema.Gpus(["0", "GPU-a"], ["2"])
    assert config.env.defaults == {"A": "${HOME}", "B": "\\${x}", "C": "a\\"}
    assert config.env.set == {"D": "1", "E": "x=$y"}
    assert config.console.learner is schema.ConsoleMode.log
    assert config.run.dir == "/r/${x}"
    assert (config.preflight, config.dry_run) == (False, "json")
    assert (config.shutdown.term_s, config.shutdown.kill_s) == (1.0, 5.0)
    assert config.health.path == "/ok"


@pytest.mark.parametrize(
    ("value", "tokens"), [("64", 64), ("64.0", 64), ("'64'", 64), ("6.4e+1", 64), ("1e3", 1000)]
)
def test_whole_numbers_in_any_spelling_are_integers(project: Path, value: str, tokens: int) -> None:
    experiment(project, f"custom: {{extra: {{rollout_server: {{vllm_max_model_len: {value}}}}}}}\n")
    config = compose("x")
    assert exact(config.rollout_server) == exact({"vllm_max_model_len": tokens})
    assert exact(config.train) == exact(expected(project / "configs/x.yaml"))


def mistakes(config: LaunchConfig) -> list[str]:
    return [str(mistake.error) for mistake in config.mistakes]


_BLOCK = "configs/x.yaml: custom.extra."


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            "rollout_server: {vllm_max_model_len: 64.5}",
            "rollout_server.vllm_max_model_len: 64.5 is not an integer, write an integer there",
        ),
        (
            "rollout_server: {vllm_max_model_len: yes}",
            "rollout_server.vllm_max_model_len: true is not an integer, write an integer there",
        ),
        (
            "rollout_server: {vllm_max_model_len: [1]}",
            "rollout_server.vllm_max_model_len: [1] is not an integer, write an integer there",
        ),
        (
            "rollout_server: {vllm_enforce_eager: 2}",
            "rollout_server.vllm_enforce_eager: 2 is not true or false, write true or false",
        ),
        (
            "rollout_server: {vllm_enforce_eager: '${x}'}",
            "rollout_server.vllm_enforce_eager: '${x}' is not true or false, write true or false",
        ),
        (
            "rollout_server: {vllm_quantization: '???'}",
            "rollout_server.vllm_quantization: '???' stands for a missing value, give the value",
        ),
        (
            "rollout_server: {vllm_max_model_length: 1}",
            "rollout_server.vllm_max_model_length: unknown key, did you mean vllm_max_model_len?",
        ),
        ("launch: {gpu: {}}", "launch.gpu: unknown key, did you mean gpus?"),
        ("launch: {gpus: 3}", "launch.gpus: must be a mapping, not 3, write keys below"),
        (
            "launch: {runtime: 3}",
            "launch.runtime: must be an option's name or a mapping, not 3, write keys below",
        ),
        (
            "launch: {gpus: {server: 3}}",
            "launch.gpus.server: 3 is not a list, write a list, [a, b]",
        ),
        (
            "launch: {gpus: {server: ['???']}}",
            "launch.gpus.server: ['???'] stands for a missing value, give the value",
        ),
        (
            "launch: {health: {probe: tcp}}",
            "launch.health.probe: 'tcp' is not one of http, generate, choose one of them",
        ),
        (
            "launch: {health: {timeout_s: true}}",
            "launch.health.timeout_s: true is not a number, write a number there",
        ),
        (
            "launch: {env: {set: {A: ~}}}",
            "launch.env.set.A: null is not a string, write a string there",
        ),
        (
            "launch: {gpus: {server: [[0]]}}",
            "launch.gpus.server.0: [0] is not a string, write a string there",
        ),
        (
            "launch: {preflight: maybe}",
            "launch.preflight: 'maybe' is not true or false, write true or false",
        ),
    ],
)
def test_a_wrong_launch_setting_names_its_file_and_key(
    project: Path, block: str, message: str
) -> None:
    experiment(project, f"custom: {{extra: {{{block}}}}}\n")
    assert mistakes(compose("x")) == [_BLOCK + message]


def test_a_wrong_launch_setting_names_the_base_that_said_it(project: Path) -> None:
    experiment(project, "extends: base.yaml\n")
    experiment(project, "custom: {extra: {launch: {gpus: {server: 3}}}}\n", "base")
    (message,) = mistakes(compose("x"))
    assert message.startswith("configs/base.yaml: custom.extra.launch.gpus.server: ")


WRONG = """\
custom:
  extra:
    rollout_server: {vllm_max_len: 9, vllm_data_parallel_size: 2, vllm_enforce_eager: 3}
    launch: {runtime: docker, gpu: [0], gpus: {server: 4, learner: [1]}, health: 5}
  grpo:
    batch_plan: {enabled: true, per_device_train_batch_size: 8, unified_batch_sizes: 48}
training: {per_device_train_batch_size: 4}
"""


def test_every_mistake_of_an_experiment_travels_with_what_could_be_composed(project: Path) -> None:
    experiment(project, WRONG)
    config = compose("x", ["rollout_server.vllm_max_model_len=64"])
    said = [line.removeprefix("configs/x.yaml: ") for line in mistakes(config)]
    assert [line.partition(": ")[0] for line in said] == [
        "custom.grpo.batch_plan.unified_batch_sizes",
        "training.per_device_train_batch_size",
        "custom.extra.rollout_server.vllm_max_len",
        "custom.extra.rollout_server.vllm_enforce_eager",
        "custom.extra.launch.gpu",
        "custom.extra.launch.gpus.server",
        "custom.extra.launch.health",
        "custom.extra.launch.runtime",
    ]
    assert config.rollout_server == {"vllm_data_parallel_size": 2, "vllm_max_model_len": 64}
    assert (config.gpus.server, config.gpus.learner) == (None, ["1"])
    assert config.train["training"]["per_device_train_batch_size"] == 4
    assert config.get("custom.extra.rollout_server.vllm_enforce_eager") == 3


@pytest.mark.slow
def test_mistakes_of_the_command_line_and_of_the_file_are_said_together(project: Path) -> None:
    experiment(project, WRONG)
    with pytest.raises(ConfigError) as refused:
        compose("x", ["gpus.servr=[0]", "health.probe=tcp"])
    with pytest.raises(ConfigError) as not_composed:
        compose("x", ["trian.rlhf.x=1", "healt=2"])
    for caught in (refused, not_composed):
        lines = caught.value.lines()
        assert [line.partition(": ")[0] for line in lines[:3]] == [
            "command line",
            "command line",
            "configs/x.yaml",
        ]
        assert len(lines) >= 9


def test_what_shows_the_tree_unvalidated_refuses_a_wrong_experiment(project: Path) -> None:
    experiment(project, WRONG)
    with pytest.raises(ConfigError) as caught:
        load_experiment(project / "configs/x.yaml")
    assert len(caught.value.lines()) == 7


@pytest.mark.parametrize(
    ("said", "text"),
    [("false", "false"), ("yes", "true"), ("'False'", "False"), ("1", "1"), ("1.5", "1.5")],
)
def test_a_boolean_of_an_environment_variable_is_what_yaml_calls_it(
    project: Path, said: str, text: str
) -> None:
    experiment(project, f"custom: {{extra: {{launch: {{env: {{set: {{A: {said}}}}}}}}}}}\n")
    assert compose("x").env.set == {"A": text}


@pytest.mark.parametrize("said", ["false", "False", "'False'", "true"])
def test_a_boolean_for_an_environment_variable_on_the_command_line_stays_as_typed(
    project: Path, said: str
) -> None:
    experiment(project, "rlhf: {}\n")
    assert compose("x", [f"+env.set.A={said}"]).env.set == {"A": said.strip("'")}


# Native Hydra files


def test_a_native_file_is_hydra_s_with_interpolation_and_groups(project: Path) -> None:
    experiment(
        project,
        "# @package _global_\ndefaults:\n  - override /runtime: venv\n\n"
        "train:\n  rlhf: {a: 3, b: '${train.rlhf.a}', c: '${health.timeout_s}'}\n"
        "rollout_server: {vllm_max_model_len: 32}\nhealth: {timeout_s: 5}\n",
    )
    config = compose("x", ["train.rlhf.a=4"])
    assert config.train["rlhf"] == {"a": 4, "b": 4, "c": 5.0}
    assert config.runtime.kind is schema.RuntimeKind.venv
    assert config.rollout_server == {"vllm_max_model_len": 32}
    assert config.get("custom.extra.rollout_server.vllm_max_model_len") == 32
    assert (config.experiment, config.path) == ("x", project / "configs/x.yaml")
    assert config.where("train.rlhf.b") == "configs/x.yaml: train.rlhf.b"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train: [",
            (
                "configs/x.yaml:3:1: malformed YAML: did not find expected node content, "
                "write a value there, and close every [ and { above it"
            ),
        ),
        ("train: 3", "configs/x.yaml: train: 3 is not a mapping, write keys below it"),
        ("- a", "configs/x.yaml: is a list, not a mapping, write 'key: value' lines at the top"),
        (
            "health: {probe: tcp}",
            (
                "configs/x.yaml: health.probe: Invalid value 'tcp', expected one of "
                "[http, generate], correct the value"
            ),
        ),
        (
            "healt: {probe: http}",
            "configs/x.yaml: healt: unknown key, did you mean health?",
        ),
        (
            "train: {a: '${nope}'}",
            (
                "configs/x.yaml: train.a: Interpolation key 'nope' not found, correct it, "
                "or write \\${ for the text itself"
            ),
        ),
        (
            "defaults: [override /runtime: nope]",
            "configs/x.yaml: runtime: there is no option nope, choose one of conda, current, venv",
        ),
    ],
    ids=["syntax", "train", "list", "type", "key", "interpolation", "option"],
)
def test_a_wrong_native_file_is_one_line(project: Path, text: str, message: str) -> None:
    experiment(project, f"# @package _global_\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        compose("x")
    assert str(caught.value) == message


# Where an experiment is found


@pytest.mark.parametrize(
    "name",
    [
        "x",
        "x.yaml",
        "train/grpo/x",
        "train/grpo/x.yaml",
        "configs/train/grpo/x",
        "./configs/train/grpo/x.yaml",
        "ABSOLUTE/configs/train/grpo/x",
        "ABSOLUTE/configs/train/grpo/x.yaml",
    ],
)
def test_an_experiment_is_found_by_name_and_path(project: Path, name: str) -> None:
    path = write(project, {"configs/train/grpo/x.yaml": "a: 1\n"})
    config = compose(name.replace("ABSOLUTE", str(project)))
    assert (config.train, config.experiment, config.path) == ({"a": 1}, "x", path)


@pytest.mark.parametrize(
    "name",
    [
        "with space",
        "at@sign",
        "dollar$sign",
        "hash#sign",
        "2048",
        "true",
        "1e5",
        "null",
        "\u00fc\u4f60",
        "it's",
        'double"quote',
        "a,b",
        "a=b",
        "[x]",
        "{x}",
        "back\\slash",
        "trailing\\",
        "a.b",
        "%40",
    ],
)
def test_any_file_name_can_be_said(project: Path, name: str) -> None:
    experiment(project, "extends: base.yaml\n", name)
    experiment(project, "a: 1\n", "base")
    config = compose(name)
    assert config.train == {"a": 1}
    assert config.experiment == name


@pytest.mark.slow
def test_roots_are_searched_in_order_and_the_first_hit_wins(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        project,
        {
            "configs/train/grpo/one.yaml": "from: cwd grpo\n",
            "configs/one.yaml": "from: cwd\n",
            "configs/two.yaml": "from: cwd\n",
            "extra/train/grpo/one.yaml": "from: extra grpo\n",
            "extra/train/grpo/two.yaml": "from: extra grpo\n",
            "extra/three.yaml": "from: extra\n",
            "more/three.yaml": "from: more\n",
            "more/four.yaml": "from: more\n",
            "more/summary_1024.yaml": "from: more\n",
        },
    )
    monkeypatch.setenv(lookup.SETTING, f"extra:{project}/more")
    found = {name: compose(name).get("from") for name in ("one", "two", "three", "four")}
    assert found == {"one": "cwd grpo", "two": "cwd", "three": "extra", "four": "more"}
    assert compose("summary_1024").get("from") == "more"
    monkeypatch.delenv(lookup.SETTING)
    assert compose("summary_1024").get("model.model") == "Qwen/Qwen2.5-7B-Instruct"


def test_a_file_beside_the_working_directory_s_configs_is_found_last(project: Path) -> None:
    write(project, {"here.yaml": "from: cwd\n", "sub/there.yaml": "from: sub\n"})
    assert compose("here").train == {"from": "cwd"}
    assert compose("sub/there").train == {"from": "sub"}


def test_a_root_that_is_no_directory_is_an_error(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(lookup.SETTING, "nope")
    with pytest.raises(ConfigError, match=r"^GRPO_LAUNCH_CONFIGS: nope is not a directory, "):
        compose("summary_1024")


def test_bases_are_not_searched_twice(project: Path) -> None:
    (project / "link").symlink_to("configs")
    environ = {lookup.SETTING: f"link:configs::{project}/configs"}
    shipped = project / "shipped"
    bases = lookup.default_bases(project, environ, shipped)
    assert bases == [project / "configs", shipped]


@pytest.mark.parametrize("name", ["", "/", ".", "..", "a\0b", "n" * 300, "configs", "x/"])
def test_what_names_no_file_is_not_found(project: Path, name: str) -> None:
    base = lookup.Base(project / "configs", project)
    assert base.find(name) is None


# where()


@pytest.fixture
def located(project: Path) -> Path:
    """An experiment over a base, for questions of the kind "who said that?"."""
    write(
        project,
        {
            "configs/x.yaml": "extends: base.yaml\nrlhf: {own: 1}\n",
            "configs/base.yaml": "rlhf: {inherited: 1}\nmodel: {model: m}\n"
            "custom: {extra: {rollout_server: {vllm_max_model_len: 9},"
            " launch: {gpus: {server: [0]}}}}\n",
        },
    )
    return project


_CASES_OF_WHERE: list[tuple[list[str], str, str]] = [
    ([], "train.rlhf.own", "configs/x.yaml: rlhf.own"),
    ([], "train.rlhf.inherited", "configs/base.yaml: rlhf.inherited"),
    ([], "train.rlhf.nowhere", "configs/x.yaml: rlhf.nowhere"),
    ([], "train.nowhere.at_all", "configs/x.yaml: nowhere.at_all"),
    (
        [],
        "rollout_server.vllm_max_model_len",
        "configs/base.yaml: custom.extra.rollout_server.vllm_max_model_len",
    ),
    (
        [],
        "rollout_server.vllm_quantization",
        "configs/base.yaml: custom.extra.rollout_server.vllm_quantization",
    ),
    ([], "gpus.server", "configs/base.yaml: custom.extra.launch.gpus.server"),
    ([], "gpus.learner", "configs/base.yaml: custom.extra.launch.gpus.learner"),
    ([], "runtime.path", "runtime.path"),
    ([], "health.path", "configs/base.yaml: custom.extra.launch.health.path"),
    (["train.rlhf.own=2"], "train.rlhf.own", "command line: train.rlhf.own"),
    (["++train.rlhf.own=2"], "train.rlhf.own", "command line: train.rlhf.own"),
    (["~train.rlhf.own"], "train.rlhf.own", "command line: train.rlhf.own"),
    (["+train.rlhf.new={a:1}"], "train.rlhf.new.a", "command line: train.rlhf.new.a"),
    (["train.rlhf.own=2"], "train.rlhf.inherited", "configs/base.yaml: rlhf.inherited"),
    (["gpus.server=[1]"], "gpus.server", "command line: gpus.server"),
    (["accelerator=cpu"], "train.model.model", "accelerator=cpu: train.model.model"),
    (["accelerator=cpu"], "train.rlhf.own", "configs/x.yaml: rlhf.own"),
]


@pytest.mark.parametrize(("overrides", "key", "where"), _CASES_OF_WHERE)
def test_where_names_who_said_a_key(
    located: Path, overrides: list[str], key: str, where: str
) -> None:
    assert compose("x", overrides).where(key) == where


# Isolation


def test_changing_train_does_not_change_the_next_composition(project: Path) -> None:
    experiment(project, "a: {b: [1]}\nc: !!set {x}\nd: {2001-01-01: [1]}\ne: '${x}'\n")
    first = compose("x").train
    first["a"]["b"].append(2)
    first["c"].add("y")
    next(iter(first["d"].values())).append(2)
    first["a"].clear()
    assert exact(compose("x").train) == exact(expected(project / "configs/x.yaml"))


def test_typed_nodes_are_not_shared_between_compositions(project: Path) -> None:
    experiment(project, "custom: {extra: {launch: {gpus: {server: [0]}, env: {set: {A: b}}}}}\n")
    first = compose("x")
    assert first.gpus.server is not None
    first.gpus.server.append("9")
    first.env.set["B"] = "c"
    first.engine.entry.append("x")
    second = compose("x")
    assert (second.gpus.server, second.env.set) == (["0"], {"A": "b"})
    assert second.engine.entry == ["swift"]


@pytest.fixture
def other_application(tmp_path: Path) -> Iterator[Path]:
    """Inside another Hydra application."""
    from hydra import initialize_config_dir

    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "config.yaml").write_text("x: 1\n")
    with initialize_config_dir(str(tmp_path / "theirs"), version_base="1.3"):
        yield tmp_path


@pytest.mark.slow
def test_compose_works_inside_another_hydra_application(
    project: Path, other_application: Path
) -> None:
    from hydra import compose as theirs

    experiment(project, "a: 1\n")
    assert theirs("config").x == 1
    assert compose("x").train == {"a": 1}
    with pytest.raises(ConfigError):
        compose("nope")
    assert theirs("config", ["x=2"]).x == 2


def test_the_whole_command_line_can_be_composed(project: Path) -> None:
    experiment(project, "a: 1\n")
    config = compose_arguments(["role=server", "config=x", "train.a=2"])
    assert (config.role, config.callback) == ("server", "grpo_launch.roles.server.run")
    assert config.train == {"a": 2}
    assert config.overrides == ("role=server", "config=x", "train.a=2")


def test_compose_checks_unless_a_role_is_said(project: Path) -> None:
    experiment(project, "a: 1\n")
    assert compose("x").role == "check"
    assert compose("x", ["role=both"]).role == "both"


def test_get_reads_dotted_keys_and_takes_null_for_absent(project: Path) -> None:
    experiment(project, "a: {b: {c: 0}, n: ~}\nl: [1]\n")
    config = compose("x")
    assert config.get("a.b.c", 7) == 0
    assert config.get("a.n", 7) == 7
    assert config.get("a.nope.deeper", 7) == 7
    assert config.get("l.x", 7) == 7


def test_the_configuration_as_plain_data_holds_no_objects_of_the_schema(project: Path) -> None:
    import json

    experiment(project, "a: 1\n")
    plain = json.loads(json.dumps(compose("x").as_dict()))
    assert plain["experiment"] == "x"
    own = {"kind": None, "path": None, "name": None}
    both = {"kind": "conda", "path": None, "name": "ms"}
    assert plain["runtime"] == {**both, "server": own, "learner": own}
    assert plain["health"]["probe"] == "http"
