"""The forms in which a file may say an experiment, and keys that stand where nothing reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from legacy_reference import write

from grpo_launch.checks.examine import validate
from grpo_launch.config.compose import compose
from grpo_launch.config.formats.forms import Form
from grpo_launch.config.hydra import lookup
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.errors import ConfigError
from grpo_launch.learners.swift.learner import SwiftLearner
from grpo_launch.plugins import LEARNERS

SECTIONS = """\
model: {model: some/model}
data: {dataset: [a.jsonl], split_dataset_ratio: 0}
training: {per_device_train_batch_size: 1, gradient_accumulation_steps: 8, max_steps: 10}
rlhf: {use_vllm: true, vllm_mode: server, vllm_server_host: [127.0.0.1], vllm_server_port: [8000],
  num_generations: 8, max_completion_length: 64, reward_funcs: [accuracy]}
deepspeed: zero3
"""
CUSTOM = """\
custom:
  extra:
    rollout_server: {vllm_tensor_parallel_size: 1, vllm_data_parallel_size: 1,
      vllm_max_model_len: 128}
    launch: {gpus: {server: [0], learner: [1, 2]}}
"""
NODES = """\
gpus: {server: [0], learner: [1, 2]}
rollout_server: {vllm_tensor_parallel_size: 1, vllm_data_parallel_size: 1, vllm_max_model_len: 128}
"""
FLAT = """\
rlhf_type: grpo
model: some/model
dataset: [a.jsonl]
split_dataset_ratio: 0
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
max_steps: 10
use_vllm: true
vllm_mode: server
vllm_server_host: [127.0.0.1]
vllm_server_port: [8000]
num_generations: 8
max_completion_length: 64
reward_funcs: [accuracy]
deepspeed: zero3
"""
UNKNOWN = "is no section, no node of the launcher and no flag of the learner"
TAKEN = " (the file is read as flags of the learner at the top)"
KWARGS = "gradient_checkpointing_kwargs"
BLOCK = "looks like a block of the launcher and has no effect here"
HOME = "is no flag of swift rlhf and has no effect here"


class _Own(SwiftLearner):
    """Another learner with the flags of ms-swift, in one section."""

    def section(self, argument: str) -> str:
        del argument
        return "tuner"


OWN = _Own()


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


def problems(text: str, *overrides: str, name: str = "x.yaml") -> list[str]:
    write(Path(), {name: text})
    return [str(problem) for problem in validate(compose(name, overrides))]


def composed(text: str, *overrides: str, name: str = "x.yaml") -> LaunchConfig:
    write(Path(), {name: text})
    config = compose(name, overrides)
    assert not config.mistakes
    return config


def form(config: LaunchConfig) -> Form:
    assert config.legacy is not None
    return config.legacy.form


def without_custom(config: LaunchConfig) -> dict[str, Any]:
    return {name: value for name, value in config.train.items() if name != "custom"}


WRONG: dict[str, tuple[str, list[str]]] = {
    "a section": (
        SECTIONS.replace("training:", "trainng:") + CUSTOM,
        [f"x.yaml: trainng: {UNKNOWN}, did you mean training?"],
    ),
    "a flag beside sections": (
        SECTIONS + CUSTOM + "learning_rat: 1\n",
        [f"x.yaml: learning_rat: {UNKNOWN}, did you mean learning_rate?"],
    ),
    "keys of the command line": (
        SECTIONS + CUSTOM + "role: check\n",
        [
            (
                "x.yaml: role: is no key of an experiment and is not passed on, "
                "say role=VALUE on the command line, or remove it"
            )
        ],
    ),
    "names for anchors": (
        "x-a: &a {}\n" + SECTIONS + CUSTOM,
        ["x.yaml: x-a: is not passed on, move it below custom if a program is to read it"],
    ),
    "nodes below launch at the top": (
        SECTIONS + NODES + "launch: {env: {set: {A: b}}}\n",
        ["x.yaml: launch.env: is no setting of how a run is started, move it to env"],
    ),
    "nodes, server and sections below a section": (
        SECTIONS.replace("max_steps: 10", "gpus: {}, lora_policy: forbid, rlhf: {}") + CUSTOM,
        [
            f"x.yaml: training.gpus: {HOME}, move it to custom.extra.launch.gpus",
            (
                f"x.yaml: training.lora_policy: {HOME}, "
                "move it to custom.extra.rollout_server.lora_policy"
            ),
            f"x.yaml: training.rlhf: {HOME}, move it to rlhf, at the top of the file",
        ],
    ),
    "a block's name": (
        SECTIONS + CUSTOM.replace("launch:", "lanch:"),
        [f"x.yaml: custom.extra.lanch: {BLOCK}, write custom.extra.launch"],
    ),
    "a node below custom": (
        SECTIONS + CUSTOM + "  gpus: {server: [0]}\n",
        [f"x.yaml: custom.gpus: {BLOCK}, write custom.extra.launch.gpus"],
    ),
    "what is foreign below custom": (
        SECTIONS + CUSTOM + "    run: {id: 3}\n    env: {name: x}\n  extras: {a: 1}\n",
        [],
    ),
    "a null of an unknown name": (
        SECTIONS.replace("max_steps: 10", "num_generatoin: null, seed: null") + CUSTOM,
        [
            (
                "x.yaml: training.num_generatoin: unknown key, no flag of swift rlhf of ms-swift "
                "4.6.0, did you mean num_generations?"
            )
        ],
    ),
    "an environment without its kind": (
        SECTIONS + NODES + "runtime: {name: venv}\n",
        [
            (
                "x.yaml: runtime.name: is set, but without a kind the runtime is conda, "
                "set runtime.kind to venv"
            )
        ],
    ),
    "an environment with its kind": (
        SECTIONS + NODES + "runtime: {kind: conda, name: venv}\n",
        [],
    ),
    "two places": (
        SECTIONS + CUSTOM + "gpus: {server: [0], learner: [1, 3]}\n",
        [
            (
                "x.yaml: gpus.learner: is [1, 3], but custom.extra.launch.gpus.learner is [1, 2], "
                "keep one of them"
            )
        ],
    ),
    "two places, one value": (SECTIONS + CUSTOM + "gpus: {server: [0]}\n", []),
    "a flat flag and a section": (
        SECTIONS + NODES + "num_generations: 4\n",
        ["x.yaml: num_generations: is 4, but rlhf.num_generations is 8, keep one of them"],
    ),
    "train without a header": (
        "train:\n  " + SECTIONS.replace("\n", "\n  ") + "\ngpus: {server: [0]}\n",
        [
            (
                "x.yaml: has train: at the top, as a native Hydra file, but no header, begin it "
                "with the line '# @package _global_', or write the sections at the top"
            )
        ],
    ),
    "defaults without a header": (
        "defaults: [override /runtime: venv]\n" + SECTIONS,
        [
            (
                "x.yaml: has defaults: at the top, as a native Hydra file, but no header, begin it "
                "with the line '# @package _global_', or write the sections at the top"
            )
        ],
    ),
    "flat": (FLAT + NODES, []),
    "flat, an unknown flag": (
        FLAT + NODES + "num_generatoin: 3\n",
        [
            (
                "x.yaml: num_generatoin: unknown key, no flag of swift rlhf of ms-swift 4.6.0, "
                "did you mean num_generations?"
            )
        ],
    ),
    "flat, an unknown node": (
        FLAT + NODES + "runtme: venv\n",
        [
            (
                "x.yaml: runtme: unknown key, no flag of swift rlhf of ms-swift 4.6.0, "
                "did you mean runtime?"
            )
        ],
    ),
    "flat, a key of the command line": (
        FLAT + NODES + "output: json\n",
        [
            (
                "x.yaml: output: is no key of an experiment and is not passed on, "
                "say output=VALUE on the command line, or remove it"
            )
        ],
    ),
    "flat, extends misspelled": (
        FLAT + NODES + "extend: b.yaml\n",
        [
            (
                "x.yaml: extend: unknown key, no flag of swift rlhf of ms-swift 4.6.0, "
                "did you mean extends?"
            )
        ],
    ),
    "flat, no reward": (
        FLAT.replace("reward_funcs: [accuracy]\n", "") + NODES,
        ["x.yaml: reward_funcs: names no reward, set reward_funcs"],
    ),
    "flat, an unknown mapping": (
        FLAT + NODES.replace("gpus", "gpu"),
        [(f"x.yaml: gpu: {UNKNOWN}{TAKEN}, did you mean gpus?")],
    ),
    "flat, a misspelled flag that takes a mapping": (
        FLAT + NODES + "gradient_checkpointing_kwarg: {use_reentrant: false}\n",
        [f"x.yaml: gradient_checkpointing_kwarg: {UNKNOWN}{TAKEN}, did you mean {KWARGS}?"],
    ),
    "flat, a mapping of nobody": (
        FLAT + NODES + "weather: {rain: 1}\n",
        [f"x.yaml: weather: {UNKNOWN}{TAKEN}, remove it, or move it below custom"],
    ),
    "flat, a length that is not set by its section": (
        FLAT.replace("length: 64", "length: 200") + NODES + "max_length: 300\n",
        [
            (
                "x.yaml: max_completion_length: 200 leaves no room for a prompt in "
                "vllm_max_model_len 128, so every completion is cut short, "
                "set it to 64 and max_length to 64, or rollout_server.vllm_max_model_len to 500"
            )
        ],
    ),
    "flat, a value": (
        FLAT.replace("max_steps: 10", "max_steps: many") + NODES,
        ["x.yaml: max_steps: 'many' is not an integer, write an integer"],
    ),
    "variables twice": (
        FLAT + NODES + "ENV: {A: 1}\nenv: {defaults: {A: 2}}\n",
        ["x.yaml: env.defaults.A: is 2, but ENV.A is '1', keep one of them"],
    ),
    "variables beside an option": (
        FLAT + NODES + "ENV: {A: 1}\nenv: tpu\n",
        ["x.yaml: env: is 'tpu', but ENV is {defaults: {A: '1'}}, keep one of them"],
    ),
    "variables that are no mapping": (
        FLAT + NODES + "ENV: [A=1]\n",
        [
            (
                "x.yaml: ENV: must be a mapping of variables, not ['A=1'], "
                "write 'NAME: VALUE' lines below"
            )
        ],
    ),
    "no variables": (FLAT + NODES + "ENV:\n", []),
    "a value that is not equal to itself": (FLAT + NODES + "weight_decay: .nan\n", []),
    "flat, mappings of flags": (
        FLAT.replace("zero3", "{zero_optimization: {stage: 2}}")
        + NODES
        + "gradient_checkpointing_kwargs: {use_reentrant: false}\n",
        [],
    ),
}


@pytest.mark.parametrize(("text", "expected"), WRONG.values(), ids=WRONG.keys())
def test_a_key_in_the_wrong_place_is_named_with_the_right_one(
    text: str, expected: list[str]
) -> None:
    assert problems(text) == expected


def test_an_unknown_key_at_the_top_can_be_a_warning() -> None:
    text = SECTIONS + CUSTOM + "extras: {a: 1}\n"
    write(Path(), {"x.yaml": text})
    found = validate(compose("x.yaml", ["checks.warn=[top_level_keys_are_known]"]))
    assert [problem.severity.value for problem in found] == ["warning"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SECTIONS + CUSTOM, (Form.SECTIONS, True)),
        (SECTIONS + NODES, (Form.SECTIONS, False)),
        (FLAT + NODES, (Form.FLAT, False)),
        (FLAT + CUSTOM, (Form.FLAT, True)),
    ],
)
def test_all_forms_say_the_same(text: str, expected: tuple[Form, bool]) -> None:
    usual = composed(SECTIONS + CUSTOM, name="usual.yaml")
    config = composed(text)
    train = without_custom(config)
    train["rlhf"].pop("rlhf_type", None)
    assert train == without_custom(usual)
    assert (config.gpus, config.rollout_server) == (usual.gpus, usual.rollout_server)
    assert config.legacy is not None
    assert (form(config), config.legacy.server_below_custom) == expected


def test_a_flat_file_names_keys_as_it_spells_them() -> None:
    config = composed(FLAT + NODES)
    places = [config.where(key) for key in ("train.rlhf.beta", "gpus.server", "health.timeout_s")]
    assert places == ["x.yaml: beta", "x.yaml: gpus.server", "x.yaml: health.timeout_s"]
    assert config.where("rollout_server.vllm_max_model_len") == (
        "x.yaml: rollout_server.vllm_max_model_len"
    )
    origin = config.legacy and config.legacy.tree.origin("rlhf", "num_generations")
    assert origin
    assert origin.line == 1 + FLAT.split("\n").index("num_generations: 8")


def test_the_command_line_overrides_a_flat_file() -> None:
    config = composed(FLAT + NODES, "train.rlhf.num_generations=4", "gpus.learner=[3]")
    assert (config.get("rlhf.num_generations"), config.gpus.learner) == (4, ["3"])


def test_variables_of_ms_swift_yield_to_the_caller() -> None:
    config = composed(FLAT + NODES + "ENV: {A: 1, B: true}\n")
    assert config.env.defaults == {"A": "1", "B": "True"}
    assert config.where("env.defaults.A") == "x.yaml: ENV.A"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ENV: {CUDA_VISIBLE_DEVICES: '4, 5', NPROC_PER_NODE: 2}\n", ["4", "5"]),
        ("ENV: {CUDA_VISIBLE_DEVICES: 4}\n", ["4"]),
        ("ENV: {CUDA_VISIBLE_DEVICES: ''}\n", None),
        ("ENV: {CUDA_VISIBLE_DEVICES: '4'}\ngpus: {learner: [6]}\n", ["6"]),
        ("extends: b.yaml\ngpus: {learner: [6]}\n", ["6"]),
        ("extends: b.yaml\nENV: {CUDA_VISIBLE_DEVICES: 7}\n", ["7"]),
        ("extends: b.yaml\n", ["2"]),
    ],
)
def test_the_devices_of_a_flat_file_are_the_learners(text: str, expected: list[str] | None) -> None:
    write(Path(), {"b.yaml": FLAT + "ENV: {CUDA_VISIBLE_DEVICES: 2}\n"})
    config = composed(("" if "extends" in text else FLAT) + text)
    assert config.gpus.learner == expected
    if expected in (["4"], ["7"]):
        assert config.where("gpus.learner") == "x.yaml: ENV.CUDA_VISIBLE_DEVICES"
        assert not config.env.defaults


@pytest.mark.parametrize(
    ("bases", "text", "expected"),
    [
        ({"f.yaml": FLAT}, "extends: f.yaml\ntraining: {num_generations: 4}\n", 4),
        ({"f.yaml": FLAT}, "extends: f.yaml\ntraining: {num_generations: null}\n", None),
        ({"f.yaml": FLAT, "s.yaml": "data: {num_generations: 4}\n"}, "extends: [f.yaml, s]\n", 4),
        ({"f.yaml": FLAT, "s.yaml": "data: {num_generations: 4}\n"}, "extends: [s, f.yaml]\n", 8),
        (
            {"f.yaml": FLAT, "g.yaml": "extends: f\nbeta: 1\n"},
            "extends: g\ndata: {num_generations: 4}\n",
            4,
        ),
    ],
)
def test_the_stronger_file_wins_whatever_section_a_flat_file_got(
    bases: dict[str, str | bytes], text: str, expected: int | None
) -> None:
    write(Path(), bases)
    config = composed(text)
    said = [block["num_generations"] for block in without_custom(config).values()
            if isinstance(block, dict) and "num_generations" in block]  # fmt: skip
    assert said == [expected]


@pytest.mark.parametrize("said", ["command line", "experiment"])
def test_the_flags_are_those_of_the_chosen_learner(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The choice counts for the bases as well, which do not say it."""
    own = f"{__name__}:OWN"
    monkeypatch.setitem(cast("dict[str, str]", LEARNERS.shipped), "own", own)
    write(Path(), {"f.yaml": FLAT})
    text = "extends: f\n" + ("learner: {name: own}\n" if said == "experiment" else "")
    config = composed(text, *(["learner.name=own"] if said == "command line" else []))
    assert config.get("tuner.num_generations") == 8


