"""What the names of a source file are bound to, as far as its text says it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_BLOCKS = ("body", "orelse", "finalbody", "handlers")


@dataclass(frozen=True)
class Import:
    """``from module import name``; ``name`` is empty for ``import module``."""

    module: str
    name: str


Bound = ast.ClassDef | ast.FunctionDef | ast.expr | Import


@dataclass
class Module:
    """One source file.

    Attributes:
        name: dotted.
        is_package: it is an ``__init__.py``.
        names: what each name of the module is bound to, the first binding where a
            condition offers two: the class, the function, the assigned value, or
            the import.
    """

    name: str
    is_package: bool
    names: dict[str, Bound] = field(default_factory=dict[str, Bound])

    @staticmethod
    def read(name: str, path: Path) -> Module | None:
        """The module in ``path``; None where that is no readable Python file."""
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            return None
        module = Module(name, path.name == "__init__.py")
        for statement in _statements(tree.body):
            _bind(module, statement)
        return module


def _bind(module: Module, statement: ast.stmt) -> None:
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        module.names.setdefault(statement.name, statement)
    elif isinstance(statement, ast.Import):
        for alias in statement.names:
            module.names.setdefault(alias.asname or alias.name, Import(alias.name, ""))
    elif isinstance(statement, ast.ImportFrom):
        package = _absolute(module, statement)
        for alias in statement.names:
            module.names.setdefault(alias.asname or alias.name, Import(package, alias.name))
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            if isinstance(target, ast.Name):
                module.names.setdefault(target.id, statement.value)


def _absolute(module: Module, statement: ast.ImportFrom) -> str:
    """The module that a ``from`` import names, its leading dots resolved."""
    if not statement.level:
        return statement.module or ""
    parts = module.name.split(".")
    kept = parts[: len(parts) - statement.level + module.is_package]
    return ".".join([*kept, *([statement.module] if statement.module else [])])


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.stmt]:
    """The statements that run with a module, those below ``if`` and ``try`` included."""
    for statement in body:
        if isinstance(statement, ast.stmt):
            yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            for block in _BLOCKS:
                yield from _statements(getattr(statement, block, ()))
