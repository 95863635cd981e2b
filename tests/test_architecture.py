"""Where things live: a module imports only from its own room or an earlier one."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from grpo_launch.supervise import guard, spawn

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "grpo_launch"

ROOMS = (
    ("errors", "http_check", "policies", "signs", "transfer", "plan", "job"),
    ("base",),
    ("bash",),
    ("rollout",),
    ("plugins",),
    ("config",),
    ("runtimes",),
    ("supervise",),
    ("engines",),
    ("tracking",),
    ("learners",),
    ("planning",),
    ("runs",),
    ("execute",),
    ("checks",),
    ("settle",),
    ("backends",),
    ("stages",),
    ("monitor",),
    ("advice",),
    ("roles",),
    ("bash",),
    ("importing",),
    ("testing",),
    ("cli", "__main__"),
    ("api", "testing"),
)
"""From the ground up: a module imports from a room above its own line, or from its own."""

PURE = {"plan", "signs", "plugins", "config", "planning"}
IMPURE = {"httpx", "random", "select", "signal", "socket", "subprocess", "threading", "time"}

READS_THE_ENVIRONMENT = {
    "config/hydra/source.py": "Hydra makes the source and hands it nothing",
}
"""Modules that would be pure but for that, and why."""

ORDINARY_WORDS = {"command", "external", "vllm"}
"""Names of plug-ins that stand for other things elsewhere; there only paths count."""

NAMES_A_PLUGIN = {
    "plugins.py": (7, "the registry: where each of those that ship lies"),
    "rollout/environments.py": (4, "the protocol of its gym, which plugins are written for"),
    "rollout/plugin_files.py": (5, "what plugins import"),
    "rollout/stand_in.py": (23, "what plugins import, where it is not installed"),
    "config/schema_programs.py": (2, "the engine and the learner where nothing names one"),
}
"""Modules outside the plug-ins that name one: on how many lines, and why."""

OF_A_GUARD = {
    *(
        "grpo_launch",
        "grpo_launch.base",
        "grpo_launch.base.atomic",
        "grpo_launch.base.files",
        "grpo_launch.base.redaction",
        "grpo_launch.supervise",
    ),
    *(
        f"grpo_launch.supervise.{name}"
        for name in ("cgroup", "guard", "logs", "proc", "spawn", "tree")
    ),
}
"""What a guard may import: it is there as long as the training is, without site-packages."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def layer(part: str) -> int:
    return next(i for i, parts in enumerate(ROOMS) if part in parts)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_backwards(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        return
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("grpo_launch.")}
    later = [other for other in ours - {"__version__"} if layer(other) > layer(part)]
    assert later == []


@pytest.mark.parametrize(
    "path", [p for p in MODULES if part_of(p) in PURE], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_what_comes_before_the_launch_is_pure(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & IMPURE


def reads_environment(path: Path) -> bool:
    """Whether a module reads the environment itself."""
    names = {"os.environ", "os.environb", "os.getenv", "os.getenvb"}
    nodes = list(ast.walk(ast.parse(path.read_text())))
    said = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
    return not names.isdisjoint(said | imports(path))


@pytest.mark.slow
def test_what_comes_before_the_launch_does_not_read_the_environment() -> None:
    pure = [path for path in MODULES if part_of(path) in PURE]
    found = {str(p.relative_to(PACKAGE)) for p in pure if reads_environment(p)}
    assert found == set(READS_THE_ENVIRONMENT)
    assert reads_environment(PACKAGE / "cli" / "__init__.py")  # it is seen where it is


def test_a_guard_imports_the_standard_library_and_little_of_ours() -> None:
    """Started as it is (``-I -S``), and with what its functions import later."""
    command = spawn.program(guard.__name__, bare=True)
    imported = command[-1].partition("sys.exit(")[0]
    assert {"-I", "-S"} <= set(command)
    assert imported != command[-1]
    later = "import grpo_launch.base.redaction; print(*sys.modules)"
    command[-1] = imported + later
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split()) - {"__main__"}
    ours = {name for name in loaded if name.split(".")[0] == "grpo_launch"}
    assert ours == OF_A_GUARD
    assert {name.split(".")[0] for name in loaded - ours} <= sys.stdlib_module_names
    for name in ours:
        path = Path(str(importlib.import_module(name).__file__))
        for other in imports(path):
            top, within = other.split(".")[0], other.rpartition(".")[0]
            allowed = top in sys.stdlib_module_names or {other, within} & OF_A_GUARD
            assert allowed, f"{name} imports {other}"


NOT_NEEDED_TO_PLAN = (
    *("asyncio", "ctypes", "difflib", "httpx", "importlib.metadata", "matplotlib", "netrc"),
    *("numpy", "rich", "subprocess", "torch"),
    *("grpo_launch.checks.preflight", "grpo_launch.cli.completion", "grpo_launch.monitor"),
    *("grpo_launch.config.compat.judging", "grpo_launch.config.compat.table"),
    *("grpo_launch.config.hydra.translate", "grpo_launch.runs", "grpo_launch.supervise"),
)
"""What a dry run of a valid experiment, and a check without preflight, must not wait for."""


@pytest.mark.slow(every_row=True)
@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["role=both", "dry_run=true"], set[str]()),
        (["role=server", "dry_run=true"], set[str]()),
        # It chooses ports as a launch does.
        (["role=check", "runtime=current", "preflight=false"], {"grpo_launch.supervise"}),
    ],
    ids=["both", "server", "check"],
)
def test_a_dry_run_imports_nothing_heavy(arguments: list[str], needed: set[str]) -> None:
    # Hydra's parser imports uuid, which brings subprocess with it up to Python 3.10.
    code = (
        "import sys, uuid; brought = set(sys.modules);"
        f"sys.argv = ['x', 'config=summary_1024', *{arguments}];"
        "from grpo_launch.cli import main; status = main();"
        f"heavy = ({set(NOT_NEEDED_TO_PLAN)} - {needed}) & set(sys.modules) - brought;"
        "sys.exit(f'{status} {heavy}' if status or heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_only_the_plug_ins_know_their_names() -> None:
    """What is known of one engine or learner stands in its own folder."""
    folders = {
        path.parent for room in ("engines", "learners") for path in (PACKAGE / room).glob("*/*.py")
    }
    names = {folder.name for folder in folders}
    assert "swift" in names
    ordinary = "|".join(sorted(names & ORDINARY_WORDS))
    as_path = rf"(engines|learners)[./]({ordinary})"
    said = re.compile("|".join([*sorted(names - ORDINARY_WORDS), as_path]))
    naming: dict[str, int] = {}
    for path in MODULES:
        lines = path.read_text().lower().splitlines()
        count = sum(said.search(line) is not None for line in lines)
        if count and folders.isdisjoint(path.parents):
            naming[str(path.relative_to(PACKAGE))] = count
    assert naming == {module: count for module, (count, _) in NAMES_A_PLUGIN.items()}


def test_modules_stay_small() -> None:
    sizes = {str(p.relative_to(PACKAGE)): len(p.read_text().splitlines()) for p in MODULES}
    assert {name: size for name, size in sizes.items() if size > 350} == {}
