"""Deliberately broken experiments: all that is wrong is said, one line each, and nothing is left.

``configs/*.yaml`` are mistakes that people make; the first line of each says which one, and
begins with "Warning:" where a launch may go on. ``expected/NAME.txt`` is what ``role=check``
prints to standard error, compared whole; ``pytest tests/broken --update-golden`` rewrites it.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from grpo_launch import cli
from tests.conftest import FAKES

HERE = Path(__file__).parent
EXPERIMENTS = sorted(path.stem for path in (HERE / "configs").glob("*.yaml"))
MESSAGE = re.compile(r"(error|warning): configs/\S+\.yaml(:\d+){0,2}: \S.*, \S.*")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's directory with the experiments and the files that they name, and nothing else."""
    made = tmp_path_factory.mktemp("broken")
    for name in ("configs", "models", "gym", "data"):
        shutil.copytree(HERE / name, made / name)
    return made


@pytest.fixture(autouse=True)
def surroundings(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without devices and engines, where a stray file would be seen."""
    monkeypatch.chdir(directory)
    monkeypatch.setenv("PATH", str(FAKES))
    monkeypatch.setenv("HOME", str(directory))
    for name in ("XDG_CACHE_HOME", "GRPO_LAUNCH_CONFIGS", "HYDRA_FULL_ERROR"):
        monkeypatch.delenv(name, raising=False)


def launch(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["grpo_launch", *arguments, "preflight=false"])
    return cli.main()


def files(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.costly
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_mistake_is_said_on_one_line_with_file_and_fix(
    name: str,
    directory: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = files(directory)
    status = launch(monkeypatch, "role=check", f"config={name}")
    shown = capsys.readouterr()
    golden = HERE / "expected" / f"{name}.txt"
    if request.config.getoption("--update-golden", default=False):
        golden.write_text(shown.err)
    goes_on = (HERE / "configs" / f"{name}.yaml").read_text().startswith("# Warning: ")
    assert status == (0 if goes_on else 2)
    assert shown.err == golden.read_text()
    messages = shown.err.splitlines()
    assert [line for line in messages if not MESSAGE.fullmatch(line)] == []
    kinds = {line.partition(":")[0] for line in messages}
    assert kinds == {"warning"} if goes_on else "error" in kinds
    assert files(directory) == before


@pytest.mark.parametrize("name", ["shared/valid", "shared/gym"])
def test_what_the_broken_ones_extend_is_valid(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch(monkeypatch, "role=check", f"config={name}") == 0
    assert capsys.readouterr().err == ""


def test_many_mistakes_are_said_together_by_every_launch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = (HERE / "expected" / "many_mistakes.txt").read_text().splitlines()
    errors = [line for line in expected if line.startswith("error: ")]
    assert len(errors) >= 5
    of_learner = ("rlhf.num_generations: ", "rlhf.reward_weights: ")
    of_server = [line for line in errors if not any(key in line for key in of_learner)]
    for role, wanted in (("server", of_server), ("learner", errors), ("both", errors)):
        assert launch(monkeypatch, f"role={role}", "config=many_mistakes") == 2
        shown = capsys.readouterr()
        assert (shown.out, shown.err.splitlines()) == ("", wanted)


def test_every_experiment_has_its_messages_and_says_what_is_wrong() -> None:
    assert len(EXPERIMENTS) >= 100
    assert sorted(path.stem for path in (HERE / "expected").glob("*.txt")) == EXPERIMENTS
    paths = [*(HERE / "configs").rglob("*.yaml")]
    assert [path.name for path in paths if not path.read_text().startswith("# ")] == []
