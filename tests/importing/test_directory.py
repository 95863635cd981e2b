"""``-o DIRECTORY/``: an experiment for each training, each with its messages and its verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpo_launch.errors import ConfigError
from tests.importing.imports import Imported, imported

SFT = "swift sft --model m --dataset a"

STAGES = """\
#!/bin/bash
export WANDB_PROJECT=${WANDB_PROJECT:-games}
mkdir -p out
CUDA_VISIBLE_DEVICES=0 swift sft --model some/model --dataset a --output_dir out/sft
python merge.py out/sft
CUDA_VISIBLE_DEVICES=1 swift rollout --model out/sft --port 8000 &
sleep 60
for seed in 1 2; do
  CUDA_VISIBLE_DEVICES=0 swift rlhf --rlhf_type grpo --model out/sft --dataset b --seed $seed \\
    --use_vllm true --vllm_mode server --vllm_server_host 127.0.0.1 --vllm_server_port 8000 \\
    --reward_funcs format --output_dir out/grpo_$seed
done
python report.py
"""

SAID = """\
out/stages_4.yaml:
  stages.sh: $WANDB_PROJECT is taken to be its default, games
  stages.sh:3: not imported, run it yourself before: mkdir -p out
  added by the launcher: ...
  proven equal: 3 flags, 2 variables
out/stages_9_1.yaml:
  stages.sh: $WANDB_PROJECT is taken to be its default, games
  stages.sh: its waiting is left out: the learner starts when the server is ready
  stages.sh:3: not imported, run it yourself before: mkdir -p out
  stages.sh:5: not imported, run it yourself before: python merge.py out/sft
  stages.sh:6: swift rollout is started by stages_9_2 as well
  added by the launcher: ...
  proven equal: 12 flags, 4 variables
out/stages_9_2.yaml:
  stages.sh: $WANDB_PROJECT is taken to be its default, games
  stages.sh:3: not imported, run it yourself before: mkdir -p out
  stages.sh:6: swift rollout is started by stages_9_1 as well
  stages.sh:13: not imported, run it yourself afterwards: python report.py
  added by the launcher: ...
  proven equal: 12 flags, 4 variables
3 experiments, all proven equal; the script starts them one after the other, in this order
"""

SECOND = """\
# From stages.sh, by grpo-launch import.
# 2 of 3 of stages.sh: the script starts it after the end of stages_4.
#
#   python -m grpo_launch role=both config=stages_9_1
#
# Notes:
#   stages.sh: $WANDB_PROJECT is taken to be its default, games
#   stages.sh: its waiting is left out: the learner starts when the server is ready
#   stages.sh:3: not imported, run it yourself before: mkdir -p out
#   stages.sh:5: not imported, run it yourself before: python merge.py out/sft
#   stages.sh:6: swift rollout is started by stages_9_2 as well

runtime: current

model:
  model: out/sft

data:
  dataset: b

training:
  seed: 1
  output_dir: out/grpo_1

rlhf:
  use_vllm: true
  vllm_mode: server
  vllm_server_host: 127.0.0.1
  vllm_server_port: 8000
  reward_funcs: format

gpus:
  server: [1]
  learner: [0]

env:
  defaults:
    WANDB_PROJECT: games
