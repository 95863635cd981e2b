"""The documents: links lead somewhere, commands plan, tables say what the code says."""

from __future__ import annotations

import ast
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from grpo_launch import cli, errors
from grpo_launch.supervise import events
from tests.conftest import ROOT

GENERATED = {"runs", "models", "dist", "node_modules"}
LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(?:bash|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
LAUNCH = "python -m grpo_launch"
COMMAND = re.compile(rf"(?:[A-Z_]+=\S* )*{LAUNCH}\b")


def documents() -> list[Path]:
    found: list[Path] = []
    for directory, children, names in os.walk(ROOT):
        children[:] = [c for c in children if not c.startswith(".") and c not in GENERATED]
        found += [Path(directory, name) for name in names if name.endswith(".md")]
    return sorted(found)


DOCUMENTS = documents()


def prose(path: Path) -> str:
    """The text of a document without its code blocks."""
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    titles = (re.sub(r"[^\w\- ]", "", title.lower()) for title in HEADING.findall(prose(path)))
    return {title.strip().replace(" ", "-") for title in titles}


def commands() -> Iterator[str]:
    """Each launch command in a shell block of a document, once; advice needs a run first."""
    seen: set[str] = set()
    for path in DOCUMENTS:
        for block in FENCE.findall(path.read_text()):
            for line in block.replace("\\\n", " ").splitlines():
                if COMMAND.match(line) and line not in seen and "role=advise" not in line:
                    seen.add(line)
                    yield line


def table_after(path: Path, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = f"\n{path.read_text()}".partition(f"\n{heading}\n")[2]
    rows = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert rows is not None, f"{path.name} has no table below {heading!r}"
    lines = rows[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_there_is_something_to_check() -> None:
    assert len(DOCUMENTS) >= 10
    assert len(list(commands())) >= 10


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_resolve(path: Path) -> None:
    broken: list[str] = []
    for target in LINK.findall(prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name) if name else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("line", list(commands()))
def test_launch_commands_plan(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environ, _, rest = line.partition(LAUNCH)
    words = shlex.split(rest, comments=True)
    safe = ["preflight=false"]
    if not any(word.startswith("dry_run=") for word in words):
        safe.append("dry_run=true")
    # Hydra's parser wants all overrides in one block.
    first = next(i for i, word in enumerate(words) if not word.startswith("-"))
    words[first:first] = safe
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5,6,7")
    for name, _, value in (word.partition("=") for word in shlex.split(environ)):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GRPO_LAUNCH_CONFIGS", raising=False)
    if any(word.startswith(("-", "hydra")) for word in words):
        # hydra.main sets up logging for the whole process.
        command = [sys.executable, "-m", "grpo_launch", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert all(line.startswith("warning: ") for line in done.stderr.splitlines())
        assert done.stdout
        return
    monkeypatch.setattr(sys, "argv", ["grpo_launch", *words])
    status = cli.main()
    shown = capsys.readouterr()
    assert status == 0, shown.err
    assert all(line.startswith("warning: ") for line in shown.err.splitlines())
    assert shown.out


def test_generated_pages_are_current() -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import make_compat
        import make_reference
    finally:
        sys.path.pop(0)
    present = make_compat.OUTPUT.read_text()
    assert present == make_compat.document(present), "run 'python scripts/make_compat.py'"
    assert make_reference.OUTPUT.read_text() == make_reference.reference(), (
        "run 'python scripts/make_reference.py'"
    )
    assert [f.path for f in make_reference.schema_fields() if not f.meaning] == []


@pytest.mark.parametrize(
    ("name", "heading"),
    [("README.md", "## Exit status"), ("docs/training/TRAINING_PLAYBOOK.md", "## When it fails")],
)
def test_exit_statuses_are_those_of_the_code(name: str, heading: str) -> None:
    documented = {
        int(number)
        for row in table_after(ROOT / name, heading)
        for number in re.findall(r"\d+", row[0])
    }
    raised = {
        kind.status
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.LaunchError)
    }
    raised.discard(errors.LaunchError.status)  # the base is never raised itself
    signals = {128 + signum for signum in events.HANDLED}
    others = {0, 128, 128 + signal.SIGKILL}
    assert raised | signals <= documented <= raised | signals | others


def test_every_script_is_listed() -> None:
    listed = {row[0].strip("`") for row in table_after(ROOT / "scripts" / "README.md", "# Scripts")}
    scripts = {p.name for p in (ROOT / "scripts").iterdir() if p.suffix in (".sh", ".py")}
    assert listed == scripts


def test_every_decision_is_listed() -> None:
    directory = ROOT / "docs" / "adr"
    listed = set(LINK.findall((directory / "README.md").read_text()))
    assert {p.name for p in directory.glob("[0-9]*.md")} <= listed


def test_public_modules_have_docstrings() -> None:
    modules = (ROOT / "src" / "grpo_launch").rglob("*.py")
    bare = [
        str(path.relative_to(ROOT))
        for path in modules
        if (path.name == "__init__.py" or not path.name.startswith("_"))
        and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert bare == []
