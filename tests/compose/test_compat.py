"""``compat=env``: variables of the old scripts mean what typing their keys means."""

from __future__ import annotations

import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.config import compose, schema
from grpo_launch.config.compat import reading, table
from grpo_launch.config.hydra import hints
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.errors import ConfigError
from grpo_launch.learners.swift.flags import FLAGS
from grpo_launch.tracking import variables
from tests.effort import costly

EXPERIMENT = """\
model: {model: some/model}
training: {num_train_epochs: 1}
rlhf: {use_vllm: true, vllm_mode: server, vllm_server_host: [127.0.0.1], vllm_server_port: [8000]}
custom:
  extra:
    rollout_server:
      {vllm_tensor_parallel_size: 4, vllm_data_parallel_size: 1, vllm_max_model_len: 512}
    launch:
      gpus: {server: [0, 1, 2, 3], learner: [4, 5, 6, 7]}
      env: {set: {NCCL_P2P_DISABLE: "1"}}
"""

SAMPLES: Mapping[str, tuple[str, str, Any]] = {
    "MODEL": ("Qwen/Qwen3-8B", "train.model.model", "Qwen/Qwen3-8B"),
    "HOST": ("localhost", "train.rlhf.vllm_server_host", ["localhost"]),
    "PORT": ("8101", "train.rlhf.vllm_server_port", [8101]),
    "VLLM_SERVER_HOST": ("10.0.0.7", "train.rlhf.vllm_server_host", ["10.0.0.7"]),
    "VLLM_SERVER_PORT": ("8000, 8001", "train.rlhf.vllm_server_port", [8000, 8001]),
    "GYM_ENV": ("hanabi_env", "rollout_server.gym_env", "hanabi_env"),
    "VLLM_TENSOR_PARALLEL_SIZE": ("2", "rollout_server.vllm_tensor_parallel_size", 2),
    "VLLM_DATA_PARALLEL_SIZE": ("2", "rollout_server.vllm_data_parallel_size", 2),
    "VLLM_MAX_NUM_SEQS": ("16", "rollout_server.vllm_max_num_seqs", 16),
    "VLLM_ENABLE_LORA": ("True", "rollout_server.vllm_enable_lora", True),
    "VLLM_MAX_LORA_RANK": ("8", "rollout_server.vllm_max_lora_rank", 8),
    "VLLM_MAX_MODEL_LEN": ("8192", "rollout_server.vllm_max_model_len", 8192),
    "VLLM_GPU_MEMORY_UTILIZATION": (".80", "rollout_server.vllm_gpu_memory_utilization", 0.8),
    "VLLM_ENFORCE_EAGER": ("1", "rollout_server.vllm_enforce_eager", True),
    "NCCL_P2P_DISABLE": ("0", "env.set.NCCL_P2P_DISABLE", "0"),
    "NCCL_IB_DISABLE": ("0", "env.set.NCCL_IB_DISABLE", "0"),
    "DATASET": ("data/hanabi.grpo.jsonl", "train.data.dataset", ["data/hanabi.grpo.jsonl"]),
    "OUTPUT_DIR": ("out/a b", "train.training.output_dir", "out/a b"),
    "NUM_GENERATIONS": ("16", "train.rlhf.num_generations", 16),
    "GENERATION_BATCH_SIZE": ("32", "train.rlhf.generation_batch_size", 32),
    "NUM_TRAIN_EPOCHS": ("0.5", "train.training.num_train_epochs", 0.5),
    "MAX_STEPS": ("500", "train.training.max_steps", 500),
    "MAX_LENGTH": ("4096", "train.template.max_length", 4096),
    "MAX_PROMPT_LENGTH": ("2048", "train.template.max_length", 2048),
    "MAX_COMPLETION_LENGTH": ("8192", "train.rlhf.max_completion_length", 8192),
    "TRAIN_TYPE": ("lora", "train.tuner.tuner_type", "lora"),
    "TUNER_TYPE": ("full", "train.tuner.tuner_type", "full"),
    "REWARD_FUNCS": ("a.b, c  d", "train.rlhf.reward_funcs", ["a.b", "c", "d"]),
    "REWARD_MODEL": ("some/reward", "train.rlhf.reward_model", ["some/reward"]),
    "EXTERNAL_PLUGINS": ("a.py b.py", "train.rlhf.external_plugins", ["a.py", "b.py"]),
    "USE_VLLM": ("false", "train.rlhf.use_vllm", False),
    "VLLM_MODE": ("colocate", "train.rlhf.vllm_mode", "colocate"),
    "RUN_NAME": ("grpo-hanabi", "train.training.run_name", "grpo-hanabi"),
    "WANDB_NAME": ("mine", "tracking.wandb.name", "mine"),
    "WANDB_PROJECT": ("mindgames", "tracking.wandb.project", "mindgames"),
    "WANDB_ENTITY": ("team", "tracking.wandb.entity", "team"),
    "WANDB_MODE": ("offline", "tracking.wandb.mode", "offline"),
    "WANDB_LOG_MODEL": ("checkpoint", "tracking.wandb.log_model", "checkpoint"),
    "WANDB_WATCH": ("false", "tracking.wandb.watch", "false"),
    "UPLOAD_CKPT_TO_WANDB": ("no", "tracking.wandb.upload_checkpoint", False),
    "CKPT_ARTIFACT_NAME": ("best", "tracking.wandb.artifact_name", "best"),
    "CKPT_ARTIFACT_ALIASES": ("latest,end", "tracking.wandb.artifact_aliases", ["latest", "end"]),
    "HF_REPO_ID": ("me/hanabi", "train.training.hub_model_id", "me/hanabi"),
    "HUB_STRATEGY": ("end", "train.training.hub_strategy", "end"),
    "HUB_PRIVATE_REPO": ("true", "train.training.hub_private_repo", True),
}
"""For each variable that sets a key by itself: a text, the key, and the value there."""

