"""The example of a plug-in: installed, found by its entry points, planned, run to the end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.runs import plans
from grpo_launch.testing import EngineSuite, LearnerSuite
from tests.composed import shipped
from tests.conftest import ROOT, Project, free_port

EXAMPLE = ROOT / "examples" / "plugin"
CHOICE = ("accelerator=cpu_native", "runtime=current")
PROBE = "health.probe=generate"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of packages that has the example, as pip installs it."""
    source = tmp_path_factory.mktemp("source") / "plugin"
    shutil.copytree(EXAMPLE, source)
    directory = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(directory)]
    subprocess.run([*pip, *options, str(source)], check=True, capture_output=True)
    return directory


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The example, importable in this process."""
    monkeypatch.syspath_prepend(str(site))
    yield site
    for name in [name for name in sys.modules if name.startswith("grpo_launch_example")]:
        del sys.modules[name]


@pytest.fixture
def echo(project: Project) -> str:
    """The example's experiment, on a port of its own."""
    text = (EXAMPLE / "echo.yaml").read_text().replace("8123", str(project.port))
    group = f"  vllm_server_group_port: [{free_port()}]\n"
    text = text.replace("custom:\n", f"{group}custom:\n")
    (project.directory / "configs" / "echo.yaml").write_text(text)
    return "config=echo"


@pytest.mark.slow
def test_it_is_found_planned_and_run_to_the_end(project: Project, site: Path, echo: str) -> None:
    known = {"PYTHONPATH": str(site)}
    shown = project.launch("role=both", echo, *CHOICE, "dry_run=json", **known)
    assert shown.status == 0, shown.stderr
    plan, notes = plans.parse(shown.stdout)
    assert notes == ()
    assert [spec.argv[2] for spec in plan.processes] == [
        "grpo_launch_example.serve",
        "grpo_launch_example.train",
    ]
    assert [check.path for check in plan.gates[0].checks][:2] == ["/health", "/replicas"]

    checked = project.launch("role=check", echo, "verbose=true", *CHOICE, **known)
    assert checked.status == 0, checked.stderr
    assert "there is a replica" in checked.stdout

    done = project.launch("role=both", echo, *CHOICE, "run.dir=run", PROBE, **known)
    assert done.status == 0, done.stderr
    run = project.directory / "run"
    assert json.loads((run / "run.json").read_text())["state"] == "done"
    steps = [json.loads(line) for line in (run / "output/steps.jsonl").read_text().splitlines()]
    assert [row["step"] for row in steps] == [1, 2, 3, 4, 5]
    assert "reward 0.20 -> 1.00 in 5 steps" in done.stderr
    assert project.left_over() == []


@pytest.mark.slow
def test_its_own_rule_and_its_own_settings_count(project: Project, site: Path, echo: str) -> None:
    known = {"PYTHONPATH": str(site)}
    wrong = project.launch("role=check", echo, *CHOICE, "rollout_server.replicas=0", **known)
    assert wrong.status == 2
    where = "command line: rollout_server.replicas"
    said = "0 is below 1, use a positive integer [checks.warn: there_is_a_replica]"
    assert wrong.errors == [f"error: {where}: {said}"]
    other = project.launch(
        "role=check", echo, *CHOICE, "rollout_server.vllm_max_model_len=9", **known
    )
    assert other.status == 2
    assert "rollout_server.vllm_max_model_len: unknown key" in other.stderr


@pytest.mark.slow
def test_without_it_the_names_are_not_known(project: Project, echo: str) -> None:
    done = project.launch("role=check", echo, *CHOICE)
    assert done.status == 2
    assert (
        "there is no option echo, choose one of command, external, none, swift, vllm" in done.stderr
    )


@pytest.mark.slow
def test_a_pair_without_a_common_way_for_weights_is_refused(
    project: Project, site: Path, echo: str
) -> None:
    done = project.launch("role=check", echo, *CHOICE, "learner=swift", PYTHONPATH=str(site))
    assert done.status == 2
    what = "swift gives new weights by group, but echo takes them by reload"
    assert any(what in error for error in done.errors), done.stderr


@pytest.mark.slow
def test_a_learner_without_a_server_is_an_ordinary_run(
    project: Project, site: Path, tmp_path: Path
) -> None:
    """Nothing is waited for, and no address has to be named."""
    own = tmp_path / "own"
    info = own / "alone-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: alone\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[grpo_launch.learners]\nalone = alone:LEARNER\n")
    (own / "alone.py").write_text(
        "from grpo_launch_example.learner import CountingLearner\n"
        "class Alone(CountingLearner):\n"
        "    entry = cpu_entry = ('python', '-c', 'import sys; print(open(sys.argv[1]).read())')\n"
        "    transfers = frozenset()\n"
        "    def needs_servers(self, config): return False\n"
        "LEARNER = Alone()\n"
    )
    launch = "{engine: echo, learner: alone, runtime: current}"
    text = f"model: {{model: m}}\ncustom: {{extra: {{launch: {launch}}}}}\n"
    (project.directory / "configs" / "alone.yaml").write_text(text)
    known = {"PYTHONPATH": f"{own}:{site}"}
    checked = project.launch("role=check", "config=alone", *CHOICE, **known)
    assert checked.status == 0, checked.stderr
    done = project.launch("role=learner", "config=alone", *CHOICE, "run.dir=run", **known)
    assert done.status == 0, done.stderr
    assert "waiting for" not in done.stderr
    assert "max_steps: 3" in (project.directory / "run/logs/learner.log").read_text()


@pytest.mark.usefixtures("installed")
class TestEchoEngine(EngineSuite):
    settings = ({}, {"replicas": 2})

    @pytest.fixture(autouse=True)
    def chosen(self, installed: Path) -> None:
        from grpo_launch.plugins import ENGINES

        self.engine = ENGINES.get("echo")


@pytest.mark.usefixtures("installed")
class TestCountingLearner(LearnerSuite):
    @pytest.fixture(autouse=True)
    def chosen(self, installed: Path) -> None:
        from grpo_launch.plugins import LEARNERS

        self.learner = LEARNERS.get("counter")

    def config(self) -> LaunchConfig:
        return shipped(str(EXAMPLE / "echo.yaml"), ["role=learner", *CHOICE])