"""


def in_directory(path: Path, text: str, *options: str) -> Imported:
    return imported(path, {"run.sh": text}, ["-o", f"{path}/out/", *options])


def files(path: Path) -> list[str]:
    return sorted(file.name for file in (path / "out").iterdir())


@pytest.mark.slow
def test_each_training_is_a_file(tmp_path: Path) -> None:
    result = imported(tmp_path, {"stages.sh": STAGES}, ["-o", f"{tmp_path}/out/"])
    said = [
        "  added by the launcher: ..." if line.startswith("  added by") else line
        for line in result.said
    ]
    assert "\n".join(said) + "\n" == SAID
    assert (result.status, result.text) == (0, "")
    assert files(tmp_path) == ["stages_4.yaml", "stages_9_1.yaml", "stages_9_2.yaml"]
    text = (tmp_path / "out" / "stages_9_1.yaml").read_text()
    assert text.replace(f"{tmp_path}/", "") == SECOND


def test_one_training_is_the_file_that_it_is_alone(tmp_path: Path) -> None:
    result = in_directory(tmp_path, SFT)
    assert result.verdict == "1 experiment, proven equal"
    assert files(tmp_path) == ["run.yaml"]
    output = tmp_path / "other" / "run.yaml"
    imported(tmp_path, {"run.sh": SFT}, ["-o", str(output)])
    assert output.read_text() == (tmp_path / "out" / "run.yaml").read_text()


@pytest.mark.slow
def test_what_is_not_proven_is_named(tmp_path: Path) -> None:
    result = in_directory(tmp_path, f"{SFT} &\n{SFT} --output_dir $OUT &\n{SFT} &\n")
    assert result.status == 1
    assert result.verdict == (
        "3 experiments, 2 proven equal, not proven: out/run_2.yaml; "
        "the script starts them side by side"
    )
    assert result.says("  run.sh:2: unknown: --output_dir $OUT is known only")
    assert files(tmp_path) == ["run_1.yaml", "run_2.yaml", "run_3.yaml"]


def test_all_files_are_written_or_none(tmp_path: Path) -> None:
    script = f"{SFT}\n{SFT}\n"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run_2.yaml").write_text("mine")
    with pytest.raises(ConfigError, match=r"run_2.yaml: exists already"):
        in_directory(tmp_path, script)
    assert files(tmp_path) == ["run_2.yaml"]
    assert in_directory(tmp_path, script, "--force").status == 0
    assert "mine" not in (tmp_path / "out" / "run_2.yaml").read_text()


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_file_is_no_directory(tmp_path: Path, force: list[str]) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ConfigError, match="out: is no directory, choose another one"):
        in_directory(tmp_path, SFT, *force)
    assert (tmp_path / "out").read_text() == "mine"


def test_a_directory_that_exists_needs_no_slash(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    result = imported(tmp_path, {"run.sh": SFT}, ["-o", f"{tmp_path}/out"])
    assert (result.status, files(tmp_path)) == (0, ["run.yaml"])


@pytest.mark.slow
def test_a_line_chooses_its_experiments(tmp_path: Path) -> None:
    script = f"{SFT}\nfor i in 0 1; do\n  {SFT} --seed $i\ndone\n"
    result = in_directory(tmp_path, script, "--line", "3")
    assert result.verdict == "2 experiments, all proven equal"
    assert files(tmp_path) == ["run_3_1.yaml", "run_3_2.yaml"]
    assert "# 3 of 3 of " in (tmp_path / "out" / "run_3_2.yaml").read_text()
    with pytest.raises(ConfigError, match="has no launch that begins in line 9"):
        in_directory(tmp_path, script, "--line", "9", "--force")


def test_where_one_file_cannot_hold_all_the_directory_is_named(tmp_path: Path) -> None:
    script = f"{SFT}\nfor i in 0 1; do\n  {SFT} --seed $i\ndone\n"
    result = imported(tmp_path, {"run.sh": script})
    what = "difference: swift sft is not in this experiment, which holds one learner"
    assert [line for line in result.said if "difference: " in line] == [
        f"run.sh:1: {what}: -o DIRECTORY/ writes one for each, --line 1 imports it by itself",
        f"run.sh:3: {what}: -o DIRECTORY/ writes one for each",
    ]


BESIDES: dict[str, tuple[str, dict[str, list[str]]]] = {
    "what is not read counts for what comes behind it": (
        f"{SFT}\nsource ./env.sh\n{SFT}\n",
        {"run_1": [], "run_3": ["2: unknown: is not read"]},
    ),
    "what is not read before a loop counts for all rounds": (
        f"for i in 0 1; do\n{SFT}\nsource ./env.sh\ndone\n",
        {"run_2_1": [], "run_2_2": ["3: unknown: is not read"]},
    ),
    "what is not read at the end": (
        f"{SFT}\n{SFT}\nsource ./env.sh\n",
        {"run_1": [], "run_2": ["3: is not read"]},
    ),
    "a comment belongs to what is below it": (
        f"# {SFT} --seed 1\n{SFT}\n# {SFT} --seed 2\n{SFT}\n# {SFT} --seed 3\n",
        {"run_2": ["1: looks like"], "run_4": ["3: looks like", "5: looks like"]},
    ),
    "a branch needs no preparation of another one": (
        f"if [ -d x ]; then\npython a.py\n{SFT}\nelse\npython b.py\n{SFT}\nfi\n",
        {"run_3": ["before: python a.py"], "run_6": ["before: python b.py"]},
    ),
    "preparation of all, of one, and a last step": (
        f"pip install x\n{SFT}\npython a.py\n{SFT}\npython b.py\n",
        {
            "run_2": ["1: not imported, run it yourself before: pip"],
            "run_4": ["before: pip", "3: not imported, run it yourself before", "afterwards"],
        },
    ),
    "waiting between trainings": (
        f"{SFT} &\nwait\nsleep 60\n{SFT}\n",
        {"run_1": [], "run_4": ["its waiting is left out"]},
    ),
    "the end of all": (
        f"{SFT} &\n{SFT} &\nwait\n",
        {"run_1": [], "run_2": []},
    ),
}


OTHERWISE = ("names no devices", "starts only if", "yourself before: source", "afterwards: source")


@pytest.mark.costly
@pytest.mark.parametrize(("script", "told"), BESIDES.values(), ids=BESIDES)
def test_what_a_script_does_besides_is_told_where_it_matters(
    tmp_path: Path, script: str, told: dict[str, list[str]]
) -> None:
    result = in_directory(tmp_path, script)
    found: dict[str, list[str]] = {}
    for line in result.said[:-1]:
        if not line.startswith(" "):
            found[Path(line).stem] = []
        elif "run.sh" in line and not any(what in line for what in OTHERWISE):
            found[[*found][-1]].append(line)
    assert [*found] == [*told]
    for name, lines in told.items():
        assert len(found[name]) == len(lines), found
        assert all(what in line for what, line in zip(lines, sorted(found[name]), strict=True))


@pytest.mark.slow
def test_a_trace_is_told_of_the_launches_that_differ(tmp_path: Path) -> None:
    (tmp_path / "env.sh").write_text("export A=1\n")  # only the script is copied
    result = in_directory(tmp_path, f"{SFT}\nsource ./env.sh\n{SFT} --seed 2\n", "--trace")
    assert result.says("  run.sh:3: difference: A was not set when it was called")
    assert result.verdict.startswith("2 experiments, 1 proven equal, not proven: out/run_3.yaml")
