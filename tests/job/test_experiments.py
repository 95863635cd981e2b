"""A job as an experiment: ``config=job.json`` and ``config=job.py``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from grpo_launch.checks.examine import validate
from grpo_launch.checks.explain import explain
from grpo_launch.cli import completion
from grpo_launch.config.compose import compose
from grpo_launch.config.facts import Facts
from grpo_launch.config.formats.forms import Form
from grpo_launch.config.hydra import lookup
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.errors import ConfigError
from grpo_launch.job import Job
from grpo_launch.learners.swift.learner import SwiftLearner
from grpo_launch.plugins import LEARNERS
from tests.conftest import ROOT
from tests.job.test_job import RL, SFT, changed

OWN = SwiftLearner()
TRUSTED = changed(RL, model__trust_remote_code=True)
PYTHON = """\
from pathlib import Path

from grpo_launch.job import Job

with Path("ran").open("a") as file:
    file.write("x")
print("noise")
job = Job.from_dict({said!r})
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)
    (tmp_path / "rows.jsonl").write_text(
        '{"messages": [{"role": "user", "content": "a"}], "solution": "b"}\n'
    )
    return tmp_path


def composed(said: dict[str, Any], *overrides: str) -> LaunchConfig:
    Path("job.json").write_text(json.dumps(said, indent=2))
    return compose("job.json", ["runtime=current", *overrides])


def problems(said: dict[str, Any], *overrides: str) -> list[str]:
    return [str(problem) for problem in validate(composed(said, *overrides))]


def ran() -> str:
    return Path("ran").read_text() if Path("ran").exists() else ""


@pytest.mark.slow
def test_the_examples_say_the_same() -> None:
    examples = ROOT / "examples" / "jobs"
    both = [compose(str(examples / name), ["role=learner"]) for name in ("sft.json", "sft.py")]
    assert both[0].train == both[1].train
    assert [config.experiment for config in both] == ["sft", "sft"]
    assert [config.legacy and config.legacy.form for config in both] == [Form.JOB, Form.JOB]
    for config in (*both, compose(str(examples / "rl.json"), ["role=both"])):
        assert [p for p in validate(config) if p.severity.value == "error"] == []


def test_a_job_of_sft_has_no_server() -> None:
    config = composed(SFT, "role=learner")
    assert (config.engine.name, config.learner.stage) == ("none", "sft")
    assert (config.gpus.server, config.gpus.learner) == (None, ["0"])
    assert config.accelerator.memory_gib == 80


def test_a_job_of_rl_serves_on_its_first_gpus() -> None:
    config = composed(changed(RL, deployment={"gpus": [4, 5, 6], "tp": 2, "port": 31000}))
    assert (config.gpus.server, config.gpus.learner) == (["4", "5"], ["6"])
    assert config.rollout_server["vllm_tensor_parallel_size"] == 2
    assert config.get("rlhf.vllm_server_port") == [31000]


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("train.training.learning_rate", "job.json: training.lr"),
        ("train.training.save_steps", "job.json: training.checkpoint_interval"),
        ("gpus.server", "job.json: deployment.gpu_ranks"),
        ("rollout_server.vllm_max_model_len", "job.json: data.sequence_length"),
        ("train.training.warmup_ratio", "job.json: train.training.warmup_ratio"),
        ("rollout_server.vllm_max_num_seqs", "job.json: rollout_server.vllm_max_num_seqs"),
        ("health.timeout_s", "job.json: health.timeout_s"),
        ("train.training.max_steps", "command line: train.training.max_steps"),
    ],
)
def test_messages_name_the_field_as_the_file_spells_it(key: str, place: str) -> None:
    config = composed(changed(RL, training__lr=1e-5), "train.training.max_steps=7")
    assert config.where(key) == place


def test_the_command_line_wins() -> None:
    overrides = ["train.training.max_steps=7", "gpus.learner=[9]", "accelerator=cpu"]
    config = composed(RL, *overrides)
    assert (config.get("training.max_steps"), config.gpus.learner) == (7, ["9"])
    assert config.get("model.model") == "models/tiny-qwen2"


def test_a_job_for_the_cpu_is_trained_as_it_is() -> None:
    said = changed(SFT, model__device="cpu", model__id="models/own")
    config = composed(said, "role=learner")
    assert (config.accelerator.kind.value, config.accelerator.cpu_entry) == ("cpu", True)
    assert config.get("model.model") == "models/own"


