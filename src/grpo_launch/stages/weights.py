"""The weights in a directory, as their headers tell: no torch, no tensor is read.

Which files count is decided as engines decide it: those that the index names, with all tensors in
them; without an index all that there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from grpo_launch.base import files, safetensors
from grpo_launch.base.safetensors import Tensor
from grpo_launch.engines.model_shape import MAX_CONFIG_BYTES
from grpo_launch.errors import ConfigError

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
"""Names the files that the weights are spread over (``transformers``, ``save_pretrained``)."""

_ADAPTER = "adapter_model.safetensors"
_AGAIN = "save the model again"


@dataclass(frozen=True)
class Weights:
    """A model in a directory.

    Attributes:
        directory: absolute, without symbolic links.
        config: its ``config.json``.
        tensors: of all its files, by name.
        digest: SHA-256 of the headers of its files, as hexadecimal digits.
    """

    directory: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    digest: str


def read(directory: Path) -> Weights:
    """The model in a directory.

    Raises:
        ConfigError: it is missing, damaged, or saved in another format; names the file.
    """
    try:
        directory = directory.resolve()
        is_there = directory.is_dir()
    except (OSError, RuntimeError, ValueError):  # a loop of links; a name that no file can have
        is_there = False
    if not is_there:
        raise ConfigError(str(directory), "is no directory", "name one that holds a model")
    config = _object(directory / CONFIG, MAX_CONFIG_BYTES)
    tensors: dict[str, Tensor] = {}
    digest = hashlib.sha256()
    shards = _shards(directory)
    for path, names in shards.items():
        header = _header(path)
        if missing := sorted(names - set(header.tensors)):
            what = f"lacks {missing[0]}, which {INDEX} says is there"
            raise ConfigError(str(path), what, _AGAIN)
        if twice := sorted(set(header.tensors) & set(tensors)):
            raise ConfigError(str(path), f"has {twice[0]}, as another file does", _AGAIN)
        tensors.update(header.tensors)
        digest.update(len(header.content).to_bytes(8, "little") + header.content)
    if not tensors:
        raise ConfigError(str(directory), "has no tensors", _AGAIN)
    return Weights(directory, config, tensors, digest.hexdigest())


def located(model: str, cwd: Path, environ: Mapping[str, str]) -> Path:
    """The directory of a model that an engine was started with; it need not be there.

    Args:
        model: a directory, or a name on the Hugging Face hub: then that of its newest snapshot in
            the cache (``huggingface_hub/constants.py``).
        cwd: what a relative directory is relative to.
        environ: of the engine.
    """
    directory = cwd / Path(model).expanduser()
    if directory.is_dir():
        return directory
    caches = environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = environ.get("HF_HOME") or f"{caches}/huggingface"
    hub = Path(environ.get("HF_HUB_CACHE") or f"{home}/hub").expanduser()
    cached = hub / f"models--{model.replace('/', '--')}"
    try:
        return cached / "snapshots" / files.text(cached / "refs" / "main", 1000).strip()
    except (OSError, ValueError):
        return directory


def _shards(directory: Path) -> dict[Path, set[str]]:
    """The files with weights, and the tensors that the index says are in each."""
    there = {path.name: path for path in sorted(directory.glob("*.safetensors"))}
    index = directory / INDEX
    if index.exists():
        named: dict[str, set[str]] = {}
        mapping = _object(index, files.AT_MOST).get("weight_map")
        if not isinstance(mapping, dict):
            raise ConfigError(str(index), "has no weight_map", _AGAIN)
        for tensor, shard in cast("dict[str, Any]", mapping).items():
            if not isinstance(shard, str) or shard not in there:
                raise ConfigError(str(index), f"{tensor}: {shard} is not there", _AGAIN)
            named.setdefault(shard, set()).add(tensor)
        return {there[shard]: named[shard] for shard in sorted(named)}
    if list(there) == [_ADAPTER]:
        fix = "merge it into its model first"
        raise ConfigError(str(directory), f"holds a LoRA adapter ({_ADAPTER})", fix)
    if not there:
        fix = "save the model as safetensors"
        raise ConfigError(str(directory), "has no *.safetensors", fix)
    return {path: set() for path in there.values()}


def _header(path: Path) -> safetensors.Header:
    try:
        return safetensors.read(path)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read ({error.strerror})", _AGAIN) from None
    except ValueError as error:
        raise ConfigError(str(path), str(error), _AGAIN) from None


def _object(path: Path, at_most: int) -> dict[str, Any]:
    """A JSON object of the model."""
    try:
        body = files.loads(files.read(path, at_most))
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read ({error.strerror})", _AGAIN) from None
    except ValueError:
        raise ConfigError(str(path), "is not JSON", _AGAIN) from None
    if not isinstance(body, dict):
        raise ConfigError(str(path), "is no JSON object", _AGAIN)
    return cast("dict[str, Any]", body)
