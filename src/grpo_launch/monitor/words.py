"""How times, sizes and tables are written."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Sequence

from grpo_launch.errors import one_line
from grpo_launch.execute.console import duration
from grpo_launch.runs.shares import Split

NOTHING = "-"
"""Stands where there is nothing to say."""

_DAY = 86400
_WORTH_SAYING_S = 0.05
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def age(seconds: float) -> str:
    """``9s``, ``1m41s``, ``2h03m``, ``5d04h``."""
    if seconds < _DAY:
        return duration(seconds)
    return f"{int(seconds // _DAY)}d{int(seconds % _DAY // 3600):02d}h"


def moment(epoch: float) -> str:
    """A point in time, local: ``2026-11-21 13:38:32``."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch))


def size(count: float) -> str:
    """A number of bytes: ``512 B``, ``1.5 GiB``."""
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:
        count /= 1024
        unit += 1
    return f"{count:.0f} B" if unit == 0 else f"{count:.1f} {_UNITS[unit]}"


def number(value: float) -> str:
    """A metric in few digits: ``0.75``, ``12``, ``5e-06``."""
    return f"{value:.4g}"


def split(found: Split) -> str:
    """What the seconds of an optimizer step go into, the medians."""
    parts = {
        "generation": found.generating,
        "sync": found.sync,
        "learning": found.learning,
        "other": found.other,
    }
    seconds = {name: found.per_step * part.median for name, part in parts.items()}
    said = [f"{name} {value:.1f} s" for name, value in seconds.items()]
    return ", ".join(said if seconds["other"] >= _WORTH_SAYING_S else said[:-1])


def idle(found: Split) -> str:
    """What share of the time each half has nothing to do."""
    return f"server idle {found.server_idle:.0%}, learner waits {found.learner_waits:.0%}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> list[str]:
    """Rows below a head, in columns as wide as they need to be.

    Args:
        head: the name of each column.
        rows: as many cells each.
        right: the names of the columns that are aligned to the right, with spaces between.

    Returns:
        A line each; a column without any word is left out.
    """
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    aligned = [name in right.split() for name in head]
    lines = (
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, aligned, strict=True)
            if width
        )
        for row in (head, *rows)
    )
    return [line.rstrip() for line in lines]


def fit(line: str, width: int | None) -> list[str]:
    """A line in as many as it takes, broken between words; what follows stands further in.

    Args:
        line: of text.
        width: characters that there is room for; None: as many as it takes.
    """
    if width is None or len(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.wrap(
        line,
        max(width, len(indent) + 8),
        subsequent_indent=indent,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    )


def addresses(urls: Sequence[str]) -> str:
    """The servers of a run; ports of one host are said together."""
    ports: dict[str, list[str]] = {}
    for url in urls:
        host, _, port = one_line(url).rpartition(":")
        ports.setdefault(host, []).append(port)
    return ", ".join(f"{host}:{','.join(there)}" for host, there in ports.items())


def and_(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)
