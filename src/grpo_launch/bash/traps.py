"""What is probably wrong with a script, as its lines show it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from grpo_launch.bash.script import About, Remark
from grpo_launch.bash.syntax import Node, Source, comments_of, nodes, offset, short
from grpo_launch.errors import ConfigError

_CONTINUED = re.compile(rb"\\\n([ \t]*)#")
_BLANK_BEHIND = re.compile(rb"\\[ \t]+(?=\n|$)")
_COMMAND = re.compile(
    r"#+\s*(?:[A-Za-z_]\w*=\S+\s+)*[\w./-]+(?:\s+\S+)*\s(?:--?[A-Za-z]|\S+\.(?:py|sh)\b)"
)
_OF_PROGRAMS = re.compile(
    r"CUDA_VISIBLE_DEVICES|NPROC_PER_NODE|NNODES|NODE_RANK|MASTER_(ADDR|PORT)|OMP_NUM_THREADS"
    r"|PYTORCH_CUDA_ALLOC_CONF|TOKENIZERS_PARALLELISM|(WANDB|NCCL|HF|VLLM|SWANLAB)_\w+"
)
"""Variables that a script has no other use for."""

_ODD = re.compile("[\u00a0\u2010-\u2015\u2018-\u201f\u2212\u200b\ufeff]")


def normalised(text: bytes, name: str) -> tuple[bytes, list[Remark]]:
    """A script, or a file that one reads, with line feeds, and what its bytes show.

    Raises:
        ConfigError: it is no text.
    """
    if b"\0" in text:
        raise ConfigError(name, "is no text (it has zero bytes)", "save it as UTF-8")
    remarks: list[Remark] = []
    if text.startswith(b"\xef\xbb\xbf"):
        what = "begins with a byte order mark: bash takes it as a part of the first word"
        remarks.append(Remark(1, "", what, About.TRAP))
        text = text[3:]
    if b"\r\n" in text:
        line = text.split(b"\r\n", 1)[0].count(b"\n") + 1
        shown = text.split(b"\n")[line - 1].decode(errors="replace").rstrip("\r")
        what = "ends with a carriage return, which bash passes on: save the file with LF (dos2unix)"
        remarks.append(Remark(line, short(shown), what, About.WRONG))
        text = text.replace(b"\r\n", b"\n")
    if text.endswith(b"\\") and not _is_escaped(text, len(text) - 1):
        text += b"\n"  # at the end of a file bash drops it, of a text it keeps it
    return text, remarks


def of_source(source: Source) -> list[Remark]:
    """What the lines of a script show that is probably not meant."""
    data = source.data
    remarks: list[Remark] = []
    opaque = _opaque(source)
    comments = {offset(c): c for n in nodes(source.tree) for c in comments_of(n)}

    def note(at: int, what: str) -> None:
        line = data[:at].count(b"\n")
        remarks.append(Remark(line + 1, short(source.lines[line]), what, About.TRAP))

    for match in _CONTINUED.finditer(data):
        if match.end() - 1 in comments and not _within(match.start(), opaque):
            what = "a comment ends the command above it: what is below does not belong to it"
            note(match.end() - 1, what)
    for match in _BLANK_BEHIND.finditer(data):
        if not _within(match.start(), opaque) and not _is_escaped(data, match.start()):
            note(match.start(), "a space behind the backslash: the command ends in this line")
    end = data.rstrip(b"\n")
    last = len(end) - 1
    if end.endswith(b"\\") and not _is_escaped(data, last) and not _within(last, opaque):
        note(last, "a backslash at the end of the file continues nothing: is a line missing?")
    for match in _ODD.finditer(data.decode(errors="replace")):
        at = len(data.decode(errors="replace")[: match.start()].encode())
        if not _within(at, opaque):
            char = f"U+{ord(match[0]):04X}"
            note(at, f"{char} is no ASCII dash, quote or space: it is a part of a word")
    return [*remarks, *_not_exported(source), *_commented_out(source, comments)]


def _not_exported(source: Source) -> Iterator[Remark]:
    """Variables that only programs read, in scripts that do not export them."""
    assigned: dict[str, Node] = {}
    used: set[str] = set()
    for node in nodes(source.tree):
        kind = node.get("Type")
        if kind == "CallExpr" and not node.get("Args"):
            for one in node.get("Assigns") or []:
                assigned.setdefault(_name(one), one)
        elif kind == "CallExpr" and _says(node, "set") and "-a" in source.text(node):
            return
        elif kind == "DeclClause":
            used |= {_name(one) for one in node.get("Args") or []}
        elif kind == "ParamExp":
            used.add(_name(node, "Param"))
    for name, node in assigned.items():
        if name not in used and _OF_PROGRAMS.fullmatch(name):
            what = "is assigned, not exported: no program gets it"
            line = source.line_of(node)
            yield Remark(line, source.shown(node), what, About.TRAP, file=source.name)


def _name(node: Node, of: str = "Name") -> str:
    return str((node.get(of) or {}).get("Value", ""))


def _says(node: Node, name: str) -> bool:
    return [part.get("Value") for part in _first(node)] == [name]


def of_dash(source: Source) -> list[Remark]:
    """What ends a script, or is no command, where ``sh`` is dash; the first alone."""
    for node in nodes(source.tree):
        kind, operator = node.get("Type"), node.get("Op")
        words = [str((part or {}).get("Value", "")) for part in _first(node)]
        variant = str((node.get("Variant") or {}).get("Value", ""))
        if (
            kind in ("TestClause", "ArithmCmd", "LetClause", "ProcSubst")
            or (kind == "FuncDecl" and node.get("RsrvWord"))
            or node.get("Array")
            or operator in ("<<<", "&>", "&>>", "|&")
            or variant in ("declare", "typeset")
            or words == ["source"]
        ):
            line = source.line_of(node)
            what = "is of bash, but sh starts it: that is dash on Debian and Ubuntu, which fails"
            return [Remark(line, source.shown(node), what, About.TRAP, file=source.name)]
    return []


def _first(node: Node) -> list[Node]:
    """The parts of the first word of a command."""
    return [*((node.get("Args") or [{}])[0].get("Parts") or [])] if node.get("Args") else []


def _opaque(source: Source) -> list[tuple[int, int]]:
    """Where backslashes and signs mean nothing: quotes, here-documents, comments."""
    spans: list[tuple[int, int]] = []
    for node in nodes(source.tree):
        if node.get("Type") in ("SglQuoted", "DblQuoted"):
            spans.append((offset(node), offset(node, "End")))
        if node.get("Hdoc"):
            spans.append((offset(node["Hdoc"]), offset(node["Hdoc"], "End")))
        spans += [(offset(c), offset(c, "End")) for c in comments_of(node)]
    return spans


def _within(at: int, spans: list[tuple[int, int]]) -> bool:
    return any(start <= at < end for start, end in spans)


def _is_escaped(data: bytes, at: int) -> bool:
    """Whether the backslash there is itself behind one."""
    before = data[:at]
    return (len(before) - len(before.rstrip(b"\\"))) % 2 == 1


def _commented_out(source: Source, comments: Iterable[int]) -> list[Remark]:
    """Comments that look like commands."""
    remarks: list[Remark] = []
    last = -1
    for at in sorted(comments):
        line = source.data[:at].count(b"\n")
        text = source.lines[line].strip()
        if not text.startswith("#"):
            continue
        if line == last + 1 and last >= 0:
            last = line if source.lines[line].rstrip().endswith("\\") else -1
            continue
        is_continued = text.endswith("\\")
        is_command = is_continued or _COMMAND.match(text)
        if is_command and re.match(r"#+\s*[\w./$\"{]", text):
            what = "looks like a command, and is a comment: it is not read"
            remarks.append(Remark(line + 1, short(text), what, About.COMMENT))
        last = line if is_continued else -1
    return remarks