ELSEWHERE = ("CUDA_VISIBLE_DEVICES", "NPROC_PER_NODE", "REPORT_TO")
"""Those that have tests of their own."""

S1 = """
MODEL HOST PORT VLLM_SERVER_HOST VLLM_SERVER_PORT GYM_ENV VLLM_TENSOR_PARALLEL_SIZE
VLLM_DATA_PARALLEL_SIZE VLLM_MAX_NUM_SEQS VLLM_ENABLE_LORA VLLM_MAX_LORA_RANK VLLM_MAX_MODEL_LEN
VLLM_GPU_MEMORY_UTILIZATION VLLM_ENFORCE_EAGER CUDA_VISIBLE_DEVICES NPROC_PER_NODE NCCL_P2P_DISABLE
NCCL_IB_DISABLE DATASET OUTPUT_DIR NUM_GENERATIONS GENERATION_BATCH_SIZE NUM_TRAIN_EPOCHS MAX_STEPS
REPORT_TO RUN_NAME WANDB_PROJECT WANDB_ENTITY WANDB_MODE WANDB_LOG_MODEL WANDB_WATCH WANDB_NAME
UPLOAD_CKPT_TO_WANDB CKPT_ARTIFACT_NAME CKPT_ARTIFACT_ALIASES HF_REPO_ID HUB_STRATEGY
HUB_PRIVATE_REPO TRAIN_TYPE TUNER_TYPE REWARD_FUNCS REWARD_MODEL EXTERNAL_PLUGINS MAX_LENGTH
MAX_PROMPT_LENGTH MAX_COMPLETION_LENGTH USE_VLLM VLLM_MODE EPISODES WORKERS OUT_DIR HUB_TOKEN
HF_TOKEN WANDB_API_KEY
"""
"""What the server script, the learner's wrapper and the base script read."""

TABLE = table.load()


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("compat") / "mine.yaml"
    file.write_text(EXPERIMENT)
    return str(file)


def composed(experiment: str, environ: Mapping[str, str], *overrides: str) -> LaunchConfig:
    return compose.compose(experiment, ["compat=env", *overrides], environ)


