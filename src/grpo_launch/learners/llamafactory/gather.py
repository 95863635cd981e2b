"""The files that the rules of LLaMA-Factory look at: models, data, the output directory, paths."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

from grpo_launch.base import files
from grpo_launch.base.host import Host
from grpo_launch.config.facts import MissingFiles
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.machine_checks import FILES
from grpo_launch.config.problem import Problem
from grpo_launch.learners.llamafactory import arguments, datasets, templates
from grpo_launch.learners.llamafactory.outputs import CHECKPOINTS
from grpo_launch.plan import LEARNER

_USUAL_DIRECTORY = "data"
"""LLaMA-Factory's own default of ``dataset_dir``."""

_ELSEWHERE = ("ONLINE", "REMOTE:")
"""How a ``dataset_dir`` begins that is none of this machine."""

_HEAD_BYTES = 1 << 20
_WEIGHTS = ("model.safetensors", "adapter_model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Data:
    """The files and the list of data sets that an experiment names.

    Attributes:
        lacking: key, file, missing column and columns of each file whose first row lacks one.
        undefined: key, name and list of each name that the experiment's own list does not have.
    """

    MISSING: ClassVar[str] = "the data were not looked at"

    lacking: tuple[tuple[str, str, str, tuple[str, ...]], ...] = ()
    undefined: tuple[tuple[str, str, str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class Output:
    """What ``output_dir`` of the experiment holds already.

    Attributes:
        path: as the experiment says it.
        checkpoint: the name of its last checkpoint; empty: none.
        has_weights: whether it holds a model.
    """

    MISSING: ClassVar[str] = "the output directory is that of the run"

    path: str
    checkpoint: str = ""
    has_weights: bool = False


@dataclass(frozen=True)
class Paths:
    """Paths that become words of torchrun's command: key, path, and what is there."""

    MISSING: ClassVar[str] = "the paths of torchrun's command are not known"

    of_torchrun: tuple[tuple[str, str, str], ...]


def facts(config: LaunchConfig, host: Host) -> Iterator[object]:
    """Everything that the rules know of files."""
    if not config.trains:
        return
    yield Data(tuple(_lacking(config, host.cwd)), tuple(_undefined(config, host.cwd)))
    yield MissingFiles(tuple(_missing(config, host.cwd)))
    said = config.get("output_dir")
    if isinstance(said, str):
        yield _output(said, host.cwd / said)
    yield Paths(tuple(_paths(config, host)))
    if (template := templates.read(config, host.cwd)) is not None:
        yield template


def _paths(config: LaunchConfig, host: Host) -> Iterator[tuple[str, str, str]]:
    if config.run.dir is not None:
        yield "run.dir", config.run.dir, "the run directory"
    else:
        yield "config", f"runs/{config.experiment}", "the run directory"
    # ``__file__`` of the launcher, as the interpreter of a virtual environment has it.
    if (path := config.runtime_of(LEARNER).path) is not None:
        yield "runtime.path", str(host.cwd / path), "the environment"


def _missing(config: LaunchConfig, cwd: Path) -> Iterator[Problem]:
    """Files that are named and are not on this machine."""
    named = [("train.model_name_or_path", config.get("model_name_or_path"))]
    for key, name in named:
        if isinstance(name, str) and _is_path(name, cwd) and not _exists(cwd / name):
            what, fix = f"{name} does not exist", "correct the path, or create it"
            yield Problem(config.where(key), what, fix, rule=FILES.name)
    for key, name in datasets.files(config.train):
        path = datasets.entry(name, {}, "", cwd)["file_name"]
        if not _exists(Path(path)):
            what, fix = f"{name} does not exist", "correct the path, or create it"
            yield Problem(config.where(f"train.{key}"), what, fix, rule=FILES.name)


def _is_path(name: str, cwd: Path) -> bool:
    """Whether a model's name means a directory of this machine, not a model of a hub."""
    if name.startswith(("/", ".", "~")) or name.count("/") > 1:
        return True
    return "/" in name and _exists(cwd / Path(name).parent)


def _lacking(config: LaunchConfig, cwd: Path) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    if not arguments.stages_agree(config):
        return
    members = {f"{datasets.DATA}.{name}": said for name, _, said in datasets.of_data(config.train)}
    for key, file in datasets.files(config.train):
        entry = datasets.entry(file, members.get(key, {}), arguments.stage(config), cwd)
        wanted = entry.get("columns")
        row = _first_row(Path(entry["file_name"]))
        if row is None or not isinstance(wanted, Mapping):
            continue
        for column in cast("Mapping[Any, Any]", wanted).values():
            if isinstance(column, str) and column not in row:
                yield key, file, column, tuple(sorted(row))
                break


def _first_row(path: Path) -> dict[str, Any] | None:
    """The first row of a file of JSON; None where it is no such file, or long."""
    if path.suffix not in (".json", ".jsonl"):
        return None
    with contextlib.suppress(OSError, ValueError):
        with files.opened(path) as file:
            head = file.read(_HEAD_BYTES)
        if head.lstrip()[:1] == b"[":
            rows: Any = files.loads(head) if len(head) < _HEAD_BYTES else []
            row = rows[0] if rows else None
        else:
            row = files.loads(head.split(b"\n", 1)[0])
        return cast("dict[str, Any]", row) if isinstance(row, dict) else None
    return None


def _undefined(config: LaunchConfig, cwd: Path) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    directory = str(config.get("dataset_dir") or _USUAL_DIRECTORY)
    if datasets.files(config.train) or directory.startswith(_ELSEWHERE):
        return
    path = cwd / directory / datasets.INFO
    known: tuple[str, ...] | None = None
    with contextlib.suppress(OSError, ValueError):
        known = tuple(map(str, files.loads(files.read(path))))
    for key in datasets.KEYS:
        for name in datasets.names(config.get(key)):
            if known is None or name not in known:
                yield key, name, f"{directory}/{datasets.INFO}", known or ()


def _output(said: str, path: Path) -> Output:
    try:
        steps = [p.name.removeprefix(CHECKPOINTS.prefix) for p in path.glob("checkpoint-*")]
        last = max((int(step) for step in steps if step.isdecimal()), default=None)
        has_weights = any((path / name).is_file() for name in _WEIGHTS)
    except (OSError, ValueError):
        return Output(said)
    return Output(said, "" if last is None else f"{CHECKPOINTS.prefix}{last}", has_weights)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
