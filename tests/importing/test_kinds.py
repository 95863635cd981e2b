"""Scripts of each kind become the experiment that launches the same, and that is proven."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grpo_launch.errors import ConfigError
from tests.importing.imports import Imported, imported

SERVER = """\
#!/bin/bash
export CUDA_VISIBLE_DEVICES=0,1
MODEL=${MODEL:-Qwen/Qwen3-8B}
nohup swift rollout \\
  --model $MODEL --host 0.0.0.0 --port 8001 \\
  --vllm_tensor_parallel_size 2 --vllm_max_model_len 4096 > server.log 2>&1 &
"""

LEARNER = """\
export WANDB_PROJECT=games
CUDA_VISIBLE_DEVICES=2,3 NPROC_PER_NODE=2 \\
swift rlhf --rlhf_type grpo --model Qwen/Qwen3-8B \\
  --use_vllm true --vllm_mode server --vllm_server_host 127.0.0.1 --vllm_server_port 8001 \\
  --reward_funcs accuracy format --dataset 'AI-MO/NuminaMath-TIR#1000' \\
  --learning_rate 1e-6 --num_generations 8 --per_device_train_batch_size 4 --deepspeed zero2
"""


def at(result: Imported, key: str) -> Any:
    node: Any = result.keys
    for name in key.split("."):
        node = node.get(name) if isinstance(node, dict) else None
    return node


@pytest.mark.parametrize(
    ("before", "dataset"),
    [
        ("cat > t.yaml <<E\nstage: sft\ndataset: new\nE\n", "new"),
        ("cat > t.yaml <<E\nstage: sft\ndataset: $X\nE\n", None),
        ("sed -i s/old/new/ t.yaml\n", None),
        ("cp base.yaml t.yaml\n", None),
        ("", "old"),
    ],
)
def test_a_file_of_arguments_is_what_the_script_writes(
    tmp_path: Path, before: str, dataset: str | None
) -> None:
    (tmp_path / "t.yaml").write_text("stage: sft\ndataset: old\n")
    result = imported(tmp_path, {"script.sh": f"{before}llamafactory-cli train t.yaml\n"})
    assert (result.status, result.keys.get("dataset")) == (0, dataset), result.said
    assert result.says("needs a file that the script writes itself") == (dataset is None)
    argv = ["llamafactory-cli", "train", "t.yaml"]
    assert result.keys.get("argv") == (argv if dataset is None else None)


def test_another_file_that_the_script_writes_is_named(tmp_path: Path) -> None:
    script = "echo {} > ds.json\nswift sft --model m --dataset a --deepspeed ds.json\n"
    result = imported(tmp_path, {"script.sh": script})
    assert result.says("script.sh:2: needs a file that the script writes itself, make it before")


def test_a_server_and_a_learner_become_one_experiment(tmp_path: Path) -> None:
    result = imported(tmp_path, {"server.sh": SERVER, "learner.sh": LEARNER})
    assert result.keys == {
        "runtime": "current",
        "model": {"model": "Qwen/Qwen3-8B"},
        "data": {"dataset": "AI-MO/NuminaMath-TIR#1000"},
        "training": {"learning_rate": 1e-06, "per_device_train_batch_size": 4},
        "rlhf": {
            "use_vllm": True,
            "vllm_mode": "server",
            "vllm_server_host": "127.0.0.1",
            "vllm_server_port": 8001,
            "reward_funcs": ["accuracy", "format"],
            "num_generations": 8,
        },
        "deepspeed": {"deepspeed": "zero2"},
        "rollout_server": {"vllm_tensor_parallel_size": 2, "vllm_max_model_len": 4096},
        "gpus": {"server": [0, 1], "learner": [2, 3]},
        "env": {"learner": {"set": {"WANDB_PROJECT": "games"}}},
    }
    assert (result.status, result.verdict) == (0, "proven equal: 17 flags, 4 variables")
    assert result.says("server.sh: $MODEL is taken to be its default, Qwen/Qwen3-8B")
    assert result.says("--host 127.0.0.1 instead of --host 0.0.0.0")
    assert "role=both config=learner" in result.text


@pytest.mark.slow
def test_one_script_may_start_both(tmp_path: Path) -> None:
    wait = "until curl -s localhost:8001/health/; do sleep 5; done\n"
    both = imported(tmp_path, {"all.sh": SERVER + wait + LEARNER})
    assert both.status == 0
    two = imported(tmp_path, {"server.sh": SERVER, "learner.sh": LEARNER}).keys
    # The export of the first half reaches the second one.
    assert {**both.keys, "env": None} == {**two, "env": None}
    assert both.says("its waiting is left out")


GYM = """\
CUDA_VISIBLE_DEVICES=0 HANABI_REWARD=score uv run swift rollout --model Qwen/Qwen3-8B \\
  --use_gym_env true --gym_env hanabi_env --multi_turn_scheduler gym_scheduler --max_turns 40 \\
  --external_plugins examples/a.py examples/b.py --vllm_use_async_engine true \\
  --vllm_enable_lora true --vllm_max_lora_rank 8
