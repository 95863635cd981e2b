"""Whether the versions in the engine's environment are known to fit.

What fits is data: ``fits.json`` in the folder of an engine, from each distribution to the first
version that fits and the first that does not any more.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from grpo_launch import runtimes
from grpo_launch.base import codec
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.engines.base import engine
from grpo_launch.plan import SERVER
from grpo_launch.runtimes import installed

_TABLE = "fits.json"
_RELEASE = re.compile(r"\d+(?:\.\d+)*")


def problems(config: LaunchConfig, environ: Mapping[str, str], cwd: Path) -> Iterator[Problem]:
    """A warning for each installed version that is not known to fit.

    Nothing is imported; where the interpreter is not known, nothing is said.
    """
    table = Path(inspect.getfile(type(engine(config.engine.name)))).with_name(_TABLE)
    python = runtimes.of(config.runtime_of(SERVER)).python(config.engine.entry, environ, cwd)
    if python is None or not table.is_file():
        return
    fits = codec.read(table)
    versions = installed.versions(installed.roots(python, environ), fits)
    yield from misfits(versions, fits, config.where("runtime.kind"))


def misfits(
    versions: Mapping[str, str], fits: Mapping[str, Sequence[str]], where: str
) -> Iterator[Problem]:
    """The warnings of :func:`problems`; a version that is no number is let be."""
    for name, version in versions.items():
        first, end = fits.get(name.replace("-", "_").lower(), ("", ""))
        release = _release(version)
        if not first or not release or _release(first) <= release < _release(end):
            continue
        what = f"{name} {version} is not known to fit"
        yield Problem(where, what, f"take >={first},<{end}, or expect surprises", Severity.WARNING)


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version without zeros at the end: 1.0 is 1."""
    match = _RELEASE.match(version)
    numbers = [int(number) for number in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
