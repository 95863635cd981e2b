"""The short way of a plain command line gives what Hydra gives with all its own groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import pytest
from legacy_reference import exact, write
from omegaconf import DictConfig, OmegaConf

from grpo_launch.base import resources
from grpo_launch.config import compose, schema
from grpo_launch.config.hydra import lookup, source
from grpo_launch.config.hydra.shipped import ShippedSource
from grpo_launch.errors import ConfigError

CONF = resources.path("conf")
FILES = sorted(str(path.relative_to(CONF).with_suffix("")) for path in CONF.rglob("*.yaml"))
NATIVE = """\
# @package _global_
defaults:
  - override /runtime: current
  - override /hydra/job_logging: disabled
  - _self_
hydra: {job: {name: mine}}
train: {model: {model: m}}
"""


@pytest.fixture
def hydra_composes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls of ``hydra.compose``."""
    calls: list[Any] = []
    inner = hydra.compose

    def counted(*arguments: Any) -> DictConfig:
        calls.append(arguments)
        return inner(*arguments)

    monkeypatch.setattr(hydra, "compose", counted)
    return calls


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)
    return tmp_path


@pytest.mark.parametrize("name", [name for name in FILES if name != schema.PRIMARY])
def test_a_file_is_read_as_hydra_reads_it(name: str) -> None:
    ours = ShippedSource("test", f"shipped://{CONF}").load_config(name)
    theirs = OmegaConf.load(CONF / f"{name}.yaml")
    assert exact(OmegaConf.to_container(ours.config)) == exact(OmegaConf.to_container(theirs))


@pytest.mark.costly
@pytest.mark.parametrize("experiment", ["summary_1024", "summary_1024_attr_key_recall", "tiny_cpu"])
@pytest.mark.parametrize(
    "choices",
    [
        ["role=both"],
        ["role=check", "accelerator=cpu", "train.training.max_steps=9"],
        ["role=check", "~rollout_server"],
        ["role=check", "rollout_server={vllm_max_model_len: 1}"],
        ["role=server", "runtime=current", "++gpus.server=[0,1]", "+train.data.x={a: [1, null]}"],
    ],
    ids=" ".join,
)
def test_it_composes_what_hydra_composes_with_all_its_groups(
    experiment: str, choices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [f"config={experiment}", *choices]
    short = compose.compose_arguments(arguments)
    with monkeypatch.context() as patch:
        patch.setattr(source, "View", _whole)
        whole = compose.compose_arguments(arguments)
    assert exact(short.as_dict()) == exact(whole.as_dict())


@pytest.mark.costly
@pytest.mark.parametrize("experiment", ["summary_1024", "summary_1024_attr_key_recall", "tiny_cpu"])
@pytest.mark.parametrize("overrides", [[], ["train.rlhf.beta=${train.rlhf.temperature}"]])
def test_what_is_right_takes_the_short_way_alone(
    hydra_composes: list[Any], experiment: str, overrides: list[str]
) -> None:
    compose.compose(experiment, overrides)
    assert hydra_composes == []


def test_a_native_experiment_may_choose_options_of_hydra(
    project: Path, hydra_composes: list[Any]
) -> None:
    write(project, {"configs/n.yaml": NATIVE})
    config = compose.compose("n")
    assert (config.runtime.kind.value, config.train) == ("current", {"model": {"model": "m"}})
    assert len(hydra_composes) == 1


@pytest.mark.costly
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["runtime=nope"], "current"),
        (["rollout_server=nope"], "rollout_server"),
        (["hydra_logging=none"], "hydra_logging"),
    ],
)
def test_what_is_wrong_is_said_by_the_whole_composition(
    overrides: list[str], said: str, hydra_composes: list[Any]
) -> None:
    with pytest.raises(ConfigError, match=said):
        compose.compose("summary_1024", overrides)
    assert hydra_composes != []


@pytest.mark.slow
def test_a_native_experiment_may_have_settings_of_hydra(project: Path) -> None:
    native = NATIVE.replace("  - override /hydra/job_logging: disabled\n", "")
    write(project, {"configs/n.yaml": native})
    assert compose.compose("n").train == {"model": {"model": "m"}}


def test_resolvers_of_hydra_are_there(hydra_composes: list[Any]) -> None:
    config = compose.compose("summary_1024", ["train.data.dataset=${now:%Y}"])
    assert config.get("data.dataset").isdecimal()
    assert hydra_composes == []


def test_the_schema_is_found_on_both_ways_in_one_process(recwarn: pytest.WarningsRecorder) -> None:
    compose.register()  # hydra.main needs the schema in the ConfigStore
    compose.compose("summary_1024")
    assert not [warning for warning in recwarn if "schema" in str(warning.message)]


def _whole(**_: object) -> source.View:
    return source.WHOLE
