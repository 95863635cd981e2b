"""What a command that trains must say to be started, followed and continued."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from grpo_launch.config import kinds, schema
from grpo_launch.config.arguments import ANCHORS
from grpo_launch.config.formats import forms
from grpo_launch.config.hydra import hints
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.learners.command import declared
from grpo_launch.learners.command.declared import Declared
from grpo_launch.learners.command.places import PATHS
from grpo_launch.signs import ARGUMENT, CONFIG_KEY, DIRECTORY, NONE


@rule
def keys_of_the_command_are_known(context: Context) -> Iterator[Problem]:
    """What stands in ``train`` is a key of the learner; the launcher's own are judged elsewhere."""
    config = context.config
    others = (*schema.BESIDE_SECTIONS, forms.SERVER, *forms.NODES, *hints.ROOTS)
    for name in config.train:
        if name in (*declared.KEYS, *others) or str(name).startswith(ANCHORS):
            continue
        meant = kinds.nearest(name, [*declared.KEYS])
        fix = f"did you mean {meant}?" if meant else f"use one of {', '.join(declared.KEYS)}"
        what = "is no key of the learner command; what its program reads belongs into config"
        yield Problem(config.where(f"train.{name}"), what, fix, meant=meant or "")


@rule(required="what is not understood cannot be started")
def the_command_is_declared(context: Context) -> Iterator[Problem]:
    """Every key of ``train`` is of its kind, and every placeholder is known where it stands."""
    for fault in _read(context).faults:
        where = context.config.where(f"train.{fault.key}")
        yield Problem(where, fault.what, fault.fix)


@rule
def the_config_reaches_the_command(context: Context) -> Iterator[Problem]:
    """A file that is named is written, and one that is written is named."""
    config, said = context.config, _read(context)
    texts = [*said.argv, *said.resume_words, *(said.variables or {}).values()]
    names_it = any(f"{{{name}}}" in text for name in PATHS[:2] for text in texts)
    if names_it and said.config is None and config.get("config") is None:
        what = "names {config}, but there is no config to write"
        yield Problem(config.where("train.argv"), what, "set config, or write the file's own path")
    in_its_directory = any("{run_dir}" in text for text in texts)
    if said.config is not None and not names_it and not in_its_directory:
        what = "is written to a file that neither argv nor variables name with {config}"
        yield Problem(config.where("train.config"), what, "add {config} to argv", Severity.WARNING)


@rule
def the_config_is_taken_as_it_is(context: Context) -> Iterator[Problem]:
    """No text of ``config`` is a placeholder alone: only ``fill`` fills in."""
    config, said = context.config, _read(context)
    for dotted, text in _texts(said.config or {}, ""):
        if text.startswith("{") and text[1:-1] in (*PATHS, "checkpoint"):
            what = f"{text} is written as it is"
            yield Problem(
                config.where(f"train.config.{dotted}"), what,
                f"say train.fill: {{{dotted}: '{text}'}} to fill it in", Severity.WARNING,
            )  # fmt: skip


@rule
def what_continues_has_checkpoints(context: Context) -> Iterator[Problem]:
    """A learner that goes on from a checkpoint says how those lie; one that finds its own, where.

    ``argument`` and ``config_key`` hand it a path, which somebody must have found.
    """
    config, said = context.config, _read(context)
    if any(fault.key.startswith(("resume_by", "checkpoints")) for fault in said.faults):
        return
    where = config.where("train.resume_by")
    if said.resume_by in (ARGUMENT, CONFIG_KEY) and said.checkpoints is None:
        what = f"is {said.resume_by}, but nothing says how checkpoints lie"
        yield Problem(where, what, "set checkpoints: {path: 'checkpoint-{step}', marker: ...}")
    if said.resume_by == CONFIG_KEY and said.config is None and config.get("config") is None:
        what = f"writes into config.{said.resume_key}, but there is no config"
        yield Problem(where, what, "set config, or use argument")
    if said.checkpoint is not None and said.resume_by in (NONE, DIRECTORY):
        what = f"cannot be handed to the command: resume_by is {said.resume_by}"
        yield Problem(config.where("train.checkpoint"), what, "correct resume_by, or remove it")


@rule
def outputs_reach_their_directory(context: Context) -> Iterator[Problem]:
    """Steps and checkpoints are looked for below a directory that the command was told."""
    config, said = context.config, _read(context)
    looks = said.checkpoints is not None or (said.metrics is not None and said.metrics.files)
    if not looks or config.get("output_dir") is not None or said.faults:
        return
    texts = [*said.argv, *(said.variables or {}).values(), *(said.fill or {}).values()]
    if not any(f"{{{name}}}" in text for name in PATHS[2:] for text in texts):
        what = "has no {output_dir}, below which checkpoints or metrics are looked for"
        fix = "add {output_dir} to argv, variables or fill, or set output_dir to its own directory"
        yield Problem(config.where("train.argv"), what, fix)


@rule
def members_share_the_devices(context: Context) -> Iterator[Problem]:
    """The learner's GPUs can be dealt out to its processes."""
    config, count = context.config, len(_read(context).members)
    devices = config.gpus.learner
    if devices and count > 1 and not config.accelerator.cpu_entry and len(devices) % count:
        what = f"{len(devices)} devices cannot be dealt out to {count} members"
        fix = "name a multiple of them in gpus.learner, or change members"
        yield Problem(config.where("train.members"), what, fix)


@rule
def silence_is_longer_than_a_stall(context: Context) -> Iterator[Problem]:
    """What is allowed before the first step is more than what is allowed later."""
    config, silence = context.config, _read(context).silence_s
    stall = config.watchdog.stall_s
    if 0 < silence < stall:
        what = f"{silence:g} is less than watchdog.stall_s, {stall:g}, and has no effect"
        fix = "raise it, or lower watchdog.stall_s"
        yield Problem(config.where("train.silence_s"), what, fix, Severity.WARNING)


def _read(context: Context) -> Declared:
    return declared.read(context.config.train)


def _texts(node: Any, above: str) -> Iterator[tuple[str, str]]:
    """Dotted key and text of each text in a tree."""
    if isinstance(node, str):
        yield above, node
    elif isinstance(node, dict):
        for key, item in cast("dict[Any, Any]", node).items():
            yield from _texts(item, f"{above}.{key}" if above else str(key))
    elif isinstance(node, list):
        for item in cast("list[Any]", node):
            yield from _texts(item, above)


RULES: tuple[Rule, ...] = (
    keys_of_the_command_are_known,
    the_command_is_declared,
    the_config_reaches_the_command,
    the_config_is_taken_as_it_is,
    what_continues_has_checkpoints,
    outputs_reach_their_directory,
    members_share_the_devices,
    silence_is_longer_than_a_stall,
)