def at(config: LaunchConfig, key: str) -> Any:
    """The value of a dotted key of any node, enumerations by name."""
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else getattr(node, part)
    return getattr(node, "value", node)


def values(config: LaunchConfig) -> dict[str, Any]:
    """All of a configuration but where it came from."""
    plain = config.as_dict()
    return {k: v for k, v in plain.items() if k not in ("compat", "environment")}


# The table


def test_every_variable_of_the_old_scripts_is_in_the_table() -> None:
    known = {*TABLE.variables, *TABLE.ignored, *TABLE.kept}
    assert set(S1.split()) <= known
    assert {*SAMPLES, *ELSEWHERE} == set(TABLE.variables)


def test_the_table_names_what_there_is() -> None:
    for variable in TABLE.variables.values():
        assert variable.read in table.READERS
        assert variable.half in (None, "server", "learner")
        assert {variable.default, variable.beaten} <= {None, *TABLE.variables}
        assert bool(variable.keys) != bool(variable.equals)
        assert variable.scripts
        for key in variable.keys.values():
            *above, name = key.split(".")
            flag = above[:1] == ["train"] and name in FLAGS.shipped().table.flags
            assert flag or hints.type_of(key) is not None, key


def test_no_secret_is_mapped() -> None:
    words = ("TOKEN", "KEY", "SECRET", "PASSWORD")
    assert [name for name in TABLE.variables if any(word in name for word in words)] == []


# What a variable means


@pytest.mark.costly
@pytest.mark.parametrize("name", SAMPLES)
def test_a_variable_sets_its_key(experiment: str, name: str) -> None:
    text, key, value = SAMPLES[name]
    config = composed(experiment, {name: text})
    assert config.mistakes == ()
    assert (at(config, key), type(at(config, key))) == (value, type(value))
    assert config.where(key) == f"environment: {name}"
    assert config.spelled(key) == name
    assert config.as_dict()["environment"] == {name: text}


@pytest.mark.parametrize("name", [*SAMPLES, *ELSEWHERE])
@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_variable_is_not_said_unless_that_means_something(name: str, text: str) -> None:
    said = reading.read(["compat=env"], {name: text})
    assert said.wrong == ()
    assert [taken.value for taken in said.taken] == [None] * TABLE.variables[name].empties


def test_no_reward_functions_differ_from_none_said(experiment: str) -> None:
    key, said = "train.rlhf.reward_funcs", "train.rlhf.reward_funcs=[a]"
    text = Path(experiment).read_text().replace("rlhf: {", "rlhf: {reward_funcs: [a.b], ")
    named = Path(experiment).with_name("rewards.yaml")
    named.write_text(text)
    assert at(composed(str(named), {}), key) == ["a.b"]
    assert at(composed(str(named), {"REWARD_FUNCS": ""}), key) is None
    assert at(composed(str(named), {"REWARD_FUNCS": ""}, said), key) == ["a"]


@pytest.mark.parametrize(
    ("role", "server", "learner"),
    [
        ("server", ["6", "GPU-1f"], ["4", "5", "6", "7"]),
        ("learner", ["0", "1", "2", "3"], ["6", "GPU-1f"]),
        ("both", ["0", "1", "2", "3"], ["4", "5", "6", "7"]),
        ("check", ["0", "1", "2", "3"], ["4", "5", "6", "7"]),
    ],
)
def test_visible_devices_are_those_of_a_half_that_is_started_alone(
    experiment: str, role: str, server: list[str], learner: list[str]
) -> None:
    config = composed(experiment, {"CUDA_VISIBLE_DEVICES": "6,GPU-1f"}, f"role={role}")
    assert (config.gpus.server, config.gpus.learner) == (server, learner)
    assert config.environment.unread == ()


@pytest.mark.parametrize(
    ("text", "chosen"),
    [("wandb", ["wandb"]), ("wandb tensorboard", ["wandb", "tensorboard"]), ("none", ["none"])],
)
def test_trackers_are_options_of_the_group(experiment: str, text: str, chosen: list[str]) -> None:
    variables = composed(experiment, {"REPORT_TO": text}).tracking
    named = {"none": variables.none, "wandb": variables.wandb.enabled}
    named |= {"tensorboard": variables.tensorboard.enabled, "trackio": variables.trackio.enabled}
    assert [name for name in named if named[name]] == chosen


