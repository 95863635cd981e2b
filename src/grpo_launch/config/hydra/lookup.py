"""Find the file that ``config=NAME`` names.

A file of the working directory that is named with its ending, ``x.yaml``, is itself. A
bare name is searched in an ordered list of roots; the first hit wins. Roots
are the bases below, each with its ``SUBDIRECTORIES`` first and the base itself last:

1. ``configs/`` in the working directory,
2. the directories of ``GRPO_LAUNCH_CONFIGS`` (separated by ``:``),
3. the experiments that ship with grpo_launch,
4. ``experiments://DIR`` entries of ``hydra.searchpath``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.errors import ConfigError

SETTING = "GRPO_LAUNCH_CONFIGS"
"""The environment variable that names further directories of experiments."""

SUBDIRECTORIES = ("train/grpo", "train/sft", "train/loop", "serve", "")
"""Where a bare name is looked for inside a base, in this order."""

_SUFFIXES = ("", ".yaml")
_ENDINGS = (".yaml", ".yml", ".json", ".py")


def default_bases(cwd: Path, environ: Mapping[str, str], shipped: Path) -> list[Path]:
    """The bases to search, in order, without repetition.

    Args:
        cwd: the working directory.
        environ: the environment, read for ``GRPO_LAUNCH_CONFIGS``.
        shipped: the directory of the experiments that ship with grpo_launch.

    Raises:
        ConfigError: ``GRPO_LAUNCH_CONFIGS`` names something that is no directory.
    """
    bases = [cwd / "configs"] if (cwd / "configs").is_dir() else []
    for entry in filter(None, environ.get(SETTING, "").split(os.pathsep)):
        base = cwd / entry
        if not base.is_dir():
            raise ConfigError(SETTING, f"{entry} is not a directory", "correct the variable")
        bases.append(base)
    bases.append(shipped)
    unique: dict[Path, Path] = {}
    for base in bases:
        unique.setdefault(base.resolve(), base)
    return list(unique.values())


@dataclass(frozen=True)
class Base:
    """A directory of experiments, usually called ``configs/``.

    Attributes:
        directory: the directory itself.
        cwd: what other relative paths are relative to.
    """

    directory: Path
    cwd: Path

    def find(self, name: str) -> Path | None:
        """The file that ``name`` means, or None.

        A bare name is searched in :data:`SUBDIRECTORIES`, one with an ending in the working
        directory first; a name with a slash is
        a path below this base or below the working directory; an absolute path
        is itself. ``.yaml`` may be left out.
        """
        if not name or "\0" in name:
            return None
        for candidate in filter(lambda path: path.name, self._candidates(name)):
            for suffix in _SUFFIXES:
                path = candidate.with_name(candidate.name + suffix)
                if _is_file(path):
                    return path
        return None

    def names(self) -> Iterator[str]:
        """The bare names that this base offers."""
        for subdirectory in SUBDIRECTORIES:
            for path in sorted((self.directory / subdirectory).glob("*.yaml")):
                if path.stem != "base":  # by custom what others extend, no experiment itself
                    yield path.stem

    def _candidates(self, name: str) -> Iterator[Path]:
        if Path(name).is_absolute():
            yield Path(name)
            return
        if "/" not in name:
            if name.endswith(_ENDINGS):
                yield self.cwd / name
            for subdirectory in SUBDIRECTORIES:
                yield self.directory / subdirectory / name
        else:
            yield self.directory / name
        yield self.cwd / name


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False