def test_what_the_cpu_replaces_for_rl_means_nothing_to_sft() -> None:
    found = problems(changed(SFT, model__trust_remote_code=True), "role=learner", "accelerator=cpu")
    assert found == []


def test_explain_names_the_line_of_a_field() -> None:
    config = composed(changed(RL, training__lr=1e-5))
    (found,) = explain(config, "training.learning_rate", Facts())
    assert [(saying.place, saying.value) for saying in found.chain] == [("job.json:11", 1e-05)]
    (default,) = explain(config, "training.save_steps", Facts())
    assert [(saying.place, saying.value) for saying in default.chain] == [("job.json:9", 500)]


SERVED = "is served by ms-swift: SGLang is no engine yet, keep it, or say engine=NAME for another"
REWARD = (
    "rl says no reward; taken is accuracy, which reads the column solution, "
    "say train.rlhf.reward_funcs=[NAME] for another"
)
USUAL = [f"job.json: deployment.sglang_port: {SERVED}", f"job.json: mode: {REWARD}"]
CODE = (
    "is false, but ms-swift runs code that comes with a model of a hub, "
    "set it to true if you trust the model, or name a directory whose code you know"
)
SPLIT = (
    "is test, but ms-swift reads the split train, "
    "write its rows into a file and name that as data.id"
)
MEMORY = "whose memory is not known here, say accelerator.memory_gib=GIB, or correct the type"
SAID: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "nothing": (changed(SFT, model__trust_remote_code=True), ["role=learner"], []),
    "what rl always says": (TRUSTED, [], USUAL),
    "a reward": (TRUSTED, ["train.rlhf.reward_funcs=[format]"], USUAL[:1]),
    "code": (SFT, ["role=learner"], [f"job.json: model.trust_remote_code: {CODE}"]),
    "code of another model": (SFT, ["role=learner", "train.model.model=x/y"], []),
    "a split": (
        changed(TRUSTED, data__split="test"),
        [],
        [USUAL[0], f"job.json: data.split: {SPLIT}", USUAL[1]],
    ),
    "a split of other data": (
        changed(TRUSTED, data__split="test"),
        ["train.data.dataset=[other.jsonl]", "train.rlhf.reward_funcs=[format]"],
        USUAL[:1],
    ),
    "rows twice": (
        changed(TRUSTED, data__id="rows.jsonl#3", data__max_samples=2),
        [],
        [
            USUAL[0],
            "job.json: data.max_samples: is 2, but data.id says #3 already, keep one of them",
            USUAL[1],
        ],
    ),
    "an unknown GPU": (
        changed(TRUSTED, deployment__gpu="X9"),
        [],
        [f"job.json: deployment.gpu: is X9, {MEMORY}", *USUAL],
    ),
    "an unknown GPU with its memory": (
        changed(TRUSTED, deployment__gpu="X9"),
        ["accelerator.memory_gib=12"],
        USUAL,
    ),
    "a GPU on a CPU": (
        changed(
            SFT,
            model__trust_remote_code=True,
            model__device="cpu",
            deployment={"gpu_type": "H200"},
        ),
        ["role=learner"],
        ["job.json: deployment.gpu_type: has no effect on a CPU, remove it"],
    ),
    "a port without a server": (
        changed(SFT, model__trust_remote_code=True, deployment={"port": 31000}),
        ["role=learner"],
        ["job.json: deployment.port: has no effect: mode sft starts no server, remove it"],
    ),
}


@pytest.mark.parametrize(("said", "overrides", "expected"), SAID.values(), ids=SAID.keys())
def test_a_field_without_its_meaning_gets_a_message(
    said: dict[str, Any], overrides: list[str], expected: list[str]
) -> None:
    found = problems(said, "role=both", *overrides)
    assert [line for line in found if line.startswith("job.json: ")] == expected


def test_a_job_is_for_one_learner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cast("dict[str, str]", LEARNERS.shipped), "own", f"{__name__}:OWN")
    assert (
        "command line: learner.name: is own, but a job says arguments of ms-swift, "
        "leave it out, or write an experiment for own"
    ) in problems(TRUSTED, "role=learner", "learner.name=own")
    assert "but a job" not in "".join(problems(TRUSTED, "role=server", "learner=none"))


