"""Write the tables of ``docs/compat.md`` and ``docs/run_sh.md``: what old scripts' settings become.

    python scripts/make_compat.py            writes them
    python scripts/make_compat.py --check    writes nothing; 1 where they are not current

They are read from ``conf/compat/``; the text around them is written by hand.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from grpo_launch.config.compat import environment, run_table, table
from grpo_launch.config.compat.run_table import Key, Option, Overrides, RunTable
from grpo_launch.config.compat.table import Table, Variable

__all__ = ["PAGES", "document", "main"]

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "docs" / "compat.md", ROOT / "docs" / "run_sh.md")

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
    status = 0
    for page in PAGES:
        present = page.read_text(encoding="utf-8")
        text = document(page)
        if not check:
            page.write_text(text, encoding="utf-8")
        elif text != present:
            name = page.relative_to(ROOT)
            fix = "run 'python scripts/make_compat.py'"
            print(f"error: {name}: is not current, {fix}", file=sys.stderr)
            status = 1
    return status


def document(page: Path) -> str:
    """A page with current tables.

    Args:
        page: one of :data:`PAGES`.

    Raises:
        ValueError: the marks between which the tables stand are not there.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{page.name} lacks {_BEGIN} or {_END}")
    is_first = page == PAGES[0]
    tables = _tables(table.load()) if is_first else _run_tables(run_table.load())
    return "\n\n".join([f"{before}{begin}", *tables, f"{end}{after}"])


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


def _run_tables(table: RunTable) -> Iterator[str]:
    yield "### Options"
    options = [
        (f"`{f'{o.name} {o.takes}'.strip()}`", ", ".join(o.required), _option(o))
        for o in table.options.values()
    ]
    yield _rows(("Option", "Required by", "Becomes"), options)
    yield "### Always"
    parts = [
        ("any command line", table.always),
        *((f"`--rl-phase {name}`", part) for name, part in table.phases.items()),
        *((f"`config={name}`, unless you say one", part) for name, part in table.profiles.items()),
        *((f"several nodes, the {name}", part) for name, part in table.nodes.items()),
        *((f"`{f.path}` below the log directory", f.sets) for f in table.found if f.sets),
        *((f"`{key.name}`", table.brings[key.brings]) for key in table.keys.values() if key.brings),
    ]
    yield _rows(("With", "Is said"), [(name, _said(part)) for name, part in parts])
    yield "### Keys"
    keys = [(f"`{k.name}`", _ours(k), k.note) for k in table.keys.values()]
    below = [(old, new, "any argument of the learner") for old, new in table.below.items()]
    added = [(f"+{old}", new, "read by your environment") for old, new in table.added.items()]
    nodes = [(f"`{old}.KEY`", f"`{new}.KEY`", note) for old, new, note in (*below, *added)]
    yield _rows(("Old key", "Key", "Note"), [*keys, *nodes])
    yield "### Ignored, with a warning"
    yield _rows(("Old key", "Why"), [(f"`{key}`", why) for key, why in table.ignored.items()])
    yield "### Refused"
    yield _rows(("Old key", "Instead"), [(f"`{key}`", fix) for key, fix in table.refused.items()])


def _option(option: Option) -> str:
    values = ", ".join(f"{old}: {new}" for old, new in option.choices.items() if old != new)
    return f"{_said(option.sets) or option.help}{f' ({values})' if values else ''}"


def _ours(key: Key) -> str:
    if key.values:
        said = {name: _said(part) or "nothing" for name, part in key.values.items()}
        return "; ".join(f"{name}: {text}" for name, text in said.items())
    return ", ".join(f"`{name.lstrip('+')}`" for name in key.keys)


def _said(part: Overrides) -> str:
    texts = {key: v if isinstance(v, str) else environment.typed(v) for key, v in part.items()}
    return " ".join(f"`{key}={text}`" for key, text in texts.items())


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
