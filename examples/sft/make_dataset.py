"""Make ``dataset.jsonl``: sums of two digits with their answers.

Usage: ``python make_dataset.py [OUT_FILE]``; the file beside this script by default.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["DIGITS", "Message", "Row", "main", "make_rows", "render"]

DIGITS = 8
"""Summands are below; 64 rows, 8 optimizer steps an epoch in batches of 8."""

Message = dict[str, str]
Row = dict[str, list[Message]]


def main(argv: Sequence[str] | None = None) -> int:
    """Write the dataset; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = Path(__file__).with_name("dataset.jsonl")
    parser.add_argument("out_file", nargs="?", type=Path, default=default, metavar="OUT_FILE")
    out_file: Path = parser.parse_args(argv).out_file
    rows = make_rows()
    out_file.write_text(render(rows), encoding="utf-8")
    print(f"{out_file}: {len(rows)} rows")
    return 0


def make_rows(digits: int = DIGITS) -> list[Row]:
    """A row for each pair of summands below ``digits``: a question and its answer, as messages."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"What is {one} plus {other}?"},
                {"role": "assistant", "content": f"{one} plus {other} is {one + other}."},
            ]
        }
        for one in range(digits)
        for other in range(digits)
    ]


def render(rows: Sequence[Row]) -> str:
    """Text of the file: one JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
