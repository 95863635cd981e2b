"""Make ``dataset.jsonl``: prompts that ask for digits.

Usage: ``python make_dataset.py [OUT_FILE]``; the file beside this script by default.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["ROWS", "Message", "Row", "main", "make_rows", "render"]

ROWS = 64
"""Rows of the dataset; with 8 generations a prompt and 32 completions a step, 16 steps an epoch."""

Message = dict[str, str]
Row = dict[str, list[Message]]

_SUBJECTS = ("a line", "a row", "a list", "a code")
_VERBS = ("Write", "Give", "Print", "Type")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the dataset; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = Path(__file__).with_name("dataset.jsonl")
    parser.add_argument("out_file", nargs="?", type=Path, default=default, metavar="OUT_FILE")
    out_file: Path = parser.parse_args(argv).out_file
    out_file.write_text(render(make_rows()), encoding="utf-8")
    print(f"{out_file}: {ROWS} rows")
    return 0


def make_rows(count: int = ROWS) -> list[Row]:
    """Rows of ms-swift's ``messages`` form, all different, the same on every call.

    Args:
        count: number of rows, at most 256.

    Raises:
        ValueError: ``count`` is out of range.
    """
    if not 0 <= count <= 256:
        raise ValueError(f"count is {count}, expected 0 to 256")
    rows: list[Row] = []
    for index in range(count):
        verb = _VERBS[index % len(_VERBS)]
        subject = _SUBJECTS[index // len(_VERBS) % len(_SUBJECTS)]
        letter = chr(ord("a") + index // (len(_VERBS) * len(_SUBJECTS)))
        content = f"{verb} {subject} of digits, case {letter}."
        rows.append({"messages": [{"role": "user", "content": content}]})
    return rows


def render(rows: Sequence[Row]) -> str:
    """Text of the file: one JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