def test_an_experiment_may_extend_a_job() -> None:
    Path("job.json").write_text(json.dumps(TRUSTED))
    Path("x.yaml").write_text(
        "extends: job.json\ntraining: {max_steps: 9}\nrlhf: {reward_funcs: [format]}\n"
    )
    config = compose("x.yaml", ["role=both", "runtime=current"])
    assert (config.get("training.max_steps"), config.get("model.model")) == (9, "a/b")
    assert config.where("train.training.max_steps") == "x.yaml: training.max_steps"
    assert [str(p) for p in validate(config)] == USUAL[:1]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"x.json": json.dumps({**SFT, "extends": "base.yaml"}), "base.yaml": "model: {}\na: 1"},
            (
                "x.json: extends: cannot stand in a job, which says every field or takes its "
                "default, write the fields here, or an experiment of YAML that extends this job"
            ),
        ),
        (
            {"x.json": '{"extends": "base.py"}', "base.py": PYTHON.format(said=SFT)},
            (
                "x.json: extends base.py, which would have to be run, save its job as JSON "
                "(job.save) and extend that, or name it with config="
            ),
        ),
    ],
)
def test_what_extends_cannot_mean_is_refused(files: dict[str, str], expected: str) -> None:
    for name, text in files.items():
        Path(name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        compose("x.json", ["role=learner"])
    assert str(caught.value) == expected
    assert ran() == ""


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize("name", ["job.py", "./job.py", "sub/../job.py", "{cwd}/job.py"])
def test_a_python_file_is_run_once_and_reads_as_its_json(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("sub").mkdir()
    Path("job.py").write_text(PYTHON.format(said=TRUSTED))
    config = compose(name.format(cwd=tmp_path), ["role=both", "runtime=current"])
    again = composed(TRUSTED, "role=both")
    assert (config.train, config.gpus, config.rollout_server) == (
        again.train, again.gpus, again.rollout_server,
    )  # fmt: skip
    assert [str(p) for p in validate(config)] == [
        line.replace("job.json", "job.py") for line in USUAL
    ]
    (found,) = explain(config, "training.max_steps", Facts())
    assert found.chain[0].place == "job.py:8"
    assert ran() == "x"
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_whatever_does_not_name_it_does_not_run_it() -> None:
    for directory in (Path("configs"), Path("configs/train/grpo"), Path()):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "job.py").write_text(PYTHON.format(said=TRUSTED))
    for name in ("job", "jobs", "jo"):
        with pytest.raises(ConfigError, match="no such experiment"):
            compose(name, ["role=both"])
    assert "job" not in lookup.Base(Path("configs"), Path.cwd()).names()
    for line in (
        "grpo-launch role=check config=job.py train.",
        "grpo-launch check 'job.py' acc",
        "grpo-launch check config=job.py,other.yaml acc",
    ):
        words = completion.rewritten(line).split()
        assert "~config" in words
        assert [word for word in words if ".py" in word] == []
    assert ran() == ""


@pytest.mark.slow
def test_a_sweep_and_a_dry_run_take_it(tmp_path: Path) -> None:
    Path("job.py").write_text(PYTHON.format(said=TRUSTED))
    command = [sys.executable, "-m", "grpo_launch", "role=both", "config=job.py", "dry_run=true"]
    sweep = ["runtime=current", "--multirun", "train.training.learning_rate=1e-5,1e-6"]
    done = subprocess.run([*command, *sweep], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [done.stdout.count(f"learning_rate: 1.0e-0{n}\n") for n in (5, 6)] == [1, 1]
    assert "noise" not in done.stdout + done.stderr
    assert ran() == "x"


@pytest.mark.slow
def test_a_python_file_that_fails_is_one_error(tmp_path: Path) -> None:
    Path("job.py").write_text("print('seen')\nraise RuntimeError('no data')\n")
    command = [sys.executable, "-m", "grpo_launch", "role=check", "config=job.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert lines[:3] == [
        "error: job.py:2: raises RuntimeError: no data, correct it",
        "    seen",
        "    Traceback (most recent call last):",
    ]
    assert [line for line in lines[1:] if not line.startswith("    ")] == []


def test_a_saved_job_is_an_experiment() -> None:
    Job.from_dict(TRUSTED).save("saved.json")
    assert compose("saved.json", ["role=both"]).train == composed(TRUSTED, "role=both").train
