"""The group ``tracking``: several options at once, by name or by values, from everywhere."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from grpo_launch.config import compose
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.errors import ConfigError


def experiment(tmp_path: Path, launch: str) -> str:
    file = tmp_path / "mine.yaml"
    block = textwrap.indent(textwrap.dedent(launch).strip(), " " * 6)
    file.write_text(f"custom:\n  extra:\n    launch:\n{block}\n")
    return str(file)


def chosen(config: LaunchConfig) -> list[str]:
    said = config.tracking
    named = ("wandb", "tensorboard", "trackio")
    return [*(["none"] if said.none else []), *(n for n in named if getattr(said, n).enabled)]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], []),
        (["tracking=[]"], []),
        (["tracking=none"], ["none"]),
        (["tracking=wandb"], ["wandb"]),
        (["tracking=[tensorboard,wandb]"], ["wandb", "tensorboard"]),
        (["tracking=[trackio]", "tracking.wandb.project=p"], ["trackio"]),
    ],
)
def test_options_on_the_command_line(overrides: list[str], expected: list[str]) -> None:
    assert chosen(compose.compose("tiny_cpu", overrides)) == expected


@pytest.mark.parametrize("said", ["wandb", "[wandb]", "[wandb, tensorboard]", "none"])
def test_an_experiment_chooses_options_by_name(tmp_path: Path, said: str) -> None:
    config = compose.compose(experiment(tmp_path, f"tracking: {said}"))
    assert not config.mistakes
    assert chosen(config) == [name.strip() for name in said.strip("[]").split(",")]


def test_the_command_line_chooses_anew(tmp_path: Path) -> None:
    name = experiment(tmp_path, "tracking: [wandb, tensorboard]")
    assert chosen(compose.compose(name, ["tracking=none"])) == ["none"]


def test_an_experiment_gives_values_without_choosing(tmp_path: Path) -> None:
    name = experiment(
        tmp_path,
        """
        tracking:
          wandb:
            project: mindgames ${x}
            mode: offline
            artifact_aliases: [best]
        """,
    )
    config = compose.compose(name, ["tracking=wandb", "tracking.wandb.entity=team"])
    assert not config.mistakes
    wandb = config.tracking.wandb
    assert (wandb.project, wandb.mode and wandb.mode.value) == ("mindgames ${x}", "offline")
    assert (wandb.entity, wandb.artifact_aliases) == ("team", ["best"])
    assert chosen(config) == ["wandb"]


@pytest.mark.costly
@pytest.mark.parametrize(
    ("launch", "message"),
    [
        ("tracking: wandbb", "tracking: there is no option wandbb, did you mean wandb?"),
        ("tracking: [tensorboard, trackoi]", "there is no option trackoi, did you mean trackio?"),
        ("tracking: [1]", "must be a list of names, an option's name or a mapping, not [1]"),
        ("tracking: {wandb: {projct: x}}", "tracking.wandb.projct: unknown key, did you mean"),
        ("tracking: {wandb: true}", "tracking.wandb: true is not a mapping"),
        ("tracking: {wandb: {mode: fast}}", "'fast' is not one of online, offline, disabled"),
        ("tracking: {wand: {}}", "tracking.wand: unknown key, did you mean wandb?"),
    ],
)
def test_mistakes_of_an_experiment_are_named(tmp_path: Path, launch: str, message: str) -> None:
    config = compose.compose(experiment(tmp_path, launch))
    assert any(message in str(mistake.error) for mistake in config.mistakes), config.mistakes


@pytest.mark.costly
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tracking=wandbb", "command line: tracking=wandbb: no such option, did you mean wandb?"),
        ("tracking=[wandb,tensorbord]", "no such option, did you mean tensorboard?"),
        ("tracking=wandb,none", "write tracking=[wandb,none] for a list"),
        ("tracking.wandb.projct=x", "unknown key, did you mean tracking.wandb.project?"),
        ("tracking.wandb.mode=onlin", "'onlin' is not one of online, offline, disabled"),
        ("+tracking.wandb.x=1", "unknown key"),
    ],
)
def test_mistakes_of_the_command_line_are_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose.compose("tiny_cpu", [override])
    assert message in str(caught.value)