"""

VLLM = """\
source .venv/bin/activate
CUDA_VISIBLE_DEVICES=4,5 vllm serve Qwen/Qwen3-8B -tp 2 --port 9000 --no-enable-prefix-caching \\
  --max-model-len 8192 --served-model-name policy --limit-mm-per-prompt '{"image": 2}'
"""

FACTORY = """\
export CUDA_VISIBLE_DEVICES=0,1
conda activate lf
llamafactory-cli train --stage sft --do_train True --model_name_or_path some/model --dataset a,b \\
  --template qwen --learning_rate 5e-05 --num_train_epochs 3.0 --output_dir saves/x
"""

COLOCATED = """\
CUDA_VISIBLE_DEVICES=0,1 NPROC_PER_NODE=2 swift rlhf --rlhf_type grpo --model some/model \\
  --use_vllm true --vllm_mode colocate --dataset a
"""

TORCHRUN = """\
pip install -r requirements.txt
export OMP_NUM_THREADS=8
CUDA_VISIBLE_DEVICES=0,1 torchrun --nproc_per_node=2 train.py --lr 1e-5 -t '{x}'
"""

TABLE: dict[str, tuple[str, dict[str, Any], str]] = {
    "gym": (
        GYM,
        {
            "engine.entry": ["uv", "run", "swift"],
            "rollout_server.external_plugins": ["examples/a.py", "examples/b.py"],
            "rollout_server.max_turns": 40,
            "env.set.HANABI_REWARD": "score",
        },
        "proven equal: 9 flags, 2 variables",
    ),
    "vllm serve": (
        VLLM,
        {
            "engine.name": "vllm",
            "learner.name": "none",
            "rollout_server.model": "Qwen/Qwen3-8B",
            "rollout_server.port": 9000,
            "rollout_server.tensor_parallel_size": 2,
            "rollout_server.enable_prefix_caching": False,
            "runtime": {"kind": "venv", "path": ".venv"},
        },
        "proven equal: 6 flags, 1 variable",
    ),
    "the module of vLLM": (
        "python -m vllm.entrypoints.openai.api_server --model some/model --port 9000\n",
        {"engine.entry": ["python", "-m", "vllm.entrypoints.openai.api_server"]},
        "proven equal: 2 flags, 0 variables",
    ),
    "LLaMA-Factory": (
        FACTORY,
        {
            "learner.name": "llamafactory",
            "engine.name": "none",
            "dataset": "a,b",
            "gpus.learner": [0, 1],
            "runtime": {"kind": "conda", "name": "lf"},
        },
        "proven equal: 8 flags, 1 variable",
    ),
    "swift sft": (
        "NPROC_PER_NODE=4 conda run -n rl swift sft --model m --dataset a --tuner_type lora\n",
        {
            "learner.stage": "sft",
            "gpus.learner": [0, 1, 2, 3],
            "runtime": {"kind": "conda", "name": "rl"},
        },
        "proven equal: 3 flags, 1 variable",
    ),
    "a module of ms-swift": (
        "python -m swift.cli.sft --model some/model --dataset a\n",
        {"learner.entry": ["python", "-m", "swift.cli.main"]},
        "proven equal: 2 flags, 0 variables",
    ),
    "without a type it is DPO": (
        "swift rlhf --model some/model --dataset a\n",
        {"rlhf.rlhf_type": "dpo", "engine.name": "none"},
        "proven equal: 2 flags, 0 variables",
    ),
    "colocated GRPO": (
        COLOCATED,
        {"learner.name": "command", "gpus.learner": [0, 1], "env.set.NPROC_PER_NODE": "2"},
        "proven equal: 5 flags, 2 variables",
    ),
    "own script by torchrun": (
        TORCHRUN,
        {
            "learner.name": "command",
            "argv": ["torchrun", "--nproc_per_node=2", "train.py", "--lr", "1e-5", "-t", "{{x}}"],
        },
        "proven equal: 3 flags, 2 variables",
    ),
    "own script": (
        "python prepare.py\npython train.py --lr 1e-5\n",
        {"argv": ["python", "train.py", "--lr", "1e-5"]},
        "proven equal: 1 flag, 0 variables",
    ),
    "trl": (
        "accelerate launch --config_file a.yaml train_grpo.py --model_name some/model\n",
        {"learner.name": "command"},
        "proven equal: 2 flags, 0 variables",
    ),
    "a flag that no plug-in has": (
        "vllm serve some/model --no-such-flag 3 --port 9000\n",
        {"engine.name": "command", "rollout_server.port": 9000},
        "proven equal: 2 flags, 0 variables",
    ),
    "a program of a command line": (
        "tmux new-session -d -s rollout 'swift rollout --model some/model --port 8001'\n",
        {"rlhf.vllm_server_port": [8001]},
        "proven equal: 2 flags, 0 variables",
    ),
    "a shell of its own": (
        "A=1 bash -c 'export B=2; swift sft --model some/model --dataset a'\n",
        {"env.set": {"A": "1", "B": "2"}},
        "proven equal: 2 flags, 2 variables",
    ),
    "a default that the caller may replace": (
        "export NCCL_DEBUG=${NCCL_DEBUG:-INFO}\nswift sft --model some/model --dataset a\n",
        {"env.defaults.NCCL_DEBUG": "INFO"},
        "proven equal: 2 flags, 1 variable",
    ),
    "a port of torchrun": (
        "MASTER_PORT=29501 swift sft --model some/model --dataset a\n",
        {"learner.master_port": 29501, "env": None},
        "proven equal: 2 flags, 1 variable",
    ),
}


@pytest.mark.costly
@pytest.mark.parametrize(("script", "keys", "verdict"), TABLE.values(), ids=TABLE)
def test_a_script_is_imported(
    tmp_path: Path, script: str, keys: dict[str, Any], verdict: str
) -> None:
    result = imported(tmp_path, {"script.sh": script})
    assert {key: at(result, key) for key in keys} == keys
    assert result.verdict == verdict, "\n".join(result.said)
    assert result.status == 0


def test_what_a_script_does_besides_is_listed(tmp_path: Path) -> None:
    result = imported(tmp_path, {"script.sh": TABLE["own script"][0]})
    assert result.says("script.sh:1: not imported, run it yourself before: python prepare.py")
    assert result.says("script.sh:2: python train.py has no plug-in, it is imported as a command")
    assert "run it yourself before: python prepare.py" in result.text


TWO = """\
for i in 0 1; do
  CUDA_VISIBLE_DEVICES=$i swift rollout --model some/model --port $((8000 + i)) \\
    --vllm_max_model_len 4096 &
