"""The forms in which a file may say an experiment, brought into the one that is read.

That one has the learner's arguments in sections and the launcher's nodes below
``custom.extra``. A file may also say its nodes at the top, the learner's flags at the top
(what the learner's own program takes), or be the ``config.yaml`` of a run. Each file is
brought into the one form before anything is merged; messages name a key as its file does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from grpo_launch.config import kinds, schema
from grpo_launch.config.formats import sorting, variables
from grpo_launch.config.formats.blocks import LAUNCH_BLOCK as LAUNCH_BLOCK
from grpo_launch.config.formats.blocks import SERVER as SERVER
from grpo_launch.config.formats.blocks import SERVER_BLOCK as SERVER_BLOCK
from grpo_launch.config.formats.document import PYTHON, SELF, shown
from grpo_launch.config.formats.sorting import holds as holds
from grpo_launch.config.formats.sorting import merge as merge
from grpo_launch.config.mistake import KeyPath, Mistake
from grpo_launch.errors import ConfigError

if TYPE_CHECKING:
    from grpo_launch.config.formats import jobs

ACCELERATORS = "accelerators"
"""Among the launcher's nodes: what an accelerator replaces (see ``accelerated``)."""

NODES = (*schema.LIFTED, *schema.GROUPS, ACCELERATORS)
"""What may stand in the launch block, or at the top of a file."""

_ROOTS = frozenset(node.name for node in fields(schema.Launch))

_BATCH_PLAN = ("custom", "grpo", "batch_plan")
_OF_JOBS = frozenset(("mode", "deployment"))
"""Without one of these keys no file is a job."""

_ONLY_OF_A_RUN = ("dry_run", "run")
"""Nodes of a record that are about that run alone."""


class Form(Enum):
    """What a file was taken for, in words."""

    SECTIONS = "sections"
    FLAT = "flags of the learner at the top"
    RECORD = "the record of a run"
    NATIVE = "native Hydra"
    JOB = "a job"


@dataclass(frozen=True)
class Reading:
    """One file in the one form.

    Attributes:
        form: what it was taken for.
        said: what it says, as it says it, without ``extends``.
        data: the same in the one form; values are shared with ``said``.
        moves: where each key that was moved stands in the file -> in the one form.
        mistakes: keys that it says in two places, differently.
        name: of the experiment, where the file says it: the record of a run.
        job: the job that the file is, if it is one.
    """

    form: Form
    said: Mapping[Any, Any]
    data: Mapping[Any, Any]
    moves: Mapping[KeyPath, KeyPath] = field(default_factory=dict[KeyPath, KeyPath])
    mistakes: tuple[Mistake, ...] = ()
    name: str | None = None
    job: jobs.Mapped | None = None

    def spelled(self, *keys: Any) -> KeyPath:
        """Keys of the one form as the file says them, or would."""
        if self.job is not None:
            return self.job.spelled(*keys)
        longest_first = sorted(self.moves.items(), key=lambda move: -len(move[1]))
        for source, target in longest_first:
            if keys[: len(target)] == target:
                there = (*source, *keys[len(target) :])
                if holds(self.said, there) or not holds(self.said, keys):
                    return there
        if holds(self.said, keys):
            return keys
        if self.form is Form.SECTIONS:
            # The block below custom would ask for keys of its own.
            is_new = keys[:3] == SERVER_BLOCK and not holds(self.said, SERVER_BLOCK)
            return keys[2:] if is_new else keys
        if keys[:3] == LAUNCH_BLOCK and len(keys) > len(LAUNCH_BLOCK):
            return keys[3:]
        if keys[:3] == SERVER_BLOCK:
            return keys[2:]
        if self.form is Form.RECORD:
            return ("train", *keys)
        return keys[1:] if len(keys) == 2 and keys[0] in schema.SECTIONS else keys

    def of_origins(self, origins: Mapping[Any, Any]) -> dict[Any, Any]:
        """A tree of origins as ``document.read_origins`` gives it, in the one form."""
        if self.job is not None:
            return self.job.of_origins(origins)
        return _moved(origins, self.moves) if self.moves else dict(origins)


Reader = Callable[[Path, Mapping[Any, Any], Mapping[Any, Any]], Reading]
"""From a file, what it says and what its bases say, to the reading."""


def as_it_is(path: Path, said: Mapping[Any, Any], below: Mapping[Any, Any]) -> Reading:
    """The reading of a file that is taken literally."""
    del path, below
    return Reading(Form.SECTIONS, said, said)


