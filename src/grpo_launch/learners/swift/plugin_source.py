"""What a plugin of ms-swift registers, read from its source without importing it.

A plugin is a Python file that the rollout server, or the learner, imports (``external_plugins``).
It puts classes into a registry, ``envs["hanabi_env"] = Hanabi``: environments into ``envs``
(``swift/rollout/gym_env.py``), schedulers into ``multi_turns`` (``swift/rollout/multi_turn.py``).
Importing it would import ms-swift, which takes seconds, and run its code.
"""

from __future__ import annotations

import ast
import importlib.machinery
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from grpo_launch.base import files
from grpo_launch.base.shipped_files import located
from grpo_launch.learners.swift import reward_signatures
from grpo_launch.learners.swift.reward_signatures import Signature

ENVIRONMENTS = "envs"
SCHEDULERS = "multi_turns"
REGISTRIES = (ENVIRONMENTS, SCHEDULERS)
REWARDS = "orms"
"""The registry of rewards (``swift/rewards/orm.py``); most plugins have only that one."""

_TYPES = ("register_template", "register_model")
_DATASETS = ("register_dataset", "register_dataset_info", "DATASET_MAPPING")

_IMPORTS_ENGINE = re.compile(rb"^\s*(?:from|import)\s+swift\b", re.MULTILINE)
_SIBLINGS = 50
"""Files of a package beside a plugin that are looked into."""

_SUFFIXES = tuple(importlib.machinery.all_suffixes())
"""Names that ``spec_from_file_location`` finds a loader for."""

MAX_BYTES = 1024 * 1024
"""Above this a plugin is not read."""

_READS = ("copy", "get", "items", "keys", "pop", "values")
"""Methods of a registry that register nothing."""


@dataclass(frozen=True)
class Plugin:
    """One entry of ``external_plugins``.

    Attributes:
        name: the file, as the configuration names it.
        missing: whether there is no such file.
        fault: why it is no Python, ``line 3: invalid syntax``, or None.
        registered: the names that it registers, by registry.
        unread: by registry, why it may register more than that.
        rewards: the names of the rewards that it registers.
        rewards_unread: why it may register more than that, or None.
        types: every text within what it registers as template or model.
        signatures: of its rewards, by name, as far as the file shows them.
        engine_imports: what it always imports of ms-swift, with the line: ``swift.rewards``.
        has_datasets: whether it registers data sets, whose rows it may translate itself.
    """

    name: str
    missing: bool = False
    fault: str | None = None
    registered: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    rewards: frozenset[str] = frozenset()
    rewards_unread: str | None = None
    types: frozenset[str] = frozenset()
    signatures: Mapping[str, Signature] = field(default_factory=dict)
    engine_imports: tuple[tuple[str, int], ...] = ()
    has_datasets: bool = False


def read(name: str, cwd: Path) -> Plugin:
    """Read a plugin.

    Args:
        name: the file; a shipped one is found as the engine finds it.
        cwd: the working directory of the engine.
    """
    path = cwd / Path(str(located("external_plugins", name, cwd))).expanduser()
    try:
        if path.is_dir():
            return Plugin(name, fault="it is a directory")
        if not path.is_file():
            return Plugin(name, missing=True)
        if path.suffix not in _SUFFIXES:
            return Plugin(name, fault="its name does not end in .py")
        if path.suffix != ".py":
            return _unread(name, "is compiled")
        with files.opened(path) as file:
            text = file.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            return _unread(name, "is too long to be read")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except SyntaxError as error:
        where = "" if error.lineno is None else f"line {error.lineno}: "
        return Plugin(name, fault=f"{where}{error.msg}")
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        return _unread(name, f"cannot be read ({type(error).__name__})")
    rewards = _Source(tree, path.parent, (REWARDS,)).plugin(name)
    return replace(
        _Source(tree, path.parent, REGISTRIES).plugin(name),
        rewards=rewards.registered[REWARDS],
        rewards_unread=rewards.unread.get(REWARDS),
        types=frozenset(_types(tree)),
        signatures=reward_signatures.signatures(tree),
        engine_imports=tuple(_engine_imports(tree)),
        has_datasets=any(_named(node) in _DATASETS for node in ast.walk(tree)),
    )


def _unread(name: str, reason: str) -> Plugin:
    why = f"{name} {reason}"
    return Plugin(name, unread=dict.fromkeys(REGISTRIES, why), rewards_unread=why)


def _types(tree: ast.Module) -> Iterator[str]:
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    for call in calls:
        if _named(call.func) in _TYPES:
            yield from filter(None, map(_text, (n for n in ast.walk(call))))


