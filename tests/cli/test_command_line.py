"""The command line as a user meets it: output, statuses, one line for every mistake."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from tests.conftest import Project


def one_error(project: Project, status: int, *arguments: str, **environ: str) -> str:
    done = project.launch(*arguments, **environ)
    assert done.status == status, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert project.left_over() == []
    assert project.files() == set()
    return done.stderr.removeprefix("error: ").rstrip("\n")


def test_a_dry_run_prints_commands_alone_on_stdout_and_leaves_nothing(project: Project) -> None:
    done = project.launch("role=both", "config=exp", "dry_run=true")
    assert (done.status, done.stderr) == (0, "")
    server, learner = (x for x in done.stdout.splitlines() if x.startswith("env "))
    assert f"swift rollout --model some/model --host 127.0.0.1 --port {project.port} " in server
    assert "CUDA_VISIBLE_DEVICES=0 " in server
    assert "CUDA_VISIBLE_DEVICES=1 " in learner
    assert learner.endswith("scripts/train.sh swift")
    assert project.files() == set()


def test_a_json_dry_run_is_the_plan_alone(project: Project) -> None:
    from grpo_launch.runs import plans

    done = project.launch("role=both", "config=exp", "dry_run=json")
    assert plans.parse(done.stdout)[0].to_json() == done.stdout
    assert done.stderr == ""
    assert project.files() == set()


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_is_no_error(project: Project) -> None:
    process = project.start("role=both", "config=exp", "dry_run=true")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(20) == 141


@pytest.mark.slow
def test_a_dry_run_needs_no_engine(project: Project) -> None:
    done = project.launch(
        "role=both", "config=exp", "runtime=venv", "runtime.path=no/such", "dry_run=true"
    )
    assert (done.status, done.stderr) == (0, "")


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize(
    ("override", "process", "expected"),
    [
        ("rollout_server.vllm_max_model_len=12000", "server", "--vllm_max_model_len 12000"),
        ("train.rlhf.vllm_server_port=[8090]", "server", "--port 8090"),
        ("train.model.model=other/model", "server", "--model other/model"),
    ],
)
def test_an_override_reaches_the_command_line(
    project: Project, override: str, process: str, expected: str
) -> None:
    done = project.launch("role=both", "config=exp", "dry_run=json", override)
    plan = json.loads(done.stdout)
    argv = next(p["argv"] for p in plan["processes"] if p["name"] == process)
    assert expected in " ".join(argv)


def test_a_check_starts_nothing_and_leaves_nothing(project: Project) -> None:
    done = project.launch("role=check", "config=exp", "accelerator.kind=cpu")
    assert (done.status, done.stderr) == (0, "")
    assert "exp: ready to launch" in done.stdout
    assert project.files() == set()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["role=both", "config=exq"], "config=exq: no such experiment, did you mean exp?"),
        (["role=bth", "config=exp"], "role=bth: no such option, did you mean both?"),
        (["config=exp"], "role= is missing"),
        (["role=both"], "config= is missing"),
        (
            ["role=both", "config=exp", "rollout_server.vllm_max_modl_len=1"],
            "did you mean rollout_server.vllm_max_model_len?",
        ),
        (["role=both", "config=exp", "rlhf.beta=1"], "did you mean train.rlhf.beta?"),
        (["role=both", "config=exp", "health.timeout_s=soon"], "'soon' is not a number"),
        (["role=both", "config=exp", "rollout_server.vllm_max_num_seqs=1.5"], "not an integer"),
        (["role=both", "config=exp", "+x=["], "x: [ and ] do not match in '['"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    project: Project, arguments: list[str], said: str
) -> None:
    assert said in one_error(project, 2, *arguments)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("extends: missing.yaml\n", "configs/bad.yaml: extends 'missing.yaml', but"),
        ("extends: bad.yaml\n", "cycle"),
        ("a: [1\nb: 2\n", "configs/bad.yaml:2:2: malformed YAML"),
        ("- a\n", "not a mapping"),
        (
            "extends: exp.yaml\ncustom: {extra: {rollout_server: {vllm_max_model_len: long}}}\n",
            "configs/bad.yaml: custom.extra.rollout_server.vllm_max_model_len: 'long' is not",
        ),
        (
            "extends: exp.yaml\ncustom: {extra: {rollout_server: {vllm_max_num_sqs: 1}}}\n",
            "did you mean vllm_max_num_seqs?",
        ),
    ],
)
def test_a_wrong_file_is_one_line(project: Project, text: str, said: str) -> None:
    (project.directory / "configs" / "bad.yaml").write_text(text)
    assert said in one_error(project, 2, "role=both", "config=bad")


def test_all_problems_are_reported_together(project: Project) -> None:
    done = project.launch(
        "role=both", "config=exp", "gpus.server=[0,1]", "gpus.learner=[1]",
        "rollout_server.vllm_enable_lora=true", "+train.global_max_length=1024",
    )  # fmt: skip
    assert done.status == 2
    assert len(done.errors) == 4
    assert len(done.stderr.splitlines()) == 4
    assert project.files() == set()


@pytest.mark.slow
def test_a_traceback_comes_back_on_request(project: Project) -> None:
    done = project.launch("role=both", "config=exq", HYDRA_FULL_ERROR="1")
    assert "Traceback" in done.stderr


@pytest.mark.slow
def test_a_busy_port_names_its_owner(project: Project) -> None:
    with socket.create_server(("127.0.0.1", project.port)):
        said = one_error(project, 3, "role=server", "config=exp")
    assert f"port {project.port} is in use by pid {os.getpid()} (" in said


@pytest.mark.slow
def test_a_port_of_another_run_of_ours_names_that_run(project: Project) -> None:
    server = project.start("role=server", "config=exp")
    assert server.stderr is not None
    next(line for line in server.stderr if "server: ready" in line)
    second = project.launch("role=server", "config=exp")
    assert second.status == 3
    run = os.readlink(project.directory / "runs" / "latest")
    assert f" belongs to the run runs/{run}, stop it" in second.errors[0]


@pytest.mark.slow
def test_the_weight_sync_port_is_looked_at_too(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        override = f"train.rlhf.vllm_server_group_port=[{port}]"
        said = one_error(project, 3, "role=both", "config=exp", override)
    assert f"command line: train.rlhf.vllm_server_group_port: port {port} is in use" in said


@pytest.mark.slow
def test_gpus_that_the_machine_does_not_have_are_named(project: Project) -> None:
    tools = project.directory / "configs" / "bin"
    tools.mkdir()
    (tools / "nvidia-smi").write_text('#!/bin/sh\n[ "$1" = --query-gpu=index ] && printf "0\\n"\n')
    (tools / "nvidia-smi").chmod(0o755)
    path = f"{tools}:{project.environment()['PATH']}"
    said = one_error(project, 3, "role=both", "config=exp", PATH=path)
    assert "gpus.learner: names GPU 1, this machine has 0" in said


@pytest.mark.slow
def test_a_busy_port_does_not_hinder_a_learner(project: Project) -> None:
    with socket.create_server(("127.0.0.1", project.port)):
        done = project.launch("role=learner", "config=exp", "health.timeout_s=0.2")
    assert done.status == 4


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["runtime=venv", "runtime.path=no/such"], "no/such is no virtual environment"),
        (["runtime=conda", "runtime.name=nope"], "there is no conda environment nope"),
        (["engine.entry=[no-such-engine]"], "server: no-such-engine: no such command"),
    ],
)
def test_a_missing_engine_is_one_line(project: Project, overrides: list[str], said: str) -> None:
    assert said in one_error(project, 3, "role=both", "config=exp", *overrides)


@pytest.mark.slow
def test_hydras_own_flags_work(project: Project) -> None:
    shown = project.launch("role=both", "config=exp", "--cfg", "job", "--resolve", "-p", "train")
    assert "vllm_mode: server" in shown.stdout
    (project.directory / "configs" / "child.yaml").write_text("extends: exp.yaml\n")
    tree = project.launch("role=both", "config=child", "--info", "defaults-tree")
    assert "extends/configs/exp.yaml" in tree.stdout
    assert project.files() == set()


@pytest.mark.slow
def test_overrides_may_follow_hydras_flags(project: Project) -> None:
    done = project.launch(
        "--cfg", "job", "-p", "train.model", "config=exp", "role=both", "train.model.model=x"
    )
    assert done.stdout.strip() == "# @package train.model\nmodel: x"


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize(
    ("arguments", "status"),
    [((), 2), (("--help",), 0), (("-h",), 0), (("help",), 0), (("help", "check"), 0)],
)
def test_help_lists_roles_and_experiments(
    project: Project, arguments: tuple[str, ...], status: int
) -> None:
    done = project.launch(*arguments)
    assert (done.status, done.stderr) == (status, "")
    assert "role=learner" in done.stdout
    assert "experiments: digits_loop, digits_vllm, exp, hanabi, " in done.stdout
    assert "  rollout_server/topology=" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.slow
def test_a_machine_without_a_gpu_is_told_so(project: Project) -> None:
    said = one_error(
        project, 3, "role=both", "config=exp", "gpus.server=null", CUDA_VISIBLE_DEVICES=""
    )
    assert "no CUDA device is visible" in said
    assert "accelerator=cpu" in said


@pytest.mark.slow
def test_the_cpu_engine_is_looked_for_before_anything_starts(project: Project) -> None:
    said = one_error(
        project, 3, "role=both", "config=exp", "engine.entry=[python,-m,no_such_engine]"
    )
    assert "server: no_such_engine: no such module in runtime=current" in said


@pytest.mark.slow
def test_a_multirun_plans_each_combination(project: Project) -> None:
    (project.directory / "configs" / "child.yaml").write_text("extends: exp.yaml\n")
    done = project.launch(
        "--multirun", "role=server", "config=exp,child", "rollout_server.vllm_max_num_seqs=2,4",
        "dry_run=true",
    )  # fmt: skip
    assert done.status == 0, done.stderr
    commands = [x for x in done.stdout.splitlines() if x.startswith("env ")]
    seqs = [x.partition("--vllm_max_num_seqs ")[2].split()[0] for x in commands]
    assert seqs == ["2", "4", "2", "4"]
    assert project.files() == set()


@pytest.mark.slow
def test_further_roots_come_from_one_setting(project: Project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "far.yaml").write_text((project.directory / "configs/exp.yaml").read_text())
    found = project.launch(
        "role=server", "config=far", "dry_run=true", GRPO_LAUNCH_CONFIGS=str(elsewhere)
    )
    assert found.status == 0, found.stderr
    root = f"hydra.searchpath=[experiments://{elsewhere}]"
    assert project.launch("role=server", "config=far", "dry_run=true", root).status == 0


def test_secrets_are_refused_where_they_would_be_recorded(project: Project) -> None:
    said = one_error(project, 2, "role=both", "config=exp", "+train.training.hub_token=hf_x")
    assert "hf_x" not in said
    assert "export it in the environment" in said
