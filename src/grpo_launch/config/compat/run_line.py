"""The command line of ``scripts/run.sh`` as overrides of ours.

Pure: the caller's surroundings are handed in, the table is data (``run_table.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo_launch.config import kinds, schema
from grpo_launch.config.compat import run_options
from grpo_launch.config.compat.environment import typed as as_text
from grpo_launch.config.compat.run_keys import Reader, Translated
from grpo_launch.config.compat.run_options import NODES, WEIGHTS, Typed
from grpo_launch.config.compat.run_table import Found, Option, Overrides, RunTable
from grpo_launch.config.formats import experiment
from grpo_launch.config.hydra import hints
from grpo_launch.errors import ConfigError

_HOSTS, _PORTS = "rollout_server.host", "rollout_server.port"


@dataclass(frozen=True)
class Surroundings:
    """What the old script asked of its machine.

    Attributes:
        cwd: the working directory.
        environ: the caller's environment.
        devices: the GPUs that may be used.
        is_directory: whether a path is a directory.
        is_file: whether a path is a file.
    """

    cwd: Path
    environ: Mapping[str, str]
    devices: Sequence[str]
    is_directory: Callable[[str], bool]
    is_file: Callable[[Path], bool]


@dataclass(frozen=True)
class Translation:
    """What a command line becomes.

    Attributes:
        overrides: of ``python -m grpo_launch``.
        warnings: what was typed and says nothing.
        notes: what was taken from the log directory.
    """

    overrides: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def translate(arguments: Sequence[str], table: RunTable, around: Surroundings) -> Translation:
    """What the old command line says to the new one.

    Args:
        arguments: as typed, at least one.
        table: what each option and key means.
        around: the caller's surroundings.

    Raises:
        ConfigError: what is wrong with it, all of it, in the order in which the options are judged.
    """
    typed = run_options.take_apart(arguments, table)
    is_directory = around.is_directory
    errors = run_options.errors_of(typed, table, around.environ, is_directory)
    old = [item for item in typed.overrides if _root(item) in table.roots]
    own = [item for item in typed.overrides if item not in old]
    data = around.cwd / typed.options.get("--data-path", "")
    options = frozenset(typed.options)
    translated = Reader(table, typed.phase, options, data).read(old)
    errors += translated.errors
    if not errors:
        errors += _not_there_yet(typed, own, around.environ)
    if errors:
        raise experiment.as_one(errors)
    log = around.cwd / typed.options["--log-path"]
    found = [entry for entry in table.found if around.is_file(log / entry.path)]
    if "--resume" in options and not any(entry.goes_on for entry in found):
        what = f"{log} holds no collection to go on with"
        raise ConfigError("--resume", what, "leave it out to begin one, or correct --log-path")
    devices = [int(name) if name.isdecimal() else name for name in around.devices]
    words = {"data": str(data), "log": str(log), "devices": devices or None}
    says = [_filled(entry.sets, _places(log / entry.path)) for entry in found]
    parts = _parts(typed, table, around.environ, says, translated)
    if "config" not in map(hints.key_of, own):
        parts[1:1] = _profile(parts, table)
    merged = _merged([_filled(part, words) for part in parts], own)
    return Translation(
        (*merged, *own),
        (*run_options.warnings_of(typed, table), *translated.warnings),
        tuple(f"{log / entry.path}: {entry.note}" for entry in found if _counts(entry, merged)),
    )


def _counts(entry: Found, overrides: Iterable[str]) -> bool:
    """Whether what was found decides about anything: a worker only serves."""
    keys = {*map(hints.key_of, overrides)}
    return not keys.isdisjoint(entry.sets) or (entry.goes_on and "loop.dir" in keys)


def _places(path: Path) -> dict[str, str]:
    return {"path": str(path), "above": str(path.parent)}


def _profile(parts: Sequence[Overrides], table: RunTable) -> tuple[Overrides, Overrides]:
    """The experiment that the parts, or else the table, choose, and what goes with it."""
    chosen = [part["config"] for part in parts if part.get("config")]
    name = chosen[-1] if chosen else next(iter(table.profiles))
    return {"config": name}, table.profiles[name]


def _parts(
    typed: Typed,
    table: RunTable,
    environ: Mapping[str, str],
    found: Sequence[Overrides],
    translated: Translated,
) -> list[Overrides]:
    """Where overrides come from, the weakest first."""
    said = [
        _filled(option.sets, {"value": _value(option, typed.options[name])})
        for name, option in table.options.items()
        if name in typed.options and typed.phase not in option.unused
    ]
    nodes: list[Overrides] = []
    if run_options.nodes(typed) > 1:
        part = "master" if run_options.rank(typed, environ) == "0" else "worker"
        weights = _value(table.options[WEIGHTS], typed.options[WEIGHTS])
        nodes = [_filled(table.nodes[part], {"value": weights})]
    keys = {key: _Text(value) for key, value in translated.overrides.items()}
    phase = table.phases[typed.phase]
    first: Overrides = {"role": None, "config": None}  # they stand first, and are said below
    return [
        *(first, table.always, phase, *said, translated.types),
        *(*found, translated.brought, *nodes, keys),
    ]


def _value(option: Option, text: str) -> Any:
    """What an option stands for."""
    if option.read == "integer":
        return int(text)
    if option.read == "weights":
        return [int(weight) for weight in text.split(",")]
    return option.choices.get(text, text)


class _Text(str):
    """A value that is in Hydra's grammar already."""

    __slots__ = ()


