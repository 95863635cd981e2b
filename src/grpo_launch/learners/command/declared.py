"""What an experiment declares of a command that trains: the keys of ``train``, read and judged.

Reading never fails: what is wrong becomes a fault, which the rules report, and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from grpo_launch.config import kinds
from grpo_launch.learners.command.places import MEMBERS, OF_ARGV, OF_RESUME, OF_TEXT, Fault, Faults
from grpo_launch.learners.command.progress import checkpoint_layout, metrics
from grpo_launch.plan import CheckpointLayout, Metrics
from grpo_launch.signs import ARGUMENT, CONFIG_KEY, DIRECTORY, NONE

KEYS = (
    *("argv", "config", "config_format", "fill", "cwd", "variables", "model", "output_dir"),
    *("progress", "checkpoints", "resume_by", "checkpoint", "members", "silence_s"),
    *("needs_server", "demands"),
)
"""What may stand in ``train``."""

FORMATS = ("yaml", "json")


@dataclass(frozen=True)
class Declared:
    """A command that trains.

    Attributes:
        argv: its words, with placeholders.
        config: what is written to its file, as it is; None: it has none.
        config_format: of that file.
        fill: texts with placeholders, by dotted key of ``config``.
        cwd: its working directory; None: the launcher's.
        variables: of its processes, with placeholders.
        metrics: where it logs its steps; None: nobody knows.
        checkpoints: how its checkpoints lie; None: nobody knows.
        resume_by: how it goes on: one of those of ``signs.py``.
        resume_words: of ``argument``.
        resume_key: of ``config_key``.
        checkpoint: that this run goes on from, or None.
        members: the variables of each of its processes besides ``variables``.
        silence_s: seconds without progress before its first step; 0: as later.
        needs_server: whether it trains against a server; None: as its placeholders tell.
        demands: settings that its servers must have, by key of ``rollout_server``.
        faults: what is wrong.
    """

    argv: tuple[str, ...] = ()
    config: dict[str, Any] | None = None
    config_format: str = FORMATS[0]
    fill: Mapping[str, str] | None = None
    cwd: str | None = None
    variables: Mapping[str, str] | None = None
    metrics: Metrics | None = None
    checkpoints: CheckpointLayout | None = None
    resume_by: str = NONE
    resume_words: tuple[str, ...] = ()
    resume_key: str = ""
    checkpoint: str | None = None
    members: tuple[Mapping[str, str], ...] = ({},)
    silence_s: float = 0.0
    needs_server: bool | None = None
    demands: Mapping[str, Any] | None = None
    faults: tuple[Fault, ...] = ()


def read(train: Mapping[Any, Any]) -> Declared:
    """What ``train`` declares."""
    faults = Faults()
    config = faults.mapping(train, "config")
    by, words, key = _resume(train.get("resume_by"), faults)
    said = faults.choice(train, "config_format", FORMATS)
    for name in ("model", "output_dir"):  # read by the launcher itself
        faults.text(train, name, None)
    return Declared(
        argv=_argv(train.get("argv"), faults),
        config=config,
        config_format=said or FORMATS[0],
        fill=_fill(train, config, key, faults),
        cwd=faults.text(train, "cwd", ()),
        variables=_variables(train, "variables", faults),
        metrics=metrics(train.get("progress"), config or {}, faults),
        checkpoints=checkpoint_layout(train.get("checkpoints"), faults),
        resume_by=by,
        resume_words=words,
        resume_key=key,
        checkpoint=faults.text(train, "checkpoint", None),
        members=_members(train.get("members"), faults),
        silence_s=faults.seconds(train, "silence_s") or 0.0,
        needs_server=faults.boolean(train, "needs_server"),
        demands=faults.mapping(train, "demands"),
        faults=tuple(faults.found),
    )


def _argv(said: Any, faults: Faults) -> tuple[str, ...]:
    if said is None:
        faults.add("argv", "is not set, and the learner command has no command of its own",
                   "set it to a list: [bash, train.sh, --out, '{output_dir}']")  # fmt: skip
        return ()
    words = faults.words("argv", said, OF_ARGV)
    for word in words:
        if "{resume}" in word and word != "{resume}":
            what = f"{word!r} has {{resume}} inside a word"
            faults.add("argv", what, "write {resume} as a word of its own")
    return words


def _fill(
    train: Mapping[Any, Any], config: dict[str, Any] | None, resume_key: str, faults: Faults
) -> Mapping[str, str] | None:
    fill = faults.texts(train, "fill", OF_TEXT)
    if fill and config is None:
        faults.add("fill", "is filled into config, which is not set", "set config, or remove fill")
        return None
    for dotted in (*(fill or ()), *filter(None, (resume_key,))):
        if not can_hold(config or {}, dotted):
            key = f"fill.{dotted}" if fill and dotted in fill else "resume_by"
            what = f"{dotted} leads through a value of config that is no mapping"
            faults.add(key, what, "correct the dotted key")
    return fill


def can_hold(node: Any, dotted: str) -> bool:
    """Whether a dotted key can be set in a tree: what it leads through are mappings, or absent."""
    for part in dotted.split(".")[:-1]:
        if not isinstance(node, dict):
            return False
        node = cast("dict[Any, Any]", node).get(part)
        if node is None:
            return True
    return isinstance(node, dict)


def _variables(train: Mapping[Any, Any], key: str, faults: Faults) -> Mapping[str, str] | None:
    return faults.texts(train, key, (*OF_TEXT, *MEMBERS))


def _resume(said: Any, faults: Faults) -> tuple[str, tuple[str, ...], str]:
    """Which way, the words of an argument, the dotted key of the configuration."""
    key = "resume_by"
    nothing = NONE, (), ""
    if said is None or said in (DIRECTORY, NONE):
        return (said or NONE), (), ""
    pairs = [*cast("dict[Any, Any]", said).items()] if isinstance(said, dict) else []
    if len(pairs) != 1 or pairs[0][0] not in (ARGUMENT, CONFIG_KEY):
        what = f"{kinds.said(said)} is no way to go on from a checkpoint"
        fix = (
            f"write {NONE}, {DIRECTORY}, "
            "{argument: [--resume, '{checkpoint}']} or {config_key: DOTTED.KEY}"
        )
        faults.add(key, what, fix)
        return nothing
    way, value = pairs[0]
    if way == CONFIG_KEY:
        if not isinstance(value, str) or not all(value.split(".")):
            what = f"{kinds.said(value)} is no dotted key of config"
            faults.add(key, what, "write for example trainer.resume_from")
            return nothing
        return CONFIG_KEY, (), value
    words = faults.words(key, [value] if isinstance(value, str) else value, OF_RESUME)
    if words and not any("{checkpoint}" in word for word in words):
        faults.add(key, "its words have no {checkpoint}", "say where the path of it goes")
    return (ARGUMENT, words, "") if words else nothing


def _members(said: Any, faults: Faults) -> tuple[Mapping[str, str], ...]:
    if said is None:
        return ({},)
    if isinstance(said, int) and not isinstance(said, bool) and said > 0:
        return ({},) * said
    items = cast("list[Any]", said) if isinstance(said, list) else []
    if not items or not all(isinstance(item, dict) for item in items):
        what = f"{kinds.said(said)} is neither a number of processes nor a list of their variables"
        faults.add("members", what, "write 2, or [{RANK: '0'}, {RANK: '1'}]")
        return ({},)
    return tuple(_variables({"members": item}, "members", faults) or {} for item in items)
