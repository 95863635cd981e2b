"""The old two-terminal usage, through the real command line."""

from __future__ import annotations

import json
import shlex
import signal
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Finished, Project

SERVER = {"PORT": "8101", "MODEL": "some/model", "VLLM_MAX_NUM_SEQS": "4", "NCCL_P2P_DISABLE": "0"}
LEARNER = {
    "VLLM_SERVER_PORT": "8101",
    "NUM_GENERATIONS": "8",
    "MAX_STEPS": "500",
    "RUN_NAME": "grpo hanabi",
    "REWARD_FUNCS": "",
    "REWARD_MODEL": "some/reward",
    "DATASET": "data/hanabi.grpo.jsonl",
}


def plan(done: Finished) -> dict[str, Any]:
    assert (done.status, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_server_is_planned_from_its_variables(project: Project) -> None:
    done = project.launch("role=server", "config=exp", "compat=env", "dry_run=json", **SERVER)
    (server,) = plan(done)["processes"]
    command = " ".join(server["argv"])
    assert "--model some/model" in command
    assert "--port 8101" in command
    assert "--vllm_max_num_seqs 4" in command
    assert server["env"]["NCCL_P2P_DISABLE"] == "0"


def test_a_learner_s_devices_are_enough_where_the_server_s_are_said_nowhere(
    project: Project,
) -> None:
    file = project.directory / "configs" / "exp.yaml"
    file.write_text(file.read_text().replace("      gpus: {server: [0], learner: [1]}\n", ""))
    said = ("role=learner", "config=exp", "compat=env", "dry_run=json")
    (learner,) = plan(project.run(*said, CUDA_VISIBLE_DEVICES="6,7"))["processes"]
    assert learner["devices"] == ["6", "7"]


def test_a_learner_is_planned_from_its_variables(project: Project) -> None:
    done = project.run("role=learner", "config=exp", "compat=env", "dry_run=json", **LEARNER)
    planned = plan(done)
    arguments = yaml.safe_load(planned["files"][0]["text"])
    assert planned["gates"][0]["url"] == "http://127.0.0.1:8101"
    expected = {"num_generations": 8, "generation_batch_size": 8, "max_steps": 500}
    expected |= {"run_name": "grpo hanabi", "dataset": [str(ROOT / "data" / "hanabi.grpo.jsonl")]}
    expected |= {"reward_model": ["some/reward"]}
    assert {key: arguments.get(key) for key in expected} == expected
    assert "reward_funcs" not in arguments


@pytest.mark.parametrize("flags", [[], ["hydra.verbose=false"]], ids=["plain", "hydra"])
def test_without_asking_the_environment_counts_for_nothing(
    project: Project, flags: list[str]
) -> None:
    arguments = ["role=learner", "config=exp", "dry_run=json", *flags]
    assert plan(project.run(*arguments, **LEARNER)) == plan(project.run(*arguments))


@pytest.mark.parametrize("flags", [[], ["hydra.verbose=false"]], ids=["plain", "hydra"])
def test_the_command_line_wins_on_both_paths(project: Project, flags: list[str]) -> None:
    arguments = ["role=learner", "config=exp", "compat=env", "dry_run=json", *flags]
    planned = plan(project.run(*arguments, "train.training.max_steps=7", **LEARNER))
    found = yaml.safe_load(planned["files"][0]["text"])
    assert (found["max_steps"], found["num_generations"]) == (7, 8)


@pytest.mark.slow
def test_what_hydra_shows_is_what_runs(project: Project) -> None:
    shown = project.launch(
        "role=learner", "config=exp", "compat=env", "--cfg", "job", "-p", "train.rlhf", **LEARNER
    )
    assert shown.status == 0
    rlhf = yaml.safe_load(shown.stdout)
    assert (rlhf["vllm_server_port"], rlhf["num_generations"]) == ([8101], 8)
    assert rlhf["reward_funcs"] is None


@pytest.mark.slow
def test_a_sweep_has_the_variables_in_each_run(project: Project) -> None:
    swept = "train.rlhf.num_generations=2,4"
    arguments = ["--multirun", "role=learner", "config=exp", "compat=env", "dry_run=true", swept]
    done = project.run(*arguments, MAX_STEPS="9", NUM_GENERATIONS="8")
    assert done.status == 0
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("num_generations:")] == [
        "num_generations: 2",
        "num_generations: 4",
    ]
    assert lines.count("max_steps: 9") == 2
    refused = project.run("--multirun", "role=server,learner", "config=exp", "compat=env")
    assert (refused.status, len(refused.errors)) == (2, 1)
    assert "name one role" in refused.errors[0]


@pytest.mark.parametrize("flags", [[], ["hydra.verbose=false"], ["--cfg", "job"]])
def test_a_wrong_variable_is_one_line_on_every_path(project: Project, flags: list[str]) -> None:
    done = project.run("role=both", "config=exp", "compat=env", *flags, NUM_GENERATIONS="abc")
    expected = "'abc' is not an integer, correct it or unset it"
    assert (done.status, done.errors) == (2, [f"error: environment: NUM_GENERATIONS: {expected}"])


