"""The rules that run first: what they find makes other findings meaningless."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Collection, Iterator, Sequence
from typing import Any, cast

from grpo_launch.config import kinds, rollout, schema
from grpo_launch.config.arguments import ANCHORS
from grpo_launch.config.formats import batch_plan, forms, lift
from grpo_launch.config.hydra import hints
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.mistake import KeyPath
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.config.schema import BESIDE_SECTIONS
from grpo_launch.engines.flag_facts import LearnerFlags
from grpo_launch.plugins import LEARNERS

_FIX = "write 'key: value' lines below"
_UNREAD = "what is not read cannot be launched"


@rule(required=_UNREAD)
def settings_are_known_and_typed(context: Context) -> list[Problem]:
    """The launcher's own blocks and the batch plan have known keys with values of their types.

    They are read when the experiment is loaded (``config/formats/``).
    """
    return [Problem.of(mistake.error) for mistake in context.config.mistakes]


@rule(required=_UNREAD)
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


@rule(required=_UNREAD)
def sections_are_mappings(context: Context) -> list[Problem]:
    """Every learner section is a mapping."""
    config = context.config
    problems: list[Problem] = []
    for name in config.sections:
        value = config.train.get(name)
        if value is None or isinstance(value, dict):
            continue
        if not (name == "deepspeed" and isinstance(value, str)):
            what = f"is {kinds.said(value)}, not a mapping"
            problems.append(Problem(config.where(f"train.{name}"), what, _FIX))
    return problems


@rule
def top_level_keys_are_known(context: Context) -> Iterator[Problem]:
    """What stands at the top is a section, a node of the launcher or a flag of the learner.

    Names for anchors (``x-common``, ``_common``, ``.common``) get a warning.
    """
    config = context.config
    of_launcher = (*BESIDE_SECTIONS, forms.SERVER, *forms.NODES)
    for name, value in config.train.items():
        if (
            name in (*config.sections, *of_launcher)
            or name in LEARNERS.get(config.learner.name).own_keys
        ):
            continue
        where = config.where(f"train.{name}")
        if str(name).startswith(ANCHORS):
            fix = "move it below custom if a program is to read it"
            yield Problem(where, "is not passed on", fix, Severity.WARNING)
        elif name in hints.ROOTS and name != "train":
            what = "is no key of an experiment and is not passed on"
            yield Problem(where, what, f"say {name}=VALUE on the command line, or remove it")
        elif config.sections:  # without them these are arguments, which the learner's rules judge
            what = "is no section, no node of the launcher and no flag of the learner"
            meant = _meant(name, value, context)
            fix = f"move it below one of {', '.join(config.sections)}, or below custom"
            if meant:
                fix = f"did you mean {meant}?"
            elif _form(config) is forms.Form.FLAT:
                fix = "remove it, or move it below custom"
            yield Problem(where, what + _taken_for(config), fix, meant=meant or "")


def _meant(name: Any, value: Any, context: Context) -> str | None:
    """What an unknown key at the top may be a misspelling of."""
    names = [*context.config.sections, *BESIDE_SECTIONS, forms.SERVER, *forms.NODES]
    if isinstance(value, str | list):
        names.append("extends")
    if _form(context.config) is forms.Form.FLAT or not isinstance(value, dict):
        table = context.get(LearnerFlags)
        names += [*(table.flags if table else ())]
    return kinds.nearest(name, names)


def _taken_for(config: LaunchConfig) -> str:
    """What the file was taken for, where that is not the usual form."""
    form = _form(config)
    return "" if form is forms.Form.SECTIONS else f" (the file is read as {form.value})"


def _form(config: LaunchConfig) -> forms.Form:
    return config.legacy.form if config.legacy else forms.Form.NATIVE


@rule
def launcher_blocks_have_their_places(context: Context) -> Iterator[Problem]:
    """Below ``custom``, which may hold anything, no block of the launcher is misspelled or moved.

    A block counts as one only by its name and its keys together.
    """
    config = context.config
    server = {forms.SERVER: _keys(rollout.settings(config.engine.name))}
    custom = config.get("custom")
    extra = config.get("custom.extra")
    places: list[tuple[str, Any, dict[str, Collection[str]]]] = [
        ("custom", custom, {"extra": ("rollout_server", "launch"), "grpo": ("batch_plan",)}),
        ("custom", custom, {**_BLOCKS, **server}),
        ("custom.extra", extra, {**_BLOCKS, **server}),
        ("custom.grpo", config.get("custom.grpo"), {"batch_plan": _keys(batch_plan.BatchPlan)}),
    ]
    homes = {"extra": "custom.extra", "grpo": "custom.grpo", "batch_plan": "custom.grpo.batch_plan"}
    for place, holder, blocks in places:
        own = {home.rpartition(".")[2]: home for home in (*homes.values(), *_LIFTED_FROM)}
        for name, value in holder.items() if isinstance(holder, dict) else ():
            key = f"{place}.{name}"
            if not isinstance(value, dict) or own.get(name) == key:
                continue
            meant = kinds.nearest(name, blocks)
            if meant and any(kinds.nearest(inner, blocks[meant]) for inner in value):
                what = "looks like a block of the launcher and has no effect here"
                home = own.get(meant) or f"{'.'.join(forms.LAUNCH_BLOCK)}.{meant}"
                yield Problem(config.where(f"train.{key}"), what, f"write {home}")


def _keys(node_type: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(node_type))


_LIFTED_FROM = (".".join(forms.SERVER_BLOCK), ".".join(forms.LAUNCH_BLOCK))
_BLOCKS: dict[str, Collection[str]] = {
    "launch": forms.NODES,
    **{
        name: _keys(cast("type", hint))
        for name, hint in typing.get_type_hints(schema.Launch).items()
        if name in forms.NODES and dataclasses.is_dataclass(hint) and name != "launch"
    },
}
"""Keys of the blocks that people put below ``custom``, by name."""


STRUCTURE_RULES: Sequence[Rule] = (
    settings_are_known_and_typed,
    blocks_are_mappings,
    sections_are_mappings,
    top_level_keys_are_known,
    launcher_blocks_have_their_places,
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
    left_out = [keys for mistake in config.mistakes for keys in mistake.unread if keys]
    return frozenset((*reported, *(_where(config, keys) for keys in left_out)))


def _where(config: LaunchConfig, keys: KeyPath) -> str:
    return config.legacy.where(*keys) if config.legacy else ".".join(map(str, keys))
