"""Environments with a small engine in them, for a real interpreter to import."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

BASE = Path(sys.executable).resolve()
SITE = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"

SCRIPT = """
import json, sys
from eng import arguments
files = {"eng/arguments.py": arguments.__file__}
programs = ("eng serve", "eng train")
json.dump({p: {"flags": arguments.FLAGS, "files": files} for p in programs}, sys.stdout)
"""


def package(version: str, flags: str = "{'port': 'int'}") -> dict[str, str]:
    return {
        "eng/__init__.py": f"__version__ = '{version}'\n",
        "eng/arguments.py": f"FLAGS = {flags}\n",
    }


def lay_out(directory: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def venv(prefix: Path, *, system: bool = False) -> Path:
    """The interpreter of a new virtual environment."""
    python = prefix / "bin" / "python"
    python.parent.mkdir(parents=True)
    (prefix / SITE).mkdir(parents=True)
    python.symlink_to(BASE)
    text = f"home = {BASE.parent}\ninclude-system-site-packages = {str(system).lower()}\n"
    (prefix / "pyvenv.cfg").write_text(text)
    return python


def conda(prefix: Path) -> Path:
    """The interpreter of a new environment that looks like one of conda."""
    python = prefix / "bin" / "python"
    python.parent.mkdir(parents=True)
    (prefix / SITE).mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nPYTHONPATH={prefix / SITE} exec {BASE} "$@"\n')
    python.chmod(0o755)
    return python


def plain(home: Path) -> dict[str, str]:
    """An environment of variables that points nowhere else."""
    return {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