@pytest.mark.parametrize("role", ["server", "learner", "both", "check", "explain"])
def test_a_half_alone_reads_its_own_address(experiment: str, role: str) -> None:
    environ = {"PORT": "8101"} if role == "server" else {"VLLM_SERVER_PORT": "8101"}
    other = {"PORT": "9", "VLLM_SERVER_PORT": "9"}
    alone = role in ("server", "learner")
    config = composed(experiment, (other if alone else {}) | environ, f"role={role}")
    assert at(config, "train.rlhf.vllm_server_port") == [8101]
    assert len(config.environment.unread) == (1 if alone else 0)


@pytest.mark.slow
def test_a_batch_is_as_large_as_its_group_unless_said(experiment: str) -> None:
    key = "train.rlhf.generation_batch_size"
    config = composed(experiment, {"NUM_GENERATIONS": "16", "GENERATION_BATCH_SIZE": ""})
    assert at(config, key) == 16
    assert config.where(key) == "environment (from NUM_GENERATIONS): GENERATION_BATCH_SIZE"
    assert config.as_dict()["environment"] == {"NUM_GENERATIONS": "16"}
    both = composed(experiment, {"NUM_GENERATIONS": "16", "GENERATION_BATCH_SIZE": "48"})
    assert at(both, key) == 48
    beaten = composed(experiment, {"NUM_GENERATIONS": "16"}, "train.rlhf.num_generations=4")
    assert beaten.get("rlhf.generation_batch_size") is None


def test_a_run_name_names_the_run_and_the_artifact(experiment: str) -> None:
    config = composed(experiment, {"RUN_NAME": "a b"})
    assert (config.tracking.wandb.name, variables.artifact_name(config)) == ("a b", "a-b-ckpt")
    config = composed(experiment, {"RUN_NAME": "a", "WANDB_NAME": "b"})
    assert (config.tracking.wandb.name, variables.artifact_name(config)) == ("b", "b-ckpt")


def test_what_the_command_line_says_otherwise_covers_a_variable(experiment: str) -> None:
    said = composed(
        experiment, {"REPORT_TO": "wandb"}, "train.training.report_to=[tensorboard]"
    ).environment
    assert (said.taken, [taken.variable for taken in said.covered]) == ((), ["REPORT_TO"])
    said = composed(experiment, {"NUM_GENERATIONS": "8"}, "+train.rlhf={num_generations: 4}")
    assert said.get("rlhf.num_generations") == 4
    assert said.environment.taken == ()


def test_a_sweep_of_topologies_is_refused(experiment: str) -> None:
    with pytest.raises(ConfigError, match="one topology may say a key"):
        composed(experiment, {}, "rollout_server/topology=two,four")


def test_steps_win_over_epochs(experiment: str) -> None:
    config = composed(experiment, {"MAX_STEPS": "5", "NUM_TRAIN_EPOCHS": "3"})
    assert (config.get("training.max_steps"), config.get("training.num_train_epochs")) == (5, 1)
    assert [unread.variable for unread in config.environment.unread] == ["NUM_TRAIN_EPOCHS"]


def test_a_variable_wins_over_the_accelerator_and_the_command_line_over_it(experiment: str) -> None:
    environ = {"MAX_STEPS": "5", "MODEL": "m"}
    config = composed(experiment, environ, "accelerator=cpu", "train.model.model=typed")
    assert (config.get("training.max_steps"), config.get("model.model")) == (5, "typed")
    assert config.where("train.model.model") == "command line: train.model.model"
    assert [taken.variable for taken in config.environment.covered] == ["MODEL"]


