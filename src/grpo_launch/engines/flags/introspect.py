"""The flags of an installed ms-swift, read from its files: nothing is imported or run.

A static reading takes a fraction of a second where ``swift rlhf --help`` takes more
than ten; ``tests/engine/test_flag_snapshot.py`` proves that it equals what the
imported classes and their parser say.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from grpo_launch.engines.flags import ENGINE, EngineFlags, Flag

_CLASSES = {"rollout": "RolloutArguments", "rlhf": "RLHFArguments"}
"""``args_class`` of ``swift/pipelines/infer/rollout.py`` and ``train/rlhf.py``."""

_HOMES = ("swift.arguments", "swift.llm.argument")
"""The package of the argument classes, in ms-swift 4 and 3."""

_OWN = Path(__file__).parent
"""What reads the files has a part in the result; a cache of an older reader is stale."""

_VERSION = re.compile(rb"""^__version__\s*=\s*['"]([^'"]+)""", re.MULTILINE)
_MAPPING = re.compile(r"^MAPPING[^=]*=\s*(\{.*\})$", re.MULTILINE)


def find(prefix: Path) -> Path | None:
    """The ``site-packages`` of an environment that has ms-swift; None where there is none.

    Args:
        prefix: the directory of a virtual or conda environment.
    """
    for candidate in sorted(prefix.glob("lib/python3*/site-packages")):
        if _package(_roots(candidate), "swift") is not None:
            return candidate
    return None


def introspect(site_packages: Path) -> EngineFlags:
    """The flags of the ms-swift that is installed in ``site_packages``.

    Raises:
        LookupError: there is none, or its argument classes are not where ms-swift 3
            and 4 have them.
    """
    return _read(site_packages)[0]


def cached(site_packages: Path, cache_dir: Path) -> EngineFlags:
    """:func:`introspect`, remembered by the versions and the state of the files it read.

    A cache that cannot be read or written costs time and nothing else.

    Raises:
        LookupError: see :func:`introspect`.
    """
    roots = _roots(site_packages)
    swift, transformers = (_version(roots, name) for name in ("swift", "transformers"))
    file = cache_dir / f"ms_swift-{swift}+transformers-{transformers}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        body = cast("dict[str, Any]", json.loads(file.read_text(encoding="utf-8")))
        if body["files"] == _states(map(Path, body["files"])) and body["root"] == str(roots[0]):
            return EngineFlags.from_json(body["flags"])
    flags, files = _read(site_packages)
    with contextlib.suppress(OSError):
        states = _states([*files, *_OWN.glob("*.py"), *_OWN.glob("static/*.py")])
        body = {"root": str(roots[0]), "files": states, "flags": flags.to_json()}
        _write(file, json.dumps(body))
    return flags


def _read(site_packages: Path) -> tuple[EngineFlags, list[Path]]:
    from grpo_launch.engines.flags.static import annotations
    from grpo_launch.engines.flags.static.classes import Sources

    roots = _roots(site_packages)
    sources = Sources(roots)
    found: dict[str, dict[str, Flag]] = {}
    home = next((name for name in _HOMES if sources.module(name)), _HOMES[0])
    for program, name in _CLASSES.items():
        fields = sources.fields(home, name)
        found[program] = {key: annotations.flag(sources, field) for key, field in fields.items()}
    version = _version(roots, "swift")
    return EngineFlags(ENGINE, version, found["rollout"], found["rlhf"]), sources.files


def _roots(site_packages: Path) -> list[Path]:
    """``site_packages`` and where its editable installations point."""
    roots = [site_packages]
    for path in sorted(site_packages.glob("*.pth")):
        with contextlib.suppress(OSError, ValueError):
            roots += [Path(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    for path in sorted(site_packages.glob("__editable__*_finder.py")):
        with contextlib.suppress(OSError, ValueError, SyntaxError, AttributeError):
            mapping = _MAPPING.search(path.read_text(encoding="utf-8"))
            if mapping is not None:
                places: dict[str, str] = ast.literal_eval(mapping[1])
                roots += [Path(place).parent for place in places.values()]
    return [site_packages, *(root for root in roots[1:] if root.is_absolute() and root.is_dir())]


def _package(roots: Iterable[Path], name: str) -> Path | None:
    return next((r / name for r in roots if (r / name / "__init__.py").is_file()), None)


def _version(roots: Iterable[Path], name: str) -> str:
    """``__version__`` of a package, as its source says it.

    Raises:
        LookupError: there is no such package, or it does not say.
    """
    package = _package(roots, name)
    if package is None:
        raise LookupError(f"no package {name} is installed")
    for path in (package / "version.py", package / "__init__.py"):
        with contextlib.suppress(OSError):
            said = _VERSION.search(path.read_bytes())
            if said is not None:
                return re.sub(r"[^\w.+-]", "_", said[1].decode(errors="replace"))
    raise LookupError(f"{package} does not say its version")


def _states(files: Iterable[Path]) -> dict[str, list[int]]:
    """Size and time of the last change of each file.

    Raises:
        OSError: one is gone.
    """
    stats = {str(path): path.stat() for path in files}
    return {path: [stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()}


def _write(file: Path, text: str) -> None:
    """Replace ``file`` in one step: another launcher may read it meanwhile."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
        Path(name).replace(file)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
