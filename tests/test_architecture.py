"""Where things live: a module imports only from its own room or an earlier one."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "grpo_launch"

ROOMS = (
    ("errors", "plan"),
    ("base",),
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
    ("monitor",),
    ("advice",),
    ("roles",),
    ("cli", "__main__"),
)
"""From the ground up: a module imports from a room above its own line, or from its own."""

ALLOWED = {
    # Which keys are the learner's flags, until the learner itself tells.
    "config/hydra/hints.py": {"engines"},
    "config/hydra/translate.py": {"engines"},
}

PURE = {"plan", "config", "planning"}
IMPURE = {"httpx", "random", "select", "signal", "socket", "subprocess", "threading", "time"}

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
    assert set(later) <= ALLOWED.get(str(path.relative_to(PACKAGE)), set()), f"imports {later}"


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