def read(path: Path, said: Mapping[Any, Any], below: Mapping[Any, Any]) -> Reading:
    """Bring what a file says into the one form.

    Args:
        path: the file, for messages.
        said: what it says, without ``extends``.
        below: its bases, merged, in the one form: a flag goes where they have it.
    """
    if path.suffix == PYTHON or not _OF_JOBS.isdisjoint(said):
        from grpo_launch.config.formats import jobs  # few files are jobs

        if path.suffix == PYTHON or jobs.is_job(said):
            job = jobs.mapped(path, said, extends=bool(below))
            return Reading(Form.JOB, said, job.data, job=job)
    if _is_record(said):
        return _of_record(said)
    if all(map(_is_in_place, said, said.values())):
        return Reading(Form.SECTIONS, said, said)
    flags = sorting.Flags(said)
    if not flags.sections:
        return _of_own(path, said)
    sections = (name for name in schema.SECTIONS if name != "deepspeed")
    sectioned = any(isinstance(said.get(name), dict) for name in sections)
    flat = any(name in flags for name in said if name not in schema.SECTIONS) or any(
        isinstance(said.get(name), str) and name in flags for name in ("model", "template")
    )
    form = Form.FLAT if flat and not sectioned else Form.SECTIONS
    mistakes = [*_native(path, said), *variables.wrong(path, said)]
    said = variables.with_texts(said)
    moves: dict[KeyPath, KeyPath] = {}
    for name, value in said.items():
        if name == variables.ENV and isinstance(value, dict):
            moves = {**variables.moves(said), **moves}
        elif (target := _target(name, value, form, flags, below)) is not None:
            moves[(name,)] = target
    moves = {source: target for source, target in moves.items() if _is_free(said, target, moves)}
    mistakes = (*_differences(path, said, moves), *mistakes)
    return Reading(form, said, _moved(said, moves), moves, mistakes)


def _of_own(path: Path, said: Mapping[Any, Any]) -> Reading:
    """A file whose learner has no sections: what is not the launcher's is its own."""
    moves: dict[KeyPath, KeyPath] = {
        (name,): SERVER_BLOCK if name == SERVER else (*LAUNCH_BLOCK, name)
        for name in said
        if name in (SERVER, *NODES)
    }
    moves = {source: target for source, target in moves.items() if _is_free(said, target, moves)}
    mistakes = (*_differences(path, said, moves), *_native(path, said))
    return Reading(Form.FLAT, said, _moved(said, moves), moves, mistakes)


def _is_in_place(name: Any, value: Any) -> bool:
    if name in schema.BESIDE_SECTIONS:
        return True
    if name == "deepspeed":
        return isinstance(value, str | dict | None) and not _is_of_deepspeed(value)
    return name in schema.SECTIONS and isinstance(value, dict | None)


def _is_of_deepspeed(value: Any) -> bool:
    """Whether it is what a configuration file of DeepSpeed holds, no section of flags."""
    return isinstance(value, dict) and "zero_optimization" in value


def _target(
    name: Any, value: Any, form: Form, flags: sorting.Flags, below: Mapping[Any, Any]
) -> KeyPath | None:
    """Where a key at the top belongs in the one form; None: it stays, or is unknown."""
    if name == SERVER:
        return SERVER_BLOCK
    if name in NODES:
        return (*LAUNCH_BLOCK, name)
    if name == "deepspeed" and isinstance(value, dict):
        launchers = {"enabled", "config"} & {*cast("dict[Any, Any]", value)}
        is_value = form is Form.FLAT or _is_of_deepspeed(value)
        return ("training", name) if is_value and not launchers else None
    if _is_in_place(name, value) or not isinstance(name, str) or name == "train":
        return None
    if name in _ROOTS and name not in flags:
        return None  # for the command line alone, and no flag: role, output, ...
    is_flat = form is Form.FLAT and not isinstance(value, dict) and name.isidentifier()
    if name in flags or (is_flat and name not in schema.SECTIONS):
        return (flags.section(name, below), name)
    return None


def _is_free(said: Mapping[Any, Any], target: KeyPath, moves: Mapping[KeyPath, KeyPath]) -> bool:
    """Whether nothing but mappings, or nothing, stays above ``target``."""
    moved = {source[0] for source in moves}
    node: Any = {name: value for name, value in said.items() if name not in moved}
    for key in target[:-1]:
        node = cast("dict[Any, Any]", node).get(key)
        if not isinstance(node, dict):
            return node is None
    return True