done
CUDA_VISIBLE_DEVICES=2 swift rlhf --rlhf_type grpo --model some/model --dataset a \\
  --use_vllm true --vllm_mode server --vllm_server_host 127.0.0.1 127.0.0.1 \\
  --vllm_server_port 8000 8001 --reward_funcs format
"""


def test_servers_that_differ_in_address_and_devices_are_one_block(tmp_path: Path) -> None:
    result = imported(tmp_path, {"script.sh": TWO})
    assert at(result, "gpus") == {"server": [0, 1], "learner": [2]}
    assert at(result, "rlhf.vllm_server_port") == [8000, 8001]
    assert result.verdict == "proven equal: 14 flags, 3 variables"


JUDGE = """\
CUDA_VISIBLE_DEVICES=3 JUDGE=1 vllm serve judge/model --port 9001 &
CUDA_VISIBLE_DEVICES=0 swift rollout --model some/model &
"""


def test_what_runs_beside_is_a_service(tmp_path: Path) -> None:
    scripts = {"servers.sh": JUDGE, "learner.sh": LEARNER.replace("8001", "8000")}
    result = imported(tmp_path, scripts)
    assert at(result, "services.vllm") == {
        "argv": ["vllm", "serve", "judge/model", "--port", "9001"],
        "devices": [3],
        "env": {"JUDGE": "1"},
        "check": {"url": "http://127.0.0.1:9001/health"},
    }
    assert result.status == 1  # the two halves differ in their models
    assert result.says("servers.sh:2: difference: --model is 'some/model', but the learner's is")


OWN = {
    "beside a server": (
        "vllm serve m --port 8000 &\npython train.py --x 1\n",
        ["python", "train.py", "--x", "1"],
    ),
    "between others": (
        "python prepare_train.py\npython -m my.train_grpo\npython eval.py\n",
        ["python", "-m", "my.train_grpo"],
    ),
    "of no name that says it": ("python a.py\npython b.py\n", ["python", "b.py"]),
    "before what is computed of rollouts": (
        "python run_sft.py\npython score.py out/rollout.jsonl\npython prepare_rollout.py\n",
        ["python", "run_sft.py"],
    ),
}


@pytest.mark.costly
@pytest.mark.parametrize(("script", "argv"), OWN.values(), ids=OWN)
def test_somebody_s_own_training_is_found(tmp_path: Path, script: str, argv: list[str]) -> None:
    result = imported(tmp_path, {"script.sh": script})
    assert result.keys["argv"] == argv, result.text
    assert result.status == 0, result.said


def test_each_training_of_a_loop_is_one(tmp_path: Path) -> None:
    script = "for seed in 1 2; do python train.py --seed $seed; done\n"
    result = imported(tmp_path, {"script.sh": script})
    assert result.says("which holds one learner"), result.said
    assert result.status == 1


@pytest.mark.parametrize("line", ["swift rlhf --help | grep -q x", "vllm serve --version"])
def test_a_question_is_no_launch(tmp_path: Path, line: str) -> None:
    script = f"if {line}; then A=1; fi\nswift sft --model m --dataset a\n"
    assert imported(tmp_path, {"script.sh": script}).status == 0


@pytest.mark.parametrize(
    "first", ["mkdir -p out", "pip install -e .", "sleep 60", "python prep.py"]
)
def test_a_preparation_in_front_of_it_is_no_condition(tmp_path: Path, first: str) -> None:
    script = f"{first} && swift sft --model m --dataset a\n"
    assert imported(tmp_path, {"script.sh": script}).status == 0


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "0.0.0.0"])
def test_a_learner_reaches_a_server_by_another_name_of_this_machine(
    tmp_path: Path, host: str
) -> None:
    script = (
        f"swift rollout --model m --host {host} --port 8000 &\n"
        "swift rlhf --rlhf_type grpo --model m --dataset a --reward_funcs format --use_vllm true"
        " --vllm_mode server --vllm_server_host 127.0.0.1 --vllm_server_port 8000\n"
    )
    result = imported(tmp_path, {"script.sh": script})
    assert result.status == 0, result.said


def test_a_file_of_flags_is_imported(tmp_path: Path) -> None:
    text = "model: some/model\ndataset: [a, b]\nrlhf_type: dpo\nENV: {A: 1}\nbeta: 0.1\n"
    result = imported(tmp_path, {"train.yaml": text})
    assert at(result, "data.dataset") == ["a", "b"]
    assert at(result, "env.set") == {"A": "1"}
    assert result.verdict == "proven equal: 4 flags, 1 variable"


def test_a_file_of_arguments_is_as_flags(tmp_path: Path) -> None:
    (tmp_path / "sft.yaml").write_text(
        "model_name_or_path: some/model\nstage: sft\nlearning_rate: 1.0e-4\n"
    )
    script = "llamafactory-cli train sft.yaml learning_rate=1e-5 do_train=true\n"
    result = imported(tmp_path, {"train.sh": script})
    assert at(result, "learning_rate") == 1e-05
    assert result.verdict == "proven equal: 4 flags, 0 variables"
    (tmp_path / "sft.yaml").unlink()
    assert at(imported(tmp_path, {"train.sh": script}), "argv")[:2] == ["llamafactory-cli", "train"]


def test_two_trainings_are_two_experiments(tmp_path: Path) -> None:
    script = "swift sft --model a --dataset a\nswift sft --model b --dataset b\n"
    result = imported(tmp_path, {"script.sh": script})
    assert result.status == 1
    assert result.says("script.sh:1: difference: swift sft is not in this experiment")
    first = imported(tmp_path, {"script.sh": script}, ["--line", "1"])
    assert (first.status, at(first, "model.model")) == (0, "a")


ELSEWHERE = {
    "of Slurm": "srun --jobid $J bash -c 'accelerate launch g.py'",
    "a job": "sbatch --wrap='swift rlhf --model m'",
    "a script": "ssh node2 bash /x/train.sh",
}


@pytest.mark.parametrize("line", ELSEWHERE.values(), ids=ELSEWHERE)
def test_what_starts_elsewhere_is_unknown(tmp_path: Path, line: str) -> None:
    script = f"swift rollout --model m --port 8000 &\n{line}\n"
    result = imported(tmp_path, {"script.sh": script})
    assert result.says("script.sh:2: unknown: what it starts elsewhere is not read"), result.said
    assert result.status == 1
    with pytest.raises(ConfigError, match=r"starts nothing .* what line 1 starts is not read"):
        imported(tmp_path, {"script.sh": f"{line}\n"})


UNREAD = {
    "by its name": ("swift sft --model m --dataset a\nbash train_2.sh\n", 1),
    "behind a server": ("swift rollout --model m --port 8000 &\nbash go.sh\n", 1),
    "a preparation": ("bash prepare_train.sh\nswift sft --model m --dataset a\n", 0),
    "a benchmark": ("vllm serve m --port 8000 &\nbash bench_all.sh\n", 0),
    "another one": ("./install.sh\nswift sft --model m --dataset a\n", 0),
}


@pytest.mark.parametrize(("script", "status"), UNREAD.values(), ids=UNREAD)
def test_a_script_that_is_not_there_may_train(tmp_path: Path, script: str, status: int) -> None:
    result = imported(tmp_path, {"script.sh": script})
    assert result.says("what it starts is not read, put the script beside") == bool(status)
    assert result.status == status, result.said


def test_a_text_that_waits_is_no_preparation(tmp_path: Path) -> None:
    wait = "timeout 600 bash -c 'until curl -s localhost:8000; do sleep 5; done'"
    script = f"vllm serve m --port 8000 &\n{wait}\npython train.py\n"
    result = imported(tmp_path, {"script.sh": script})
    assert not result.says("not imported"), result.said
    assert result.says("its waiting is left out"), result.said


def test_a_type_that_nobody_knows_is_a_command(tmp_path: Path) -> None:
    script = "swift rlhf --rlhf_type of_a_fork --model m --dataset a\n"
    result = imported(tmp_path, {"script.sh": script})
    assert result.keys["learner"] == {"name": "command"}
    assert result.says("--rlhf_type of_a_fork is not known"), result.said
    assert result.status == 0
