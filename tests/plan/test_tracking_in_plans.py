"""What ``tracking`` makes of the plan: arguments, variables, and what follows the training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from grpo_launch import plan
from grpo_launch.config import compose
from grpo_launch.planning import devices, planner, shell
from grpo_launch.runs import plans
from grpo_launch.supervise.process import environment
from grpo_launch.tracking import variables
from tests.composed import shipped

CWD = Path("/somewhere")
RUN = "runs/exp/20261126-120000-abcd"


def build(*overrides: str, parts: tuple[str, ...] = (plan.SERVER, plan.LEARNER)) -> plan.LaunchPlan:
    config = shipped("tiny_cpu", overrides)
    return planner.build(config, devices.assign(config, []), parts, RUN, CWD)


def arguments(planned: plan.LaunchPlan) -> dict[str, Any]:
    return yaml.safe_load(planned.files[0].text)


def learner(planned: plan.LaunchPlan, **environ: str) -> dict[str, str]:
    """The whole environment that the learner would get."""
    spec = planned.process(plan.LEARNER)
    assert spec is not None
    return environment(spec, environ)


@pytest.mark.costly
@pytest.mark.parametrize(
    ("overrides", "report_to"),
    [
        ([], ["none"]),  # as the experiment says
        (["tracking=[]"], ["none"]),
        (["tracking=none"], ["none"]),
        (["tracking=[wandb,tensorboard]"], ["wandb", "tensorboard"]),
        (["tracking=trackio"], ["trackio"]),
        (["train.training.report_to=[swanlab]"], ["swanlab"]),
        (["train.training.report_to=wandb"], "wandb"),
    ],
)
def test_report_to(overrides: list[str], report_to: object) -> None:
    assert arguments(build(*overrides))["report_to"] == report_to


def test_the_command_line_s_report_to_wins_over_an_experiment_s_choice(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    text = "custom: {extra: {launch: {tracking: [wandb]}}}\ntraining: {report_to: [none]}\n"
    file.write_text(text)
    assert variables.trackers(compose.compose(str(file))) == ("wandb",)
    said = compose.compose(str(file), ["train.training.report_to=[tensorboard]"])
    assert variables.trackers(said) == ("tensorboard",)


def test_without_trackers_nothing_is_set() -> None:
    planned = build()
    assert not [name for name in learner(planned) if name.startswith(("WANDB", "TENSORBOARD"))]
    assert planned.afterwards == ()
    assert len(planned.files) == 1


def test_the_defaults_of_wandb() -> None:
    found = {k: v for k, v in learner(build("tracking=wandb")).items() if k.startswith("WANDB")}
    assert found == {
        "WANDB_PROJECT": "ms-swift",
        "WANDB_NAME": "tiny_cpu",
        "WANDB_RUN_GROUP": "tiny_cpu",
        "WANDB_JOB_TYPE": "train",
        "WANDB_RUN_ID": "20261126-120000-abcd",
        "WANDB_RESUME": "allow",
        "WANDB_LOG_MODEL": "checkpoint",
        "WANDB_WATCH": "false",
        "WANDB_CONSOLE": "off",
        "WANDB_INIT_TIMEOUT": "60",
        "WANDB_DIR": f"{CWD}/{RUN}",
        "WANDB_DATA_DIR": f"{CWD}/{RUN}/wandb/data",
        "WANDB_SWEEP_PARAM_PATH": f"{CWD}/{RUN}/wandb_config.yaml",
    }


def test_the_caller_wins_over_defaults_and_the_configuration_over_the_caller() -> None:
    environ = {"WANDB_PROJECT": "callers", "WANDB_MODE": "offline", "WANDB_LOG_MODEL": "end"}
    found = learner(build("tracking=wandb"), **environ)
    assert {name: found[name] for name in environ} == environ
    said = build(
        "tracking=wandb",
        "tracking.wandb.project=mine",
        "tracking.wandb.mode=disabled",
        "tracking.wandb.log_model=false",
    )
    found = learner(said, **environ)
    assert found["WANDB_PROJECT"] == "mine"
    assert found["WANDB_MODE"] == "disabled"
    assert found["WANDB_LOG_MODEL"] == "false"


@pytest.mark.parametrize(
    ("overrides", "environ", "name"),
    [
        ([], {}, "tiny_cpu"),
        ([], {"WANDB_NAME": "callers"}, "callers"),
        (["+train.training.run_name=experiments"], {"WANDB_NAME": "callers"}, "experiments"),
        (["+train.training.run_name=x", "tracking.wandb.name=said"], {}, "said"),
    ],
)
def test_the_name(overrides: list[str], environ: dict[str, str], name: str) -> None:
    config = shipped("tiny_cpu", ["tracking=wandb", *overrides])
    config = variables.with_name_of(config, environ)
    planned = planner.build(config, devices.assign(config, []), [plan.LEARNER], RUN, CWD)
    # ms-swift would name the run after its output directory.
    assert arguments(planned)["run_name"] == name
    assert learner(planned, **environ)["WANDB_NAME"] == name
    (upload,) = planned.afterwards
    assert f"{name}-ckpt" in upload.argv
    assert upload.env["WANDB_NAME"] == f"{name}-ckpt-upload"


def test_settings_hold_for_a_tracker_that_report_to_names() -> None:
    planned = build("train.training.report_to=[wandb]", "tracking.wandb.project=hanabi")
    assert learner(planned)["WANDB_PROJECT"] == "hanabi"
    assert len(planned.afterwards) == 1


def test_server_and_learner_share_a_group_from_two_terminals() -> None:
    overrides = ["tracking=wandb", "tracking.wandb.name=grpo-hanabi"]
    server = build(*overrides, parts=(plan.SERVER,)).process(plan.SERVER)
    assert server is not None
    alone = environment(server, {})
    both = learner(build(*overrides, parts=(plan.LEARNER,)))
    assert alone["WANDB_RUN_GROUP"] == both["WANDB_RUN_GROUP"] == "grpo-hanabi"
    assert (alone["WANDB_JOB_TYPE"], both["WANDB_JOB_TYPE"]) == ("rollout", "train")
    assert "WANDB_RUN_ID" not in alone  # it would write into the learner's run


def test_the_launcher_s_facts_are_a_file_for_the_client() -> None:
    planned = build("tracking=wandb")
    (file,) = [file for file in planned.files if file.path.endswith("wandb_config.yaml")]
    facts = yaml.safe_load(file.text)["launcher"]["value"]
    assert (facts["experiment"], facts["role"], facts["run"]) == ("tiny_cpu", "check", RUN)
    assert facts["gpus"] == {"server": ["0"], "learner": ["1"]}
    assert facts["server_urls"] == ["http://127.0.0.1:8080"]
    assert "rollout" in facts["processes"]["server"]
    assert facts["overrides"] == ["tracking=wandb"]
    # A restart writes the checkpoint into the learner's arguments, not in here.
    assert planned.recovery.arguments_file == planned.files[0].path


@pytest.mark.slow
def test_tensorboard_writes_into_the_run() -> None:
    inside = learner(build("tracking=tensorboard"))
    assert inside["TENSORBOARD_LOGGING_DIR"] == f"{CWD}/{RUN}/tensorboard"
    said = build("tracking=tensorboard", "tracking.tensorboard.logging_dir=/elsewhere")
    environ = {"TENSORBOARD_LOGGING_DIR": "/callers"}
    assert learner(said, **environ)["TENSORBOARD_LOGGING_DIR"] == "/elsewhere"
    # Chosen by report_to alone, its files stay where ms-swift puts them.
    alone = build("train.training.report_to=[tensorboard]")
    assert "TENSORBOARD_LOGGING_DIR" not in learner(alone)


def test_trackio_gets_arguments_and_a_directory() -> None:
    planned = build("tracking=trackio", "tracking.trackio.project=p", "tracking.trackio.space_id=s")
    found = arguments(planned)
    assert (found["project"], found["trackio_space_id"]) == ("p", "s")
    assert found["run_name"] == "tiny_cpu"
    assert learner(planned)["TRACKIO_DIR"] == f"{CWD}/{RUN}/trackio"


def test_the_upload_is_data_of_the_plan() -> None:
    planned = build("tracking=wandb", "tracking.wandb.artifact_aliases=[best]")
    assert plans.parse(planned.to_json()) == (planned, ())
    (upload,) = planned.afterwards
    assert upload.argv == (
        "python",
        str(Path(shell.__file__).parents[3] / "scripts" / "upload_checkpoint.py"),
        f"{RUN}/checkpoint_upload.json",
        "--name",
        "tiny_cpu-ckpt",
        "--alias",
        "best",
    )
    assert upload.timeout_s == 1800
    assert upload.env["WANDB_JOB_TYPE"] == "checkpoint_upload"
    # The caller's run is the training's; the upload never writes into it.
    assert environment(upload, {"WANDB_RUN_ID": "callers"})["WANDB_RUN_ID"].endswith("-ckpt-upload")
    text = shell.render(planned)
    assert "# upload: runs once the learner has ended with status 0" in text
    assert text.rstrip().endswith("--name tiny_cpu-ckpt --alias best")


@pytest.mark.parametrize(
    "override", ["tracking.wandb.upload_checkpoint=false", "tracking.wandb.mode=disabled"]
)
def test_no_upload(override: str) -> None:
    assert build("tracking=wandb", override).afterwards == ()


def test_a_server_alone_uploads_nothing() -> None:
    assert build("tracking=wandb", parts=(plan.SERVER,)).afterwards == ()


def test_artifact_names_are_what_wandb_takes() -> None:
    config = shipped("tiny_cpu", ["tracking=wandb", "tracking.wandb.name='a b/c:d'"])
    assert variables.artifact_name(config) == "a-b-c-d-ckpt"


def test_the_plan_of_the_dry_run_is_json_without_loss() -> None:
    body = json.loads(build("tracking=wandb").to_json())
    assert [spec["name"] for spec in body["afterwards"]] == ["upload"]


def test_explain_names_the_choice() -> None:
    from grpo_launch.checks.explain import explain
    from grpo_launch.checks.gather import of_devices
    from grpo_launch.config.facts import Facts

    config = shipped("tiny_cpu", ["tracking=wandb"])
    facts = Facts.of(*of_devices(devices.assign(config, [])))
    (said,) = explain(config, "training.report_to", facts)
    assert [saying.place for saying in said.chain][-1] == "derived: what tracking chooses"
    assert said.value == ["wandb"]
    (named,) = explain(config, "training.run_name", facts)
    assert named.value == "tiny_cpu"
