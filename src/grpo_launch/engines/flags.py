"""The flags of a program, as data: which exist and what each takes.

A value is judged as ``argparse`` would judge it, and ``HfArgumentParser`` of transformers
(``hf_argparser.py``), which is one: a list is several words, a mapping is one of JSON.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

FORMAT = 2
"""The version of the JSON form."""

Kind = Literal["int", "float", "bool", "switch", "size", "str", "json", "object", "any"]
"""What one word of a flag's value is read as.

``switch``: nothing, it is given or not; ``size``: an integer that may end in ``k``, ``M``, ...;
``json``: text that the engine reads as JSON later, or the name of a file or preset;
``object``: the parser refuses every text, only Python code can set it;
``any``: not known, every text passes.
"""

TAKEN_FOR_A_FLAG = " to argparse, which takes it for a flag"
"""Ends what :func:`accepts` returns of a value that begins with a dash."""

_KINDS = frozenset[str](get_args(Kind))
_NEGATIVE_NUMBER = re.compile(r"-\d+|-\d*\.\d+")
"""``argparse.ArgumentParser._negative_number_matcher``, the same up to Python 3.13."""

_SIZE = re.compile(r"[+-]?\d+(_\d+)*|\d+(\.\d+)?[kmgt]|\d+[KMGT]")
"""``human_readable_int`` of vLLM (``vllm/utils/argparse_utils.py``)."""

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

    @property
    def hint(self) -> Any:
        """The type of a field of a structured config for it, ``int | None``; JSON is any value."""
        kind = str if self.choices else _TYPES.get(self.kind)
        if kind is None:
            return Any
        return list[kind] | None if self.is_list else kind | None


@dataclass(frozen=True)
class FlagTable:
    """The flags of one program, in one version.

    Attributes:
        program: the command that takes them, for messages: ``vllm serve``.
        product: what is installed, for messages: ``vLLM``.
        version: its version.
        flags: by name without dashes.
        defaults: of the flags that have one, as plain data; None is none, or not known.
    """

    program: str
    product: str
    version: str
    flags: Mapping[str, Flag]
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def encoded(self) -> dict[str, Any]:
        """The table as plain data for JSON; see :meth:`decoded`."""
        flags = {name: _encode(flag) for name, flag in sorted(self.flags.items())}
        head = {"format": FORMAT, "program": self.program, "product": self.product}
        defaults = dict(sorted(self.defaults.items()))
        return {**head, "version": self.version, "flags": flags, "defaults": defaults}

    @staticmethod
    def decoded(body: Any) -> FlagTable:
        """The inverse of :meth:`encoded`; other keys are ignored.

        Raises:
            ValueError: it is no such data, or of another format.
        """
        if not isinstance(body, dict) or cast("dict[str, Any]", body).get("format") != FORMAT:
            raise ValueError(f"not flags of format {FORMAT}")
        table = cast("dict[str, Any]", body)
        program, product, version = (str(table.get(k)) for k in ("program", "product", "version"))
        codes, defaults = table.get("flags"), table.get("defaults")
        return FlagTable.of(program, product, version, codes, defaults)

    @staticmethod
    def of(program: str, product: str, version: str, codes: Any, defaults: Any = None) -> FlagTable:
        """A table from its flags and defaults as :meth:`encoded` has them.

        Raises:
            ValueError: they are no such data.
        """
        try:
            flags = {str(name): _decode(code) for name, code in codes.items()}
        except (AttributeError, TypeError) as error:
            raise ValueError(f"not a table of flags: {error!r}") from None
        said = cast("dict[str, Any]", defaults) if isinstance(defaults, dict) else {}
        return FlagTable(program, product, version, flags, said)


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
    if len(items) != 1 and not flag.is_list:
        return expected(flag)
    if not items:
        return expected(flag) + (" with at least one item" if flag.is_list else "")
    nested = (list,) if flag.kind == "json" else (dict, list)
    if isinstance(value, list) and any(i is None or isinstance(i, nested) for i in items):
        return expected(flag)
    if flag.kind == "json" and isinstance(value, int | float):
        return expected(flag)
    for item in items:
        try:
            word = json.dumps(item) if isinstance(item, dict) else str(item)
        except TypeError:
            return expected(flag)  # a key that JSON does not have
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


def _size(word: str) -> None:
    if not _SIZE.fullmatch(word.strip()):
        raise ValueError(word)


_TYPES: Mapping[Kind, type] = {
    "int": int,
    "float": float,
    "bool": bool,
    "switch": bool,
    "str": str,
}
_READERS: Mapping[Kind, Callable[[str], object]] = {
    "int": int,
    "float": float,
    "bool": _boolean,
    "switch": _boolean,
    "size": _size,
    "str": str,
    "json": str,
    "object": _nothing,
    "any": str,
}
_NAMES: Mapping[Kind, tuple[str, str]] = {
    "int": ("an integer", "integers"),
    "float": ("a number", "numbers"),
    "bool": ("true or false", "booleans"),
    "switch": ("true or false", "booleans"),
    "size": ("an integer, as 4096 or 4k", "integers"),
    "str": ("a string", "strings"),
    "json": ("a mapping or a string", "mappings"),
    "object": ("a value that only Python code can give", "Python objects"),
    "any": ("a value", "values"),
}


def alone(name: str, flag: Flag | None) -> bool:
    """What a flag means behind which no word stands: true.

    Raises:
        ValueError: it needs a word.
    """
    if flag is not None and flag.kind not in ("bool", "switch", "any"):
        raise ValueError(f"--{name} has no value")
    return True


def _encode(flag: Flag) -> str | list[str]:
    """``"int"``, ``"float?"`` (optional), ``"str[]"`` (a list); with choices a list."""
    code = f"{flag.kind}{'[]' if flag.is_list else ''}{'?' if flag.optional else ''}"
    return code if flag.choices is None else [code, *flag.choices]


def _decode(code: Any) -> Flag:
    if not isinstance(code, list):
        return _decode_plain(str(code))
    head, *choices = map(str, cast("list[Any]", code))
    plain = _decode_plain(head)
    return Flag(plain.kind, plain.is_list, plain.optional, tuple(choices))


@functools.lru_cache(maxsize=64)  # many flags, few different ones
def _decode_plain(code: str) -> Flag:
    optional = code.endswith("?")
    is_list = code.rstrip("?").endswith("[]")
    kind = code.rstrip("?").removesuffix("[]")
    if kind not in _KINDS:
        raise ValueError(f"{code!r} is no kind of flag")
    return Flag(cast("Kind", kind), is_list, optional)
