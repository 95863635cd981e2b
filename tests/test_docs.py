"""The documents: links lead somewhere, commands plan, tables say what the code says."""

from __future__ import annotations

import ast
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pytest
import yaml

from grpo_launch import errors
from grpo_launch.config import choices
from grpo_launch.runs import plans
from grpo_launch.supervise import events
from tests import own
from tests.conftest import ROOT, WARM

GENERATED = {"runs", "models", "dist", "node_modules"}
LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(?:bash|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
LAUNCH = "python -m grpo_launch"
HALVES = {
    "server": ["server"],
    "learner": ["learner"],
    "both": ["server", "learner"],
    "loop": ["server"],
    "rollout": ["server"],
    "update": [],
}
STAGES = {
    "loop": {"collect", "select", "learner", "publish"},
    "update": {"select", "learner", "publish"},
}
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


@dataclass(frozen=True)
class Command:
    """A launch command of a document: the variables before it, and its arguments."""

    environ: tuple[str, ...]
    arguments: tuple[str, ...]

    @staticmethod
    def of(line: str) -> Command:
        environ, _, rest = line.partition(LAUNCH)
        return Command(tuple(shlex.split(environ)), tuple(shlex.split(rest, comments=True)))

    def __str__(self) -> str:
        return shlex.join([*self.environ, *self.arguments])

    def value(self, key: str) -> str | None:
        """What it says for ``key``."""
        said = [item.partition("=")[2] for item in self.arguments if item.startswith(f"{key}=")]
        return said[0] if said else None

    @property
    def experiment(self) -> str:
        """The name of its experiment, which may be said as a path."""
        return Path(self.value("config") or "").stem


def commands() -> list[Command]:
    """The launch commands in shell blocks of the documents; advice needs a run first."""
    lines = (
        line
        for path in DOCUMENTS
        for block in FENCE.findall(path.read_text())
        for line in block.replace("\\\n", " ").splitlines()
    )
    found = (Command.of(line) for line in lines if COMMAND.match(line))
    return [*dict.fromkeys(c for c in found if c.value("role") != "advise")]


COMMANDS = commands()


def table_after(path: Path, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = f"\n{path.read_text()}".partition(f"\n{heading}\n")[2]
    rows = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert rows is not None, f"{path.name} has no table below {heading!r}"
    lines = rows[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_there_is_something_to_check() -> None:
    assert len(DOCUMENTS) >= 10
    assert len(COMMANDS) >= 10


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


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_heading_stands_twice(path: Path) -> None:
    """A link to it would lead to the first; a changelog has the same ones for each version."""
    titles = HEADING.findall(prose(path)) if path.name != "CHANGELOG.md" else []
    assert [title for title in titles if titles.count(title) > 1] == []


@pytest.mark.costly
@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_launch_commands_plan(command: Command, tmp_path: Path) -> None:
    flags = {argument for argument in command.arguments if argument.startswith("-")}
    safe = ["preflight=false"]
    # As it stands it would launch; as JSON its plan can be read.
    if command.value("dry_run") is None:
        safe.append("dry_run=json")
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **own.environment()}
    if command.value("compat") != "env":  # there every variable is part of the command
        environ |= {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}
    environ |= dict(word.partition("=")[::2] for word in command.environ)
    done = WARM.run("grpo_launch", [*command.arguments, *safe], ROOT, environ)
    assert done.status == 0, done.stderr
    assert all(line.startswith("warning: ") for line in done.stderr.splitlines())
    if "--cfg" in flags:
        assert_shows_a_configuration(command, done.stdout)
    elif "--info" in flags:
        assert "Defaults Tree" in done.stdout
        assert command.experiment in done.stdout
    elif command.value("role") == "check":
        assert_is_a_check(command, done.stdout)
    elif command.value("role") == "explain":
        shown = done.stdout.splitlines()[-1].partition(" = ")[0]
        assert f".{shown}".endswith(f".{command.value('key')}")
    elif command.value("dry_run") == "true":
        assert_is_a_script(command, done.stdout)
    else:
        planned = plans.parse(done.stdout)[0]
        assert planned.experiment == command.experiment
        role = command.value("role")
        assert [spec.name for spec in planned.processes] == HALVES[role]
        assert {stage.name for stage in planned.stages} >= STAGES.get(role, set())
        assert all(spec.argv for spec in planned.processes)


@pytest.mark.slow
def test_the_first_experiment_works_as_printed(tmp_path: Path) -> None:
    """In an empty directory, each command as it stands; installing is left out."""
    install, *blocks = FENCE.findall((ROOT / "docs" / "first_experiment.md").read_text())
    assert "git clone" in install
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    done = subprocess.run(
        ["bash", "-e"],
        input="".join(blocks),
        cwd=tmp_path,
        env={"PATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "gsm8k: ready to launch\n" in done.stdout
    assert "rlhf.num_generations = 8\n" in done.stdout
    assert done.stdout.count("\nenv ") == 3  # and the rehearsal
    assert {path.name for path in tmp_path.iterdir()} == {"configs", "gsm8k.jsonl", "reward.py"}


def assert_shows_a_configuration(command: Command, shown: str) -> None:
    package = command.arguments[command.arguments.index("-p") + 1]
    head, _, body = shown.partition("\n")
    assert head == f"# @package {package}"
    assert yaml.safe_load(body)


def assert_is_a_check(command: Command, shown: str) -> None:
    if command.value("output") == "json":
        body = json.loads(shown)
        assert (body["status"], body["problems"]) == (0, [])
        assert body["summary"]
    else:
        assert shown.splitlines()[-1].startswith(
            f"{Path(command.value('config') or '').stem}: ready"
        )


def assert_is_a_script(command: Command, shown: str) -> None:
    """A shell takes it, and it starts what the role says, in each run of a sweep."""
    subprocess.run(["bash", "-n"], input=shown, text=True, check=True)
    runs = math.prod(
        argument.count(",") + 1
        for argument in command.arguments
        if "--multirun" in command.arguments and "=" in argument
    )
    for half in ("server", "learner"):
        started = len(re.findall(rf"^# {half}(?:_\d+)?: (?:log|starts) ", shown, re.MULTILINE))
        # There may be several servers.
        assert started >= runs if half in HALVES[command.value("role")] else started == 0


def test_generated_pages_are_current() -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import make_compat
        import make_reference
    finally:
        sys.path.pop(0)
    for page in make_compat.PAGES:
        assert page.read_text() == make_compat.document(page), "run 'python scripts/make_compat.py'"
    assert make_reference.OUTPUT.read_text() == make_reference.reference(), (
        "run 'python scripts/make_reference.py'"
    )
    fields = make_reference.schema_fields()
    assert [f.path for f in fields if not f.meaning] == []
    shown = {f.kind for f in fields}
    for choice in vars(choices).values():
        if isinstance(choice, type) and issubclass(choice, Enum) and choice is not Enum:
            values = ", ".join(f"`{name}`" for name in choice.__members__)
            assert values in shown, f"{choice.__name__} has no key in the reference"


@pytest.mark.parametrize(
    ("name", "heading"),
    [("README.md", "## Exit status"), ("docs/training/TRAINING_PLAYBOOK.md", "## When it fails")],
)
def test_exit_statuses_are_those_of_the_code(name: str, heading: str) -> None:
    numbers = [
        int(number)
        for row in table_after(ROOT / name, heading)
        for number in re.findall(r"\d+", row[0])
    ]
    documented = set(numbers)
    # "137 and others above 128" names 128 as a bound, not as a status.
    assert len(numbers) == len(documented), "a status stands in two rows"
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


@pytest.mark.slow
def test_public_modules_have_docstrings() -> None:
    modules = (ROOT / "src" / "grpo_launch").rglob("*.py")
    bare = [
        str(path.relative_to(ROOT))
        for path in modules
        if (path.name == "__init__.py" or not path.name.startswith("_"))
        and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert bare == []
