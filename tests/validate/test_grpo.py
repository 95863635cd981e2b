"""The arithmetic of GRPO: exact messages, and suggestions that hold when they are followed."""

from __future__ import annotations

import copy
import dataclasses
import functools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.checks.examine import Problem, Severity
from grpo_launch.config.arguments import SIZES
from grpo_launch.config.compose import compose
from grpo_launch.config.facts import Facts, WorldSize
from grpo_launch.config.formats import batch_plan
from grpo_launch.config.hydra import lookup
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.rule import Context
from grpo_launch.learners.batches import BatchArithmetic
from grpo_launch.learners.swift import batches
from grpo_launch.learners.swift.batch_rules import BATCH_RULES
from grpo_launch.learners.swift.reward_rules import REWARD_RULES

GRPO_RULES = (*BATCH_RULES, *REWARD_RULES)

GOOD: dict[str, Any] = {
    "model": {"model": "some/model"},
    "data": {"dataset": ["d.jsonl"]},
    "training": {"per_device_train_batch_size": 8},
    "rlhf": {"reward_funcs": ["a.b"]},
    "custom": {"extra": {"rollout_server": {"vllm_tensor_parallel_size": 1}}},
}
PLAN = {"enabled": True, "per_device_train_batch_size": 8, "unified_batch_size": 48}
P = "custom.grpo.batch_plan"
T = "training."
R = "rlhf."
PRODUCT = "per_device_train_batch_size 8 x 2 learner devices"


@functools.lru_cache(maxsize=1)
def composed(directory: Path) -> LaunchConfig:
    file = directory / "x.yaml"
    file.write_text(yaml.safe_dump(GOOD, sort_keys=False))
    return compose(str(file))


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory: pytest.TempPathFactory) -> LaunchConfig:
    """A working directory with the experiment ``x.yaml``; ``config`` changes a copy of it."""
    directory = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.delenv(lookup.SETTING, raising=False)
        return composed(directory)


OTHER_FILE = re.compile(r"; \S+: ")


def config(base: LaunchConfig, changes: dict[str, Any], *overrides: str) -> LaunchConfig:
    """GOOD with changes, as composing a file that says so would give it."""
    data: dict[str, Any] = copy.deepcopy(GOOD)
    for key, value in changes.items():
        *above, last = key.split(".")
        node = functools.reduce(lambda n, k: n.setdefault(k, {}), above, data)
        node[last] = value
    train = batch_plan.expand(data, lambda *keys: ".".join(keys)).applied_to(data)
    flags = train["custom"]["extra"]["rollout_server"]
    return dataclasses.replace(base, train=train, rollout_server=flags, overrides=overrides)


def problems(config: LaunchConfig, world_size: int = 2) -> list[Problem]:
    context = known(config, world_size)
    return [problem for rule in GRPO_RULES for problem in rule(context)]


def known(config: LaunchConfig, world_size: int) -> Context:
    return Context.of(config, Facts.of(*([WorldSize(world_size)] if world_size else [])))


def key_of(problem: Problem) -> str:
    return re.sub(r".*: (train\.)?", "", problem.where)


def said(config: LaunchConfig, world_size: int = 2) -> list[str]:
    lines = (f"{key_of(p)}: {p.what}, {p.fix}" for p in problems(config, world_size))
    # The changes are in no file, so they count as the accelerator's, with other names.
    return [re.sub(r"\btrain\.(rlhf|training)\.", r"\1.", OTHER_FILE.sub("; ", x)) for x in lines]


