"""What to do about a YAML file that cannot be parsed, from what PyYAML or libyaml says of it."""

from __future__ import annotations

import re

import yaml


def advice(error: yaml.MarkedYAMLError, text: bytes) -> str:
    """What to do about a syntax error, in the imperative.

    Args:
        error: of the parser; PyYAML and libyaml word the same errors differently.
        text: the file.
    """
    mark = error.problem_mark
    if mark is not None and _is_indented_with_a_tab(text, mark.line):
        return "indent with spaces, YAML allows no tab there"
    said = f"{error.context or ''}: {error.problem or ''}"
    begin = error.context_mark or mark
    line = begin.line + 1 if begin else 1
    found = (answer for pattern, answer in _ANSWERS if re.search(pattern, said))
    return next(found, "correct it").format(line=line)


_ANSWERS = (
    (r"flow sequence: ", "close the [ of line {line} with ], and put a comma between its items"),
    (r"flow mapping: ", "close the {{ of line {line} with }}, and put a comma between its keys"),
    (r"node content", "write a value there, and close every [ and {{ above it"),
    (r"unknown escape", "use single quotes, or write two backslashes for one"),
    (r"quoted scalar: ", "close the quote of line {line}, or correct what is inside"),
    (
        r"block (mapping|collection|sequence): ",
        "align it with the other lines of its block, none of them begins in this column",
    ),
    (r"mapping values are not", "correct its indentation, or quote a value that holds ': '"),
    (r"block sequence entries", "begin the list on a line of its own"),
    (r"another document", "remove the line ---, a file holds one experiment"),
    (r"simple key: ", "write it as key: value, with a space behind the colon"),
    (r"undefined alias", "quote a value that begins with *, or define its anchor above"),
    (r"cannot start any token", "quote the value"),
    (r"determine a constructor for the tag", "remove the tag, or quote the value"),
)
"""Patterns of ``context: problem`` and their answers; the first that fits counts."""


def _is_indented_with_a_tab(text: bytes, line: int) -> bool:
    lines = text.splitlines()
    row = lines[line] if line < len(lines) else b""
    return b"\t" in row[: len(row) - len(row.lstrip())]
