"""What only the caller's variables leave open is written as ``${oc.env:X}``, and compared."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from grpo_launch.bash.state import ALWAYS_EXPORTED
from grpo_launch.config import compose
from grpo_launch.errors import ConfigError
from grpo_launch.importing import callers, command, files, options
from grpo_launch.importing import proof as proving
from tests.importing.imports import Imported, imported

SFT = "swift sft --model some/model --dataset a"
GRPO = (
    "CUDA_VISIBLE_DEVICES=1 swift rlhf --rlhf_type grpo --model m --dataset a --reward_funcs format"
    " --use_vllm true --vllm_mode server --vllm_server_host 127.0.0.1 --vllm_server_port 8000"
)

WRITTEN: dict[str, tuple[str, dict[str, Any]]] = {
    "a flag": (f"{SFT} --output_dir $OUT\n", {"train.training.output_dir": "${oc.env:OUT}"}),
    "a part": (f"{SFT} --output_dir=$A/${{B}}_c\n",
               {"train.training.output_dir": "${oc.env:A}/${oc.env:B}_c"}),
    "a home": (f"{SFT} --output_dir ~/out\n",
               {"train.training.output_dir": "${oc.env:HOME}/out"}),
    "a message": (f'{SFT} --output_dir "${{OUT:?say where}}"\n',
                  {"train.training.output_dir": "${oc.env:OUT}"}),
    "another variable": (f"D=$BASE/d; {SFT} --output_dir $D\n",
                         {"train.training.output_dir": "${oc.env:BASE}/d"}),
    "an item": (f"{SFT} $A.jsonl \"$B\" --seed 1\n",
                {"train.data.dataset": ["a", "${oc.env:A}.jsonl", "${oc.env:B}"]}),
    "items": (f"{SFT} --external_plugins $A $B\n",
              {"train.data.external_plugins": ["${oc.env:A}", "${oc.env:B}"]}),
    "a number": (f"{SFT} --lora_rank $R --run_name r$R\n",
                 {"train.tuner.lora_rank": "${oc.decode:${oc.env:R}}",
                  "train.training.run_name": "r${oc.env:R}"}),
    "a number of the server": (
        f"CUDA_VISIBLE_DEVICES=0 swift rollout --model m --vllm_max_model_len $L &\n{GRPO}\n",
        {"rollout_server.vllm_max_model_len": "${oc.decode:${oc.env:L}}"}),
    "a positional": ('vllm serve "$M" --gpu-memory-utilization $U\n',
                     {"rollout_server.model": "${oc.env:M}",
                      "rollout_server.gpu_memory_utilization": "${oc.decode:${oc.env:U}}"}),
    "a program": ('"$VENV/bin/python" -m swift.cli.sft --model m --dataset a\n',
                  {"learner.entry": ["${oc.env:VENV}/bin/python", "-m", "swift.cli.main"]}),
    "another learner": (
        "llamafactory-cli train --stage sft --dataset $D --learning_rate $LR\n",
        {"train.dataset": "${oc.env:D}",
         "train.learning_rate": "${oc.decode:${oc.env:LR}}"}),
    "words of a command": (
        "torchrun --nnodes=$N train.py data=$HOME/d --x $X -t 1e-5 '{y}'\n",
        {"train.argv": ["torchrun", "--nnodes=${oc.env:N}", "train.py", "data=${oc.env:HOME}/d",
                        "--x", "${oc.env:X}", "-t", "1e-5", "{{y}}"]}),
    "a service": (
        f'J=$J/x vllm serve "$M" --max-loras $C &\nswift rollout --model m &\n{GRPO}\n',
        {"services.vllm.argv": ["vllm", "serve", "${oc.env:M}", "--max-loras", "${oc.env:C}"],
         "services.vllm.env.J": "${oc.env:J,''}/x"}),
    "an export": (f"export HF_HOME=$HOME/hf\n{SFT}\n",
                  {"env.set.HF_HOME": "${oc.env:HOME}/hf"}),
    "an export that may be set": (f"export HF_HOME=${{HF_HOME:-$HOME/hf}}\n{SFT}\n",
                                  {"env.defaults.HF_HOME": "${oc.env:HOME}/hf"}),
    "more of an export": (f"export PYTHONPATH=.:$PYTHONPATH\n{SFT}\n",
                          {"env.set.PYTHONPATH": ".:${oc.env:PYTHONPATH,''}"}),
    "dollars that are text": (f"{SFT} --output_dir $O --system '${{x}} \\${{y}} \\'$S\n",
                              {"train.template.system": r"\${x} \\\${y} \\${oc.env:S}"}),
}  # fmt: skip


def at(result: Imported, key: str) -> Any:
    node: Any = result.keys
    for name in key.split("."):
        node = node.get(name) if isinstance(node, dict) else None
    return node


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize(("script", "keys"), WRITTEN.values(), ids=WRITTEN)
def test_a_variable_of_the_caller_is_an_interpolation(
    tmp_path: Path, script: str, keys: dict[str, Any]
) -> None:
    result = imported(tmp_path, {"script.sh": script})
    assert {key: at(result, key) for key in keys} == keys, result.text
    assert not result.says("difference: "), result.said
    assert result.text.startswith("# @package _global_\n")
    names = set(re.findall(r"oc\.env:(\w+)", result.text))
    for name in names - ALWAYS_EXPORTED:
        exported = f"is known only when the script runs: exported as {name}"
        two = rf"is known only when the script runs: exported as (\w+ and )*{name}( and \w+)* when"
        assert result.says(exported) or any(re.search(two, line) for line in result.said)
        assert any(re.search(rf"decided by --set .*\b{name}\b", line) for line in result.said)
    verdict = (0, "proven equal") if names <= ALWAYS_EXPORTED else (1, "not proven: ")
    assert (result.status, result.verdict[:12]) == verdict


LEFT = {
    "a secret": f"{SFT} --foo $HF_TOKEN\n",
    "a login": f"HTTPS_PROXY=http://me:$PW@proxy {SFT}\n",
    "words": f"{SFT} $MORE\n",
    "flags behind a flag": f"{SFT} --bf16 $EXTRA_ARGS\n",
    "a truth": f"{SFT} --bf16 $BF16\n",
    "a port": f"{GRPO} --vllm_server_port $PORT\n",
    "a host": f"{GRPO} --vllm_server_host $HOST\n",
    "a size": "vllm serve m -tp $TP\n",
    "devices": f"CUDA_VISIBLE_DEVICES=$GPUS {SFT}\n",
    "processes": f"NPROC_PER_NODE=$N {SFT}\n",
    "a part of a variable": f"{SFT} --output_dir ${{OUT%/}}\n",
    "an array": f'{SFT} --output_dir "${{OUT[@]}}"\n',
    "a command": f"{SFT} --output_dir $OUT/$(date +%F)\n",
    "arithmetic": f"{SFT} --max_steps $((STEPS * 2))\n",
    "the port of a command": "sglang serve --model-path m --port $PORT\n",
    "words of a command": "python train.py --out $OUT $MORE\n",
    "an environment": f"conda run -n $ENV {SFT}\n",
    "a variable as it is": f"export A=$A B=$A\nunset B\n{SFT}\n",
}


@pytest.mark.costly
@pytest.mark.parametrize("script", LEFT.values(), ids=LEFT)
def test_everything_else_stays_a_comment(tmp_path: Path, script: str) -> None:
    result = imported(tmp_path, {"script.sh": script})
    assert "oc.env" not in result.text
    assert "@package" not in result.text
    assert not result.says("exported as")


def written(tmp_path: Path, script: str) -> Path:
    path = tmp_path / "exp.yaml"
    imported(tmp_path, {"script.sh": script}, ["-o", str(path)])
    return path


@pytest.mark.slow
def test_it_runs_with_the_variables_of_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        f"export PYTHONPATH=.:$PYTHONPATH\n{SFT} --output_dir $OUT/x --lora_rank $R "
        "--learning_rate $LR --system 'a ${b}'\n"
    )
    path = written(tmp_path, script)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    for name, value in {"OUT": "/my ${data}", "R": "16", "LR": "1e-6"}.items():
        monkeypatch.setenv(name, value)
    config = compose.compose(str(path), ["role=learner"])
    assert config.train["training"] == {"output_dir": "/my ${data}/x", "learning_rate": 1e-6}
    assert config.train["tuner"] == {"lora_rank": 16}
    assert config.train["template"] == {"system": "a ${b}"}
    assert config.env.set == {"PYTHONPATH": ".:"}


MISSING = {
    "a flag": (f"{SFT} --output_dir $OUT/x\n", "train.training.output_dir", "OUT"),
    "a number": (f"{SFT} --lora_rank $R\n", "train.tuner.lora_rank", "R"),
    "an export": (f"export HF_HOME=$HF/hf\n{SFT}\n", "env.set.HF_HOME", "HF"),
    "a word": ("torchrun train.py --x $X\n", "train.argv[3]", "X"),
    "a typed key": (
        "vllm serve m --max-model-len $L\n", "rollout_server.max_model_len", "L"),
}  # fmt: skip


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize(("script", "key", "name"), MISSING.values(), ids=MISSING)
def test_a_variable_that_is_not_exported_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, key: str, name: str
) -> None:
    path = written(tmp_path, script)
    monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError) as caught:
        compose.compose(str(path), ["role=check"])
    (line,) = caught.value.lines()
    what = f"needs the environment variable {name}, which is not set, export {name}"
    assert line.endswith(f"exp.yaml: {key}: {what}")


@pytest.mark.slow
def test_a_variable_that_arrives_elsewhere_is_a_difference(tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    script.write_text(f"{SFT} --output_dir $OUT --run_name $RUN --lora_rank $R --seed $S\n")
    sources = files.read(options.parse([str(script)]))
    made = command._proven(sources, "exp", [])
    draft, text = made.draft, made.text
    assert made.verdict.differences == ()
    for one, other in (("OUT", "RUN"), ("R", "S")):
        swapped = text.replace(f":{one}}}", ":_}").replace(f":{other}}}", f":{one}}}")
        again = proving.proof(draft, swapped.replace(":_}", f":{other}}}"), "exp", draft.role)
        assert [found.what for found in again.differences] != []
        assert not any(char >= "\ue000" for found in again.differences for char in found.what)


@pytest.mark.slow
def test_what_both_halves_get_is_compared_by_its_variables(tmp_path: Path) -> None:
    server = "CUDA_VISIBLE_DEVICES=0 swift rollout --model $M --max_length $L"
    learner = f"{GRPO} --model $M --max_length $L"
    result = imported(tmp_path, {"a.sh": f"{server}\n", "b.sh": f"{learner}\n"})
    assert not result.says("difference: "), result.said
    assert at(result, "train.model.model") == "${oc.env:M}"
    other = imported(tmp_path, {"a.sh": f"{server} --model $N\n", "b.sh": f"{learner}\n"})
    assert other.says("a.sh:1: difference: --model is '$N', but the learner's is '$M' (b.sh:1)")
    assert other.says("decided by --set NAME=VALUE: L, M, N")


def test_the_variables_of_the_process_are_neither_read_nor_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUT", "/of/the/caller")
    before = dict(os.environ)
    result = imported(tmp_path, {"script.sh": f"{SFT} --output_dir $OUT\n"})
    assert "/of/the/caller" not in result.text + "\n".join(result.said)
    assert dict(os.environ) == before
    assert OmegaConf.create({"a": "${oc.env:OUT}"}).a == "/of/the/caller"


@pytest.mark.slow
def test_what_a_rule_says_of_a_stand_in_is_not_said(tmp_path: Path) -> None:
    script = f"{GRPO} --truncation_strategy $T --lora_rank 0\n"
    result = imported(tmp_path, {"script.sh": script})
    (refused,) = [line for line in result.said if line.startswith("role=check says: ")]
    assert "script.yaml: train.tuner.lora_rank: 0 is below 1" in refused
    known = imported(tmp_path, {"script.sh": script}, ["--set", "T=no"])
    assert known.says("role=check says: script.yaml: template.truncation_strategy: 'no' is not one")


TEXTS = st.text(st.sampled_from("ab$\\{}'\":# ,[]é\n")) | st.text(max_size=8)
PARTS = st.lists(TEXTS | st.sampled_from(["\ue000X\ue001", "\ue000Y\ue001"]), max_size=5)


@given(PARTS)
def test_texts_come_back_as_they_are(parts: list[str]) -> None:
    value = "".join(parts)
    if not callers.names(value) and value == "???":
        return  # which is missing to OmegaConf, and no file says otherwise
    values = {"X": "x${1}\\", "Y": ""}
    with callers.exported(values):
        found = OmegaConf.create({"a": callers.interpolated("", value)}).a
    for name, text in values.items():
        value = value.replace(f"\ue000{name}\ue001", text)
    assert found == value