def _filled(part: Overrides, words: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _put(value, words) for key, value in part.items()}


def _put(value: Any, words: Mapping[str, Any]) -> Any:
    """A value of the table with the words in it; one that is a word alone keeps its type."""
    if not isinstance(value, str) or isinstance(value, _Text):
        return value
    for name, word in words.items():
        if value == f"{{{name}}}" and not isinstance(word, str):
            return word
        if isinstance(word, str):
            value = value.replace(f"{{{name}}}", word)
    return value


def _merged(parts: Iterable[Mapping[str, Any]], own: Sequence[str]) -> list[str]:
    """One override a key, the last part wins; without those that are typed."""
    typed = {hints.key_of(item) for item in own}
    values: dict[str, tuple[str, Any]] = {}
    for part in parts:
        for said, value in part.items():
            values[hints.key_of(said)] = (said, value)
    return [
        f"{said}={value if isinstance(value, _Text) else as_text(value)}"
        for key, (said, value) in values.items()
        if value is not None and key not in typed and not _is_above(key, typed)
    ]


def _is_above(key: str, typed: Iterable[str]) -> bool:
    """Whether a mapping above the key is typed whole, or another half of the devices."""
    halves = key.startswith("gpus.") and any(name.startswith("gpus.") for name in typed)
    nodes = (name for name in typed if name not in schema.GROUPS)
    return halves or any(key.startswith(f"{name}.") for name in nodes)


def _not_there_yet(
    typed: Typed, own: Sequence[str], environ: Mapping[str, str]
) -> Iterator[ConfigError]:
    """What several nodes cannot do today."""
    count = run_options.nodes(typed)
    if count == 1:
        return
    if typed.phase != "rollout":
        what = f"{kinds.counted(count, 'node')} cannot share an update yet"
        fix = (
            f"collect with --rl-phase rollout {NODES} {count}, then update on one node with "
            "--rl-phase update"
        )
        yield ConfigError(NODES, what, fix)
    elif run_options.rank(typed, environ) == "0":
        keys = {hints.key_of(item) for item in own}
        if not {_HOSTS, "rollout_server.url"} & keys:
            hosts = ",".join(f"HOST{n}" for n in range(count))
            ports = ",".join(["8999"] * count)
            what = f"the addresses of {count} servers are not told by shared files"
            yield ConfigError(NODES, what, f"add '{_HOSTS}=[{hosts}]' '{_PORTS}=[{ports}]'")


def _root(override: str) -> str:
    return hints.key_of(override).partition(".")[0]
