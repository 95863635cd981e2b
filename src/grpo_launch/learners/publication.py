"""What of a checkpoint, and of the model that the training began with, a server loads together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Publication:
    """Which files of which directory, as patterns of their names.

    Attributes:
        checkpoint: of the checkpoint.
        base: of the model that the training began with.
        needed: names of the checkpoint's without which it is no model that can be served.
    """

    checkpoint: tuple[str, ...]
    base: tuple[str, ...]
    needed: tuple[str, ...]


WHOLE = Publication(
    checkpoint=(
        *("*.json", "*.safetensors", "pytorch_model*.bin", "*.jinja", "*.txt", "*.model"),
        *("*.tiktoken", "*.py"),
    ),
    base=(),
    needed=("config.json",),
)
"""Of a learner of which nobody knows better: the model as it saved it, without the optimizer."""

TRANSFORMERS = Publication(
    checkpoint=("config.json", "*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin*"),
    base=(
        *("tokenizer*", "*.tiktoken", "vocab*", "merges.txt", "special_tokens_map.json"),
        *("added_tokens.json", "chat_template*", "generation_config.json", "*processor*.json"),
        *("spiece.model", "sentencepiece*", "tekken.json", "*.py"),
    ),
    needed=("config.json",),
)
"""Of a whole model as transformers saves it; what decides how text becomes tokens is the base's.

A server has to ask the new model as it asked the one before. An adapter (``adapter_config.json``)
is merged before it can be served so.
"""


def sources(
    publication: Publication, checkpoint: Iterable[str], base: Iterable[str]
) -> Mapping[str, str]:
    """Where each file of what is published comes from.

    Args:
        publication: the patterns.
        checkpoint: names of files in the checkpoint.
        base: names of files in the base model's directory.

    Returns:
        ``checkpoint`` or ``base`` by the file's name.

    Raises:
        ValueError: the checkpoint lacks what is needed, or has no weights.
    """
    trained = _chosen(publication.checkpoint, checkpoint)
    missing = [name for name in publication.needed if name not in trained]
    if missing or not any(name.endswith((".safetensors", ".bin")) for name in trained):
        raise ValueError(f"the checkpoint has no {missing[0] if missing else 'weights of a model'}")
    kept = _chosen(publication.base, base) - trained
    return {**dict.fromkeys(sorted(trained), "checkpoint"), **dict.fromkeys(sorted(kept), "base")}


def _chosen(patterns: Iterable[str], names: Iterable[str]) -> set[str]:
    adapter = "adapter_model*"
    return {
        name
        for name in names
        if any(fnmatchcase(name, pattern) for pattern in patterns)
        and not fnmatchcase(name, adapter)
    }
