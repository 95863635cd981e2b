"""``checks.warn``: which errors may be warnings, and what a launch makes of them."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from grpo_launch import cli
from grpo_launch.base import resources
from grpo_launch.checks.downgrade import blamed_on, downgraded
from grpo_launch.checks.examine import Severity, all_rules, examine, require_no_errors
from grpo_launch.config.compose import compose
from grpo_launch.config.hydra import lookup
from grpo_launch.config.machine_checks import MACHINE_CHECKS
from grpo_launch.errors import ConfigError, PreflightError
from tests.conftest import FAKES, ROOT

BROKEN = ROOT / "tests" / "broken"
RULES = all_rules(compose("tiny_cpu"))
NAMES = [rule.name for rule in RULES if rule.downgradable]
DEVICES = "server_devices_match_tp_times_dp"


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment whose server gets too many devices."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)
    shipped = resources.path("configs/train/grpo/tiny_cpu.yaml")
    gpus = {"server": [0, 1, 2], "learner": [3]}
    changes = {"extends": str(shipped), "custom": {"extra": {"launch": {"gpus": gpus}}}}
    file = tmp_path / "x.yaml"
    file.write_text(yaml.safe_dump(changes))
    return file


def test_names_are_unique_and_say_what_they_are_in_words() -> None:
    names = [each.name for each in (*RULES, *MACHINE_CHECKS)]
    assert len({*names}) == len(names)
    assert [name for name in names if not re.fullmatch("[a-z][a-z0-9_]+", name)] == []


def test_an_error_becomes_a_warning_and_is_told(experiment: Path) -> None:
    outcomes = examine(compose("x", [f"checks.warn=[{DEVICES}]"]))
    assert [p.severity for o in outcomes for p in o.problems] == [Severity.WARNING]
    assert downgraded(outcomes) == (DEVICES,)
    assert len(require_no_errors(outcomes)) == 1


def test_an_experiment_may_say_so_and_words_are_taken_for_names(experiment: Path) -> None:
    changes = yaml.safe_load(experiment.read_text())
    warn = [DEVICES.replace("_", " "), "one_host_per_port"]
    changes["custom"]["extra"]["launch"]["checks"] = {"warn": warn}
    experiment.write_text(yaml.safe_dump(changes))
    config = compose("x")
    assert downgraded(examine(config)) == (DEVICES,)
    assert config.as_dict()["checks"] == {"warn": warn}


@pytest.mark.costly
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "one_host_per_prot",
            "'one_host_per_prot' is not the name of a rule, did you mean one_host_per_port",
        ),
        (
            "xyz",
            "'xyz' is not the name of a rule, take one that an error ends with, [",
        ),
        (
            "no_secrets",
            "errors of no_secrets cannot be warnings: the run would record the secret, remove it",
        ),
        ("sections_are_mappings", "errors of sections_are_mappings cannot be warnings: "),
        ("files_exit", "'files_exit' is not the name of a rule, did you mean files_exist"),
        (
            "ports_are_free",
            "errors of ports_are_free cannot be warnings: the learner would talk to another server",
        ),
        ("rehearsal", "errors of rehearsal cannot be warnings: rehearse=false turns it off"),
        ("checks_warn_names_rules", "errors of checks_warn_names_rules cannot be warnings"),
    ],
)
def test_what_is_no_name_of_such_a_rule_is_an_error(
    experiment: Path, name: str, message: str
) -> None:
    outcomes = examine(compose("x", [f"checks.warn=[{name}]"]))
    (found,) = [p for o in outcomes for p in o.problems if "checks.warn" in p.where]
    assert str(found).startswith(f"command line: checks.warn: {message}")
    assert found.severity is Severity.ERROR


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["grpo_launch", *arguments, "preflight=false"])
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main()
    return status, out.getvalue(), err.getvalue()


def test_a_launch_shows_it_as_a_warning_and_its_plan_records_it(
    experiment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("config=x", "role=both", "dry_run=json", f"checks.warn=[{DEVICES}]")
    status, out, err = run(monkeypatch, *arguments)
    assert status == 0
    assert err.startswith("warning: x.yaml: custom.extra.launch.gpus.server: lists 3 devices")
    assert json.loads(out)["downgraded"] == [DEVICES]
    status, out, err = run(monkeypatch, "config=x", "role=check", f"checks.warn=[{DEVICES}]")
    assert (status, err.partition(":")[0]) == (0, "warning")
    assert "warned    server devices match tp times dp (checks.warn)" in out.splitlines()
    assert err.endswith(f" [checks.warn: {DEVICES}]\n")


@pytest.mark.slow
def test_an_error_ends_with_what_makes_a_warning_of_it(
    experiment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, err = run(monkeypatch, "config=x", "role=check")
    assert status == 2
    (error,) = err.splitlines()
    assert error.endswith(f" [checks.warn: {DEVICES}]")
    assert "failed    server devices match tp times dp" in out.splitlines()
    status, out, err = run(monkeypatch, "config=x", "role=both")
    assert (status, out, err.splitlines()) == (2, "", [error])
    status, out, err = run(monkeypatch, "config=x", "role=both", "checks.warn=[no_secrets]")
    (refused, tagged) = err.splitlines()
    assert refused.startswith("error: command line: checks.warn: errors of no_secrets cannot be")
    assert "[checks.warn: " not in refused
    assert tagged == error


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory of the broken experiments, on a machine without devices and engines."""
    monkeypatch.chdir(BROKEN)
    monkeypatch.setenv("PATH", str(FAKES))
    monkeypatch.delenv(lookup.SETTING, raising=False)


def run_with_warnings(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, list[str]]:
    status, _, err = run(monkeypatch, *arguments, f"checks.warn=[{','.join(NAMES)}]")
    return status, err.splitlines()


@pytest.mark.costly
@pytest.mark.parametrize("file", sorted(BROKEN.glob("configs/*.yaml")), ids=lambda file: file.stem)
def test_with_every_error_a_warning_there_is_a_plan_or_one_line(
    file: Path, broken: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, lines = run_with_warnings(monkeypatch, f"config={file.stem}", "role=check")
    assert status in (0, 2)
    assert [line for line in lines if not line.startswith(("error: ", "warning: "))] == []
    assert any(line.startswith("error: ") for line in lines) is (status == 2)


def test_what_cannot_be_planned_is_one_line(broken: None, monkeypatch: pytest.MonkeyPatch) -> None:
    size = "rollout_server.vllm_tensor_parallel_size=0"
    arguments = ("config=incomplete_server_block", size, "role=both", "dry_run=true")
    status, lines = run_with_warnings(monkeypatch, *arguments)
    assert status == 2
    what = "does not say how many devices a server takes, set its tensor and data parallel size"
    assert lines[-1].startswith("error: configs/")
    assert lines[-1].endswith(f"rollout_server: {what}")


def test_what_planning_raises_is_one_line_only_where_a_rule_was_downgraded() -> None:
    with pytest.raises(ConfigError) as caught, blamed_on([DEVICES]):
        raise KeyError("vllm_data_parallel_size")
    assert str(caught.value) == (
        f"checks.warn: cannot plan this configuration with errors of {DEVICES} as warnings "
        "(KeyError: 'vllm_data_parallel_size'), fix these errors"
    )
    with pytest.raises(KeyError), blamed_on(()):
        raise KeyError("a fault of ours")
    with pytest.raises(PreflightError), blamed_on([DEVICES]):
        raise PreflightError("a", "b", "c")
