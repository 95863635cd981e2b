"""Data flows one way: a module imports only from its own layer or an earlier one."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

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

MODULES = {
    "subprocess",
    "socket",
    "signal",
    "time",
    "select",
    "threading",
    "httpx",
    "random",
}

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