def test_what_is_wrong_is_said_together(project: Project) -> None:
    done = project.run(
        "role=check", "config=exp", "compat=env", "gpus.learner=[0]", "output=json",
        NUM_GENERATIONS="abc", MAX_STEPS="many",
    )  # fmt: skip
    found = [problem["where"] for problem in json.loads(done.stdout)["problems"]]
    assert found == [
        "environment: NUM_GENERATIONS",
        "environment: MAX_STEPS",
        "command line: gpus.learner",
    ]


def test_explain_names_the_variable(project: Project) -> None:
    arguments = ["role=explain", "config=exp", "compat=env", "key=training.max_steps"]
    done = project.run(*arguments, MAX_STEPS="5")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines == ["environment: MAX_STEPS 5", "training.max_steps = 5"]
    done = project.run(*arguments, "train.training.max_steps=7", MAX_STEPS="5")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines == [
        "environment: MAX_STEPS 5",
        "command line train.training.max_steps=7",
        "training.max_steps = 7",
    ]


def test_a_check_lists_what_was_taken_and_how_to_type_it(project: Project) -> None:
    arguments = ["role=check", "config=exp", "accelerator.kind=cpu", "compat=env"]
    environ = {"PORT": str(project.port), "RUN_NAME": "it's mine", "MAX_STEPS": "5"}
    done = project.run(*arguments, "train.training.max_steps=7", **environ)
    assert (done.status, done.stderr) == (0, "")
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    env = [" ".join(line[1].split()) for line in lines if line[0] == "env"]
    assert env[0] == f"PORT train.rlhf.vllm_server_port=[{project.port}]"
    assert env[2] == "MAX_STEPS not used, the command line says train.training.max_steps"
    typed = shlex.split(env[3].removeprefix("all of it, typed "))
    body = json.loads(project.run(*arguments, "output=json", **environ).stdout)
    assert list(body["environment"]["taken"]) == ["PORT", "MAX_STEPS", "RUN_NAME"]
    assert project.run(*arguments[:3], *typed, "output=json").stdout.count("it's mine") == 0
    explained = project.run("role=explain", "config=exp", "key=training.run_name", *typed)
    assert explained.stdout.endswith("training.run_name = it's mine\n")


def test_a_check_says_that_nothing_counts(project: Project) -> None:
    done = project.run("role=check", "config=exp", "accelerator.kind=cpu", "compat=env")
    assert "env       no variable of the old scripts counts" in done.stdout.splitlines()
    plain = project.run("role=check", "config=exp", "accelerator.kind=cpu")
    assert not [line for line in plain.stdout.splitlines() if line.startswith("env ")]


@pytest.mark.slow
def test_a_run_is_recorded_so_that_it_can_be_repeated(project: Project) -> None:
    arguments = ["role=both", "config=exp", "accelerator.kind=cpu", "compat=env", "run.dir=run"]
    done = project.launch(*arguments, MAX_STEPS="3", RUN_NAME="mine", WANDB_API_KEY="never-shown")
    assert done.status == 0, done.stderr
    assert "environment: MAX_STEPS, RUN_NAME (compat=env)" in done.stderr.splitlines()
    run = project.directory / "run"
    recorded = yaml.safe_load((run / "config.yaml").read_text())
    assert recorded["environment"] == {"MAX_STEPS": "3", "RUN_NAME": "mine"}
    overrides = yaml.safe_load((run / "overrides.yaml").read_text())
    again = [item for item in overrides if not item.startswith("run.dir=")]
    again += ["run.dir=again", "ports=auto"]  # the old port is in TIME_WAIT
    assert project.launch(*again, MAX_STEPS="9").status == 0
    repeated = yaml.safe_load((project.directory / "again" / "config.yaml").read_text())
    assert repeated["train"]["training"] == recorded["train"]["training"]
    assert repeated["tracking"] == recorded["tracking"]
    texts = [path.read_text() for path in run.glob("*.*") if path.suffix in (".yaml", ".json")]
    assert texts
    assert not any("never-shown" in text for text in texts)


@pytest.mark.slow
def test_two_terminals_train_together(project: Project) -> None:
    """The server of one terminal and the learner of another, each with its own variables."""
    shared = ["config=exp", "accelerator.kind=cpu", "compat=env"]
    server = project.start("role=server", *shared, "run.dir=s", PORT=str(project.port))
    learner = project.launch(
        "role=learner", *shared, "run.dir=l", VLLM_SERVER_PORT=str(project.port), MAX_STEPS="2"
    )
    server.send_signal(signal.SIGINT)
    _, stderr = server.communicate(timeout=30)
    assert learner.status == 0, learner.stderr + stderr
    assert "environment: PORT (compat=env)" in stderr.splitlines()
    assert project.left_over() == []
