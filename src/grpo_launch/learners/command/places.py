"""Where placeholders may stand in what an experiment says of a learner, and what is wrong there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from grpo_launch.config import kinds, placeholders

PATHS = ("config", "arguments_file", "output_dir", "run_dir")
SERVER = ("model", "url", "host", "port")
MEMBERS = ("rank", "members", "devices")

OF_TEXT = (*PATHS, *SERVER)
"""In ``fill``; all members read the same file."""

OF_ARGV = (*OF_TEXT, *MEMBERS, "resume")
OF_RESUME = (*OF_TEXT, "checkpoint")

_ELSEWHERE = {
    "checkpoint": "resume_by.argument, which stands where argv has {resume}",
    "resume": "argv, as a word of its own",
    **dict.fromkeys(MEMBERS, "argv and variables, which each member has of its own"),
}


@dataclass(frozen=True)
class Fault:
    """What is wrong with a key of ``train``."""

    key: str
    what: str
    fix: str


@dataclass
class Faults:
    """What was found wrong while reading."""

    found: list[Fault] = field(default_factory=list[Fault])

    def add(self, key: str, what: str, fix: str) -> None:
        """Note one."""
        self.found.append(Fault(key, what, fix))

    def text(self, said: Mapping[Any, Any], key: str, places: Sequence[str] | None) -> str | None:
        """The text at ``key``, with some of ``places`` as placeholders; None: any brace is text."""
        value = said.get(key.rpartition(".")[2])
        if value is None:
            return None
        if isinstance(value, dict | list | bool):
            self.add(key, f"{kinds.said_at(key, value)} is not a text", "write a text there")
            return None
        if places is not None and not self._is_filled(key, str(value), places, ""):
            return None
        return str(value)

    def words(self, key: str, said: Any, places: Sequence[str]) -> tuple[str, ...]:
        """A command line as a list."""
        if not isinstance(said, list) or not said:
            what = f"{kinds.said(said)} is not a list of words"
            self.add(key, what, "write [PROGRAM, ARGUMENT, ...]; there is no shell")
            return ()
        words = cast("list[Any]", said)
        for number, word in enumerate(words):
            if isinstance(word, dict | list | None):
                what = f"word {number} is {kinds.said(word)}, not a text"
                self.add(key, what, "write a text there")
                return ()
            if not self._is_filled(key, str(word), places, f"word {number}: "):
                return ()
        return tuple(kinds.said(w) if isinstance(w, bool) else str(w) for w in words)

    def texts(
        self, said: Mapping[Any, Any], key: str, places: Sequence[str]
    ) -> dict[str, str] | None:
        """A mapping of names to texts."""
        value = self.mapping(said, key)
        if value is None:
            return None
        found: dict[str, str] = {}
        for name, text in value.items():
            if isinstance(text, dict | list | None):
                where = f"{key}.{name}"
                self.add(where, f"{kinds.said_at(where, text)} is no text", "write a text there")
            elif self._is_filled(f"{key}.{name}", str(text), places, ""):
                found[name] = kinds.said(text) if isinstance(text, bool) else str(text)
        return found

    def mapping(self, said: Mapping[Any, Any], key: str) -> dict[str, Any] | None:
        """The mapping at ``key``, whose keys are texts."""
        value = said.get(key.rpartition(".")[2])
        if value is None:
            return None
        if not isinstance(value, dict):
            self.add(key, f"{kinds.said_at(key, value)} is not a mapping", "write keys below it")
            return None
        return {str(name): item for name, item in cast("dict[Any, Any]", value).items()}

    def choice(self, said: Mapping[Any, Any], key: str, known: Iterable[str]) -> str | None:
        """One of some names."""
        value, names = said.get(key.rpartition(".")[2]), [*known]
        if value is None or value in names:
            return value
        meant = kinds.nearest(value, names)
        fix = f"did you mean {meant}?" if meant else f"use one of {', '.join(names)}"
        self.add(key, f"{kinds.said(value)} is not one of {', '.join(names)}", fix)
        return None

    def seconds(self, said: Mapping[Any, Any], key: str) -> float | None:
        """A number of seconds that is not negative."""
        value = said.get(key)
        if value is None:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or value < 0:
            self.add(key, f"{kinds.said(value)} is no number of seconds", "write 0 or more")
            return None
        return float(value)

    def boolean(self, said: Mapping[Any, Any], key: str) -> bool | None:
        """True or false."""
        value = said.get(key)
        if value is not None and not isinstance(value, bool):
            self.add(key, f"{kinds.said(value)} is not true or false", "write true or false")
            return None
        return value

    def known(self, said: Mapping[Any, Any], key: str, names: Sequence[str]) -> None:
        """Note the keys that are none of ``names``."""
        for name in said:
            if name not in names:
                meant = kinds.nearest(name, [*names])
                fix = f"did you mean {meant}?" if meant else f"use one of {', '.join(names)}"
                self.add(f"{key}.{name}", "unknown key", fix)

    def _is_filled(self, key: str, text: str, places: Sequence[str], which: str) -> bool:
        found = placeholders.fault(text, places, _ELSEWHERE)
        if found is not None:
            self.add(key, f"{which}{found[0]}", found[1])
        return found is None
