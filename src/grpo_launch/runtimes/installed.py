"""What is installed for an interpreter, read from its files: nothing is imported or run."""

from __future__ import annotations

import ast
import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from grpo_launch.base import files

_SYSTEM = Path("/usr")
_MINOR = re.compile(r"python3\.\d+")
_INFO = re.compile(r"(.+?)-(\d[^-]*)(-py3.*)?\.(dist|egg)-info")
_MAPPING = re.compile(r"^MAPPING[^=]*=\s*(\{.*\})$", re.MULTILINE)
_VERSION = re.compile(
    rb"""^__version__\s*=\s*(?:version\s*=\s*)?['"]([\w.+!-]+)['"]""", re.MULTILINE
)
_SEES_SYSTEM = re.compile(r"^include-system-site-packages\s*=\s*true", re.MULTILINE | re.IGNORECASE)


def roots(python: Path, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The directories in which an interpreter finds packages, in its order.

    Those of PYTHONPATH, of its environment, of the user and of the system where the
    environment sees these, and where editable installations in them point.

    Args:
        python: the interpreter, its links not followed: those of a virtual environment
            lead out of it.
        environ: its environment variables.
    """
    listed = [Path(entry) for entry in environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sites = [site for site in _sites(python, environ) if site.is_dir()]
    editable = (root for site in sites for root in _editable(site))
    return tuple(dict.fromkeys([*listed, *sites, *editable]))


def version(roots: Iterable[Path], package: str, distribution: str) -> str | None:
    """The version of a package, or None where it is not installed.

    What its source says counts: that of a clone changes with the next ``git pull``, while
    the metadata of its editable installation stay.

    Args:
        roots: see :func:`roots`.
        package: the name that is imported.
        distribution: the name that is installed.
    """
    roots = tuple(roots)
    home = next((r / package for r in roots if (r / package / "__init__.py").is_file()), None)
    names = ("version.py", "__init__.py", "_version.py")  # the last is that of setuptools-scm
    for path in (home / name for name in names) if home else ():
        with contextlib.suppress(OSError):
            if literal := _VERSION.search(files.read(path)):
                return literal[1].decode()
    return next(iter(versions(roots, [distribution]).values()), None)


def versions(roots: Iterable[Path], distributions: Iterable[str]) -> dict[str, str]:
    """The versions of those distributions that are installed, by their names as installed.

    Args:
        roots: see :func:`roots`.
        distributions: names, in any spelling (PEP 503).
    """
    wanted = {_normal(name) for name in distributions}
    installed: dict[str, tuple[str, str]] = {}
    for root in roots:
        with contextlib.suppress(OSError):
            for entry in os.listdir(root):
                info = _INFO.fullmatch(entry)
                if info and _normal(info[1]) in wanted:
                    installed.setdefault(_normal(info[1]), (info[1], info[2]))
    return dict(sorted(installed.values()))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def _sites(python: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """``site-packages``, whether it exists or not; Debian's Python says ``dist-packages``."""
    target = python.resolve()  # named after its version: python3.11
    minor = target.name if _MINOR.fullmatch(target.name) else "python3*"
    own, base = python.parent.parent, target.parent.parent
    user = Path(environ["HOME"], ".local") if environ.get("HOME") else None
    try:
        settings = files.read(own / "pyvenv.cfg").decode("utf-8", "replace")
    except OSError:  # no virtual environment
        prefixes = [user, own]
    else:
        prefixes = [own, user, base] if _SEES_SYSTEM.search(settings) else [own]
    if prefixes[-1] == _SYSTEM:
        prefixes.append(_SYSTEM / "local")
    for prefix in filter(None, prefixes):
        for name in (f"{minor}/site-packages", f"{minor}/dist-packages", "python3/dist-packages"):
            yield from sorted((prefix / "lib").glob(name))


def _editable(site: Path) -> Iterator[Path]:
    """The directories that hold what is installed in ``site`` as editable."""
    for name in sorted(n for n in os.listdir(site) if n.endswith((".pth", "_finder.py"))):
        places: Iterable[str] = ()
        with contextlib.suppress(OSError, ValueError, SyntaxError, AttributeError):
            if name.endswith(".pth"):
                places = files.text(site / name).splitlines()
            elif name.startswith("__editable__"):
                mapping = _MAPPING.search(files.text(site / name))
                packages: dict[str, str] = ast.literal_eval(mapping[1]) if mapping else {}
                places = [str(Path(package).parent) for package in packages.values()]
        yield from (Path(place) for place in places if _is_root(place))


def _is_root(place: str) -> bool:
    return place.startswith("/") and Path(place).is_dir()
