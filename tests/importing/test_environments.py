"""Which environment, directory and variables a launch has, whatever shell starts it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.importing.imports import imported

SFT = "swift sft --model some/model --dataset a"
SERVER = "vllm serve some/model --port 8000"
GRPO = (
    "swift rlhf --rlhf_type grpo --model some/model --dataset a --reward_funcs format"
    " --use_vllm true --vllm_mode server --vllm_server_host 127.0.0.1 --vllm_server_port 8000"
)
CURRENT = {"kind": "current"}


def conda(name: str) -> dict[str, str]:
    return {"kind": "conda", "name": name}


def venv(path: str) -> dict[str, str]:
    return {"kind": "venv", "path": path}


RUNTIMES: dict[str, tuple[str, Any]] = {
    "a venv": (f"source .venv/bin/activate\n{SFT}", venv(".venv")),
    "a venv of another directory": (f"source .v/bin/activate\ncd x/y\n{SFT}", venv("../../.v")),
    "a venv in another directory": (f"cd x\n. .venv/bin/activate\n{SFT}", venv(".venv")),
    "an absolute one": (f"source /opt/a/bin/activate\ncd x\n{SFT}", venv("/opt/a")),
    "conda": (f"conda activate rl\n{SFT}", conda("rl")),
    "conda's base": (f"conda activate\n{SFT}", conda("base")),
    "conda's old way": (f"source activate rl\n{SFT}", conda("rl")),
    "conda's old way by its path": (f"source /opt/conda/bin/activate rl\n{SFT}", conda("rl")),
    "a directory of conda": (f"conda activate ./env\ncd x\n{SFT}", venv("../env")),
    "conda's own script": (
        f"source $(conda info --base)/etc/profile.d/conda.sh\nconda activate rl\n{SFT}",
        conda("rl"),
    ),
    "left again": (f"source .venv/bin/activate\ndeactivate\n{SFT}", "current"),
    "conda left again": (f"conda activate rl\nconda deactivate\n{SFT}", "current"),
    "left for the second half": (
        f"source /opt/a/bin/activate\n{SERVER} &\ndeactivate\n{GRPO}",
        {"server": venv("/opt/a"), "learner": CURRENT},
    ),
    "in a subshell": (
        f"(conda activate vllm && {SERVER}) &\n{GRPO}",
        {"server": conda("vllm"), "learner": CURRENT},
    ),
    "in a subshell of one that has another": (
        f"conda activate rl\n(conda activate vllm; {SERVER}) &\n{GRPO}",
        {"server": conda("vllm"), "learner": conda("rl")},
    ),
    "in the background": (
        f"{{ source a/bin/activate; {SERVER}; }} &\nsource b/bin/activate\n{GRPO}",
        {"server": venv("a"), "learner": venv("b")},
    ),
    "in a text": (
        f"bash -c 'source a/bin/activate; {SERVER}' &\n{GRPO}",
        {"server": venv("a"), "learner": CURRENT},
    ),
    "of a text": (f"conda run -n rl /bin/bash -c '{SFT}'", conda("rl")),
    "of a text in another one": (f"conda activate rl\n/bin/bash -c 'cd x; {SFT}'", conda("rl")),
    "where it is there": (f"[ -f a/bin/activate ] && source a/bin/activate\n{SFT}", venv("a")),
    "in both branches": (
        f"if [ -d x ]; then conda activate rl; else conda activate rl; fi\n{SFT}",
        conda("rl"),
    ),
    "terminals": (
        "\n".join(
            f"tmux send-keys -t {target} '{text}' C-m"
            for target, text in (
                ("a", "conda activate vllm"),
                ("b", "source b/bin/activate"),
                ("a", SERVER),
                ("b", GRPO),
            )
        ),
        {"server": conda("vllm"), "learner": venv("b")},
    ),
}


@pytest.mark.costly
@pytest.mark.parametrize(("script", "runtime"), RUNTIMES.values(), ids=RUNTIMES)
def test_a_launch_is_in_the_environment_of_its_shell(
    tmp_path: Path, script: str, runtime: Any
) -> None:
    result = imported(tmp_path, {"script.sh": f"{script}\n"})
    assert result.keys["runtime"] == runtime, result.text
    assert result.status == 0, result.said


UNKNOWN = {
    "its name": (f"conda activate $RL\n{SFT}", "the environment $RL is known only when"),
    "its directory": (f"source $V/bin/activate\n{SFT}", "the environment $V is known only when"),
    "which branch": (
        f"if [ -d x ]; then conda activate a; else source b/bin/activate; fi\n{SFT}",
        "the environment a or b is known only when the script runs",
    ),
    "whether it is another one": (
        f"conda activate a\n[ -d x ] && conda activate b\n{SFT}",
        "the environment a or b is known only when the script runs",
    ),
    "where it lies": (
        f"source a/bin/activate\ncd /x\n{SFT}",
        "the environment a as seen from /x is known only when the script runs",
    ),
}


@pytest.mark.costly
@pytest.mark.parametrize(("script", "said"), UNKNOWN.values(), ids=UNKNOWN)
def test_an_environment_that_is_not_known_is_said(tmp_path: Path, script: str, said: str) -> None:
    result = imported(tmp_path, {"script.sh": f"{script}\n"})
    assert result.says(said), result.said
    assert result.status == 1


def test_whoever_imports_decides_on_an_environment(tmp_path: Path) -> None:
    script = f"conda activate $RL\n{SFT}\n"
    result = imported(tmp_path, {"script.sh": script})
    assert result.says("decided by --set NAME=VALUE: RL")
    assert result.keys["runtime"] == {"kind": "conda", "name": "${oc.env:RL}"}
    assert imported(tmp_path, {"script.sh": script}, ["--set", "RL=x"]).status == 0


def test_what_is_typed_into_a_terminal_holds_for_what_is_typed_next(tmp_path: Path) -> None:
    typed = ("cd proj", "export CUDA_VISIBLE_DEVICES=2,3 NPROC_PER_NODE=2 A=1", f"{SFT}")
    script = "\n".join(["tmux new-session -d -s a", *(f"tmux send -t a '{x}' C-m" for x in typed)])
    result = imported(tmp_path, {"script.sh": f"{script}\n"})
    assert result.keys["gpus"] == {"learner": [2, 3]}
    assert result.keys["env"] == {"set": {"A": "1"}}
    assert "Start it in proj" in result.text
    assert not result.says("not imported"), result.said
    assert result.status == 0


@pytest.mark.parametrize(
    "around", ["tmux new-session -d '{}'", "screen -dmS x bash -c '{}'", "/bin/bash -c '{}'"]
)
def test_a_text_runs_where_its_shell_does(tmp_path: Path, around: str) -> None:
    script = f"cd proj\nA=1\nexport A\n{around.format(SFT)}\n"
    result = imported(tmp_path, {"script.sh": script})
    assert "Start it in proj" in result.text
    assert result.keys["env"] == {"set": {"A": "1"}}
    assert result.status == 0, result.said


def test_a_terminal_is_given_its_directory_and_variables(tmp_path: Path) -> None:
    line = f"tmux new-session -d -c /data/x -e CUDA_VISIBLE_DEVICES=3 -e A=1 '{SFT}'"
    result = imported(tmp_path, {"script.sh": f"{line}\n"})
    assert result.says("start the experiment in /data/x"), result.said
    assert result.keys["gpus"] == {"learner": [3]}
    assert result.keys["env"] == {"set": {"A": "1"}}
    assert result.status == 0


@pytest.mark.parametrize("options", ["-C proj", "--chdir=proj", "-S 'A=1 B=2'"])
def test_what_env_does_besides_stays(tmp_path: Path, options: str) -> None:
    result = imported(tmp_path, {"script.sh": f"env {options} {SFT}\n"})
    assert result.keys["learner"]["entry"] == ["env", *shlex.split(options), "swift"]
    assert result.status == 0, result.said


def test_scripts_that_look_beside_themselves_lie_in_one_directory(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    scripts = {f"{name}/{name}.sh": f'cd "$(dirname "$0")"\n{line}\n'
               for name, line in (("a", SERVER), ("b", GRPO))}  # fmt: skip
    result = imported(tmp_path, scripts)
    assert result.says("the launcher starts both in one directory"), result.said
    assert result.status == 1


def test_a_text_has_the_variables_of_its_shell(tmp_path: Path) -> None:
    line = f"env CUDA_VISIBLE_DEVICES=3 A=1 bash -c '{SFT}'"
    result = imported(tmp_path, {"script.sh": f"{line}\n"})
    assert result.keys["gpus"] == {"learner": [3]}
    assert result.keys["env"] == {"set": {"A": "1"}}
    assert result.status == 0, result.said


DIRECTORIES = {
    "known": (f"cd proj\n{SFT}", "start the experiment in proj", 0),
    "of the caller": (f"cd $PROJ/x\n{SFT}", "unknown: starts in $PROJ/x, which is known only", 1),
    "at home": (f"cd ~/x\n{SFT}", "start the experiment in ~/x", 0),
    "computed": (
        f"cd $(git rev-parse)\n{SFT}",
        "starts in $(git rev-parse), which is known only",
        1,
    ),
    "of a command": ("cd $PROJ\ntorchrun train.py", "the directory $PROJ is known only when", 1),
    "of a command, computed": ("cd $(x)\ntorchrun train.py", "unknown: starts in $(x)", 1),
}


@pytest.mark.costly
@pytest.mark.parametrize(("script", "said", "status"), DIRECTORIES.values(), ids=DIRECTORIES)
def test_where_it_starts_is_said(tmp_path: Path, script: str, said: str, status: int) -> None:
    result = imported(tmp_path, {"script.sh": f"{script}\n"})
    assert result.says(said), result.said
    assert result.status == status, result.said


def test_a_directory_of_the_caller_is_a_key_of_a_command(tmp_path: Path) -> None:
    result = imported(tmp_path, {"script.sh": "cd $PROJ/x\ntorchrun train.py\n"})
    assert result.keys["train"]["cwd"] == "${oc.env:PROJ}/x"
    assert result.says("decided by --set NAME=VALUE: PROJ")


UNSET = {
    "of the caller": ("unset http_proxy https_proxy", ["http_proxy", "https_proxy"]),
    "of one command": ("env -u http_proxy {}", ["http_proxy"]),
    "set again": ("unset http_proxy\nexport http_proxy=x", []),
    "what the launcher says": ("unset CUDA_VISIBLE_DEVICES NPROC_PER_NODE", []),
    "for another bash": ("unset http_proxy\n/bin/bash -c '{}'", ["http_proxy"]),
}


@pytest.mark.costly
@pytest.mark.parametrize(("script", "names"), UNSET.values(), ids=UNSET)
def test_what_is_unset_does_not_come_from_the_caller(
    tmp_path: Path, script: str, names: list[str]
) -> None:
    script = script.format(SFT) if "{}" in script else f"{script}\n{SFT}"
    result = imported(tmp_path, {"script.sh": f"{script}\n"})
    entry = ["env", *(word for name in names for word in ("-u", name)), "swift"]
    assert result.keys["learner"].get("entry") == (entry if names else None), result.text
    assert not result.says("-u "), result.said
    assert result.status == 0, result.said


def test_what_every_environment_has_is_taken_from_there(tmp_path: Path) -> None:
    script = f"export HF_HOME=~/hf\nsource ~/venv/bin/activate\n{SFT} --output_dir $HOME/o\n"
    result = imported(tmp_path, {"script.sh": script})
    assert result.keys["runtime"] == {"kind": "venv", "path": "${oc.env:HOME}/venv"}
    assert result.verdict == "proven equal: 3 flags, 1 variable", result.said
    assert "HOME" not in result.said
    assert "# Export" not in result.text
