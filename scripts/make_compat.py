"""Write the tables of ``docs/compat.md``: what each environment variable means with ``compat=env``.

    python scripts/make_compat.py            writes them
    python scripts/make_compat.py --check    writes nothing; 1 where they are not current

They are read from ``conf/compat/hanabi_env.yaml``; the text around them is written by hand.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from grpo_launch.config.compat import table
from grpo_launch.config.compat.table import Table, Variable

__all__ = ["OUTPUT", "document", "main"]

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "docs" / "compat.md"

_BEGIN = "<!-- tables: python scripts/make_compat.py -->"
_END = "<!-- end of the tables -->"
_READS = {
    "text": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "true or false",
    "words": "list",
    "integers": "list of integers",
    "devices": "list of devices",
}
_SCRIPTS = {"server": "server", "learner": "wrapper", "base": "base"}


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the tables; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    check: bool = parser.parse_args(argv).check
    present = OUTPUT.read_text(encoding="utf-8")
    text = document(present)
    if not check:
        OUTPUT.write_text(text, encoding="utf-8")
        return 0
    if text == present:
        return 0
    name = OUTPUT.relative_to(ROOT)
    print(f"error: {name}: is not current, run 'python scripts/make_compat.py'", file=sys.stderr)
    return 1


def document(present: str) -> str:
    """The page with current tables.

    Args:
        present: the page as it is.

    Raises:
        ValueError: the marks between which the tables stand are not there.
    """
    before, begin, rest = present.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{OUTPUT.name} lacks {_BEGIN} or {_END}")
    tables = "\n\n".join(_tables(table.load()))
    return f"{before}{begin}\n\n{tables}\n\n{end}{after}"


def _tables(table: Table) -> Iterator[str]:
    yield "### Variables that become keys"
    rows = [
        (
            f"`{v.name}`",
            _key(v),
            _read(v),
            _roles(v),
            ", ".join(_SCRIPTS[s] for s in v.scripts),
            _notes(v),
        )
        for v in table.variables.values()
    ]
    yield _rows(("Variable", "Key", "Read as", "Roles", "Old script", "Note"), rows)
    yield "### Ignored"
    ignored = [(f"`{name}`", reason) for name, reason in table.ignored.items()]
    yield _rows(("Variable", "Why"), ignored)
    yield "### Left in the environment"
    kept = [(f"`{name}`", reason) for name, reason in table.kept.items()]
    yield _rows(("Variable", "Who reads it"), kept)


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in cells)


def _key(variable: Variable) -> str:
    if variable.equals is not None:
        return f"none: must be the number of {variable.equals}"
    return ", ".join(
        f"`{key}`" if role is None else f"`{key}` with `role={role}`"
        for role, key in variable.keys.items()
    )


def _read(variable: Variable) -> str:
    kind = _READS[variable.read]
    return f"{kind} of {', '.join(variable.choices)}" if variable.choices else kind


def _roles(variable: Variable) -> str:
    if variable.half is not None:
        return f"not {'learner' if variable.half == 'server' else 'server'}"
    return " ".join(role for role in variable.keys if role is not None) or "all"


def _notes(variable: Variable) -> str:
    notes: list[str] = []
    if variable.default is not None:
        notes.append(f"not set: `{variable.default}`")
    if variable.beaten is not None:
        notes.append(f"`{variable.beaten}` wins")
    if variable.empties:
        notes.append("set but empty: none, the key becomes null")
    if variable.note:
        notes.append(variable.note)
    return "; ".join(notes)


if __name__ == "__main__":
    sys.exit(main())
