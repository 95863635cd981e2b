"""Rules on the flags of ``swift rollout``, and how one value is judged.

They judge keys and values as the parser of ms-swift does, with one difference: ``argparse``
takes ``--num_gen`` for ``--num_generations`` and dashes for underscores; here a key is a flag's
whole name, because the launcher's other rules look for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from grpo_launch.config import encoding, kinds
from grpo_launch.config.arguments import find
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.engines.flag_facts import LearnerFlags, ServerFlags
from grpo_launch.engines.flags import TAKEN_FOR_A_FLAG, Flag, accepts, expected
from grpo_launch.engines.swift import serve

_NARROWER = {
    "truncation_strategy": (("delete", "left"), " (all that GRPO takes)"),
    "eval_strategy": (("no", "steps", "epoch"), ""),
}
"""Narrower than the parser: ``RLHFArguments._init_grpo`` raises for other values, and so
does ``TrainingArguments.__post_init__`` of transformers (``IntervalStrategy``)."""

_MAPPINGS = ("custom_dataset_info", "fsdp", "rope_scaling", "teacher_deepspeed")
"""Flags that take a text and read it as JSON, so that a mapping does."""

_REFUSED: Mapping[str, tuple[Any, ...]] = {
    "vllm_reasoning_parser": (),
    "vllm_pipeline_parallel_size": (1,),
    "context_manager": (),
}
"""Flags that every use of is an error, but for these values."""

_GRPO = (None, "grpo")
"""``rlhf_type``: unset is grpo (``learners/swift/arguments.py``)."""


@rule(needs=(ServerFlags, LearnerFlags), settles=True)
def rollout_flags_are_valid(context: Context) -> Iterator[Problem]:
    """Every flag of the rollout server's command line exists there and takes its value."""
    config, learner = context.config, context[LearnerFlags].flags
    for name, value in config.rollout_server.items():
        yield from _on_the_server(context, f"rollout_server.{name}", name, value)
    shared = encoding.of(config)
    for key in encoding.ENCODING:
        name = key.rpartition(".")[2]
        value, flag = shared.get(name), learner.get(name)
        if value is None or name in config.rollout_server:
            continue
        if flag is None or accepts(flag, value) is not None:
            continue  # reported for the learner
        yield from _on_the_server(context, encoding.place(config, key), name, value)


@rule
def rollout_flags_are_those_of_a_rollout_server(context: Context) -> Iterator[Problem]:
    """What ``swift rollout`` has from other programs and refuses is not set.

    Source: ``RolloutArguments._check_args`` and ``_check_deprecated_args``.
    """
    config = context.config
    for name, harmless in _REFUSED.items():
        value = config.rollout_server.get(name)
        if value is not None and value not in harmless:
            where = config.where(f"rollout_server.{name}")
            yield Problem(where, "is refused by swift rollout", "remove it")


@rule(needs=(ServerFlags,))
def server_and_learner_encode_alike(context: Context) -> Iterator[Problem]:
    """What decides how a prompt is encoded is the same for both halves.

    Both encode the same messages, each with its own template: the learner would learn from other
    tokens than the server was asked with. The precision may be meant to differ. A server alone may
    be told what its learner, elsewhere, is told too; a learner of the same file is judged by this.
    """
    config = context.config
    shared, table = encoding.of(config), context[ServerFlags]
    for key in encoding.ENCODING:
        name = key.rpartition(".")[2]
        value, other = config.rollout_server.get(name), shared.get(name)
        usual = table.defaults.get(name) if other is None else other
        if value is None or serve.render(value) == serve.render(usual):
            continue
        own = f"vllm_{name}"
        if other is None and not config.trains and own not in table.flags:
            continue
        flag = table.flags.get(name)
        if flag is None or value_problem(config, table.product, key, flag, value):
            continue  # reported with the flags
        there = encoding.place(config, key)
        state = "is not set" if other is None else f"is {kinds.said_at(there, other)}"
        what = f"is {kinds.said_at(key, value)}, but the learner's {name} {state}"
        if other is not None:
            what += f" ({config.where(there)})"
        fix = f"set {config.spelled(there)} alone, both halves get it"
        if other is None and own in table.flags:
            fix = f"did you mean {own}? Else {fix}"
        severity = Severity.WARNING if name == "torch_dtype" else Severity.ERROR
        yield Problem(config.where(f"rollout_server.{name}"), what, fix, severity)


def value_problem(
    config: LaunchConfig, program: str, key: str, flag: Flag, value: Any
) -> Problem | None:
    """What is wrong with the value of a flag, if anything.

    Args:
        config: the configuration.
        program: the name and version of the engine.
        key: the dotted key that gives the value; its last part is the flag's name.
        flag: what the flag takes.
        value: what the key gives.
    """
    if flag.kind == "object":
        return Problem(config.where(key), f"cannot be given to {program} as a flag", "remove it")
    name = key.rpartition(".")[2]
    wanted = accepts(flag, value)
    if isinstance(value, dict) and flag.kind == "str" and name not in _MAPPINGS:
        wanted = expected(flag)
    narrow, why = _NARROWER.get(name, ((), ""))
    if narrow and (wanted or str(value) not in narrow) and find(config, "rlhf_type")[1] in _GRPO:
        flag = Flag("str", choices=narrow)
        wanted = expected(flag) + why
    if wanted is None:
        return None
    fix = "choose one of them" if flag.choices else f"write {expected(flag)}"
    if value is False and "no" in (flag.choices or ()):
        fix = "quote it, since YAML reads no as false: 'no'"
    if wanted.endswith(TAKEN_FOR_A_FLAG):
        fix = "write it without an exponent" if flag.kind == "float" else "begin it otherwise"
    return Problem(config.where(key), f"{kinds.said_at(key, value)} is not {wanted}", fix)


ROLLOUT_FLAG_RULES: Sequence[Rule] = (
    rollout_flags_are_valid,
    rollout_flags_are_those_of_a_rollout_server,
    server_and_learner_encode_alike,
)
"""In the order in which their findings are reported."""


def _on_the_server(context: Context, key: str, name: str, value: Any) -> Iterator[Problem]:
    config, table = context.config, context[ServerFlags]
    flag = table.flags.get(name)
    if flag is None:
        what = f"unknown key, no flag of {table.program} of {table.product}"
        yield Problem(config.where(key), what, "remove it")
        return
    as_json = isinstance(value, list) and not serve.takes_words(name)
    one_word = serve.render(value) if as_json else value
    if problem := value_problem(config, table.product, key, flag, one_word):
        yield problem
