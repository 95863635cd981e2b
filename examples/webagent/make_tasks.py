"""Make ``tasks/*.jsonl``: pages of MiniWoB++, one a row.

Usage: ``python make_tasks.py [OUT_DIR]``; the directory ``tasks`` beside this script by default.
Seeds of training and evaluation differ. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

__all__ = ["FILES", "Message", "Row", "main", "make_rows", "render"]

_TASKS = (
    "click-button",
    "click-checkboxes",
    "click-collapsible",
    "click-dialog",
    "click-link",
    "click-option",
    "click-tab-2",
    "click-test-2",
    "enter-password",
    "enter-text",
    "focus-text",
    "login-user",
    "navigate-tree",
    "search-engine",
    "simple-arithmetic",
    "social-media",
)
_TINY_TASKS = ("click-test-2", "click-button")
_TINY = {"max_steps": 1, "elements": "actionable"}
"""What fits the tiny model: one answer, and pages of at most 250 bytes."""


class Message(TypedDict):
    """One message of a conversation, in ms-swift's form."""

    role: str
    content: str


class Row(TypedDict):
    """One task.

    Attributes:
        id: the same in each sample of it.
        messages: says which page it is; the environment puts its first observation in its place.
        env_config: the page.
    """

    id: str
    messages: list[Message]
    env_config: dict[str, Any]


FILES: dict[str, tuple[Sequence[str], range, Mapping[str, Any]]] = {
    "train.jsonl": (_TASKS, range(1, 17), {}),
    "eval.jsonl": (_TASKS, range(10_001, 10_005), {}),
    "tiny_train.jsonl": (_TINY_TASKS, range(1, 33), _TINY),
    "tiny_eval.jsonl": (_TINY_TASKS, range(10_001, 10_017), _TINY),
}
"""Name -> tasks of MiniWoB++, seeds of their pages, what else their ``env_config`` holds."""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the files; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = Path(__file__).with_name("tasks")
    parser.add_argument("out_dir", nargs="?", type=Path, default=default, metavar="OUT_DIR")
    out_dir: Path = parser.parse_args(argv).out_dir
    out_dir.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        rows = make_rows(name)
        (out_dir / name).write_text(render(rows), encoding="utf-8")
        print(f"{out_dir / name}: {len(rows)} rows")
    return 0


def make_rows(name: str) -> list[Row]:
    """The rows of a file of ``FILES``, page after page of all its tasks."""
    tasks, seeds, more = FILES[name]
    return [_row(task, seed, more) for seed in seeds for task in tasks]


def render(rows: Sequence[Row]) -> str:
    """Text of the file: one JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _row(task: str, seed: int, more: Mapping[str, Any]) -> Row:
    return Row(
        id=f"{task}-{seed}",
        messages=[Message(role="user", content=f"{task}, page {seed}.")],
        env_config={"name": "webagent", "task": task, "seed": seed, **more},
    )


if __name__ == "__main__":
    sys.exit(main())
