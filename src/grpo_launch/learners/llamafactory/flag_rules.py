"""Rules on the keys and values of a training file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from grpo_launch.config import kinds
from grpo_launch.config.arguments import own
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.engines.flag_facts import LearnerFlags
from grpo_launch.engines.flags import Flag, accepts, expected
from grpo_launch.learners.llamafactory import arguments, datasets

_SUGGESTIONS = 20
"""Unknown keys that get a did-you-mean; each costs a comparison with every key."""

_NUMBERS = ("int", "float")


@rule(needs=(LearnerFlags,), settles=True)
def training_file_is_valid(context: Context) -> Iterator[Problem]:
    """Every key is one that LLaMA-Factory has, and takes its value.

    Source: ``HfArgumentParser.parse_dict`` refuses other keys once its imports are done; it takes
    any value, and what is of another type fails later, or is true because it is a text.
    """
    config, table = context.config, context[LearnerFlags]
    if not config.trains:
        return
    guesses = _SUGGESTIONS
    for name, said in own(config).items():
        key, flag = f"train.{name}", table.flags.get(name)
        if name == datasets.DATA or (flag is not None and said is None):
            continue
        if flag is None:
            near = kinds.nearest(name, [*table.flags, datasets.DATA]) if guesses > 0 else None
            guesses -= 1
            what = f"unknown key, no argument of {table.program} of {table.product}"
            fix = f"did you mean {near}?" if near else "remove it"
            yield Problem(config.where(key), what, fix, meant=near or "")
        elif problem := _problem(config, table.product, key, flag, arguments.number(said)):
            yield problem


def _problem(
    config: LaunchConfig, product: str, key: str, flag: Flag, value: Any
) -> Problem | None:
    """What is wrong with a value, if anything."""
    where = config.where(key)
    if flag.kind == "object":
        return Problem(where, f"cannot be given to {product} in a file", "remove it")
    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    # The file is read as YAML: nothing makes a number or a boolean of a text.
    quoted = any(isinstance(item, str) for item in items) and flag.kind in (*_NUMBERS, "bool")
    wanted = accepts(flag, value)
    if flag.kind == "str" and isinstance(value, dict):
        wanted = expected(flag)
    if wanted is None and not quoted:
        return None
    fix = "choose one of them" if flag.choices else f"write {expected(flag)}"
    if quoted and wanted is None:
        fix = "write it without quotes"
    if value is False and "no" in (flag.choices or ()):
        fix = "quote it, since YAML reads no as false: 'no'"
    if flag.choices and isinstance(value, str) and (near := kinds.nearest(value, flag.choices)):
        fix = f"did you mean {near}?"
    return Problem(where, f"{kinds.said_at(key, value)} is not {_shown(flag, wanted)}", fix)


def _shown(flag: Flag, wanted: str | None) -> str:
    """What a flag takes; of a hundred choices only what they are."""
    if flag.choices and len(flag.choices) > _SUGGESTIONS:
        return f"one of its {len(flag.choices)} choices"
    return wanted or expected(flag)


FLAG_RULES: Sequence[Rule] = (training_file_is_valid,)