def _engine_imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Modules below ``swift`` that the file imports in any case, not only if or where it can."""
    for node in tree.body:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        yield from ((name, node.lineno) for name in names if name.startswith("swift."))


def _named(node: ast.AST) -> str | None:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


class _Source:
    """The registrations in one file."""

    def __init__(self, tree: ast.Module, directory: Path, registries: tuple[str, ...]) -> None:
        self._registries = registries
        self._tree = tree
        self._directory = directory
        self._aliases = {name: name for name in registries}
        self._texts: dict[str, str] = {}
        self._known: set[int] = set()
        self.registered: dict[str, set[str]] = {name: set() for name in registries}
        self.unread: dict[str, str] = {}

    def plugin(self, name: str) -> Plugin:
        """What was found."""
        self._bind()
        for node in ast.walk(self._tree):
            self._visit(node)
        for node in ast.walk(self._tree):
            registry = self._registry(node)
            if registry and id(node) not in self._known:
                self.unread.setdefault(registry, f"uses {registry} at line {_line(node)}")
        registers = any(self.registered.values())
        for module in self._foreign():
            # A file without registrations leaves them to others; one with some may still have
            # more beside it, in a module that knows ms-swift.
            if not registers or _knows_engine(self._directory, module):
                for registry in self._registries:
                    self.unread.setdefault(registry, f"imports {module}")
                break
        return Plugin(
            name,
            registered={key: frozenset(found) for key, found in self.registered.items()},
            unread={key: f"{name} {reason}" for key, reason in self.unread.items()},
        )

    def _bind(self) -> None:
        """The names that registries are imported under, and the texts that constants hold."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if alias.name in self._registries and alias.asname:
                        self._aliases[alias.asname] = alias.name
        for node in self._tree.body:
            if isinstance(node, ast.Assign) and (text := _text(node.value)) is not None:
                self._texts |= {t.id: text for t in node.targets if isinstance(t, ast.Name)}

    def _registry(self, node: ast.AST) -> str | None:
        if isinstance(node, ast.Name):
            return self._aliases.get(node.id)
        if isinstance(node, ast.Attribute) and node.attr in self._registries:
            return node.attr
        return None

    def _visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.Subscript) and (registry := self._registry(node.value)):
            self._known.add(id(node.value))
            if isinstance(node.ctx, ast.Store):
                self._register(registry, node.slice)
        elif isinstance(node, ast.AugAssign) and (registry := self._registry(node.target)):
            self._known.add(id(node.target))
            self._register_all(registry, node.value)
        elif isinstance(node, ast.Compare):
            self._known |= {id(item) for item in (node.left, *node.comparators)}
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and (registry := self._registry(node.func.value))
        ):
            self._call(registry, node.func, node)

    def _call(self, registry: str, method: ast.Attribute, call: ast.Call) -> None:
        if method.attr in (*_READS, "setdefault", "update"):
            self._known.add(id(method.value))
        if method.attr == "setdefault" and call.args:
            self._register(registry, call.args[0])
        if method.attr == "update":
            for argument in call.args:
                self._register_all(registry, argument)
            for keyword in call.keywords:
                name = ast.Constant(keyword.arg) if keyword.arg else keyword.value
                self._register(registry, ast.copy_location(name, keyword.value))

    def _register_all(self, registry: str, value: ast.expr) -> None:
        if not isinstance(value, ast.Dict):
            self._computed(registry, value)
            return
        for key, item in zip(value.keys, value.values, strict=True):
            self._register(registry, key) if key else self._computed(registry, item)

    def _register(self, registry: str, key: ast.expr) -> None:
        text = self._texts.get(key.id) if isinstance(key, ast.Name) else _text(key)
        if text is None:
            self._computed(registry, key)
        else:
            self.registered[registry].add(text)

    def _computed(self, registry: str, node: ast.expr) -> None:
        self.unread.setdefault(registry, f"computes a name at line {node.lineno}")

    def _foreign(self) -> Iterator[str]:
        """What it imports that is neither of Python nor of ms-swift, and may register as well."""
        for node in ast.walk(self._tree):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = ["." * node.level + (node.module or "")]
            for name in names:
                top = name.partition(".")[0]
                if top not in sys.stdlib_module_names and top != "swift":
                    yield name


def _knows_engine(directory: Path, module: str) -> bool:
    """Whether a module beside the plugin imports ms-swift, which has the registries.

    ms-swift puts the plugin's directory in front of ``sys.path`` (``import_external_file``).
    """
    top = module.lstrip(".").partition(".")[0]
    paths = [directory / f"{top}.py", *sorted((directory / top).glob("**/*.py"))[:_SIBLINGS]]
    try:
        there = [files.read(path, MAX_BYTES) for path in paths if path.is_file()]
    except OSError:
        return True
    return any(map(_IMPORTS_ENGINE.search, there))


def _text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0)
