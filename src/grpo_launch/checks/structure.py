"""The rules that run first: what they find makes other findings meaningless."""

from __future__ import annotations

from collections.abc import Sequence

from grpo_launch.config import kinds
from grpo_launch.config.formats import lift
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.mistake import KeyPath
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.config.schema import SECTIONS

_NOT_SECTIONS = ("global_max_length", "custom")
_FIX = "write 'key: value' lines below"


@rule(downgradable=False)
def settings_are_known_and_typed(context: Context) -> list[Problem]:
    """The launcher's own blocks and the batch plan have known keys with values of their types.

    They are read when the experiment is loaded (``config/formats/``).
    """
    return [Problem.of(mistake.error) for mistake in context.config.mistakes]


@rule(downgradable=False)
def blocks_are_mappings(context: Context) -> list[Problem]:
    """``custom``, and the launcher's blocks below it, are mappings where they are present."""
    config = context.config
    problems: list[Problem] = []
    for block in (lift.SERVER_BLOCK, lift.LAUNCH_BLOCK, ("custom", "grpo")):
        for depth in range(1, len(block) + 1):
            key = ".".join(block[:depth])
            value = config.get(key)
            if value is not None and not isinstance(value, dict):
                what = f"is {kinds.said_at(key, value)}, not a mapping"
                problems.append(Problem(config.where(f"train.{key}"), what, _FIX))
    return list(dict.fromkeys(problems))


@rule(downgradable=False)
def sections_are_mappings(context: Context) -> list[Problem]:
    """Every learner section is a mapping, and no top-level key is dropped unsaid."""
    config = context.config
    problems: list[Problem] = []
    for name, value in config.train.items():
        where = config.where(f"train.{name}")
        if name not in (*SECTIONS, *_NOT_SECTIONS):
            what = "is not a section of the learner and is not passed on"
            meant = kinds.nearest(name, (*SECTIONS, *_NOT_SECTIONS))
            fix = f"move it below one of {', '.join(SECTIONS)}, or below custom"
            fix = f"did you mean {meant}?" if meant else fix
            problems.append(Problem(where, what, fix, Severity.WARNING))
        elif name in SECTIONS and value is not None and not isinstance(value, dict):
            if name == "deepspeed" and isinstance(value, str):
                continue
            what = f"is {kinds.said(value)}, not a mapping"
            problems.append(Problem(where, what, _FIX))
    return problems


STRUCTURE_RULES: Sequence[Rule] = (
    settings_are_known_and_typed,
    blocks_are_mappings,
    sections_are_mappings,
)
"""All rules of this module, in the order in which their findings are reported."""


def unread(config: LaunchConfig, found: Sequence[Problem]) -> frozenset[str]:
    """The places whose values are not known because of what these rules found.

    Args:
        config: the configuration.
        found: the problems that the rules above found in it.

    Returns:
        Places as ``LaunchConfig.where`` names them. What is said of them, and of keys below
        them, follows from a problem that is reported already.
    """
    reported = [problem.where for problem in found if problem.severity is Severity.ERROR]
    left_out = [keys for mistake in config.mistakes for keys in mistake.unread]
    return frozenset((*reported, *(_where(config, keys) for keys in left_out)))


def _where(config: LaunchConfig, keys: KeyPath) -> str:
    return config.legacy.where(*keys) if config.legacy else ".".join(map(str, keys))
