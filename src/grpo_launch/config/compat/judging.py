"""What each variable of an environment means, judged with the table (``table.py``)."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from grpo_launch.config import kinds, schema, topology
from grpo_launch.config.compat import table
from grpo_launch.config.compat.environment import FromEnvironment, Taken, Unread, Wrong
from grpo_launch.config.compat.table import Unreadable, Variable
from grpo_launch.config.hydra import hints
from grpo_launch.errors import ConfigError

_TRACKING, _REPORT_TO = "tracking", "train.training.report_to"

_ALIKE = 0.88
_SHORTEST = 7
"""How alike a name must be, and how long: MODE is no misspelling of MODEL (see the tests)."""


class Reading:
    """One look at an environment, by a role and with what the command line says."""

    def __init__(self, environ: Mapping[str, str], role: str, overrides: Sequence[str]) -> None:
        self._environ = environ
        self._role = role
        self._overrides = overrides
        self._keys = frozenset(map(hints.key_of, overrides))
        self._table = table.load()
        self._taken: list[Taken] = []
        self._covered: list[Taken] = []
        self._unread: list[Unread] = []
        self._wrong: list[Wrong] = []
        self._processes: Taken | None = None

    def result(self) -> FromEnvironment:
        """What counts, what does not, and what is wrong."""
        for variable in self._table.variables.values():
            if self._is_said(variable):
                self._own(variable)
        for variable in self._table.variables.values():
            if variable.default is not None and not self._is_said(variable):
                self._from_default(variable)
        self._contradictions()
        for name, why in self._table.ignored.items():
            if self._environ.get(name, "").strip():
                self._unread.append(Unread(name, "is not read here", f"unset it ({why})"))
        self._unread += _misspelled(self._environ, self._table)
        order = list(self._table.variables)
        self._taken.sort(key=lambda taken: order.index(taken.variable))
        return FromEnvironment(
            tuple(self._taken),
            tuple(self._covered),
            tuple(self._unread),
            tuple(self._wrong),
            self._processes,
        )

    def _is_said(self, variable: Variable) -> bool:
        text = self._environ.get(variable.name)
        return text is not None and (bool(text.strip()) or variable.empties)

    def _is_typed(self, key: str | None) -> bool:
        """Whether the command line says the key.

        Itself, in a mapping that is typed whole, by the topology that it chooses, or, where a
        tracker is meant, as ``report_to``.
        """
        if key is None:
            return False
        above = {name for name in self._keys if name not in schema.GROUPS}
        said = key in self._keys or any(key.startswith(f"{name}.") for name in above)
        by_report_to = key == _TRACKING and _REPORT_TO in self._keys
        return said or by_report_to or topology.value(self._overrides, key) is not None

    def _own(self, variable: Variable) -> None:
        text = self._environ[variable.name]
        key = variable.key(self._role)
        if key is None and variable.equals is None:
            return  # under this role it has its usual meaning
        if not variable.counts(self._role):
            self._of_another_role(variable, text)
        elif variable.beaten is not None and self._environ.get(variable.beaten, "").strip():
            what, fix = f"does not count, {variable.beaten} wins", "unset one of them"
            self._unread.append(Unread(variable.name, what, fix))
        else:
            self._take(variable, variable.name, text, key)

    def _take(self, variable: Variable, source: str, text: str, key: str | None) -> None:
        if self._is_typed(key):
            self._covered.append(Taken(variable.name, source, text, key or "", None))
            return
        try:
            value = _value(variable, text, key)
        except Unreadable as error:
            where = f"environment: {source}"
            self._wrong.append(Wrong(ConfigError(where, error.what, error.fix), key))
            return
        taken = Taken(variable.name, source, text, key or "", value)
        if key is None:
            self._processes = taken
        else:
            self._taken.append(taken)

    def _from_default(self, variable: Variable) -> None:
        source = next((taken for taken in self._taken if taken.source == variable.default), None)
        key = variable.key(self._role)
        if source is not None and not self._is_typed(key):
            self._take(variable, source.source, source.text, key)

    def _of_another_role(self, variable: Variable, text: str) -> None:
        key = variable.key(self._role)
        if key is None or self._is_typed(key):
            return
        try:
            value = _value(variable, text, key)
        except Unreadable:
            value = text
        others = self._table.variables.values()
        read = [v.name for v in others if v.key(self._role) == key and v.counts(self._role)]
        what = f"is not read by role={self._role}"
        fix = f"export {read[0]} for it, or unset this one" if read else "unset it"
        taken = Taken(variable.name, variable.name, text, key, value)
        self._unread.append(Unread(variable.name, what, fix, taken))

    def _contradictions(self) -> None:
        """Leave out, as wrong, what two variables say differently of one key."""
        by_key: dict[str, list[Taken]] = {}
        for taken in self._taken:
            by_key.setdefault(taken.key, []).append(taken)
        for key, said in by_key.items():
            other = next((taken for taken in said if taken.value != said[0].value), None)
            if other is None:
                continue
            where = f"environment: {said[0].variable} and {other.variable}"
            what = f"say {said[0].text!r} and {other.text!r}, and both mean {key}"
            self._wrong.append(Wrong(ConfigError(where, what, "unset one of them"), key))
            self._taken = [taken for taken in self._taken if taken.key != key]


def _value(variable: Variable, text: str, key: str | None) -> Any:
    """The value of a variable, of its key's type.

    Raises:
        Unreadable: the text does not fit.
    """
    if not text.strip() and variable.empties:
        return None
    value = variable.value(text)
    hint = hints.type_of(key) if key else None
    if hint is not None and (options := _members(hint)) and value not in options:
        raise Unreadable(f"{value!r} is not {kinds.describe(hint)}", "choose one of them")
    return value


def _members(hint: Any) -> list[str]:
    """The names that an enumeration, or an optional one, has."""
    candidates = (hint, *getattr(hint, "__args__", ()))
    enums = [kind for kind in candidates if isinstance(kind, type) and issubclass(kind, Enum)]
    return [*enums[0].__members__] if enums else []


def _misspelled(environ: Mapping[str, str], table: table.Table) -> Iterator[Unread]:
    """Variables whose names are nearly one of the table."""
    known = {*table.variables, *table.ignored, *table.kept, *table.others}
    long = [name for name in table.variables if len(name) >= _SHORTEST]
    for name in sorted(set(environ) - known):
        if len(name) < _SHORTEST or "_" not in name:
            continue
        near = difflib.get_close_matches(name.upper(), long, n=1, cutoff=_ALIKE)
        if near and near[0] not in environ:
            yield Unread(name, "is not read", f"did you mean {near[0]}?")
