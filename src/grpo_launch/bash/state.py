"""What a script knows at one of its lines: variables, arguments, the working directory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from grpo_launch.bash.script import Condition, Kind, Redirect, Unknown, Value
from grpo_launch.bash.syntax import Node, Source

_T = TypeVar("_T")

ALWAYS_EXPORTED = frozenset(("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "PWD"))
"""Variables that every environment has: an assignment to one reaches programs."""


@dataclass(frozen=True)
class Variable:
    """A variable that the script, or the caller's settings, say something about.

    Attributes:
        value: of one that is no array; None: it is not set.
        items: of an array, by index or key.
        keyed: whether the array is associative.
        several: whether nobody knows how many items it has.
        exported: whether programs get it; None: on some of the ways that lead here.
        integer: whether what is assigned is arithmetic (``declare -i``).
        of_caller: whether the script only says that it is exported; its value is the caller's.
        is_unset: whether the script has taken it away, also from what the caller has.
        case: ``u`` or ``l`` where what is assigned is changed (``declare -u``).
    """

    value: Value | None = None
    items: Mapping[int | str, Value] | None = None
    keyed: bool = False
    several: bool = False
    exported: bool | None = False
    integer: bool = False
    of_caller: bool = False
    is_unset: bool = False
    case: str = ""

    @property
    def differs(self) -> bool:
        """Whether it holds something else on two ways that have joined; of an array never."""
        unknowns = self.value.unknowns if self.value is not None else ()
        return self.items is None and any(one.kind is Kind.BRANCH for one in unknowns)

    @property
    def scalar(self) -> Value | None:
        """What ``$X`` gives: of an array, its item 0."""
        if self.items is None:
            return self.value
        return self.items.get("0" if self.keyed else 0)

    @property
    def values(self) -> list[Value]:
        """All items, in their order."""
        if self.items is None:
            return [] if self.value is None else [self.value]
        return [self.items[key] for key in self.keys]

    @property
    def keys(self) -> list[int | str]:
        """The indexes, in their order; keys of an associative array as they were set."""
        if self.items is None:
            return [] if self.value is None else [0]
        return list(self.items) if self.keyed else sorted(self.items, key=int)


@dataclass(frozen=True)
class Function:
    """A function: its body, and the text that it stands in."""

    body: Node
    source: Source


@dataclass(frozen=True)
class Positionals:
    """``$1`` and those behind it.

    Attributes:
        values: what is known of them.
        of_caller: whether they are the script's own, and those behind the last were not given.
        several: whether nobody knows how many they are.
        skipped: how many were shifted away that were not given.
    """

    values: tuple[Value, ...] = ()
    of_caller: bool = False
    skipped: int = 0
    several: bool = False


@dataclass
class State:
    """Everything that a statement may change; copied where the script may go two ways.

    Attributes:
        variables: by name; one that is missing comes from the caller's environment.
        functions: by name; None: which one it is, nobody knows.
        positionals: see there.
        zero: ``$0``.
        cwd: see ``Call.cwd``.
        previous: the directory that ``cd -`` goes to.
        stack: of ``pushd``.
        letter: where ``getopts`` is in a word such as ``-abc``.
        options: those of ``set`` and ``shopt`` that are on.
        status: of the last command; -1: not 0, None: not known.
        conditions: that hold on this way, see ``Call.conditions``.
        redirects: of ``exec``, which hold from there on.
        scopes: of each function that is running, what its local variables hid.
        failed: whether this way ended by an exit that reports an error.
        doubts: conditions of the caller's variables without which the last command fails, where
            its status is not known.
        files: see ``Call.written``.
        needs: those without which ``set -e`` has ended the script before.
    """

    variables: dict[str, Variable] = field(default_factory=dict)
    functions: dict[str, Function | None] = field(default_factory=dict)
    positionals: Positionals = field(default_factory=Positionals)
    zero: Value = field(default_factory=Value)
    cwd: Value = Value((".",))  # noqa: RUF009
    previous: Value | None = None
    stack: tuple[Value, ...] = ()
    letter: int = 0
    options: frozenset[str] = frozenset()
    status: int | None = 0
    conditions: tuple[Condition, ...] = ()
    redirects: tuple[Redirect, ...] = ()
    scopes: tuple[Mapping[str, Variable | None], ...] = ()
    failed: bool = False
    doubts: tuple[Condition, ...] = ()
    needs: tuple[Condition, ...] = ()
    files: Mapping[str, Value] = field(default_factory=dict)

    def copy(self) -> State:
        """One that changes on its own."""
        return replace(self, variables=dict(self.variables), functions=dict(self.functions))

    def enter_scope(self) -> None:
        """A function begins."""
        self.scopes = (*self.scopes, {})

    def leave_scope(self) -> None:
        """A function ends: what its local variables hid is back."""
        for name, hidden in self.scopes[-1].items():
            if hidden is None:
                self.variables.pop(name, None)
            else:
                self.variables[name] = hidden
        self.scopes = self.scopes[:-1]

    def make_local(self, name: str) -> None:
        """Hide a variable until the function ends."""
        hidden = self.variables.get(name)
        if self.scopes and name not in self.scopes[-1]:
            self.scopes = (*self.scopes[:-1], {**self.scopes[-1], name: hidden})
            self.variables[name] = Variable(exported=hidden is not None and hidden.exported)

    def environ(self) -> dict[str, Value]:
        """The variables that programs get; a local one without a value hides none from them."""
        found: dict[str, Value] = {}
        for name, variable in self.variables.items():
            hidden = (scope.get(name) for scope in reversed(self.scopes))
            seen = next((one for one in (variable, *hidden) if one and _has_value(one)), variable)
            if seen.exported is not False and seen.value is not None and seen.items is None:
                found[name] = seen.value if seen.exported else _branch(f"${{{name}}}", name)
        return found

    def unset(self) -> Iterator[str]:
        """The variables of the caller that programs do not get."""
        return (name for name, variable in self.variables.items() if variable.is_unset)


def _has_value(variable: Variable) -> bool:
    return variable.value is not None or variable.items is not None


def merged(one: State, other: State) -> State:
    """What is known behind two ways that join; what differs is not known."""
    if one is other:
        return one
    result = one.copy()
    for name in {**one.variables, **other.variables}:
        first, second = one.variables.get(name), other.variables.get(name)
        if first != second:
            result.variables[name] = _differs(name, first, second)
    for name in {**one.functions, **other.functions}:
        if one.functions.get(name) != other.functions.get(name):
            result.functions[name] = None
    if one.positionals != other.positionals:
        result.positionals = Positionals((_branch("$@", ""),), several=True)
    if one.cwd != other.cwd:
        result.cwd = _branch("$PWD", "PWD")
    if one.stack != other.stack:
        result.stack = ()
    result.scopes = tuple(
        _hidden(one, a, other, b) for a, b in zip(one.scopes, other.scopes, strict=False)
    )
    result.options = one.options & other.options
    result.status = one.status if one.status == other.status else None
    result.conditions = _common(one.conditions, other.conditions)
    result.redirects = _common(one.redirects, other.redirects)
    ways = [state.doubts for state in (one, other) if state.status is None]
    result.doubts = united(*ways)
    result.needs = united(one.needs, other.needs)
    result.files = merged_files(one.files, other.files)
    return result


def merged_files(one: Mapping[str, Value], other: Mapping[str, Value]) -> Mapping[str, Value]:
    """What files hold behind two ways; of one that was written on one way nobody knows."""
    if one is other:
        return one
    paths = {**one, **other}
    same = {path: text for path, text in one.items() if other.get(path) == text}
    return {path: same.get(path, file_of(path)) for path in paths}


def file_of(path: str) -> Value:
    """What a file holds, where nobody knows."""
    return Value((Unknown(Kind.FILE, path),))


def united(*several: tuple[_T, ...]) -> tuple[_T, ...]:
    """All that is in any, once."""
    return tuple(dict.fromkeys(each for some in several for each in some))


def _hidden(
    one: State,
    first: Mapping[str, Variable | None],
    other: State,
    second: Mapping[str, Variable | None],
) -> Mapping[str, Variable | None]:
    """What local variables hid on two ways; of one that is local on one way nobody knows."""
    found: dict[str, Variable | None] = {}
    for name in {**first, **second}:
        before = first[name] if name in first else one.variables.get(name)
        beside = second[name] if name in second else other.variables.get(name)
        if name in first and name in second and before == beside:
            found[name] = before
        else:
            is_exported = any(v is not None and v.exported is not False for v in (before, beside))
            exported = None if is_exported else False
            found[name] = Variable(_branch(f"${{{name}}}", name), exported=exported)
    return found


def _common(one: tuple[_T, ...], other: tuple[_T, ...]) -> tuple[_T, ...]:
    """What two ways begin with."""
    count = 0
    for first, second in zip(one, other, strict=False):
        if first != second:
            break
        count += 1
    return one[:count]


def _branch(text: str, name: str) -> Value:
    return Value((Unknown(Kind.BRANCH, text, name),))


def _differs(name: str, first: Variable | None, second: Variable | None) -> Variable:
    """A variable of which nobody knows what it holds."""
    both = [variable for variable in (first, second) if variable is not None]
    ways = {variable.exported for variable in both}
    exported = ways.pop() if len(ways) == 1 else None
    if (
        first is not None
        and second is not None
        and (first.value, first.items)
        == (
            second.value,
            second.items,
        )
    ):
        return replace(first, exported=exported, several=first.several or second.several)
    text = f"${{{name}}}"
    if any(variable.items is not None for variable in both):
        keyed = any(variable.keyed for variable in both)
        items = {"0" if keyed else 0: _branch(text, "")}
        return Variable(items=items, keyed=keyed, several=True)
    return Variable(_branch(text, name), exported=exported, integer=all(v.integer for v in both))
