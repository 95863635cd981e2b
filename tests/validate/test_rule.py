"""A rule as its author meets it: one context, facts by type, a name, and reasons to be skipped."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

import grpo_launch
from grpo_launch.checks.examine import all_rules
from grpo_launch.config.compose import compose
from grpo_launch.config.facts import DeviceMemory, Facts, WorldSize
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem
from grpo_launch.config.rule import Context, Finding, Outcome, Rule, Unknown, rule
from grpo_launch.plugins import ENGINES, LEARNERS


@dataclass(frozen=True)
class Tokenizer:
    """A fact that a plug-in could bring."""

    vocabulary: int


@rule(needs=(Tokenizer,))
def vocabulary_is_small(context: Context) -> Iterator[Finding]:
    """A rule that a plug-in could bring."""
    if context[Tokenizer].vocabulary > 10:
        yield Problem("x.yaml: tokenizer", "is large", "take another")
    if context.get(WorldSize) is None:
        yield context.unknown(WorldSize)
    yield Unknown("a second reason, which nobody reads")


@pytest.fixture(scope="module")
def config() -> LaunchConfig:
    return compose("tiny_cpu")


def check(config: LaunchConfig, facts: Facts) -> Outcome:
    return vocabulary_is_small.check(Context.of(config, facts))


def test_a_fact_that_is_missing_skips_the_rule_with_the_best_reason_there_is(
    config: LaunchConfig,
) -> None:
    assert check(config, Facts()).skipped == "Tokenizer is not known"
    gathered = Facts.of(missing={Tokenizer: "the tokenizer is in a hub"})
    assert check(config, gathered) == Outcome(
        "vocabulary_is_small", skipped="the tokenizer is in a hub"
    )
    assert Facts().why_missing(DeviceMemory).startswith("the memory of a device is not known")


def test_a_rule_may_judge_a_part_and_say_what_it_could_not(config: LaunchConfig) -> None:
    outcome = check(config, Facts.of(Tokenizer(11)))
    assert [problem.where for problem in outcome.problems] == ["x.yaml: tokenizer"]
    assert outcome.skipped == "the devices of the learner are not known"
    assert outcome.title == "vocabulary is small"
    assert vocabulary_is_small(Context.of(config, Facts.of(Tokenizer(11)))) == [*outcome.problems]
    assert check(config, Facts.of(Tokenizer(3), WorldSize(1))).problems == ()


def test_later_facts_win_and_a_fact_that_is_not_needed_is_no_surprise(config: LaunchConfig) -> None:
    facts = Facts.of(WorldSize(1), Tokenizer(3)).updated(Facts.of(WorldSize(2)))
    context = Context.of(config, facts)
    assert (context[WorldSize].processes, context[Tokenizer].vocabulary) == (2, 3)
    with pytest.raises(LookupError, match=r"memory of a device .*DeviceMemory in needs"):
        context[DeviceMemory]


def test_every_rule_of_the_package_is_listed(config: LaunchConfig) -> None:
    names = [
        module.name
        for module in pkgutil.walk_packages(grpo_launch.__path__, "grpo_launch.")
        if (
            "rules" in module.name or module.name.split(".")[1] in ("checks", "learners", "engines")
        )
        and not module.name.rpartition(".")[2].startswith("ask_")  # of the engine's interpreter
    ]
    values = [value for name in names for value in vars(importlib.import_module(name)).values()]
    defined = {value.name for value in values if isinstance(value, Rule)}
    plugged = {
        rule.name
        for registry in (ENGINES, LEARNERS)
        for name in registry.shipped
        for rule in registry.get(name).rules
    }
    assert defined == plugged | {rule.name for rule in all_rules(config)}
    assert [rule.name for rule in all_rules(config) if not rule.function.__doc__] == []
