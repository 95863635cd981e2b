"""Dataclasses of installed packages, read from their source files and never imported.

Importing ms-swift's argument classes imports torch, transformers, trl, peft and
vLLM and takes many seconds; the classes themselves are plain dataclasses, and what
a command line needs of them stands in their source: the bases, the fields and the
annotations.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from grpo_launch.engines.flags.static.modules import Import, Module

_NOT_BASES = frozenset({"object", "ABC", "Generic", "Protocol"})
"""Bases without fields, whose files need not be found."""


@dataclass(frozen=True)
class Class:
    """A class and the module that its names are looked up in."""

    module: str
    node: ast.ClassDef

    @property
    def key(self) -> tuple[str, str]:
        """What makes it unique."""
        return self.module, self.node.name


@dataclass(frozen=True)
class Field:
    """A field of a dataclass.

    Attributes:
        module: where the annotation stands and its names are looked up.
        annotation: its type.
        default_module: where the default stands; another class may have given it.
        default: the default, or the call of ``field``; None where it has none.
    """

    module: str
    annotation: ast.expr
    default_module: str
    default: ast.expr | None


class Sources:
    """The modules below some directories, read when they are first asked for.

    Args:
        roots: directories that hold packages, like ``site-packages``.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(roots)
        self._modules: dict[str, Module | None] = {}
        self._fields: dict[tuple[str, str], dict[str, tuple[str, ast.expr | None]]] = {}
        self.files: list[Path] = []

    def fields(self, module: str, name: str) -> dict[str, Field]:
        """The fields of a dataclass that its constructor takes.

        As ``dataclasses`` collects them (only classes that carry the decorator count,
        and each brings all that it inherited) and as ``typing.get_type_hints`` types
        them (the nearest annotation in the MRO).

        Raises:
            LookupError: the class, or one of its bases, cannot be found.
        """
        target = self.class_of(module, name)
        if target is None:
            raise LookupError(f"{module} has no class {name}")
        hints: dict[str, ast.expr] = {}
        modules: dict[str, str] = {}
        for cls in reversed(self.mro(target)):
            for key, statement in _annotated(cls.node):
                hints[key], modules[key] = statement.annotation, cls.module
        defaults = self._defaults(target)
        return {
            key: Field(modules[key], hints[key], *defaults[key])
            for key in defaults
            if _in_constructor(defaults[key][1])
        }

    def _defaults(self, cls: Class) -> dict[str, tuple[str, ast.expr | None]]:
        """Module and default of every field, as ``dataclasses._process_class`` orders them."""
        if cls.key in self._fields:
            return self._fields[cls.key]
        found: dict[str, tuple[str, ast.expr | None]] = {}
        for base in reversed(self.mro(cls)[1:]):
            found.update(self._defaults(base))
        if any(_last_name(decorator) == "dataclass" for decorator in cls.node.decorator_list):
            for key, statement in _annotated(cls.node):
                if _last_name(statement.annotation) != "ClassVar":
                    found[key] = (cls.module, statement.value)
        self._fields[cls.key] = found
        return found

    def mro(self, cls: Class) -> list[Class]:
        """The method resolution order, most derived first (C3, as Python does it).

        Raises:
            LookupError: a base cannot be found, or the bases do not linearise.
        """
        bases: list[Class] = []
        for base in cls.node.bases:
            found = self._class_at(cls.module, base)
            if found is not None:
                bases.append(found)
            elif _last_name(base) not in _NOT_BASES:
                raise LookupError(f"base {ast.unparse(base)} of {cls.node.name} cannot be found")
        return [cls, *_merged([*map(self.mro, bases), bases])]

    def class_of(self, module: str, name: str) -> Class | None:
        """The class that ``name`` of ``module`` is in the end, through its imports."""
        seen: set[tuple[str, str]] = set()
        while (module, name) not in seen:
            seen.add((module, name))
            source = self.module(module)
            bound = source.names.get(name) if source else None
            if isinstance(bound, ast.ClassDef):
                return Class(module, bound)
            if isinstance(bound, Import):
                module, name = bound.module, bound.name
            elif isinstance(bound, ast.Name):
                name = bound.id
            else:
                return None
        return None

    def value_of(self, module: str, name: str) -> tuple[str, ast.expr] | None:
        """The expression that ``name`` of ``module`` is assigned, and its module."""
        for _ in range(20):  # an import chain; more is a cycle
            source = self.module(module)
            bound = source.names.get(name) if source else None
            if isinstance(bound, ast.expr):
                return module, bound
            if not isinstance(bound, Import):
                return None
            module, name = bound.module, bound.name
        return None

    def module(self, name: str) -> Module | None:
        """The module called ``name``, or None where no root has a readable file of it."""
        if name not in self._modules:
            self._modules[name] = self._read(name)
        return self._modules[name]

    def _read(self, name: str) -> Module | None:
        relative = name.replace(".", "/")
        for root in self._roots:
            for path in (root / relative / "__init__.py", root / f"{relative}.py"):
                module = Module.read(name, path)
                if module is not None:
                    self.files.append(path)
                    return module
        return None

    def _class_at(self, module: str, node: ast.expr) -> Class | None:
        if isinstance(node, ast.Subscript):
            node = node.value
        if isinstance(node, ast.Name):
            return self.class_of(module, node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            source = self.module(module)
            bound = source.names.get(node.value.id) if source else None
            if isinstance(bound, Import):
                path = f"{bound.module}.{bound.name}" if bound.name else bound.module
                return self.class_of(path, node.attr)
        return None


def _merged(sequences: list[list[Class]]) -> Iterator[Class]:
    pending = [list(sequence) for sequence in sequences if sequence]
    while pending:
        tails = {cls.key for sequence in pending for cls in sequence[1:]}
        head = next((s[0] for s in pending if s[0].key not in tails), None)
        if head is None:
            raise LookupError("the bases of a class do not linearise")
        yield head
        pending = [[c for c in s if c.key != head.key] for s in pending]
        pending = [sequence for sequence in pending if sequence]


def _last_name(node: ast.expr) -> str:
    """``dataclass`` of ``dataclass``, ``dataclasses.dataclass`` and ``dataclass(...)``."""
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _annotated(node: ast.ClassDef) -> Iterator[tuple[str, ast.AnnAssign]]:
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, statement


def _in_constructor(value: ast.expr | None) -> bool:
    """Whether a field's default leaves it to the constructor: not ``field(init=False)``."""
    return not isinstance(value, ast.Call) or not any(
        keyword.arg == "init"
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value is False
        for keyword in value.keywords
    )