def test_an_override_in_another_section_than_the_files_is_told_the_right_one() -> None:
    assert problems(FLAT + NODES, "train.data.num_generations=4") == [
        (
            "command line: train.data.num_generations: is 4, but rlhf.num_generations is 8, "
            "override train.rlhf.num_generations instead"
        )
    ]


def test_flat_and_sectioned_files_extend_each_other() -> None:
    write(Path(), {"s.yaml": SECTIONS.replace("training:", "tuner:") + CUSTOM, "f.yaml": FLAT})
    config = composed("extends: s.yaml\nmax_steps: 3\n")
    assert config.get("tuner.max_steps") == 3
    assert config.where("train.tuner.max_steps") == "x.yaml: max_steps"
    config = composed("extends: f.yaml\ntraining: {max_steps: 4}\n" + NODES)
    assert config.get("training.max_steps") == 4
    assert config.where("train.rlhf.num_generations") == "f.yaml: num_generations"


@pytest.mark.slow
def test_extends_takes_a_shipped_experiment_where_no_file_has_its_name() -> None:
    config = composed("extends: summary_1024\nmax_steps: 3\n")
    assert config.get("training.max_steps") == 3
    assert config.get("rlhf.num_generations")
    write(Path(), {"summary_1024.yaml": "rlhf: {beta: 7}\n"})
    assert composed("extends: summary_1024\n").train == {"rlhf": {"beta": 7}}
    for name in ("tiny_cpu", "tiny_cpu.yaml", "train/grpo/tiny_cpu"):
        assert composed(f"extends: {name}\n").get("rlhf.num_generations")
    with pytest.raises(ConfigError, match="did you mean the shipped tiny_cpu"):
        composed("extends: tiny_cpuu\n")
    with pytest.raises(ConfigError, match="does not exist"):
        composed("extends: ./tiny_cpu\n")