def _moved(tree: Mapping[Any, Any], moves: Mapping[KeyPath, KeyPath]) -> dict[Any, Any]:
    """``tree`` with what stands at each source at its target; of two the moved one wins."""
    moved = {source[0] for source in moves}
    result = {key: value for key, value in tree.items() if key not in moved}
    for source, target in moves.items():
        value: Any = tree
        for key in source:
            value = cast("dict[Any, Any]", value)[key]
        own = cast("dict[Any, Any]", value).get(SELF) if isinstance(value, dict) else value
        for key in reversed(target):
            value = {key: value}
            if SELF in tree and key != target[0]:
                value[SELF] = own
        for key, inner in cast("dict[Any, Any]", value).items():
            if result.get(key) is None or not isinstance(result[key], dict):
                result.pop(key, None)
            result = merge(result, {key: inner})
    return result


def _differences(
    path: Path, said: Mapping[Any, Any], moves: Mapping[KeyPath, KeyPath]
) -> Iterator[Mistake]:
    """A mistake for each key of the one form that is said in two places, differently."""
    moved = {source[0] for source in moves}
    laid = {name: value for name, value in said.items() if name not in moved}
    before: dict[KeyPath, KeyPath] = {}
    for source, target in moves.items():
        value = _at(said, source)
        for keys, one, other in _unequal(value, _at(laid, target)):
            where = f"{shown(path)}: {'.'.join(map(str, (*source, *keys)))}"
            there = ".".join(map(str, _spelled(before, (*target, *keys))))
            what = f"is {kinds.said_at(where, one)}, but {there} is {kinds.said_at(there, other)}"
            yield Mistake(ConfigError(where, what, "keep one of them"), ((*target, *keys),))
        before[source] = target
        for key in reversed(target):
            value = {key: value}
        laid = merge(laid, value)


def _at(tree: Mapping[Any, Any], keys: KeyPath) -> Any:
    node: Any = tree
    for key in keys:
        node = cast("dict[Any, Any]", node).get(key) if isinstance(node, dict) else None
    return node


def _spelled(moves: Mapping[KeyPath, KeyPath], keys: KeyPath) -> KeyPath:
    """Keys of the one form as the file says them that moved what stands there."""
    for source, target in moves.items():
        if keys[: len(target)] == target:
            return (*source, *keys[len(target) :])
        if target[: len(keys)] == keys:
            return source[:1]
    return keys


def _unequal(one: Any, other: Any, keys: KeyPath = ()) -> Iterator[tuple[KeyPath, Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key, value in cast("dict[Any, Any]", one).items():
            yield from _unequal(value, cast("dict[Any, Any]", other).get(key), (*keys, key))
    elif other is not None and one is not None and one is not other and one != other:
        yield keys, one, other


def _native(path: Path, said: Mapping[Any, Any]) -> Iterator[Mistake]:
    """The one mistake of a file that is written for Hydra, but does not say so."""
    signs = [name for name, kind in (("defaults", list), ("train", dict))
             if isinstance(said.get(name), kind)]  # fmt: skip
    ours = any(name in (*schema.SECTIONS, SERVER, *NODES, "train") for name in said)
    if signs and ours:
        what = f"has {signs[0]}: at the top, as a native Hydra file, but no header"
        fix = "begin it with the line '# @package _global_', or write the sections at the top"
        yield Mistake(ConfigError(shown(path), what, fix), ((),))


def _is_record(said: Mapping[Any, Any]) -> bool:
    """Whether it is what ``LaunchConfig.as_dict`` gave."""
    texts = all(isinstance(said.get(name), str) for name in ("experiment", "path", "role"))
    return texts and isinstance(said.get("train"), dict)


def _of_record(said: Mapping[Any, Any]) -> Reading:
    """The configuration of a run: all is decided there, the launch block and the plan as well."""
    train = cast("dict[Any, Any]", said["train"])
    for keys in (LAUNCH_BLOCK, SERVER_BLOCK, _BATCH_PLAN):
        train = _without(train, keys)
    said = {**said, "train": train}
    moves: dict[KeyPath, KeyPath] = {("train", name): (name,) for name in train}
    nodes = [name for name in NODES if name not in _ONLY_OF_A_RUN and said.get(name) is not None]
    moves |= {(name,): (*LAUNCH_BLOCK, name) for name in nodes}
    if isinstance(said.get(SERVER), dict):
        moves[(SERVER,)] = SERVER_BLOCK
    if said.get("lora_policy") is not None:
        moves[("lora_policy",)] = (*SERVER_BLOCK, "lora_policy")
    kept = {source[0]: said[source[0]] for source in moves}
    data = _moved(kept, moves)
    return Reading(Form.RECORD, said, data, moves, name=said["experiment"])


def _without(tree: Mapping[Any, Any], keys: KeyPath) -> dict[Any, Any]:
    first, *rest = keys
    if not rest:
        return {key: value for key, value in tree.items() if key != first}
    if not isinstance(tree.get(first), dict):
        return dict(tree)
    return {**tree, first: _without(tree[first], tuple(rest))}