def test_a_typed_topology_is_the_command_line_s(experiment: str) -> None:
    environ = {"PORT": "9", "VLLM_TENSOR_PARALLEL_SIZE": "4", "VLLM_MAX_NUM_SEQS": "16"}
    config = composed(experiment, environ, "rollout_server/topology=four")
    assert config.get("rlhf.vllm_server_port") == [8000, 8001, 8002, 8003]
    assert config.rollout_server["vllm_tensor_parallel_size"] == 1
    assert config.rollout_server["vllm_max_num_seqs"] == 16
    assert config.where("train.rlhf.vllm_server_port").startswith("rollout_server/topology=four")


def test_a_variable_that_the_command_line_beats_need_not_be_right(experiment: str) -> None:
    config = composed(experiment, {"MAX_STEPS": "many"}, "train.training.max_steps=5")
    assert (config.get("training.max_steps"), config.mistakes) == (5, ())


@pytest.mark.costly
@pytest.mark.parametrize(
    "override",
    ["tracking=none", "~tracking", "+train.training.run_name=x", "~train.model.model", "gpus={}"],
)
def test_every_form_of_override_wins(experiment: str, override: str) -> None:
    environ = {"REPORT_TO": "wandb", "RUN_NAME": "a b", "MODEL": "m", "WANDB_NAME": "n"}
    environ |= {"CKPT_ARTIFACT_NAME": "c"}
    name = {"tracking": "REPORT_TO", "train.training.run_name": "RUN_NAME"}
    beaten = name.get(hints.key_of(override), "MODEL" if "model" in override else "")
    rest = {key: value for key, value in environ.items() if key != beaten}
    assert values(composed(experiment, environ, override)) == values(
        composed(experiment, rest, override)
    )


# Who may ask, and who looks


def test_nothing_is_looked_at_unless_asked(experiment: str) -> None:
    class Forbidden(dict[str, str]):
        def get(self, *_: Any) -> Any:
            raise AssertionError

        __getitem__ = __iter__ = __contains__ = get

    plain = compose.compose(experiment, [], Forbidden())
    none = compose.compose(experiment, ["compat=none"], Forbidden())
    assert plain.environment == none.environment == reading.NOTHING
    assert plain.compat is schema.Compat.none


