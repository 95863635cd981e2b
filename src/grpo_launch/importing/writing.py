"""A draft as the text of an experiment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from grpo_launch.base.terminal import escaped
from grpo_launch.config.formats import forms
from grpo_launch.config.schema import SECTIONS
from grpo_launch.errors import one_line
from grpo_launch.importing import callers
from grpo_launch.importing.draft import Draft, Line, Missing, Path
from grpo_launch.importing.findings import Finding, Sort

_RUNTIME = "runtime"
_FIRST = ("defaults", "engine", "learner", _RUNTIME)
_LAST = ("rollout_server", "gpus", "env", "services")
_WIDTH = 100
_NO_STRINGS = ("true", "false", "null", "nan", "inf", "infinity")
_UNLIMITED = 1 << 20


class _Dumper(yaml.SafeDumper):
    """Quotes texts as ``1e-5``, which Hydra would read as a number."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$"), [*"-+0123456789"]
)


def _represented(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    """A text of several lines with escapes, on one line."""
    style = None if text.splitlines() in ([], [text]) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represented)


@dataclass
class _Node:
    """A mapping that is being written."""

    below: dict[str, _Node | Line | Missing] = field(default_factory=dict[str, Any])


def text(draft: Draft, name: str, head: Sequence[str]) -> str:
    """The YAML text.

    Args:
        draft: the experiment.
        name: what ``config=`` will call it.
        head: lines above everything, without ``#``.
    """
    is_native = draft.variables != []
    lines = ["# @package _global_"] if is_native else []
    lines += [*(f"# {line}".rstrip() for line in head), "#"]
    config = f"config={name}" if is_plain(name) else f"\"config='{name}'\""
    lines += [f"#   python -m grpo_launch role={draft.role} {config}"]
    for comment in _comments(draft):
        lines.append(f"# {comment}".rstrip())
    tree = _tree(*_native(draft)) if is_native else _tree(draft.lines, draft.missing)
    blocks = [[*_block(key, tree.below[key], 0)] for key in _ordered(tree.below)]
    previous = ""
    for key, block in zip(_ordered(tree.below), blocks, strict=True):
        if len(block) > 1 or not previous or previous == "block":
            lines.append("")
        lines += block
        previous = "block" if len(block) > 1 else key
    return "\n".join(lines) + "\n"


def is_plain(name: str) -> bool:
    """Whether ``config=`` takes a name without quotes of its own."""
    return (
        re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name) is not None
        and name.lower() not in _NO_STRINGS
    )


def _comments(draft: Draft) -> Iterator[str]:
    """What a reader of the file must know."""
    if draft.cwd != ".":
        yield ""
        yield f"Start it in {draft.cwd}, as the script does."
    if needed := _needed(draft):
        yield ""
        yield f"Export before it starts: {', '.join(needed)}."
    if draft.exports:
        yield ""
        yield f"Secrets are not written here; export them: {', '.join(draft.exports)}."
    said = [f for f in draft.findings if f.sort is not Sort.NOTE]
    notes = [f for f in draft.findings if f.sort is Sort.NOTE]
    for title, found in (("To be looked at:", said), ("Notes:", notes)):
        if found:
            yield ""
            yield title
            yield from (f"  {escaped(str(finding))}" for finding in found)


def _needed(draft: Draft) -> list[str]:
    """The variables without which it does not start."""
    pairs = ((name, line) for line in draft.lines for name in callers.to_export(line.value))
    return [*dict.fromkeys(name for name, line in pairs if name != line.path[-1])]


def _native(draft: Draft) -> tuple[list[Line], list[Missing]]:
    """The keys as a file of Hydra's own has them: only there are interpolations no text."""
    lines: list[Line] = []
    for line in draft.lines:
        if line.path == (_RUNTIME,):
            order = [{f"override /{_RUNTIME}": line.value}, "_self_"]
            lines.append(Line(("defaults",), order))
            continue
        name = line.path[-1] if "env" in line.path else ""
        value = callers.interpolated(name, line.value)
        lines.append(replace(line, path=_below_train(line.path), value=value))
    lines.sort(key=lambda line: _place(line.path))
    return lines, [replace(entry, path=_below_train(entry.path)) for entry in draft.missing]


def _below_train(path: Path) -> Path:
    return path if path[0] in (forms.SERVER, *forms.NODES) else ("train", *path)


def _place(path: Path) -> int:
    """Where a key of the learner stands among its sections."""
    return SECTIONS.index(path[1]) if path[0] == "train" and path[1] in SECTIONS else len(SECTIONS)


def _tree(known: Iterable[Line], missing: Iterable[Missing]) -> _Node:
    root = _Node()
    entries: list[Line | Missing] = [*known, *missing]
    for entry in entries:
        node = root
        for key in entry.path[:-1]:
            below = node.below.get(key)
            if not isinstance(below, _Node):
                below = node.below[key] = _Node()
            node = below
        node.below.setdefault(entry.path[-1], entry)
    return root


def _ordered(below: Mapping[str, Any]) -> list[str]:
    """Programs first, then the learner's sections or own keys, then where it runs."""
    order = (*_FIRST, *SECTIONS)
    own = [key for key in below if key not in (*order, *_LAST)]
    return [key for key in (*order, *own, *_LAST) if key in below]


def _block(key: str, node: _Node | Line | Missing, indent: int) -> Iterator[str]:
    pad = "  " * indent
    if isinstance(node, Missing):
        said, why = (escaped(one_line(callers.shown(one))) for one in (node.text, node.why))
        yield f"{pad}# {_plain(key)}: {said}  # {why}"
    elif isinstance(node, Line):
        yield from _line(pad, key, node)
    else:
        known = any(_has_line(below) for below in node.below.values())
        yield f"{pad}{_plain(key)}:" if known else f"{pad}# {_plain(key)}:"
        for name, below in node.below.items():
            yield from _block(name, below, indent + 1)


def _has_line(node: _Node | Line | Missing) -> bool:
    if isinstance(node, _Node):
        return any(map(_has_line, node.below.values()))
    return isinstance(node, Line)


def _line(pad: str, key: str, line: Line) -> Iterator[str]:
    comment = f"  # {line.comment}" if line.comment else ""
    short = f"{pad}{_plain(key)}: {flow(line.value)}{comment}"
    if len(short) <= _WIDTH or not isinstance(line.value, list):
        yield short
        return
    yield f"{pad}{_plain(key)}:{comment}"
    yield from (f"{pad}  - {flow(item)}" for item in line.value)


def flow(value: Any) -> str:
    """Plain data as YAML on one line."""
    dumped = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=_UNLIMITED,
        sort_keys=False,
    )  # fmt: skip
    return dumped.removesuffix("\n").removesuffix("\n...")


def _plain(key: str) -> str:
    return flow(key)


def unique(findings: Iterable[Finding]) -> list[Finding]:
    """Findings without repetitions, by file and line."""
    return sorted(dict.fromkeys(findings), key=lambda finding: (finding.file, finding.line))
