"""The flags of an engine's two programs, as data: which exist and what each takes.

A value is judged as the engine would judge it: ms-swift turns every key of the
arguments file into words of a command line (``parse_yaml_args`` in
``swift/cli/main.py``) and gives them to ``HfArgumentParser`` of transformers
(``hf_argparser.py``), which is ``argparse``.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

ENGINE = "ms-swift"

PINNED = "4.6.0"
"""The version of ms-swift that this launcher is written for; its snapshot is shipped."""

FORMAT = 1
"""The version of the JSON form."""

Kind = Literal["int", "float", "bool", "str", "json", "object", "any"]
"""What one word of a flag's value is read as.

``json``: text that the engine reads as JSON later, or the name of a file or preset;
``object``: the parser refuses every text, only Python code can set it;
``any``: not known, every text passes.
"""

TAKEN_FOR_A_FLAG = " to argparse, which takes it for a flag"
"""Ends what :func:`accepts` returns of a value that begins with a dash."""

_KINDS = frozenset[str](get_args(Kind))
_DATA = Path(__file__).parent / "data"
_NEGATIVE_NUMBER = re.compile(r"-\d+|-\d*\.\d+")
"""``argparse.ArgumentParser._negative_number_matcher``, the same up to Python 3.13."""

_TRUE_OR_FALSE = frozenset({"yes", "true", "t", "y", "1", "no", "false", "f", "n", "0"})
"""``string_to_bool`` of transformers (``hf_argparser.py``), in lower case."""


@dataclass(frozen=True)
class Flag:
    """What one flag takes.

    Attributes:
        kind: how one word of its value is read.
        is_list: it takes one or more words.
        optional: the engine's own default may be ``None``.
        choices: the only words it takes, if it is so limited.
    """

    kind: Kind
    is_list: bool = False
    optional: bool = False
    choices: tuple[str, ...] | None = None


@dataclass(frozen=True)
class EngineFlags:
    """The flags of one version of an engine, by name without dashes.

    Attributes:
        engine: the engine's name, for messages.
        version: its version.
        rollout: the rollout server's flags (``RolloutArguments``).
        rlhf: the learner's flags (``RLHFArguments``).
    """

    engine: str
    version: str
    rollout: Mapping[str, Flag]
    rlhf: Mapping[str, Flag]

    def to_json(self) -> str:
        """The flags as JSON, one line each, with a newline at the end."""
        head = {"format": FORMAT, "engine": self.engine, "version": self.version}
        lines = [f'"{key}":{json.dumps(value)}' for key, value in head.items()]
        lines += [f'"rollout":{_table(self.rollout)}', f'"rlhf":{_table(self.rlhf)}']
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @staticmethod
    def from_json(text: str) -> EngineFlags:
        """The flags that :meth:`to_json` wrote.

        Raises:
            ValueError: it is not such a text, or of another version.
        """
        body: Any = json.loads(text)
        if not isinstance(body, dict) or cast("dict[str, Any]", body).get("format") != FORMAT:
            raise ValueError(f"not flags of format {FORMAT}")
        said = cast("dict[str, Any]", body)
        try:
            return EngineFlags(
                engine=str(said["engine"]),
                version=str(said["version"]),
                rollout={name: _decode(code) for name, code in said["rollout"].items()},
                rlhf={name: _decode(code) for name, code in said["rlhf"].items()},
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"not flags of an engine: {error!r}") from None


@functools.lru_cache(maxsize=4)
def snapshot(version: str = PINNED) -> EngineFlags:
    """The flags of ms-swift ``version`` as shipped, made by ``scripts/make_flag_snapshot.py``.

    Raises:
        LookupError: there is none for this version.
    """
    try:
        text = (_DATA / f"ms_swift-{version}.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise LookupError(f"no flags of {ENGINE} {version} are shipped") from None
    return EngineFlags.from_json(text)


def accepts(flag: Flag, value: Any) -> str | None:
    """What ``flag`` takes, where the engine would not take ``value``; None where it would.

    Stricter than the engine in four things that it takes and then misreads or
    fails over: an empty list for a boolean, a container or null inside a list
    (its Python form would be passed), and a bare number or boolean for JSON.

    Args:
        flag: the flag.
        value: as the configuration says it: plain YAML data.

    Returns:
        For a message ``<value> is not <returned>``: ``an integer``, ``one of a, b``, ...
    """
    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    if (len(items) != 1 and not flag.is_list) or not items:
        return expected(flag)
    if isinstance(value, list) and any(i is None or isinstance(i, dict | list) for i in items):
        return expected(flag)
    if flag.kind == "json" and isinstance(value, int | float):
        return expected(flag)
    for item in items:
        try:
            word = json.dumps(item) if isinstance(item, dict) else str(item)
        except TypeError:
            return expected(flag)  # a key that JSON does not have; ms-swift fails there too
        if reads_as_flag(word):
            return expected(flag) + TAKEN_FOR_A_FLAG
        if not _takes(flag, word):
            return expected(flag)
    return None


def expected(flag: Flag) -> str:
    """What ``flag`` takes, for people."""
    if flag.choices is not None:
        one = ", ".join(choice for choice in flag.choices if choice != "None")
        return f"a list of {one}" if flag.is_list else f"one of {one}"
    singular, plural = _NAMES[flag.kind]
    return f"a list of {plural}" if flag.is_list else singular


def reads_as_flag(word: str) -> bool:
    """Whether ``argparse`` takes a value for a flag, so that its own flag gets none.

    ``ArgumentParser._parse_optional`` of Python 3.11: what begins with a dash is a
    flag, but for a lone dash, a plain negative number, and text with a space. Text
    with a space still is one if it spells ``-h`` or has the form ``--name=...``.
    """
    if len(word) < 2 or not word.startswith("-") or _NEGATIVE_NUMBER.fullmatch(word):
        return False
    if " " not in word or word.startswith("-h"):
        return True
    return word.startswith("--") and " " not in word.partition("=")[0]


def _takes(flag: Flag, word: str) -> bool:
    if flag.choices is not None:
        return word in flag.choices
    try:
        _READERS[flag.kind](word)
    except ValueError:
        return False
    return True


def _boolean(word: str) -> None:
    if word.lower() not in _TRUE_OR_FALSE:
        raise ValueError(word)


def _nothing(word: str) -> None:
    raise ValueError(word)


_READERS: Mapping[Kind, Callable[[str], object]] = {
    "int": int,
    "float": float,
    "bool": _boolean,
    "str": str,
    "json": str,
    "object": _nothing,
    "any": str,
}
_NAMES: Mapping[Kind, tuple[str, str]] = {
    "int": ("an integer", "integers"),
    "float": ("a number", "numbers"),
    "bool": ("true or false", "booleans"),
    "str": ("a string", "strings"),
    "json": ("a mapping or a string", "mappings"),
    "object": ("a value that only Python code can give", "Python objects"),
    "any": ("a value", "values"),
}


def _table(flags: Mapping[str, Flag]) -> str:
    lines = (f"{json.dumps(name)}:{_encode(flag)}" for name, flag in sorted(flags.items()))
    return "{\n" + ",\n".join(lines) + "\n}"


def _encode(flag: Flag) -> str:
    """``"int"``, ``"float?"`` (optional), ``"str[]"`` (a list); with choices a JSON list."""
    code = f"{flag.kind}{'[]' if flag.is_list else ''}{'?' if flag.optional else ''}"
    choices = flag.choices
    return json.dumps(code if choices is None else [code, *choices], ensure_ascii=False)


def _decode(code: Any) -> Flag:
    if isinstance(code, list):
        head, *choices = map(str, cast("list[Any]", code))
        return dataclasses.replace(_decode(head), choices=tuple(choices))
    kind = str(code)
    optional = kind.endswith("?")
    is_list = kind.rstrip("?").endswith("[]")
    kind = kind.rstrip("?").removesuffix("[]")
    if kind not in _KINDS:
        raise ValueError(f"{code!r} is no kind of flag")
    return Flag(cast("Kind", kind), is_list, optional)
