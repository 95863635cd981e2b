"""Data flows one way: a module imports only from its own layer or an earlier one."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from grpo_launch.supervise import guard, spawn

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "grpo_launch"

LAYERS = [
    {"atomic", "choices", "errors", "flags", "redaction", "resources", "schema", "schema_tracking"},
    {"compose"},
    {
        *("dataset_rows", "devices", "endpoint", "model_memory", "model_shape"),
        *("plugin_source", "runtime", "shipped_files", "tracking"),
    },
    {"engines", "learners"},
    {"validate"},
    {"plan", "planner", "afterwards"},
    {"shell", "host"},
    {"facts", "env_file"},
    {"supervise"},
    {"preflight", "preflight_tracking"},
    {"runs", "console"},
    {"launch"},
    {"monitor"},
    {"advice", "explain", "report"},
    {"roles", "usage", "completion"},
    {"cli", "__main__"},
]
PURE = {*LAYERS[1], *LAYERS[2], *LAYERS[3], *LAYERS[4], *LAYERS[5], "shell"}
IMPURE = {"httpx", "random", "select", "signal", "socket", "subprocess", "threading", "time"}

READS_THE_ENVIRONMENT = {
    "config/hydra/source.py": "Hydra makes the source and hands it nothing; where to look is a variable",
}
"""Modules that would be pure but for that, and why."""

OF_A_GUARD = {
    *(
        "grpo_launch",
        "grpo_launch.base.atomic",
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
    return next(i for i, parts in enumerate(LAYERS) if part in parts)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_backwards(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        return
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("grpo_launch.")}
    later = [other for other in ours - {"__version__"} if layer(other) > layer(part)]
    assert not later, f"{part} imports {later}"


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


def test_what_comes_before_the_launch_does_not_read_the_environment() -> None:
    pure = [path for path in MODULES if part_of(path) in PURE]
    found = {str(p.relative_to(PACKAGE)) for p in pure if reads_environment(p)}
    assert found == set(READS_THE_ENVIRONMENT)
    assert reads_environment(PACKAGE / "cli.py")  # it is seen where it is


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


def test_a_dry_run_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['x', 'role=both', 'config=summary_1024', 'dry_run=true'];"
        "from grpo_launch.cli import main; status = main();"
        "heavy = {'httpx', 'rich', 'matplotlib', 'numpy', 'torch', 'asyncio'} & set(sys.modules);"
        "sys.exit(f'{status} {heavy}' if status or heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_modules_stay_small() -> None:
    sizes = {str(p.relative_to(PACKAGE)): len(p.read_text().splitlines()) for p in MODULES}
    assert {name: size for name, size in sizes.items() if size > 350} == {}
