"""Models, adapters and checkpoints that an experiment names, as their files on this machine.

Found as ms-swift 4.6.0 finds them: ``safe_snapshot_download`` (``swift/utils/hub_utils.py``)
expands ``~``, takes ``NAME:SUBFOLDER`` for a directory where there is one, and everything else
that is no directory for the id of a model in a hub.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

from grpo_launch.base import files
from grpo_launch.config.arguments import find, listed
from grpo_launch.config.launch_config import LaunchConfig

_MODELS = ("model", "ref_model", "reward_model", "teacher_model")
_ADAPTERS = ("adapters", "ref_adapters")
_CHECKPOINT = "resume_from_checkpoint"
_HOMES = {"model": "model", "adapters": "tuner"}

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_TOKENIZER_PARTS = ("token", "vocab", "processor", "tekken", "spiece", "sentencepiece")
_TOKENIZER_ENDS = (".model", ".tiktoken", "merges.txt")
_NO_VOCABULARY = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_ADAPTER_CONFIGS = ("adapter_config.json", "default/adapter_config.json", "reft")
"""``BaseArguments._check_is_adapter`` (``swift/arguments/base_args/base_args.py``)."""

_MAX_INDEX_BYTES = 64 << 20
_POINTER = b"version https://git-lfs"
_OF_HUB = re.compile(r"[\w./-]+")
_CHECKPOINTS = re.compile(r"(^|/)checkpoint-\d+$")
_NO_ORGANIZATION = ("models", "datasets", "spaces")
"""First parts of a path that no hub has for an organization."""


@dataclass(frozen=True)
class ModelFiles:
    """One model, adapter or checkpoint.

    Attributes:
        key: dotted; that names it.
        name: as the configuration names it.
        missing: whether it can only be a directory, and there is none.
        beside: the existing directory that would hold it, where it is taken for a hub's.
        is_of_hub: whether it is taken for the id of a model in a hub.
        fault: what its directory lacks, or None.
    """

    key: str
    name: str
    missing: bool = False
    beside: str | None = None
    is_of_hub: bool = False
    fault: str | None = None


@dataclass(frozen=True)
class LocalModels:
    """Every model, adapter and checkpoint of the halves that are started here."""

    MISSING: ClassVar[str] = "the files of the models were not looked at"

    entries: tuple[ModelFiles, ...]


def read(config: LaunchConfig, cwd: Path, environ: Mapping[str, str]) -> LocalModels:
    """Look at each of them; the rollout server loads only ``model``.

    Args:
        config: as composed.
        cwd: the working directory of both halves.
        environ: has HOME.
    """
    return LocalModels(tuple(_entries(config, cwd, environ.get("HOME", ""))))


def _entries(config: LaunchConfig, cwd: Path, home: str) -> Iterator[ModelFiles]:
    names = (*_MODELS, *_ADAPTERS, _CHECKPOINT) if config.trains else ("model",)
    for name in names:
        key, value = find(config, name, _HOMES.get(name, "rlhf"))
        for item in listed(value):
            if isinstance(item, bool):
                fault = "is no directory, and ms-swift reads it as one"
                yield ModelFiles(f"train.{key}", str(item).lower(), fault=fault)
            if isinstance(item, str) and item.strip() and "\0" not in item:
                yield _entry(f"train.{key}", name, item, cwd, home)


def _entry(key: str, argument: str, name: str, cwd: Path, home: str) -> ModelFiles:
    path = _directory(name, cwd, home)
    try:
        if path.is_dir():
            return ModelFiles(key, name, fault=_fault(argument, path))
        if path.exists():
            return ModelFiles(key, name, fault="is a file, not a directory")
        if path.is_symlink():
            return ModelFiles(key, name, missing=True)
    except OSError as error:
        return ModelFiles(key, name, fault=f"cannot be read ({error.strerror})")
    first, slash, _ = name.partition("/")
    if argument == _CHECKPOINT or _is_path(name):
        return ModelFiles(key, name, missing=True)
    beside = "." if not slash else first if (cwd / first).is_dir() else None
    return ModelFiles(key, name, beside=beside, is_of_hub=True)


def _directory(name: str, cwd: Path, home: str) -> Path:
    path = cwd / (home + name[1:] if name == "~" or name.startswith("~/") else name)
    return path if path.exists() else cwd / str(path).replace(":", "/", 1)


def _is_path(name: str) -> bool:
    """Whether a name cannot be ``ORGANIZATION/MODEL``, with or without ``:SUBFOLDER``."""
    repository = name.partition(":")[0]
    relative = repository.startswith(("/", "~", "./", "../")) or repository in (".", "..")
    first, *rest = repository.split("/")
    if "://" in name or not _OF_HUB.fullmatch(repository) or _CHECKPOINTS.search(repository):
        return True
    return relative or len(rest) > 1 or rest == [""] or bool(rest and first in _NO_ORGANIZATION)


def _fault(argument: str, directory: Path) -> str | None:
    there = {entry.name: entry for entry in os.scandir(directory)}
    is_adapter = any((directory / name).exists() for name in _ADAPTER_CONFIGS)
    if argument in _ADAPTERS and not is_adapter:
        return "has no adapter_config.json"
    if argument in (*_ADAPTERS, _CHECKPOINT) and is_adapter:
        plain = "adapter_config.json" in there and not any(n.endswith(_WEIGHTS) for n in there)
        return "has no weights (adapter_model.safetensors, ...)" if plain else None
    if "config.json" not in there:
        return "has no config.json"
    if not _is_mapping(there["config.json"].path):
        return "has a config.json that is not a JSON object"
    if (fault := _weights_fault(there)) is not None:
        return fault
    if argument == "model" and not any(map(_is_of_tokenizer, there)):
        return "has no tokenizer (tokenizer.json, tokenizer.model, vocab.json, ...)"
    return None


def _weights_fault(there: Mapping[str, os.DirEntry[str]]) -> str | None:
    weights = [name for name in there if name.endswith(_WEIGHTS)]
    for index in _INDEXES:
        if index in there and (absent := _absent_shards(there[index].path, there)):
            more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
            return f"has no {absent[0]}{more}, which {index} names"
    if not weights:
        return "has no weights (model.safetensors, pytorch_model.bin, ...)"
    for name in weights:
        if not there[name].stat().st_size:
            return f"has an empty {name}"
        if _is_pointer(there[name].path):
            return f"has only the Git LFS pointer of {name}, not the weights"
    return None


def _is_mapping(path: str) -> bool:
    try:
        return isinstance(files.loads(files.read(path, _MAX_INDEX_BYTES)), dict)
    except ValueError:
        return False
    except OSError:
        return True  # what cannot be read here is not judged


def _absent_shards(index: str, there: Mapping[str, Any]) -> list[str]:
    try:
        body = files.loads(files.read(index, _MAX_INDEX_BYTES))
    except (OSError, ValueError):
        return []
    shards = cast("dict[str, Any]", body).get("weight_map") if isinstance(body, dict) else None
    if not isinstance(shards, dict):
        return []
    names = {shard for shard in cast("dict[str, Any]", shards).values() if isinstance(shard, str)}
    return sorted(name for name in names if "/" not in name and name not in there)


def _is_pointer(path: str) -> bool:
    try:
        with files.opened(path) as file:
            return file.read(len(_POINTER)) == _POINTER
    except OSError:
        return False


def _is_of_tokenizer(name: str) -> bool:
    if name in _NO_VOCABULARY:
        return False
    return name.endswith(_TOKENIZER_ENDS) or any(part in name for part in _TOKENIZER_PARTS)
