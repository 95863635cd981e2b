"""A command line of ``swift rollout`` read back into the keys of a configuration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from grpo_launch.config.encoding import ENCODING
from grpo_launch.engines.flags import alone
from grpo_launch.engines.swift.flags import FLAGS
from grpo_launch.engines.swift.serve import PROGRAM, render, takes_words


def keys_of(argv: Sequence[str]) -> dict[str, Any]:
    """The keys that a command line says; ``serve.argv`` turns them into it again.

    Args:
        argv: the whole command line; what stands before ``rollout`` is ``engine.entry``.

    Raises:
        ValueError: it is no command line of ``swift rollout``; names the word that is wrong.
    """
    entry, flags = taken_apart(argv, PROGRAM)
    homes = {key.rpartition(".")[2]: f"train.{key}" for key in ENCODING}
    homes |= {name: f"train.{key}" for name, key in FLAGS.given.items()}
    keys: dict[str, Any] = {"engine.entry": entry}
    for name, words in flags.items():
        key = homes.get(name, f"rollout_server.{name}")
        if words and takes_words(name):
            keys[key] = words
        elif not words:
            keys[key] = alone(name, FLAGS.shipped().table.flags.get(name))
        elif len(words) != 1:
            raise ValueError(f"--{name} takes one word, not {len(words)}")
        else:
            keys[key] = _value(key, words[0])
    return keys


def taken_apart(argv: Sequence[str], program: str) -> tuple[list[str], dict[str, list[str]]]:
    """What stands before ``program``, and the words behind each flag after it.

    ``--flag=value`` is read as well.

    Raises:
        ValueError: ``program`` is not there, or a word stands before the first flag.
    """
    if program not in argv:
        raise ValueError(f"no {program} in {' '.join(argv)!r}")
    at = list(argv).index(program)
    found: dict[str, list[str]] = {}
    name = ""
    for word in argv[at + 1 :]:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = name.replace("-", "_")  # its parser takes both spellings
            found[name] = [value] if equals else []
        elif not name:
            raise ValueError(f"{word!r} stands before the first flag")
        else:
            found[name].append(word)
    return [*argv[:at]], found


def _value(key: str, word: str) -> Any:
    """A word as the value that is rendered as that word."""
    if key in ("train.rlhf.vllm_server_host", "train.model.model"):
        return [word] if key.endswith("host") else word
    if key == "train.rlhf.vllm_server_port":
        return [int(word)]
    flag = FLAGS.shipped().table.flags.get(key.rpartition(".")[2])
    if flag is not None and flag.kind == "str":
        return word
    if word in ("true", "false"):
        return word == "true"
    try:
        value = json.loads(word)
    except ValueError:
        return word
    is_number = flag is not None and isinstance(value, int | float)
    return value if is_number or isinstance(value, dict | list) or render(value) == word else word
