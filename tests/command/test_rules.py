"""What the rules of any command accept and refuse."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from grpo_launch.config import schema
from grpo_launch.config.facts import Facts
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.rule import Context
from grpo_launch.engines.command.rules import RULES as OF_ENGINE
from grpo_launch.learners.command.rules import RULES as OF_LEARNER
from tests.composed import shipped

ARGV = ["serve", "--port", "{port}"]


def found(config: LaunchConfig, rules: Any) -> dict[str, list[str]]:
    context = Context.of(config, Facts())
    judging = [rule for rule in rules if rule.when(config)]
    return {rule.name: [str(p) for p in rule(context)] for rule in judging if rule(context)}


def serving(settings: dict[str, Any], **changes: Any) -> LaunchConfig:
    config = shipped("examples/command/both.yaml", ("role=both",))
    return dataclasses.replace(config, rollout_server=settings, **changes)


def training(train: dict[str, Any], **changes: Any) -> LaunchConfig:
    config = shipped("examples/command/shell.yaml", ("role=learner",))
    return dataclasses.replace(config, train=train, **changes)


@pytest.mark.parametrize(
    "settings",
    [
        {"argv": ARGV},
        {"argv": ["serve", 1, True, "{{x}}", "{model}{host}{devices}{run_dir}"]},
        {"argv": ARGV, "env": {"A": "{model}", "N": 1}},
        {"argv": ARGV, "checks": [{"path": "/a"}, {"path": "/b", "field": "f", "value": 1}]},
        {"argv": ARGV, "checks": [{"path": "/c", "body": {"m": "{model}", "j": "{{}}"}}]},
        {"argv": ARGV, "generation": {"path": "/g", "tokens": ["a.0.b", "c"]}},
        {"argv": ARGV, "served": "POST", "vital": ["worker"], "moves": True},
        {"argv": ARGV, "alarms": {"OLD WEIGHTS": "they are"}},
        {"argv": ARGV, "transfers": ["reload", "restart"], "tensor_parallel_size": 2},
        {"argv": ARGV, "transfers": "group"},
    ],
    ids=str,
)
def test_a_server_that_can_be_started(settings: dict[str, Any]) -> None:
    assert found(serving(settings), OF_ENGINE) == {}


@pytest.mark.parametrize(
    ("settings", "rule", "what"),
    [
        ({}, "a_server_has_a_command", "is not set"),
        ({"argv": "serve --port 1"}, "a_server_has_a_command", "is not a list of words"),
        ({"argv": ["serve", "{prot}"]}, "a_server_has_a_command", "no placeholder {prot}"),
        ({"argv": ["serve", None]}, "a_server_has_a_command", "null is no text"),
        ({"argv": ["serve", "{output_dir}"]}, "a_server_has_a_command", "{output_dir}"),
        ({"argv": ["serve", '{"a": 1}']}, "a_server_has_a_command", "write {{ and }}"),
        ({"argv": ARGV, "env": ["A=1"]}, "variables_of_the_server_are_text", "not a mapping"),
        ({"argv": ARGV, "env": {"A": [1]}}, "variables_of_the_server_are_text", "is no text"),
        ({"argv": ARGV, "env": {"A": "{b}"}}, "variables_of_the_server_are_text", "{b}"),
        ({"argv": ARGV, "checks": {"path": "/"}}, "checks_of_the_server_can_be_asked",
         "is not a list"),
        ({"argv": ARGV, "checks": ["/a"]}, "checks_of_the_server_can_be_asked", "not a mapping"),
        ({"argv": ARGV, "checks": [{"path": "a"}]}, "checks_of_the_server_can_be_asked",
         "begins with /"),
        ({"argv": ARGV, "checks": [{"path": "/a", "url": 1}]}, "checks_of_the_server_can_be_asked",
         "unknown key url"),
        ({"argv": ARGV, "checks": [{"path": "/a", "value": 1}]},
         "checks_of_the_server_can_be_asked", "a value but no field"),
        ({"argv": ARGV, "generation": {"path": "/g", "tokens": 1}},
         "checks_of_the_server_can_be_asked", "not a path or a list"),
        ({"argv": ARGV, "generation": {"path": "/g", "body": "x"}},
         "checks_of_the_server_can_be_asked", "is no mapping"),
        ({"argv": ARGV, "generation": {"path": "/g", "body": {"a": ["{x}"]}}},
         "checks_of_the_server_can_be_asked", "{x}"),
        ({"argv": ARGV, "served": 3}, "signs_of_the_server_are_text", "is not a text"),
        ({"argv": ARGV, "vital": [1]}, "signs_of_the_server_are_text", "list of texts"),
        ({"argv": ARGV, "alarms": ["x"]}, "signs_of_the_server_are_text", "a mapping of texts"),
        ({"argv": ARGV, "moves": "yes"}, "signs_of_the_server_are_text", "true or false"),
        ({"argv": ARGV, "data_parallel_size": 0}, "sizes_of_the_server_are_positive", "below 1"),
        ({"argv": ARGV, "transfers": ["nccl"]}, "transfers_of_the_server_are_known", "nccl"),
        ({"argv": ARGV, "transfers": []}, "transfers_of_the_server_are_known", "is not a list"),
    ],
    ids=str,
)  # fmt: skip
def test_a_server_that_cannot_be_started(settings: dict[str, Any], rule: str, what: str) -> None:
    problems = found(serving(settings), OF_ENGINE)
    assert [*problems] == [rule]
    assert what in problems[rule][0]


def test_a_chosen_port_must_reach_the_server() -> None:
    auto = {"ports": schema.PortPolicy.auto}
    assert found(serving({"argv": ARGV}, **auto), OF_ENGINE) == {}
    assert found(serving({"argv": ["s"], "env": {"P": "{port}"}}, **auto), OF_ENGINE) == {}
    assert [*found(serving({"argv": ["serve"]}, **auto), OF_ENGINE)] == [
        "a_chosen_port_reaches_the_server"
    ]
    assert found(serving({"argv": ["serve"]}), OF_ENGINE) == {}


def test_a_server_of_somebody_else_needs_no_command() -> None:
    config = serving({})
    foreign = dataclasses.replace(config, engine=dataclasses.replace(config.engine, managed=False))
    assert found(foreign, OF_ENGINE) == {}


OUT = ["run", "{output_dir}"]
LAYOUT = {"path": "c-{step}", "marker": "done"}


@pytest.mark.parametrize(
    "train",
    [
        {"argv": ["run"]},
        {"argv": ["run"], "custom": {"mine": 1}, "x-common": 1},
        {"argv": ["run", "{config}"], "config": {"a": 1}},
        {"argv": ["run"], "variables": {"C": "{arguments_file}"}, "config": {"a": 1}},
        {"argv": ["run", "--config-path", "{run_dir}"], "config": {"a": 1}},
        {"argv": OUT, "checkpoints": LAYOUT},
        {"argv": ["run", "{config}"], "config": {}, "fill": {"o": "{output_dir}"},
         "checkpoints": LAYOUT},
        {"argv": ["run"], "output_dir": "its/own", "checkpoints": LAYOUT},
        {"argv": OUT, "checkpoints": LAYOUT, "resume_by": {"argument": "{checkpoint}"},
         "checkpoint": "c-1"},
        {"argv": ["run"], "resume_by": "directory"},
        {"argv": ["run"], "silence_s": 3600},
        {"argv": ["run"], "members": 3},
    ],
    ids=str,
)  # fmt: skip
def test_a_learner_that_can_be_started(train: dict[str, Any]) -> None:
    assert found(training(train), OF_LEARNER) == {}


@pytest.mark.parametrize(
    ("train", "rule", "what"),
    [
        ({"argv": ["run"], "progres": {}}, "keys_of_the_command_are_known", "you mean progress"),
        ({"argv": ["run"], "learning_rate": 1}, "keys_of_the_command_are_known",
         "belongs into config"),
        ({}, "the_command_is_declared", "is not set"),
        ({"argv": ["run", "{x}"]}, "the_command_is_declared", "no placeholder {x}"),
        ({"argv": ["run", "{config}"]}, "the_config_reaches_the_command", "no config to write"),
        ({"argv": ["run"], "config": {"a": 1}}, "the_config_reaches_the_command", "add {config}"),
        ({"argv": ["run", "{config}"], "config": {"a": {"b": "{output_dir}"}}},
         "the_config_is_taken_as_it_is", "a.b: '{output_dir}'"),
        ({"argv": ["run"], "resume_by": {"argument": "{checkpoint}"}},
         "what_continues_has_checkpoints", "how checkpoints lie"),
        ({"argv": OUT, "checkpoints": LAYOUT, "resume_by": {"config_key": "a"}},
         "what_continues_has_checkpoints", "there is no config"),
        ({"argv": ["run"], "checkpoint": "c-1"}, "what_continues_has_checkpoints",
         "cannot be handed"),
        ({"argv": ["run"], "checkpoints": LAYOUT}, "outputs_reach_their_directory",
         "has no {output_dir}"),
        ({"argv": ["run"], "progress": {"files": "*.jsonl"}}, "outputs_reach_their_directory",
         "has no {output_dir}"),
        ({"argv": ["run"], "silence_s": 5}, "silence_is_longer_than_a_stall", "has no effect"),
    ],
    ids=str,
)  # fmt: skip
def test_a_learner_that_cannot_be_started(train: dict[str, Any], rule: str, what: str) -> None:
    problems = found(training(train), OF_LEARNER)
    assert [*problems] == [rule]
    assert what in problems[rule][0]


@pytest.mark.parametrize(
    ("devices", "fits"), [(None, True), (["0", "1", "2", "3"], True), (["0", "1", "2"], False)]
)
def test_members_share_the_gpus(devices: list[str] | None, fits: bool) -> None:
    config = training({"argv": ["run"], "members": 2}, gpus=schema.Gpus(learner=devices))
    gpus = dataclasses.replace(
        config, accelerator=dataclasses.replace(config.accelerator, cpu_entry=False)
    )
    assert (found(gpus, OF_LEARNER) == {}) is fits
    assert found(config, OF_LEARNER) == {}


@pytest.mark.parametrize(
    ("train", "needs"),
    [
        ({"argv": ["run"]}, False),
        ({"argv": ["run", "{url}"]}, True),
        ({"argv": ["run"], "variables": {"P": "{port}"}}, True),
        ({"argv": ["run", "{model}"]}, False),
        ({"argv": ["run"], "needs_server": True}, True),
        ({"argv": ["run", "{url}"], "needs_server": False}, False),
        ({"argv": ["run", "{"]}, False),
        ({"argv": 3, "members": 3}, False),
    ],
)
def test_who_asks_for_the_address_of_a_server_needs_one(train: dict[str, Any], needs: bool) -> None:
    from grpo_launch.learners.command.learner import LEARNER

    assert LEARNER.needs_servers(training(train)) is needs
