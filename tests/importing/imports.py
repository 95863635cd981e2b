"""Imports of texts, in this process."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from grpo_launch.importing import command


@dataclass(frozen=True)
class Imported:
    """What an import gave.

    Attributes:
        status: of the command.
        text: the experiment.
        said: standard error, a line each.
    """

    status: int
    text: str
    said: tuple[str, ...]

    @property
    def keys(self) -> dict[str, Any]:
        """The experiment as data."""
        return yaml.safe_load(self.text) or {}

    @property
    def verdict(self) -> str:
        """The last line."""
        return self.said[-1]

    def says(self, text: str) -> bool:
        """Whether a line holds a text."""
        return any(text in line for line in self.said)


def imported(directory: Path, scripts: Mapping[str, str], options: Sequence[str] = ()) -> Imported:
    """Import scripts by name, as the command does; messages name the files alone."""
    for name, text in scripts.items():
        (directory / name).write_text(text, encoding="utf-8")
    paths = [str(directory / name) for name in scripts]
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = command.run([*paths, *options])
    shown = [io_text.getvalue().replace(f"{directory}/", "") for io_text in (out, err)]
    return Imported(status, shown[0], tuple(shown[1].splitlines()))