def test_json_is_an_experiment() -> None:
    data = {**yaml.safe_load(FLAT + NODES), "learning_rate": 1e-6}
    config = composed(json.dumps(data, indent="\t"), name="x.json")
    assert config.get("training.learning_rate") == 1e-6
    origin = config.legacy and config.legacy.tree.origin("training", "learning_rate")
    assert origin
    assert origin.line > 1
    for text, line in (
        ('{"a": 1, "a": 2}', "x.json: a is given twice"),
        ("{", "x.json:1:2: malfo"),
    ):
        with pytest.raises(ConfigError) as caught:
            composed(text, name="x.json")
        assert str(caught.value).startswith(line)


def test_the_record_of_a_run_gives_the_same_configuration() -> None:
    overrides = ["health.timeout_s=9", "rollout_server.vllm_max_model_len=256", "runtime=venv"]
    overrides += ["train.rlhf.beta=0.5", "runtime.path=v", "run.dir=d", "dry_run=json"]
    first = composed(FLAT + NODES, *overrides)
    again = composed(yaml.safe_dump(first.as_dict()), name="config.yaml")
    assert form(again) is Form.RECORD
    assert (again.experiment, again.run.dir, again.dry_run) == ("x", None, False)
    assert again.where("gpus.server") == "config.yaml: gpus.server"
    assert again.where("train.rlhf.beta") == "config.yaml: train.rlhf.beta"
    assert without_custom(again) == without_custom(first)
    kept = {*first.as_dict()} - {"path", "train", "run", "dry_run"}
    one, other = first.as_dict(), again.as_dict()
    assert {name: one[name] for name in kept} == {name: other[name] for name in kept}


