"""A Python file that says an experiment: ``job = Job(...)``, or ``config =`` a mapping.

It is run in a process of its own, and only where it was named (``document.parse``).
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from grpo_launch.base import python_file
from grpo_launch.errors import ConfigError, InvalidConfigError, PythonFileError

NAMES = ("job", "config")
"""The variables that may say it; the first of them counts."""

_WRITE = "write job = Job(...), see docs/jobs.md"


def parse(where: str, path: Path) -> Any:
    """What a file says, a mapping.

    Args:
        where: the file, for messages.
        path: the file, absolute.

    Raises:
        ConfigError: it cannot be run, fails, takes too long, or says nothing.
    """
    try:
        outcome = python_file.evaluate(path, NAMES, python_file.TIMEOUT_S)
    except OSError as error:
        raise ConfigError(where, f"cannot be run ({error.strerror})", "correct it") from None
    result = outcome.result or {}
    if "value" in result:
        return result["value"]
    line = result.get("line")
    place = where if line is None else f"{where}:{line}"
    if "malformed" in result:
        place = f"{place}:{result.get('column')}"
        raise ConfigError(place, f"malformed Python: {result['malformed']}", "correct it")
    if "problems" in result:
        raise InvalidConfigError(f"{place}: {problem}" for problem in result["problems"])
    if "unset" in result:
        raise ConfigError(where, f"sets neither {' nor '.join(NAMES)}", _WRITE)
    if "unfit" in result:
        raise ConfigError(where, f"{result['unfit']}, no job and no mapping of JSON", _WRITE)
    raise PythonFileError(place, *_fate(outcome), outcome.output)


def _fate(outcome: python_file.Outcome) -> tuple[str, str]:
    """What became of a file that ended without a result, and what to do about it."""
    result = outcome.result or {}
    alone = f"let it set {NAMES[0]} and do nothing else"
    if outcome.status is None:
        return f"does not end within {python_file.TIMEOUT_S:.0f} s", alone
    if "exits" in result:
        return f"exits ({result['exits']}) before {NAMES[0]} is read", alone
    if "raises" in result:
        return f"raises {result['raises']}", "correct it"
    ended = f"status {outcome.status}" if outcome.status >= 0 else f"signal {-outcome.status}"
    return f"ends with {ended} before {NAMES[0]} is read", "correct it"


def line(text: bytes) -> int:
    """The line that sets the variable, from 1; 1 where none is seen."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError):
        return 1
    lines = {
        target.id: node.lineno
        for node in body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    return next((lines[name] for name in NAMES if name in lines), 1)
