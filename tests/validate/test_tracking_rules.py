"""Rules on ``tracking``, and preflight's look at the learner's environment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from grpo_launch import plan
from grpo_launch.config.facts import Facts
from grpo_launch.config.rule import Context
from grpo_launch.planning import devices, planner
from grpo_launch.tracking import preflight
from grpo_launch.tracking.rules import TRACKING_RULES
from tests.composed import shipped

KEY = "0123456789abcdef0123456789abcdef01234567"


def found(*overrides: str) -> list[str]:
    config = shipped("tiny_cpu", overrides)
    context = Context.of(config, Facts())
    return [str(problem) for rule in TRACKING_RULES for problem in rule(context)]


@pytest.mark.costly
@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["tracking=none"],
        ["tracking=[wandb,tensorboard]", "train.training.report_to=[tensorboard,wandb]"],
        ["tracking=none", "train.training.report_to=[none]"],
        ["train.training.report_to=[wandb]", "tracking.wandb.project=x"],
        ["tracking=wandb", "tracking.wandb.log_model=False", "tracking.wandb.watch=gradients"],
        ["tracking=wandb", "tracking.wandb.artifact_name=a.b-c_1"],
        ["tracking.wandb.enabled=true"],
    ],
)
def test_what_is_fine_stays_silent(overrides: list[str]) -> None:
    assert found(*overrides) == []


@pytest.mark.costly
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["tracking=[none,wandb]"], "command line: tracking: names none and wandb, keep one"),
        (
            ["tracking=wandb", "train.training.report_to=[tensorboard]"],
            "train.training.report_to: is ['tensorboard'], but tracking is wandb, keep one",
        ),
        (["tracking=none", "train.training.report_to=[wandb]"], "but tracking is none, keep one"),
        (["tracking.wandb.project=x"], "has no effect, the learner does not report to wandb"),
        (["tracking=wandb", "tracking.wandb.log_model=true"], "'true' is unknown, use one of"),
        (["tracking=wandb", "tracking.wandb.watch=on"], "is unknown, use one of false, gradients"),
        (["tracking=wandb", "tracking.wandb.project='a/b'"], "'a/b' is not a valid name for W&B"),
        (
            ["tracking=wandb", "tracking.wandb.artifact_name='a b'"],
            "'a b' is not a valid name for W&B",
        ),
        (
            ["tracking=wandb", "tracking.wandb.artifact_aliases=['a:b']"],
            "'a:b' is not a valid alias",
        ),
        (["tracking=wandb", "tracking.wandb.upload_timeout_s=0"], "0.0 s is not a time limit"),
        (["tracking=wandb", "tracking.wandb.upload_timeout_s=inf"], "inf s is not a time limit"),
    ],
)
def test_mistakes(overrides: list[str], message: str) -> None:
    (problem,) = found(*overrides)
    assert message in problem


def check(tmp_path: Path, *overrides: str, **environ: str) -> str:
    """What preflight reports, with this test's own environment as the learner's."""
    venv = ["runtime=venv", f"runtime.path={Path(sys.executable).parents[1]}"]
    config = shipped("tiny_cpu", [*venv, *overrides])
    planned = planner.build(
        config, devices.assign(config, []), [plan.SERVER, plan.LEARNER], "runs/r", tmp_path
    )
    whole = {"HOME": str(tmp_path), "PATH": "/usr/bin", **environ}
    return "\n".join(map(str, preflight.problems(config, planned, whole, tmp_path)))


def test_a_missing_package_is_named_with_its_environment(tmp_path: Path) -> None:
    prefix = Path(sys.executable).parents[1]
    assert check(tmp_path, "tracking=trackio") == (
        f"tracking=trackio: the learner's environment ({prefix}) has no package trackio, "
        f"run '{prefix}/bin/python -m pip install trackio', or choose another with tracking="
    )


def test_report_to_is_named_where_it_chose(tmp_path: Path) -> None:
    problem = check(tmp_path, "train.training.report_to=[trackio]")
    assert problem.startswith("command line: train.training.report_to: the")


@pytest.mark.parametrize(
    "environ",
    [
        {"WANDB_API_KEY": KEY},
        {"WANDB_IDENTITY_TOKEN_FILE": "/some/file"},
        {"WANDB_MODE": "offline"},
        {"WANDB_MODE": "disabled"},
    ],
)
def test_wandb_is_ready(tmp_path: Path, environ: dict[str, str]) -> None:
    assert check(tmp_path, "tracking=wandb", **environ) == ""


def test_online_without_a_key_is_said_before_anything_starts(tmp_path: Path) -> None:
    assert check(tmp_path, "tracking=wandb", "tracking.wandb.mode=online") == (
        "command line: tracking.wandb.mode: W&B is online and has no API key for api.wandb.ai, "
        "export WANDB_API_KEY, or name a file with it in env.file, or set the mode to offline"
    )


@pytest.mark.parametrize("variable", ["HOME", "NETRC"])
def test_a_key_in_netrc_counts_for_its_own_host(tmp_path: Path, variable: str) -> None:
    file = tmp_path / ".netrc"
    file.write_text(f"machine api.wandb.ai login user password {KEY}\n")
    file.chmod(0o600)
    environ = {variable: str(tmp_path if variable == "HOME" else file)}
    assert check(tmp_path, "tracking=wandb", **environ) == ""
    elsewhere = {"WANDB_BASE_URL": "https://wandb.example", **environ}
    assert "no API key for wandb.example" in check(tmp_path, "tracking=wandb", **elsewhere)


@pytest.mark.parametrize("netrc", [b"machine a login b password \xff", b"machine", b""])
def test_an_odd_netrc_holds_no_key(tmp_path: Path, netrc: bytes) -> None:
    (tmp_path / ".netrc").write_bytes(netrc)
    assert "has no API key" in check(tmp_path, "tracking=wandb")


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"NETRC": "~nobody-of-that-name/x"}, "no API key"),
        ({"WANDB_BASE_URL": "http://["}, "no ad"),
    ],
)
def test_odd_variables_are_one_line(tmp_path: Path, environ: dict[str, str], said: str) -> None:
    assert said in check(tmp_path, "tracking=wandb", **environ)


def test_a_directory_of_earlier_runs_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trackio").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "has no package trackio" in check(tmp_path, "tracking=trackio")


def test_the_client_s_own_settings_count(tmp_path: Path) -> None:
    directory = tmp_path / ".config" / "wandb"
    directory.mkdir(parents=True)
    (directory / "settings").write_text(f"[default]\napi_key = {KEY}\n")
    assert check(tmp_path, "tracking=wandb") == ""