FINE: dict[str, dict[str, Any]] = {
    "defaults": {},
    "a whole effective batch": {T + "effective_batch_size": 48},
    "an accumulation that agrees": {
        T + "effective_batch_size": 48,
        T + "gradient_accumulation_steps": "3",
    },
    "generation and steps that agree": {
        R + "generation_batch_size": 48,
        R + "steps_per_generation": 3.0,
    },
    "a generation smaller than a step": {
        T + "gradient_accumulation_steps": 4,
        R + "generation_batch_size": 16,
    },
    "groups over two steps": {
        T + "per_device_train_batch_size": 2,
        R + "steps_per_generation": 2,
    },
    "one completion with a teacher": {R + "num_generations": 1, R + "teacher_model": "t"},
    "a section other than its own": {"training.num_generations": 16},
    "evaluation turned off": {T + "eval_strategy": "no", "data.val_dataset": ["v.jsonl"]},
    "evaluation off with saving": {T + "save_strategy": "no", "data.val_dataset": ["v.jsonl"]},
    "nothing to evaluate on": {T + "eval_strategy": "steps"},
    "a streamed share": {"data.split_dataset_ratio": 0.1, "data.streaming": True},
    "evaluation in whole groups": {
        T + "per_device_eval_batch_size": 4,
        "data.split_dataset_ratio": "0.1",
    },
    "evaluation in smaller groups": {
        R + "num_generations_eval": 2,
        "data.val_dataset": "v.jsonl",
    },
    "weights as a scalar": {R + "reward_weights": 0.5},
    "a weight for each": {
        R + "reward_funcs": ["a", "b"],
        R + "reward_model": ["m"],
        R + "use_gym_env": True,
        R + "reward_weights": [1, 1, 1, 1],
    },
    "a gym alone": {R + "reward_funcs": None, R + "gym_env": "hanabi"},
    "a teacher alone": {R + "reward_funcs": [], R + "teacher_model_server": "http://t"},
    "a batch plan": {P: PLAN},
    "a batch plan and its quotient": {
        P: PLAN,
        T + "gradient_accumulation_steps": 3,
        R + "steps_per_generation": 3,
    },
}


