"""A command line of ``llamafactory-cli train`` read back into the keys of a configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from grpo_launch.engines.flags import alone
from grpo_launch.learners.llamafactory.entry import PROGRAM
from grpo_launch.learners.llamafactory.flags import FLAGS


def command(entry: Sequence[str], arguments: Mapping[str, Any]) -> list[str]:
    """The command line that gives each argument as a flag; what is split at commas is one word."""
    words = [*entry, PROGRAM]
    for name, value in arguments.items():
        words += [f"--{name}", _word(value)]
    return words


def read_file(text: str, overrides: Sequence[str]) -> dict[str, Any]:
    """A training file as ``read_args`` reads it (``hparams/parser.py``): with OmegaConf.

    To OmegaConf ``1e-5`` is a number and ``2024-01-01`` a text, other than to PyYAML.

    Args:
        text: of the file; it is a mapping.
        overrides: ``name=value``, words behind it.

    Raises:
        ValueError: OmegaConf does not take it.
    """
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        merged = OmegaConf.merge(OmegaConf.create(text), OmegaConf.from_dotlist([*overrides]))
    except (OmegaConfBaseException, yaml.YAMLError, TypeError) as error:
        raise ValueError(str(error)) from None
    said = cast("dict[Any, Any]", OmegaConf.to_container(merged))
    return {str(name): value for name, value in said.items()}


_BOOLEANS = {
    **dict.fromkeys(("yes", "true", "t", "y", "1"), True),
    **dict.fromkeys(("no", "false", "f", "n", "0"), False),
}
"""What Hugging Face's parser of a command line takes for a boolean (``string_to_bool``)."""


def keys_of(argv: Sequence[str]) -> dict[str, Any]:
    """The keys that a command line says; its arguments are those of a :func:`command`.

    Args:
        argv: the whole command line; what stands before ``train`` is ``learner.entry``.

    Raises:
        ValueError: it is no command line of ``llamafactory-cli train``; names what is wrong.
    """
    if PROGRAM not in argv:
        raise ValueError(f"no {PROGRAM} in {' '.join(argv)!r}")
    at = list(argv).index(PROGRAM)
    keys: dict[str, Any] = {"learner.entry": [*argv[:at]]}
    for name, word in _flags(argv[at + 1 :]):
        keys[f"train.{name}"] = _value(name, word)
    return keys


def _flags(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each flag with its word; ``--flag=word`` and a bare ``--flag``, for true, are read as well.

    Raises:
        ValueError: a word belongs to no flag.
    """
    waiting = ""
    for word in words:
        if word.startswith("--"):
            if waiting:
                yield waiting, _alone(waiting)
            name, equals, value = word[2:].partition("=")
            waiting = "" if equals else name
            if equals:
                yield name, value
        elif waiting:
            yield waiting, word
            waiting = ""
        elif word.endswith((".yaml", ".yml", ".json")):
            raise ValueError(f"{word!r} is a training file, run it with config={word}")
        else:
            raise ValueError(f"{word!r} belongs to no flag")
    if waiting:
        yield waiting, _alone(waiting)


def _alone(name: str) -> str:
    return _word(alone(name, FLAGS.shipped().table.flags.get(name)))


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ",".join(map(_word, cast("list[Any]", value)))
    return json.dumps(value)


def _value(name: str, word: str) -> Any:
    """A word as the value that is rendered as that word; a file is not converted any more."""
    flag = FLAGS.shipped().table.flags.get(name)
    if flag is None or flag.kind == "str":
        return word
    if flag.kind in ("bool", "switch") and word.lower() in _BOOLEANS:
        return _BOOLEANS[word.lower()]
    try:
        return json.loads(word)
    except ValueError:
        pass
    try:
        return float(word) if flag.kind == "float" else word
    except ValueError:
        return word
