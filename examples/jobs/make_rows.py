"""Write rows.jsonl: small sums, each with its solution as an answer and as a column."""

from __future__ import annotations

import json
from pathlib import Path


def rows() -> list[str]:
    """The lines of the file, one row each."""
    made: list[str] = []
    for first in range(2, 10):
        for second in range(2, 10):
            solution = str(first + second)
            question = f"What is {first} + {second}? Give the number in \\boxed{{}}."
            messages = [
                {"role": "user", "content": question},
                {"role": "assistant", "content": f"\\boxed{{{solution}}}"},
            ]
            made.append(json.dumps({"messages": messages, "solution": solution}))
    return made


if __name__ == "__main__":
    text = "".join(f"{row}\n" for row in rows())
    Path(__file__).with_name("rows.jsonl").write_text(text, encoding="utf-8")