@pytest.mark.parametrize("changes", FINE.values(), ids=FINE.keys())
def test_what_is_fine_has_no_problem(project: LaunchConfig, changes: dict[str, Any]) -> None:
    assert said(config(project, changes)) == []


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no sizes": (
        {
            T + "per_device_train_batch_size": 0,
            T + "per_device_eval_batch_size": True,  # no integers: the flags say so
            T + "gradient_accumulation_steps": "many",
            T + "effective_batch_size": "all",
            R + "num_iterations": -1,
            R + "num_generations": 2.5,
        },
        [
            "training.per_device_train_batch_size: 0 is not a size, use a positive integer",
            "training.effective_batch_size: 'all' is not a size, use a positive integer",
            "rlhf.num_iterations: -1 is not a size, use a positive integer",
        ],
    ),
    "a size too long to print": (
        {R + "num_generations": 16**5000},
        [
            ("rlhf.num_generations: a number too long to print is not a size, "
            "use a positive integer"),
        ],
    ),
    "an effective batch that is rounded up": (
        {T + "effective_batch_size": 50},
        [
            (f"training.effective_batch_size: 50 is not a multiple of 16 ({PRODUCT}), "
            "a step will hold 64 completions, set it to 48 or 64")
        ],
    ),
    "an accumulation that differs": (
        {T + "effective_batch_size": 48, T + "gradient_accumulation_steps": 4},
        [
            ("training.gradient_accumulation_steps: is 4, but effective_batch_size 48 over "
            f"{PRODUCT} gives 3, set it to 3 or remove it")
        ],
    ),
    "a generation of no whole step": (
        {R + "generation_batch_size": 50},
        [
            (f"rlhf.generation_batch_size: 50 is not a multiple of 16 ({PRODUCT}), "
            "set it to 48 or 64")
        ],
    ),
    "a generation of no whole step and group": (
        {R + "generation_batch_size": 50, R + "num_generations": 6},
        [
            (f"rlhf.generation_batch_size: 50 is not a multiple of 16 ({PRODUCT}), "
            "set it to 48 or 96")
        ],
    ),
    "a generation below a step": (
        {R + "generation_batch_size": 8},
        [f"rlhf.generation_batch_size: 8 is not a multiple of 16 ({PRODUCT}), set it to 16"],
    ),
    "steps that differ": (
        {R + "generation_batch_size": 48, R + "steps_per_generation": 2},
        [
            (f"rlhf.steps_per_generation: 2 x 16 ({PRODUCT}) is 32, "
            "but generation_batch_size is 48, set it to 3")
        ],
    ),
    "steps that differ from no whole step": (
        {R + "generation_batch_size": 50, R + "steps_per_generation": 2},
        [
            (f"rlhf.steps_per_generation: 2 x 16 ({PRODUCT}) is 32, "
            "but generation_batch_size is 50, set rlhf.generation_batch_size to 32")
        ],
    ),
    "one completion": (
        {R + "num_generations": 1},
        [
            ("rlhf.num_generations: is 1, but GRPO compares the completions of a prompt "
            "with one another, set it to 2")
        ],
    ),
    "groups that are cut": (
        {R + "num_generations": 6},
        [
            (f"rlhf.num_generations: 6 does not divide generation_batch_size 16 ({PRODUCT}, "
            "1 step per generation), set it to 4 or 8, "
            "or training.gradient_accumulation_steps to 3")
        ],
    ),
    "groups that are cut, steps given": (
        {R + "num_generations": 6, R + "steps_per_generation": 2},
        [
            (f"rlhf.num_generations: 6 does not divide generation_batch_size 32 ({PRODUCT}, "
            "2 steps per generation), set it to 4 or 8, or rlhf.steps_per_generation to 3")
        ],
    ),
    "groups that are cut, generation given": (
        {R + "num_generations": 6, R + "generation_batch_size": 32},
        [
            ("rlhf.num_generations: 6 does not divide generation_batch_size 32, "
            "set it to 4 or 8, or rlhf.generation_batch_size to 48")
        ],
    ),
    "groups that are cut, effective batch given": (
        {R + "num_generations": 6, T + "effective_batch_size": 32},
        [
            (f"rlhf.num_generations: 6 does not divide generation_batch_size 32 ({PRODUCT}, "
            "2 steps per generation), set it to 4 or 8, or training.effective_batch_size to 48")
        ],
    ),
    "evaluation by default": (
        {"data.split_dataset_ratio": 0.01},
        [
            ("training.per_device_eval_batch_size: is not set (default 1); "
            "1 x 2 learner devices is 2, not a multiple of num_generations 8, set it to 4, "
            "rlhf.num_generations_eval to 2, or training.eval_strategy to 'no'")
        ],
    ),
    "evaluation on another data set": (
        {"data.val_dataset": ["v.jsonl"], T + "per_device_eval_batch_size": 6},
        [
            ("training.per_device_eval_batch_size: 6 x 2 learner devices is 12, "
            "not a multiple of num_generations 8, set it to 4 or 8, "
            "rlhf.num_generations_eval to 6 or 12, or training.eval_strategy to 'no'")
        ],
    ),
    "a weight too many": (
        {R + "reward_weights": [1, 2]},
        [("rlhf.reward_weights: has 2 weights for 1 reward (a.b; rlhf.reward_funcs), "
         "give one weight for each, in that order")],
    ),
    "weights without a reward": (
        {R + "reward_funcs": None, R + "reward_weights": [1]},
        [
            ("rlhf.reward_weights: has 1 weight for 0 rewards, "
            "give one weight for each, in that order"),
            "rlhf.reward_funcs: names no reward, set rlhf.reward_funcs",
        ],
    ),
    "a batch plan that does not divide": (
        {P: {**PLAN, "unified_batch_size": 50}},
        [
            f"{P}.unified_batch_size: 50 is not a multiple of 16 ({PRODUCT}), set it to 48 or 64"
        ],
    ),
    "a batch plan and other steps": (
        {P: PLAN, T + "gradient_accumulation_steps": 2, R + "steps_per_generation": 6},
        [
            ("training.gradient_accumulation_steps: is 2, but the batch plan's 48 over "
            f"{PRODUCT} gives 3, set it to 3 or remove it"),
            ("rlhf.steps_per_generation: is 6, but the batch plan's 48 over "
            f"{PRODUCT} gives 3, set it to 3 or remove it"),
        ],
    ),
    "a batch plan that cuts groups": (
        {P: PLAN, R + "num_generations": 10},
        [
            ("rlhf.num_generations: 10 does not divide generation_batch_size 48, "
            f"set it to 8 or 12, or {P}.unified_batch_size to 80")
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "messages"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said(
    project: LaunchConfig, changes: dict[str, Any], messages: list[str]
) -> None:
    assert said(config(project, changes)) == messages


def test_only_a_rounded_batch_is_a_warning(project: LaunchConfig) -> None:
    for changes, _ in WRONG.values():
        for problem in problems(config(project, changes)):
            warned = problem.severity is Severity.WARNING
            assert warned == ("a step will hold" in problem.what)


def test_the_place_names_the_file(project: LaunchConfig) -> None:
    wrong = project.path.with_name("wrong.yaml")
    wrong.write_text(yaml.safe_dump({**GOOD, "rlhf": {"num_generations": 6}}))
    places = [problem.where for problem in problems(compose(str(wrong)))]
    assert places == [f"{wrong}: rlhf.num_generations", f"{wrong}: rlhf.reward_funcs"]


def test_overriding_a_plan_says_what_to_override(project: LaunchConfig) -> None:
    typed = config(project, {P: PLAN}, f"train.{P}.unified_batch_size=64")
    plan: Any = copy.deepcopy(typed.train)
    plan["custom"]["grpo"]["batch_plan"]["unified_batch_size"] = 64
    found = problems(dataclasses.replace(typed, train=plan))
    assert [str(problem) for problem in found] == [
        (
            f"command line: train.{P}.unified_batch_size: is expanded when the file is loaded, "
            "here it changes nothing, override train.training.effective_batch_size and "
            "train.rlhf.generation_batch_size"
        )
    ]


def test_overriding_what_a_plan_gave_is_fine(project: LaunchConfig) -> None:
    planned = config(project, {P: PLAN}, "train.training.per_device_train_batch_size=12")
    train: Any = copy.deepcopy(planned.train)
    train["training"]["per_device_train_batch_size"] = 12
    assert problems(dataclasses.replace(planned, train=train)) == []


def test_a_plan_that_became_wrong_is_a_problem(project: LaunchConfig) -> None:
    planned = config(project, {P: PLAN})
    train: Any = copy.deepcopy(planned.train)
    train["custom"]["grpo"]["batch_plan"]["unified_batch_size"] = "many"
    found = problems(dataclasses.replace(planned, train=train))
    assert [f"{p.what}, {p.fix}" for p in found] == [
        "'many' is not an integer, write an integer there"
    ]


def test_the_arithmetic_of_a_step(project: LaunchConfig) -> None:
    changes = {T + "effective_batch_size": 48, R + "num_iterations": 2}
    assert BatchArithmetic.of(batches.read(config(project, changes), 2)) == BatchArithmetic(
        world_size=2,
        per_device=8,
        gradient_accumulation_steps=3,
        steps_per_generation=3,
        generation_batch_size=48,
        num_generations=8,
        num_iterations=2,
        completions_per_step=48,
        prompts_per_step=6.0,
    )


def test_a_step_may_hold_half_a_group(project: LaunchConfig) -> None:
    changes = {T + "per_device_train_batch_size": 2, R + "steps_per_generation": 2}
    arithmetic = BatchArithmetic.of(batches.read(config(project, changes), 2))
    assert arithmetic is not None
    assert (arithmetic.completions_per_step, arithmetic.prompts_per_step) == (4, 0.5)


@pytest.mark.parametrize("world_size", [0, -1])
def test_no_devices_no_arithmetic(project: LaunchConfig, world_size: int) -> None:
    assert BatchArithmetic.of(batches.read(config(project, {}), world_size)) is None
    assert said(config(project, {}), world_size) == []


sizes = st.integers(min_value=1, max_value=40)
spaces = st.fixed_dictionaries(
    {},
    optional={
        **{f"{section}.{name}": sizes for name, section in SIZES.items()},
        "data.split_dataset_ratio": st.just(0.1),
    },
)


@given(changes=spaces, world_size=st.integers(min_value=1, max_value=9))
def test_a_suggestion_that_is_followed_holds(
    project: LaunchConfig, changes: dict[str, Any], world_size: int
) -> None:
    wrong = config(project, changes)
    for rule in GRPO_RULES:
        for problem in rule(known(wrong, world_size)):
            followed = list(suggestions(problem))
            assert followed, problem
            for suggestion in followed:
                better = config(project, {**changes, **suggestion})
                again = rule(known(better, world_size))
                left = [p for p in again if p.severity is problem.severity]
                assert left == [], (problem, suggestion)


@given(changes=spaces, world_size=st.integers(min_value=1, max_value=9))
def test_without_errors_there_is_an_arithmetic(
    project: LaunchConfig, changes: dict[str, Any], world_size: int
) -> None:
    made = config(project, {R + "num_generations": 2, **changes})
    if any(problem.severity is Severity.ERROR for problem in problems(made, world_size)):
        return
    batch = BatchArithmetic.of(batches.read(made, world_size))
    assert batch is not None
    step = batch.per_device * world_size
    assert batch.generation_batch_size == step * batch.steps_per_generation
    assert batch.generation_batch_size % batch.num_generations == 0
    assert batch.completions_per_step == step * batch.gradient_accumulation_steps


def suggestions(problem: Problem) -> list[dict[str, int]]:
    """What each alternative of ``set A to 1 or 2, or B to 3 and C to 4`` would change."""
    found: list[dict[str, int]] = []
    for alternative in re.split(r", (?:or )?", problem.fix):
        pairs = re.findall(r"(\S+) to (\d+)(?: or (\d+))?", alternative)
        named = [
            (key_of(problem) if key == "it" else key.removeprefix("train."), *ns)
            for key, *ns in pairs
        ]
        found += [
            {pair[0]: int(pair[choice] or pair[1]) for pair in named}
            for choice in (1, 2)
            if named and all(pair[choice] or len(named) > 1 for pair in named)
        ]
    return found


def test_numbers_too_long_to_print_are_problems(project: LaunchConfig) -> None:
    changes = {
        R + "reward_funcs": [16**5000],
        R + "reward_weights": [],
        R + "use_gym_env": 16**5000,
    }
    assert said(config(project, changes)) == [
        (
            "rlhf.reward_weights: has 0 weights for 1 reward "
            "(a number too long to print; rlhf.reward_funcs), "
            "give one weight for each, in that order"
        )
    ]


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(),
    st.sampled_from(["8", "no", "???", "1e3", b"8", 10**400, 2**31 - 1, -0.0]),
)  # fmt: skip
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=2)
)
arguments = st.sampled_from(
    [
        *SIZES,
        "reward_funcs",
        "reward_weights",
        "reward_model",
        "teacher_model",
        "use_gym_env",
        "eval_strategy",
        "val_dataset",
        "split_dataset_ratio",
        "streaming",
        "gym_env",
    ]
)
sections = st.one_of(values, st.dictionaries(arguments, values))


@given(
    train=st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("training", "rlhf", "data", "model", "template", "deepspeed", "custom"), sections
        ),
    ),
    flags=st.dictionaries(st.sampled_from(["use_gym_env", "vllm_max_num_seqs"]), values),
    world_size=st.integers(min_value=0, max_value=9),
)
def test_strange_values_are_problems(
    project: LaunchConfig, train: dict[str, Any], flags: dict[str, Any], world_size: int
) -> None:
    strange = dataclasses.replace(project, train=train, rollout_server=flags)
    for problem in problems(strange, world_size):
        assert str(problem)
    BatchArithmetic.of(batches.read(strange, world_size))
