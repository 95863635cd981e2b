"""A command line of vLLM's server read back into the keys of a configuration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from grpo_launch.engines.flags import Flag
from grpo_launch.engines.vllm.flags import FLAGS
from grpo_launch.engines.vllm.serve import SERVE

_MODULE = "vllm.entrypoints"
"""The module form names one below it."""

_SHORT = {
    "-tp": "tensor_parallel_size",
    "-dp": "data_parallel_size",
    "-pp": "pipeline_parallel_size",
    "-q": "quantization",
}


def keys_of(argv: Sequence[str]) -> dict[str, Any]:
    """The keys that a command line says; ``serve.argv`` turns them into it again.

    Args:
        argv: the whole command line; what stands before the model is ``engine.entry``.

    Raises:
        ValueError: it is no command line of ``vllm serve`` or its module form, or gives a secret;
            names the word that is wrong.
    """
    words = [*argv]
    is_command = SERVE in words
    if not is_command and not any(word.startswith(_MODULE) for word in words):
        raise ValueError(f"no {FLAGS.program} in {' '.join(words)!r}")
    at = words.index(SERVE) + 1 if is_command else _first_flag(words)
    keys: dict[str, Any] = {"engine.entry": words[:at]}
    if is_command and at < len(words) and not words[at].startswith("-"):
        keys["rollout_server.model"] = words[at]
        at += 1
    for word, values in _taken_apart(words[at:]):
        name, value = _said(word, values)
        keys[f"rollout_server.{name}"] = value
    return keys


def _first_flag(words: Sequence[str]) -> int:
    """Where the first flag stands behind ``-m MODULE``."""
    module = next(n for n, word in enumerate(words) if word.startswith(_MODULE))
    return module + 1


def _taken_apart(words: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Each flag, and the words behind it; ``--flag=value`` is read as well."""
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if word.startswith("--") or word in _SHORT:
            name, equals, value = word.partition("=")
            found.append((name, [value] if equals else []))
        elif not found:
            raise ValueError(f"{word!r} stands before the first flag")
        else:
            found[-1][1].append(word)
    return found


def _said(word: str, values: list[str]) -> tuple[str, Any]:
    """The setting that a flag says, and its value."""
    name = _SHORT.get(word, word.removeprefix("--").replace("-", "_"))
    flags = FLAGS.shipped().table.flags
    if name in FLAGS.given:
        raise ValueError(f"{word}: use {FLAGS.given[name]} instead")
    flag = flags.get(name)
    if flag is None and name.startswith("no_"):
        name, opposite = name[3:], flags.get(name[3:])
        if opposite is not None and opposite.kind == "bool" and not values:
            return name, False
    if flag is None:
        raise ValueError(f"{word} is no flag of {FLAGS.program}")
    if flag.kind in ("bool", "switch"):
        if values:
            raise ValueError(f"{word} takes no value, not {values[0]!r}")
        return name, True
    if flag.is_list:
        return name, [_value(flag, value) for value in values]
    if len(values) != 1:
        raise ValueError(f"{word} takes one word, not {len(values)}")
    return name, _value(flag, values[0])


def _value(flag: Flag, word: str) -> Any:
    """A word as the value that is rendered as that word."""
    try:
        if flag.kind in ("int", "size"):
            return int(word)
        if flag.kind == "float":
            return float(word) if str(float(word)) == word else int(word)
        return json.loads(word) if flag.kind == "json" else word
    except ValueError:
        return word