def test_a_file_of_the_working_directory_is_itself_when_it_is_named_with_its_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    for directory, model in ((tmp_path / "configs", "of/configs"), (tmp_path, "of/here")):
        (directory / "x.yaml").write_text(f"model: {model}\n")
    for name, model in (("x.yaml", "of/here"), ("x", "of/configs"), ("configs/x", "of/configs")):
        config = compose(name, ["role=check", "runtime=current"])
        assert config.get("model.model") == model


@pytest.mark.parametrize("said", ["", "deepspeed: zero2\n", "deepspeed: {deepspeed: zero2}\n"])
def test_deepspeed_and_the_length_are_set_whatever_the_file_says_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(f"model: {{model: a/b}}\n{said}")
    overrides = ["train.deepspeed=zero3", "train.global_max_length=512"]
    config = compose("x.yaml", ["role=check", "runtime=current", *overrides])
    assert (config.get("deepspeed"), config.get("global_max_length")) == ("zero3", 512)


@pytest.mark.parametrize(
    ("block", "passed"),
    [
        ("{zero_optimization: {stage: 2}, bf16: {enabled: auto}}", True),
        ("{deepspeed: zero2}", False),
        ("{enabled: true, config: zero2}", False),
        ("{zero_hpz_partition_size: 2}", False),
    ],
)
def test_deepspeed_may_be_what_its_own_file_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: str, passed: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(f"model: {{model: a/b}}\ndeepspeed: {block}\n")
    config = compose("x.yaml", ["role=check", "runtime=current"])
    assert (config.get("training.deepspeed") == yaml.safe_load(block)) is passed
    assert (config.get("deepspeed") == yaml.safe_load(block)) is not passed
