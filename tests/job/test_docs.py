"""The table of docs/jobs.md says what the code says; ``--update-golden`` writes it."""

from __future__ import annotations

import dataclasses
import json

import pytest

from grpo_launch.config.formats import jobs
from grpo_launch.job.fields import FIELDS
from grpo_launch.job.shape import SECTIONS
from tests.conftest import ROOT

DOCUMENT = ROOT / "docs" / "jobs.md"
BEGIN, END = "<!-- fields, from the code -->\n", "<!-- end of fields -->\n"
BY_RULE = {
    "data.split": "what is not `train` is refused: write its rows into a file",
    "model.trust_remote_code": "code of a hub is always trusted: false gets a warning",
}


def table() -> str:
    lines = ["| Field | Also | Default | What it is | What it becomes |", "|---|---|---|---|---|"]
    for section, known in FIELDS.items():
        for name, one in known.items():
            field = f"{section}.{name}".lstrip(".")
            others = ", ".join(f"`{alias}`" for alias in one.aliases)
            cells = (f"`{field}`", others, default(section, name), one.text, becomes(field))
            lines.append(f"| {' | '.join(cells)} |")
    return "".join(f"{line}\n" for line in lines)


def default(section: str, name: str) -> str:
    """As JSON spells it."""
    if not section:
        return "required"
    every = {one.name: one.default for one in dataclasses.fields(SECTIONS[section])}  # pyright: ignore[reportArgumentType]
    if every[name] is dataclasses.MISSING:
        return "required"
    return f"`{json.dumps(every[name])}`"


def becomes(field: str) -> str:
    made: list[str] = []
    for row in jobs.TABLE:
        if row.field == field:
            mode = f" ({row.modes[0]})" if len(row.modes) == 1 else ""
            text = f": {row.text}" if row.text else ""
            made.append(f"`{on_the_command_line(row.target)}`{mode}{text}")
    return "; ".join(made) or BY_RULE[field]


def on_the_command_line(target: str) -> str:
    above = f"{jobs.LAUNCH}."
    if target.startswith(above):
        return target.removeprefix(above)
    node = jobs.SERVER.rpartition(".")[0]
    return target.removeprefix(f"{node}.") if target.startswith(node) else f"train.{target}"


def test_the_table_of_the_document_is_that_of_the_code(request: pytest.FixtureRequest) -> None:
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    told, _, after = rest.partition(END)
    if request.config.getoption("--update-golden", default=False):
        DOCUMENT.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}")
        told = f"\n{table()}\n"
    assert told == f"\n{table()}\n"
