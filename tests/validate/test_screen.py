"""What ``role=check`` shows to people: the summary of a configuration, on one screen."""

from __future__ import annotations

import os
import pty
import re
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.base.host import Host
from grpo_launch.checks import gather, replaced, report, screen
from grpo_launch.config.compose import compose
from grpo_launch.config.facts import Facts
from grpo_launch.config.problem import Severity
from grpo_launch.roles import check
from tests.conftest import ROOT

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def body(name: str, *overrides: str) -> dict[str, Any]:
    """What a check of a shipped experiment found, as far as this machine does not matter."""
    config = compose(name, ["role=check", *overrides])
    facts = gather.gather(config, Host.current({"PATH": "", "XDG_CACHE_HOME": "/proc/none"}))
    return {
        "experiment": name,
        "status": 0,
        **report.of_outcomes([]),
        "form": "sections",
        "shadowed": [],
        "preflight": [],
        "rehearsal": None,
        "unchecked": [],
        "environment": None,
        "summary": report.summary(config, facts),
    }


@pytest.fixture(autouse=True)
def _in_the_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.costly
@pytest.mark.parametrize("accelerator", ["cuda", "cpu"])
@pytest.mark.parametrize(
    "name", sorted(path.stem for path in (ROOT / "configs/train/grpo").glob("*.yaml"))
)
def test_every_shipped_experiment_fits_a_screen_and_no_word_is_cut(
    name: str, accelerator: str
) -> None:
    found = body(name, f"accelerator={accelerator}")
    shown = screen.text(found, screen.Look(), checked=True)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 22  # with a problem above and a prompt below: 24
    whole = screen.text(found, screen.Look(verbose=True), checked=True)
    wide = screen.text(found, screen.Look(width=10_000, verbose=True), checked=True)
    assert whole.split() == wide.split()
    coloured = screen.text(found, screen.Look(colour=True), checked=True)
    assert COLOUR.sub("", coloured) == shown != coloured


def test_what_an_accelerator_replaced_is_as_it_would_be_typed() -> None:
    found = body("summary_1024", "accelerator=cpu", "train.rlhf.max_completion_length=32")
    everything = screen.text(found, screen.Look(verbose=True), checked=True)
    said = " ".join(everything.split())
    assert (
        "by accelerator=cpu: model.model=models/tiny-qwen2 (was Qwen/Qwen2.5-7B-Instruct)" in said
    )
    assert "rollout_server.vllm_data_parallel_size=1 (was 6)" in said
    assert "training.max_steps=3," in said
    assert "max_completion_length" not in said.partition("replaced")[2]  # the command line says it
    short = screen.text(found, screen.Look(), checked=True)
    assert re.search(r"\d+ more with verbose=true", short)


@pytest.mark.parametrize("accelerator", ["cuda", "gpu", "cpu_native"])
def test_an_accelerator_that_replaces_nothing_says_nothing(accelerator: str) -> None:
    assert replaced.by_accelerator(compose("tiny_cpu", [f"accelerator={accelerator}"])) == {}


def test_of_a_native_file_the_block_counts_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/n.yaml").write_text(
        "# @package _global_\ntrain: {rlhf: {beta: 0.1}}\n"
        "accelerators: {cuda: {train: {rlhf: {beta: 0.2}}}}\n"
    )
    assert replaced.by_accelerator(compose("n")) == {"train.rlhf.beta": {"was": 0.1, "is": 0.2}}


def test_a_problem_is_one_line_for_a_pipe_and_broken_between_words_for_a_terminal() -> None:
    text = "configs/x.yaml: rlhf.beta: " + " ".join(["word"] * 30)
    piped = screen.problem(Severity.ERROR, text, screen.Look(width=0))
    assert piped == f"error: {text}"
    lines = screen.problem(Severity.ERROR, text, screen.Look(width=40)).splitlines()
    assert max(map(len, lines)) <= 40
    assert " ".join(" ".join(lines).split()) == piped


@pytest.mark.parametrize("width", [0, 30, 44, 80])
def test_the_name_of_a_rule_is_faint_and_never_broken(width: int) -> None:
    text = "x.yaml: rlhf.beta: is wrong, set it [checks.warn: betas_are_right]"
    look = screen.Look(width=width, colour=True)
    shown = screen.problem(Severity.ERROR, text, look)
    assert shown.endswith("\x1b[2m[checks.warn: betas_are_right]\x1b[0m")
    assert " ".join(COLOUR.sub("", shown).split()) == f"error: {text}"


def test_colour_is_for_a_terminal_and_no_color_turns_it_off(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    with os.fdopen(master), os.fdopen(slave, "w") as terminal, (tmp_path / "x").open("w") as file:
        assert check._look(terminal, {"TERM": "xterm"}).colour
        assert not check._look(terminal, {"TERM": "xterm", "NO_COLOR": "1"}).colour
        assert not check._look(terminal, {"TERM": "dumb"}).colour
        assert not check._look(file, {"TERM": "xterm"}).colour


def test_a_value_cannot_colour_or_move_anything() -> None:
    found = body("tiny_cpu")
    found["summary"]["model"]["model"] = "a\x1b[2Jb"
    assert "\x1b" not in screen.text(found, screen.Look(), checked=True)
    assert "\x1b[2J" not in screen.text(found, screen.Look(colour=True), checked=True)


# What the learner tells


@pytest.mark.costly
@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        ([], {"steps": 16, "epochs": 1}),  # 96 rows, 6 prompts a step
        (["train.training.num_train_epochs=2.5"], {"steps": 40, "epochs": 2.5}),
        (["train.training.max_steps=7"], {"steps": 7}),
        (["train.rlhf.num_iterations=2"], {"steps": 32, "epochs": 1}),
        (["train.rlhf.generation_batch_size=96"], {"steps": 16, "epochs": 1}),
        (["train.data.split_dataset_ratio=0.1"], {"epochs": 1}),
        (["train.data.dataset=['examples/summary/dataset.jsonl#13']"], {"steps": 2, "epochs": 1}),
        (["train.data.dataset=[some/hub]"], {"epochs": 1}),
    ],
)
def test_steps_are_those_of_the_rows_and_the_batches(
    overrides: list[str], steps: dict[str, Any]
) -> None:
    training = body("summary_1024", *overrides)["summary"]["training"]
    assert {name: training[name] for name in ("steps", "epochs") if name in training} == steps


def test_rewards_have_their_weights_and_the_tuner_its_defaults() -> None:
    summary = body("summary_1024", "train.tuner.tuner_type=null")["summary"]
    assert summary["rewards"]["summary.format"] == 0.5
    assert summary["rewards"]["summary.parse"] == 1.0
    assert summary["tuner"]["tuner"] == "lora"  # of ms-swift
    assert summary["data"] == {"examples/summary/dataset.jsonl": "96 rows"}
    assert body("hanabi")["summary"]["rewards"] == {"gym_reward": 1.0}


def test_without_facts_the_summary_leaves_out_what_it_does_not_know() -> None:
    config = compose("summary_1024", ["role=check"])
    summary = report.summary(config, Facts())
    assert "steps" not in summary["training"]
    assert summary["data"] == {}
