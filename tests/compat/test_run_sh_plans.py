"""What old command lines become is taken by the launcher: composed, judged and planned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from grpo_launch.base import resources
from grpo_launch.cli import phases
from grpo_launch.config.compat import run_table
from grpo_launch.config.compose import compose, compose_arguments
from grpo_launch.config.hydra import hints
from tests.compat import test_run_sh
from tests.conftest import ROOT

FLAGS = "src/grpo_launch/learners/llamafactory/flags.json"
WHOLE = ["collect", "collect_eval", "select", "learner", "publish"]
TAKEN = [
    name
    for name, case in test_run_sh.LINES.items()
    if "config=mine" not in case["line"] and not test_run_sh.become(case)[0].startswith("error: ")
]


@pytest.mark.costly
@pytest.mark.parametrize("name", TAKEN)
def test_it_is_composed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = test_run_sh.become(test_run_sh.LINES[name])
    overrides = [line for line in lines if not line.startswith(("warning: ", "note: "))]
    config = compose_arguments(overrides, {})
    assert config.loop.dir in ("/log", "/log/loop", None)
    assert (config.loop.dir is None) == (config.role == "server")
    assert config.env.defaults["HF_HOME"] == "/data/.cache/huggingface/hub"
    assert config.env.learner.defaults["DISABLE_VERSION_CHECK"] == "1"


def test_every_key_of_the_table_is_one_of_ours() -> None:
    table = run_table.load()
    parts = [*table.nodes.values(), *table.brings.values(), *(f.sets for f in table.found)]
    parts += [part for key in table.keys.values() for part in key.values.values()]
    keys = {key for part in parts for key in part}
    keys |= {key for entry in table.keys.values() for key in entry.keys}
    trained = {key.removeprefix("train.") for key in keys if key.startswith("train.")}
    flags = json.loads((ROOT / FLAGS).read_text(encoding="utf-8"))["flags"]
    assert trained - {*flags} == set()
    # Those of the server depend on its engine: the lines above have them.
    others = [key for key in keys if not key.startswith(("train.", "rollout_server.", "config"))]
    assert len(others) > 20
    hints.check_overrides([f"{key}=null" for key in others])


@pytest.mark.costly
@pytest.mark.parametrize(
    ("phase", "stages"),
    [
        (["both", "--eval-interval", "1"], WHOLE),
        (["both", "--eval-interval", "6"], WHOLE),
        (["rollout", "--rollout-split", "train-only"], ["collect"]),
        (["rollout", "--rollout-split", "eval-only"], ["collect_eval"]),
        (["update"], ["select", "learner", "publish"]),
        (["rollout", "--rollout-split", "train-only", "--debug-mode"], ["collect"]),
    ],
)
def test_a_dry_run_prints_the_stages_and_starts_nothing(
    phase: list[str],
    stages: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    data = tmp_path / "data"
    data.mkdir()
    arguments = ["--data-path", "data", "--log-path", "log", "--rl-phase", *phase, "dry_run=true"]
    monkeypatch.setattr("sys.argv", ["run.sh", *arguments])
    assert phases.main() == 0
    shown = capsys.readouterr()
    printed = [line.split()[2].rstrip(",") for line in shown.out.splitlines() if "# stage " in line]
    assert [name for name in printed if name != "free"] == stages
    assert "error" not in shown.err
    assert "warning" not in shown.err
    assert [*tmp_path.iterdir()] == [data]


def test_the_profile_has_the_settings_of_the_preset() -> None:
    preset = yaml.safe_load(
        resources.path("conf/rollout_server/preset/webagent.yaml").read_text(encoding="utf-8")
    )["rollout_server"]
    config = compose("webagent")
    said = {key: config.rollout_server.get(key) for key in preset}
    assert said == {**preset, "data_parallel_size": len(config.gpus.server or ())}
