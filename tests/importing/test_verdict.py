"""What is not known, not expressible or secret is listed; equality is claimed only without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpo_launch.bash import shell
from grpo_launch.errors import ConfigError
from tests.importing.imports import imported

SFT = "swift sft --model some/model --dataset a"
GRPO = (
    "swift rlhf --rlhf_type grpo --model m --use_vllm true --vllm_mode server "
    "--vllm_server_host 127.0.0.1 --vllm_server_port 8000"
)

UNKNOWN = {
    "a variable": (f"{SFT} --output_dir $OUT\n", "1: unknown: --output_dir $OUT is known only"),
    "a command": (f"{SFT} --run_name r$(date +%F)\n", "1: unknown: --run_name r$(date +%F)"),
    "a positional": (f"{SFT} --max_steps $1\n", "1: unknown: --max_steps $1 is known only"),
    "words": (f"{SFT} $EXTRA\n", "1: unknown: $EXTRA is known only when the script runs"),
    "the model of a server": ("vllm serve $MODEL\n", "1: unknown: $MODEL is known only"),
    "an export": (
        f"export PYTHONPATH=.:$PYTHONPATH\n{SFT}\n",
        "2: unknown: PYTHONPATH=.:$PYTHONPATH is known only when the script runs",
    ),
    "devices": (
        f"CUDA_VISIBLE_DEVICES=$GPUS {SFT}\n",
        "1: unknown: CUDA_VISIBLE_DEVICES=$GPUS is known only when the script runs",
    ),
    "processes": (
        f"NPROC_PER_NODE=$N {SFT}\n",
        "1: unknown: NPROC_PER_NODE=$N is known only when the script runs",
    ),
    "a condition": (f"if [ -d ckpt ]; then {SFT}; fi\n", "1: unknown: starts only if [ -d ckpt ]"),
    "an environment": (
        "conda run -n $ENV swift sft --model some/model --dataset a\n",
        "1: unknown: conda run -n $ENV swift",
    ),
    "a file that is not here": (
        f"source ./env.sh\n{SFT}\n",
        "1: unknown: is not read: what it sets is not known: source ./env.sh",
    ),
    "a text that is run": (f'eval "$SETUP"\n{SFT}\n', "1: unknown: evaluates a text"),
    "a file that a function stands before": (
        f"f() {{\n  {SFT}\n}}\nsource ./env.sh\nf\n",
        "4: unknown: is not read: what it sets is not known: source ./env.sh",
    ),
    "words of a command": (
        "torchrun train.py --x $X\n",
        "1: unknown: --x $X is known only when the script runs",
    ),
}


@pytest.mark.costly
@pytest.mark.parametrize(("script", "line"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_not_known_is_named_with_its_line(tmp_path: Path, script: str, line: str) -> None:
    result = imported(tmp_path, {"script.sh": script})
    assert result.says(f"script.sh:{line}"), "\n".join(result.said)
    assert (result.status, result.verdict) == (1, "not proven: 1 unknown")


DECIDED = {
    "an argument": (f"{SFT} --max_steps $1\n", "decided behind --: $1", ["--", "3"]),
    "that there are no arguments": (
        f'[ "$1" = big ] && N=2 || N=1\n{SFT} --max_steps $N\n',
        "unknown: --max_steps ${N} is known only",
        ["--"],
    ),
    "a condition": (
        f'if [ "$MODE" = train ]; then {SFT}; fi\n',
        "decided by --set NAME=VALUE: MODE",
        ["--set", "MODE=train"],
    ),
    "what decides on a variable": (
        f'[ -n "$KEY" ] && export WANDB_MODE=online\n{SFT}\n',
        "decided by --set NAME=VALUE: KEY, WANDB_MODE",
        ["--set", "KEY="],
    ),
    "what decides on what decides": (
        f'M=a\n[ -n "$KEY" ] && M=b\nif [ $M = b ]; then N=1; else N=2; fi\n{SFT} --seed $N\n',
        "decided by --set NAME=VALUE: KEY, N",
        ["--set", "KEY=x"],
    ),
    "what would end the script": (
        f'set -e\nlog() {{ [ -n "$VERBOSE" ] && echo "$1"; }}\nlog hello\n{SFT}\n',
        "decided by --set NAME=VALUE: VERBOSE",
        ["--set", "VERBOSE=1"],
    ),
    "whether there is something to shift": (
        f"set -e\nNAME=${{1:-x}}\nshift\n{SFT} --run_name $NAME\n",
        "decided behind --: $1",
        ["--", "x"],
    ),
    "what the script computes": (
        f"NOW=$(date +%s)\nDIR=out/$NOW\n{SFT} --output_dir $DIR --logging_dir $DIR/l\n",
        "decided by --set NAME=VALUE: NOW",
        ["--set", "NOW=5"],
    ),
    "what a test leaves open": (
        f"X=a\n[ -d saves ] && X=b\n{SFT} --output_dir $X\n",
        "decided by --set NAME=VALUE: X",
        ["--set", "X=b"],
    ),
    "what a loop counts": (
        f'D=out\nN=1\nwhile [ -d "$D" ]; do D=out_$N; N=$((N+1)); done\n{SFT} --output_dir $D\n',
        "decided by --set NAME=VALUE: D",
        ["--set", "D=out_5"],
    ),
    "a random number": (
        f"MASTER_PORT=$((20000 + RANDOM % 1000)) {SFT}\n",
        "decided by --set NAME=VALUE: MASTER_PORT",
        ["--set", "MASTER_PORT=20001"],
    ),
}


@pytest.mark.costly
@pytest.mark.parametrize(("script", "line", "options"), DECIDED.values(), ids=DECIDED)
def test_who_imports_decides(tmp_path: Path, script: str, line: str, options: list[str]) -> None:
    before = imported(tmp_path, {"script.sh": script})
    assert (before.status, before.says(line)) == (1, True), "\n".join(before.said)
    after = imported(tmp_path, {"script.sh": script}, options)
    assert after.status == 0, "\n".join(after.said)


def test_what_is_decided_is_said_and_not_exported(tmp_path: Path) -> None:
    script = f"NOW=$(date +%s)\nX=known\n{SFT} --output_dir out/$NOW --run_name $X\n"
    result = imported(tmp_path, {"script.sh": script}, ["--set", "NOW=5", "--set", "X=y"])
    assert result.says("script.sh: $NOW is taken to be 5; the script computes it")
    assert result.keys["training"] == {"output_dir": "out/5", "run_name": "known"}
    assert result.keys["env"] == {"set": {"X": "known"}}


@pytest.mark.parametrize("line", ["source f", "bash f", "export $(cat f | xargs)", "set -a; . ./f"])
def test_carriage_returns_are_a_difference(tmp_path: Path, line: str) -> None:
    """Bash passes them on, in a script as in the files that it reads."""
    (tmp_path / "f").write_bytes(b"A=1\r\n")
    result = imported(tmp_path, {"script.sh": f"{line}\n{SFT}\n"})
    assert result.says("f:1: difference: ends with a carriage return"), result.said
    assert result.verdict == "not proven: 1 difference"
    (tmp_path / "script.sh").write_bytes(f"{SFT}\r\n".encode())
    assert imported(tmp_path, {}, [str(tmp_path / "script.sh")]).status == 1


def test_flags_below_a_missing_backslash_are_a_trap_alone(tmp_path: Path) -> None:
    result = imported(tmp_path, {"script.sh": f"{SFT}\n--lora_rank 8 --seed 1 &\n"})
    assert result.says("script.sh:2: trap: is a command of its own, not a flag of swift")
    assert not result.says("runs beside this")


def test_what_is_only_printed_is_no_launch(tmp_path: Path) -> None:
    script = (
        'cmd="vllm serve some/model --port 8000"\necho $cmd | tr -s " "\n'
        'printf "%s\\n" swift sft --model m\necho "=== Serving ==="\neval $cmd\n'
    )
    result = imported(tmp_path, {"script.sh": script})
    assert result.verdict == "proven equal: 1 flag, 0 variables"
    assert not result.says("trap")


def test_a_learner_whose_arguments_are_in_a_file_is_no_server(tmp_path: Path) -> None:
    result = imported(tmp_path, {"script.sh": "swift rlhf not_here.yaml --max_steps 3\n"})
    assert result.keys["learner"]["name"] == "command"
    assert "role=learner" in result.text


def test_words_become_what_a_file_of_a_learner_needs(tmp_path: Path) -> None:
    """A command line is converted by its parser, a file is not."""
    line = "llamafactory-cli train --stage sft --packing False --fp16 TRUE --do_train"
    line += " --learning_rate 1e-5 --warmup_ratio .1 --num_train_epochs 3 --template qwen"
    keys = imported(tmp_path, {"script.sh": f"{line}\n"}).keys
    expected = {
        "stage": "sft", "packing": False, "fp16": True, "do_train": True,
        "learning_rate": 1e-5, "warmup_ratio": 0.1, "num_train_epochs": 3, "template": "qwen",
    }  # fmt: skip
    assert {key: keys.get(key) for key in expected} == expected


@pytest.mark.costly
@pytest.mark.parametrize("word", ["1.10", "1e3", "007", "5", "null", "True", '{"a": 1.10}', '"x"'])
def test_a_text_stays_as_it_is_whatever_it_looks_like(tmp_path: Path, word: str) -> None:
    script = f"{SFT} --run_name '{word}' --learning_rate 1.0e-6\n"
    result = imported(tmp_path, {"script.sh": script})
    assert result.keys["training"] == {"run_name": word, "learning_rate": 1e-6}, result.said
    assert result.status == 0, result.said


@pytest.mark.costly
@pytest.mark.parametrize(
    ("line", "part", "why"),
    [
        ("swift sft --model --dataset a", "learner", "--model has no value"),
        ("swift sft --model m --dataset a --max_steps", "learner", "--max_steps has no value"),
        ("swift rollout --model m --port", "engine", "--port has no value"),
        ("llamafactory-cli train --stage --do_train", "learner", "--stage has no value"),
        ("vllm serve", "engine", "vllm serve names no model"),
        ("vllm serve --port 8000", "engine", "vllm serve names no model"),
    ],
)
def test_a_value_that_is_missing_is_not_made_up(
    tmp_path: Path, line: str, part: str, why: str
) -> None:
    result = imported(tmp_path, {"script.sh": f"{line}\n"})
    assert result.says(f"is imported as a command: {why}"), result.said
    assert result.keys[part]["name"] == "command"


def test_what_the_shipped_entry_exports_is_said_as_added(tmp_path: Path) -> None:
    script = f"CUDA_VISIBLE_DEVICES=0,1 NPROC_PER_NODE=2 OMP_NUM_THREADS=1 {SFT} --output_dir o\n"
    result = imported(tmp_path, {"script.sh": script})
    assert result.says(
        "added by the launcher: config=runs/import/learner_arguments.yaml; gpus=0,1; program=sft;"
        " NCCL_ASYNC_ERROR_HANDLING=1; TORCH_NCCL_TRACE_BUFFER_SIZE=67108864;"
        " PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True; MASTER_PORT=what train.sh computes"
    ), result.said


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ("NPROC_PER_NODE=1", "no NPROC_PER_NODE: one process needs no torchrun"),
        ("NNODES=1", "no NNODES: one process needs no torchrun"),
    ],
)
def test_a_torchrun_of_one_process_is_left_out_and_said(
    tmp_path: Path, environ: str, said: str
) -> None:
    result = imported(tmp_path, {"script.sh": f"{environ} {SFT}\n"})
    assert result.verdict == "proven equal: 2 flags, 1 variable", result.said
    assert result.says(said), result.said


def test_an_environment_that_is_emptied_stays_empty(tmp_path: Path) -> None:
    result = imported(tmp_path, {"script.sh": f"export A=1\nenv -i B=2 {SFT}\n"})
    assert result.status == 0, result.said
    assert result.keys["learner"]["entry"] == ["env", "-i", "B=2", "swift"]


@pytest.mark.costly
@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("docker run --rm --gpus all my/image:1 python train.py --lr 1e-6", "learner"),
        ("docker run --gpus all -p 8000:8000 vllm/vllm-openai:v0.10 --model some/model", "engine"),
        ("singularity exec --nv image.sif swift sft --model some/model --dataset a", "learner"),
    ],
)
def test_a_container_is_a_command(tmp_path: Path, line: str, part: str) -> None:
    result = imported(tmp_path, {"script.sh": f"{line}\n"})
    assert result.status == 0, result.said
    assert result.keys[part]["name"] == "command"


@pytest.mark.parametrize(
    "line",
    ['eval "$(conda shell.bash hook)"', "source <(micromamba shell hook --shell bash)"],
)
def test_a_hook_of_conda_is_no_unknown(tmp_path: Path, line: str) -> None:
    result = imported(tmp_path, {"script.sh": f"{line}\nconda activate rl\n{SFT}\n"})
    assert result.status == 0, result.said


def test_an_end_that_is_not_reached_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell, "MOST_STEPS", 20)
    script = f"{SFT}\nfor i in {{1..9}}; do for j in {{1..9}}; do :; done; done\n"
    result = imported(tmp_path, {"script.sh": script})
    assert result.says("unknown: the script goes on for longer than it is followed")
    assert result.status == 1


def test_what_decides_nothing_is_no_unknown(tmp_path: Path) -> None:
    script = f"#SBATCH -N 1\nsource ~/.bashrc\nsource venv/bin/activate\n{SFT}\nsource after.sh\n"
    script += "f() { source ./env.sh; }\nf\n"
    result = imported(tmp_path, {"script.sh": script})
    assert result.status == 0, result.said
    assert not result.says("SBATCH")


def test_an_unknown_key_is_a_comment(tmp_path: Path) -> None:
    result = imported(tmp_path, {"script.sh": f"{SFT} --max_steps $1 --output_dir $OUT/x\n"})
    assert "  # max_steps: $1  # script.sh:1: --max_steps $1 is known only" in result.text
    assert result.says("decided by --set NAME=VALUE: OUT")
    assert result.says("decided behind --: $1")


def test_the_caller_decides_what_a_script_takes_from_outside(tmp_path: Path) -> None:
    script = f"{SFT} --max_steps $1 --output_dir $OUT/x\n"
    options = ["--set", "OUT=/data", "--", "20"]
    result = imported(tmp_path, {"script.sh": script}, options)
    assert result.keys["training"] == {"max_steps": 20, "output_dir": "/data/x"}
    assert result.status == 0


SECRETS = {
    "an export": (f"export WANDB_API_KEY=0123456789abcdef\n{SFT}\n", 0),
    "a prefix": (f"HF_TOKEN=hf_0123456789abcdef {SFT}\n", 0),
    "a flag": (f"{SFT} --hub_token hf_0123456789abcdef\n", 1),
    "a URL": (f"export HTTPS_PROXY=http://me:0123456789abcdef@proxy:8080\n{SFT}\n", 0),
    "of a server": ("vllm serve m --api-key 0123456789abcdef\n", 1),
    "of a command": ("torchrun train.py --hub_token 0123456789abcdef\n", 1),
}


@pytest.mark.costly
@pytest.mark.parametrize(("script", "status"), SECRETS.values(), ids=SECRETS)
def test_secrets_are_never_written_or_shown(tmp_path: Path, script: str, status: int) -> None:
    result = imported(tmp_path, {"script.sh": script})
    assert "0123456789abcdef" not in result.text + "\n".join(result.said)
    assert result.status == status, "\n".join(result.said)


@pytest.mark.parametrize(
    "line",
    [
        "wandb login SECRET",
        "wandb login --relogin SECRET",
        "KEY=SECRET; wandb login $KEY",
        "huggingface-cli login --token SECRET",
        "hf auth login --token=SECRET",
        "export WANDB_API_KEY=SECRET; python log_in.py --key $WANDB_API_KEY",
        "git clone https://me:SECRET@example.org/x.git",
        "docker run -e HF_TOKEN=SECRET x",
    ],
)
def test_a_secret_of_a_preparation_is_not_told(tmp_path: Path, line: str) -> None:
    script = f"{line.replace('SECRET', 'hf_abcdefgh')}\n{SFT}\n"
    result = imported(tmp_path, {"script.sh": script})
    assert "hf_abcdefgh" not in result.text + " ".join(result.said)
    assert result.status == 0


def test_variables_with_secrets_are_named(tmp_path: Path) -> None:
    result = imported(tmp_path, {"script.sh": SECRETS["an export"][0]})
    assert "export them: WANDB_API_KEY" in result.text
    assert result.says("to be exported by you: WANDB_API_KEY")


DIFFERENT = {
    "a process beside it": (
        f"python reward.py --port 9001 &\n{SFT}\n",
        "1: difference: runs beside this and is not imported, add it to services: python reward.py",
    ),
    "a script beside it": (
        f"nohup bash serve.sh > s.log &\n{SFT}\n",
        "1: difference: runs beside this and is not imported, add it to services: nohup bash",
    ),
    "a server script": (
        f"python vllm_serve.py --port 9001\n{SFT}\n",
        "1: difference: runs beside this and is not imported, add it to services: python vllm",
    ),
    "one process on two devices": (
        f"CUDA_VISIBLE_DEVICES=0,1 {SFT}\n",
        "script.sh:1: difference: starts 1 process on 2 devices",
    ),
    "another port": (
        f"swift rollout --model m --port 8001 &\n{GRPO}\n",
        "script.sh:1: difference: listens on port 8001, but the learner asks port 8000",
    ),
    "two directories": (
        f"(cd a && swift rollout --model m) &\ncd b && {GRPO}\n",
        "script.sh:2: difference: starts in b, the first one in a",
    ),
    "a variable in a command": (
        f'CMD="CUDA_VISIBLE_DEVICES=0 {SFT}"\n$CMD\n',
        "script.sh:2: difference: CUDA_VISIBLE_DEVICES=... comes of a variable, so it is no",
    ),
    "input": (f"{SFT} < answers.txt\n", "script.sh:1: difference: reads from answers.txt"),
}


@pytest.mark.costly
@pytest.mark.parametrize(("script", "line"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_the_launcher_does_otherwise_is_a_difference(
    tmp_path: Path, script: str, line: str
) -> None:
    result = imported(tmp_path, {"script.sh": script})
    assert result.says(line), "\n".join(result.said)
    assert result.status == 1
    assert result.verdict.startswith("not proven: ")


def test_a_directory_is_said_above_the_experiment(tmp_path: Path) -> None:
    result = imported(tmp_path, {"script.sh": f"cd /srv/project\n{SFT}\n"})
    assert "# Start it in /srv/project, as the script does." in result.text
    assert result.status == 0


def test_a_script_that_looks_beside_itself_says_where(tmp_path: Path) -> None:
    script = f'cd "$(dirname "$0")"\n{SFT} --output_dir out\n'
    result = imported(tmp_path, {"script.sh": script})
    assert (result.status, result.keys["training"]["output_dir"]) == (0, "out")
    assert result.says("looks for files beside itself: start the experiment in ")


@pytest.mark.parametrize(
    ("name", "said"),
    [("train", "config=train"), ("018", "\"config='018'\""), ("true", "\"config='true'\"")],
)
def test_a_name_is_said_as_it_has_to_be_typed(tmp_path: Path, name: str, said: str) -> None:
    text = imported(tmp_path, {f"{name}.sh": f"{SFT}\n"}).text
    assert f"python -m grpo_launch role=learner {said}\n" in text


def test_paths_are_absolute_where_the_script_moves(tmp_path: Path) -> None:
    script = f'HERE="$(cd "$(dirname "$0")" && pwd)"\ncd /work\n{SFT} --output_dir "$HERE/out"\n'
    result = imported(tmp_path, {"script.sh": script})
    output = tmp_path / "exp.yaml"
    imported(tmp_path, {"script.sh": script}, ["-o", str(output)])
    assert result.status == 0, result.said
    assert f"output_dir: {tmp_path}/out" in output.read_text()


def test_an_environment_that_is_entered_first_is_no_condition(tmp_path: Path) -> None:
    result = imported(tmp_path, {"script.sh": f"source venv/bin/activate && {SFT}\n"})
    assert (result.status, result.keys["runtime"]) == (0, {"kind": "venv", "path": "venv"})


def test_what_the_launcher_refuses_is_said(tmp_path: Path) -> None:
    result = imported(tmp_path, {"script.sh": "swift sft --model some/model\n"})
    assert result.says("role=check says: script.yaml: data.dataset: is not set")
    assert result.status == 0


MISTAKES = {
    "a script elsewhere": (
        {"script.sh": "srun -N 2 bash run.sh\n"},
        [],
        "trains; what line 1 starts is not read (srun -N 2 bash run.sh)",
    ),
    "no launch": ({"script.sh": "echo hello\n"}, [], "starts nothing that serves or trains"),
    "arguments": (
        {"script.sh": f"[ $# -lt 1 ] && exit 1\n{SFT} --max_steps $1\n"},
        [],
        "ends in line 1 before it starts anything (exit 1)",
    ),
    "an option": ({"script.sh": SFT}, ["--sett", "A=1"], "is no option of import"),
    "a variable": ({"script.sh": SFT}, ["--set", "A"], "'A' sets no variable"),
    "a value": ({"script.sh": SFT}, ["--set"], "needs a value"),
    "a line": ({"script.sh": SFT}, ["--line", "9"], "has no launch that begins in line 9"),
    "a file of others": ({"a.yaml": "kind: Service\n"}, [], "holds no arguments of a learner"),
    "a list": ({"a.yaml": "- 1\n"}, [], "is no mapping"),
    "bad YAML": ({"a.yaml": "a: [\n"}, [], "malformed YAML"),
    "bad bash": ({"script.sh": "if true\n"}, [], "script.sh:1"),
}


@pytest.mark.parametrize(("scripts", "options", "what"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(
    tmp_path: Path, scripts: dict[str, str], options: list[str], what: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        imported(tmp_path, scripts, options)
    (line,) = caught.value.lines()
    assert what in line
    assert caught.value.status == 2


@pytest.mark.slow
def test_a_file_is_not_written_over(tmp_path: Path) -> None:
    output = tmp_path / "made" / "exp.yaml"
    options = ["-o", str(output)]
    first = imported(tmp_path, {"script.sh": SFT}, options)
    assert (first.status, first.text) == (0, "")
    assert "config=exp" in output.read_text()
    with pytest.raises(ConfigError, match="exists already"):
        imported(tmp_path, {"script.sh": SFT}, options)
    assert imported(tmp_path, {"script.sh": SFT}, [*options, "--force"]).status == 0


def test_ports_that_the_launcher_chooses_are_among_what_it_adds(tmp_path: Path) -> None:
    server = "CUDA_VISIBLE_DEVICES=0 swift rollout --model m --port 8000 &\n"
    result = imported(tmp_path, {"s.sh": f"{server}CUDA_VISIBLE_DEVICES=1 {GRPO}\n"})
    added = next(line for line in result.said if line.startswith("added by the launcher: "))
    for chosen in ("VLLM_PORT=30000", "--vllm_server_group_port 28500", "MASTER_PORT=29500"):
        assert chosen in added
    assert result.status == 0


def test_a_port_that_the_script_says_is_kept(tmp_path: Path) -> None:
    server = "VLLM_PORT=31000 CUDA_VISIBLE_DEVICES=0 swift rollout --model m --port 8000 &\n"
    learner = f"MASTER_PORT=29600 CUDA_VISIBLE_DEVICES=1 {GRPO} --vllm_server_group_port 51216\n"
    result = imported(tmp_path, {"s.sh": server + learner})
    assert result.status == 0, result.said
    added = next(line for line in result.said if line.startswith("added by the launcher: "))
    assert "PORT=" not in added
    assert "group_port" not in added


DECIDED = {
    "a program": (
        "if command -v uv >/dev/null; then C='uv run swift'; else C=swift; fi\n$C sft --model m",
        {True: ["uv", "run", "swift"], False: None},
    ),
    "items": (
        'if command -v uv; then C=(uv run swift); else C=(swift); fi\n"${C[@]}" sft --model m',
        {True: ["uv", "run", "swift"], False: None},
    ),
    "which launch": (
        "if [ -d x ]; then nice swift sft --model m; else swift sft --model m; fi",
        {True: ["nice", "swift"], False: None},
    ),
}


@pytest.mark.costly
@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize(("script", "entries"), DECIDED.values(), ids=DECIDED)
def test_who_imports_decides_on_a_condition(
    tmp_path: Path, script: str, entries: dict[bool, list[str] | None], holds: bool
) -> None:
    before = imported(tmp_path, {"script.sh": f"{script}\n"})
    assert before.says("decided by --true LINE or --false LINE: 1"), before.said
    assert before.status == 1
    option = "--true" if holds else "--false"
    result = imported(tmp_path, {"script.sh": f"{script}\n"}, [option, "1"])
    assert result.keys["learner"].get("entry") == entries[holds], result.text
    assert result.says(f"script.sh:1: is taken {'' if holds else 'not '}to hold"), result.said
    assert result.status == 0, result.said


def test_a_condition_on_the_caller_is_decided_by_its_variable(tmp_path: Path) -> None:
    script = f'if [ "$A" = 1 ]; then {SFT}; fi\n'
    result = imported(tmp_path, {"script.sh": script})
    assert result.says("decided by --set NAME=VALUE: A"), result.said
    assert not result.says("--true"), result.said
