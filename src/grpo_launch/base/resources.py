"""Where the files that ship with grpo_launch are.

A wheel carries ``conf/``, ``configs/``, ``data/``, ``examples/``, ``scripts/`` and
the CPU engine inside the package, under ``_data``; in a clone (or an editable install)
they stand at the top of the repository.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def root() -> Path:
    """The directory that holds ``conf/``, ``configs/``, ``data/``, ``examples/``, ``scripts/``."""
    packaged = _PACKAGE / "_data"
    return packaged if packaged.is_dir() else _PACKAGE.parents[1]


def path(relative: str) -> Path:
    """The shipped file or directory ``relative``, for example ``scripts/train.sh``."""
    return root() / relative