def test_an_environment_must_be_handed_in(experiment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_STEPS", "5")
    with pytest.raises(ConfigError, match="no environment was handed in"):
        compose.compose(experiment, ["compat=env"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{EXPERIMENT}      compat: env\n", "custom.extra.launch.compat: unknown key"),
        ("# @package _global_\ncompat: env\n", "say compat=env on the command line"),
        ("# @package _global_\ndefaults: [override /compat: env]\n", "say compat=env on the"),
    ],
)
def test_an_experiment_cannot_ask(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    try:
        config = compose.compose(str(tmp_path / "x.yaml"), [], {"MAX_STEPS": "5"})
        said = " ".join(str(mistake.error) for mistake in config.mistakes)
    except ConfigError as error:
        said = str(error)
    assert message in said


def test_what_is_recorded_gives_the_same_without_the_environment(experiment: str) -> None:
    environ = {"RUN_NAME": "it's $5", "NUM_GENERATIONS": "16", "REPORT_TO": "wandb"}
    config = composed(experiment, environ, "train.training.max_steps=7", "role=both")
    assert "compat=env" not in config.retyped
    assert values(compose.compose(experiment, config.retyped)) == values(config)
    plain = compose.compose(experiment, ["compat=none", "train.training.max_steps=7"])
    assert plain.retyped == list(plain.overrides)


# Any environment

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
samples = st.sampled_from(sorted({text for text, _, _ in SAMPLES.values()}))
environments = st.dictionaries(st.sampled_from(sorted(TABLE.variables)), samples | texts)
roles = st.sampled_from(["server", "learner", "both", "check"])


@pytest.mark.slow
@costly
@given(environ=environments, role=roles)
def test_any_environment_is_the_same_as_typing_it(
    experiment: str, environ: dict[str, str], role: str
) -> None:
    config = composed(experiment, environ, f"role={role}")
    typed = compose.compose(experiment, [*config.environment.overrides, f"role={role}"])
    assert values(typed) == values(config)
    assert all(mistake.error.where.startswith("environment: ") for mistake in config.mistakes)
    for taken in config.environment.taken:
        assert config.where(taken.key).startswith("environment")


@pytest.mark.slow
@costly
@given(environ=environments, name=st.sampled_from(sorted(SAMPLES)))
def test_the_command_line_wins_over_any_environment(
    experiment: str, environ: dict[str, str], name: str
) -> None:
    text, key, value = SAMPLES[name]
    typed = reading.read(["compat=env"], {name: text}).taken[0].override
    config = composed(experiment, environ, typed)
    assert at(config, key) == value
    assert config.where(key).startswith("command line")


@given(environ=st.dictionaries(st.text(string.ascii_letters + "_"), texts))
def test_other_variables_change_nothing(environ: dict[str, str]) -> None:
    known = {*TABLE.variables, *TABLE.ignored}
    said = reading.read(["compat=env"], {k: v for k, v in environ.items() if k not in known})
    assert (said.taken, said.covered, said.wrong, said.processes) == ((), (), (), None)


@given(environ=environments, role=roles)
def test_every_variable_is_accounted_for_once(environ: dict[str, str], role: str) -> None:
    said = reading.read(["compat=env", f"role={role}"], environ)
    taken = [t.source for t in said.taken if t.source == t.variable]
    assert len(set(taken)) == len(taken)
    wrong = " ".join(w.error.where for w in said.wrong).replace("environment:", "").split()
    unread = [u.variable for u in said.unread]
    own = [said.processes.variable] if said.processes else []
    counted = {*taken, *wrong, *unread, *own} - {"and"}
    elsewhere = {"CUDA_VISIBLE_DEVICES"} if role in ("both", "check") else set[str]()
    for name, text in environ.items():
        variable = TABLE.variables[name]
        if (text.strip() or variable.empties) and name not in elsewhere:
            lost = name not in counted
            # The other half's variable without a key has nothing to say here.
            assert not lost or (variable.equals and not variable.counts(role)), name


@given(text=texts.filter(lambda t: t.strip() and t.isprintable() and "${" not in t))
def test_a_text_arrives_as_it_is(text: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    said = reading.read(["compat=env"], {"MODEL": text, "REWARD_FUNCS": text})
    if "???" in text:
        return
    parser = OverridesParser.create()
    found = [parser.parse_override(override).value() for override in said.overrides]
    assert [str(found[0]), [*map(str, found[1])]] == [text, said.taken[1].value]
    assert not isinstance(found[0], int | float | bool | type(None))


# Misspelled names


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("VLLM_TENSOR_PARALEL_SIZE", "VLLM_TENSOR_PARALLEL_SIZE"),
        ("WANDB_PROJEKT", "WANDB_PROJECT"),
        ("NUM_GENERATION", "NUM_GENERATIONS"),
        ("max_steps", "MAX_STEPS"),
        ("MAX_STEP", "MAX_STEPS"),
        ("CUDA_VISIBLE_DEVICE", "CUDA_VISIBLE_DEVICES"),
        ("REWARD_FUNC", "REWARD_FUNCS"),
        ("CKPT_ARTIFACT_ALIAS", "CKPT_ARTIFACT_ALIASES"),
        ("VLLM_SEVER_PORT", "VLLM_SERVER_PORT"),
        ("REPROT_TO", "REPORT_TO"),
    ],
)
def test_a_misspelled_name_is_pointed_out(name: str, meant: str) -> None:
    (unread,) = reading.read(["compat=env"], {name: "secret"}).unread
    assert (unread.variable, unread.fix) == (name, f"did you mean {meant}?")
    assert "secret" not in repr(unread)


def test_ordinary_environments_are_not_warned_of() -> None:
    text = (Path(__file__).parent / "ordinary_variables.txt").read_text()
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    environ = dict.fromkeys(" ".join(lines).split(), "x")
    assert len(environ) > 600
    assert set(environ) & set(S1.split()) == set()
    assert reading.read(["compat=env"], environ) == reading.NOTHING
