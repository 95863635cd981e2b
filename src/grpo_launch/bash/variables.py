"""Variables as a script says and sets them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from grpo_launch.bash.arithmetic import Names, UnknownError, WrongError, evaluate
from grpo_launch.bash.script import Kind, Unknown, Value, joined
from grpo_launch.bash.shell import LONGEST_VALUE, Shell
from grpo_launch.bash.state import ALWAYS_EXPORTED, Variable

_OF_THE_SHELL = frozenset(
    (
        *("RANDOM", "SECONDS", "HOSTNAME", "UID", "EUID", "LINENO", "FUNCNAME", "PPID", "BASHPID"),
        *("EPOCHSECONDS", "SRANDOM", "BASH_VERSION", "OSTYPE", "HOSTTYPE", "MACHTYPE", "SHLVL"),
        *("BASH", "BASH_VERSINFO", "PIPESTATUS", "OLDPWD", "GROUPS", "DIRSTACK", "BASH_COMMAND"),
        *("EPOCHREALTIME", "BASH_LINENO", "BASH_SUBSHELL", "REPLY"),
        *("$", "!", "-", "_"),
    )
)
"""Variables that bash sets itself, to what nobody knows before."""

_COMPUTED = (Kind.COMMAND, Kind.FILE, Kind.OTHER)
"""Why a value is not known that the script makes itself."""

_SIZE = 100
"""What a part that is not known counts as, in characters."""

ALWAYS_SET = _OF_THE_SHELL | ALWAYS_EXPORTED


@dataclass(frozen=True)
class Found:
    """What a name gives.

    Attributes:
        values: one, or those of an array; empty: it is known not to be set.
        several: whether nobody knows how many they are.
        is_absent: whether it is of the caller, who may not have set it; ``values`` is then an
            unknown.
    """

    values: tuple[Value, ...] = ()
    several: bool = False
    is_absent: bool = False


def look_up(shell: Shell, name: str, text: str) -> Found:
    """A variable, positional or special parameter; of an array, item 0.

    Args:
        shell: the reader.
        name: without ``$``.
        text: as the script says it, for unknowns.
    """
    state = shell.state
    if name in ("0", "BASH_SOURCE") and shell.context.capture is not None:
        shell.record.is_placed = True  # $(dirname "$0") and the like
    if name.isdigit():
        return _positional(shell, int(name), text)
    if name in ("@", "*"):
        return Found(state.positionals.values, several=state.positionals.several)
    if name == "#":
        count = Unknown(Kind.BRANCH, text, "#")
        many = state.positionals.several
        return Found((joined(count if many else str(len(state.positionals.values))),))
    if name == "?":
        known = state.status
        is_known = known is not None and known >= 0
        return Found((joined(str(known) if is_known else Unknown(Kind.OTHER, text)),))
    variable = state.variables.get(name)
    if variable is not None and not variable.of_caller:
        value = variable.scalar
        if variable.several and variable.items is not None:
            value = value or joined(Unknown(Kind.OTHER, text, name))
        return Found(() if value is None else (value,))
    if name == "PWD":
        return Found((shell.directory(),))
    if name == "BASH_SOURCE":
        return Found((joined(shell.source.name) if shell.source.name else state.zero,))
    if name == "IFS":
        return Found((joined(" \t\n"),))
    if name == "OPTIND":
        return Found((joined("1"),))
    if name in _OF_THE_SHELL:
        return Found((joined(Unknown(Kind.OTHER, text, name)),))
    return Found((joined(Unknown(Kind.VARIABLE, text, name)),), is_absent=name not in ALWAYS_SET)


def _positional(shell: Shell, number: int, text: str) -> Found:
    positionals = shell.state.positionals
    if number == 0:
        return Found((shell.state.zero,))
    if positionals.several:
        known = [value.known is not None for value in positionals.values[:number]]
        if len(known) == number and all(known):
            return Found((positionals.values[number - 1],))
        return Found((joined(Unknown(Kind.OTHER, text, str(number))),))
    if number <= len(positionals.values):
        return Found((positionals.values[number - 1],))
    if positionals.of_caller:
        missing = Unknown(Kind.POSITIONAL, text, str(number + positionals.skipped))
        return Found((joined(missing),), is_absent=True)
    return Found()


def look_up_all(shell: Shell, name: str, text: str) -> Found:
    """All items of an array: ``${a[@]}``."""
    variable = shell.state.variables.get(name)
    if variable is None or variable.of_caller:
        found = look_up(shell, name, text)
        return replace(found, several=found.is_absent)
    return Found(tuple(variable.values), several=variable.several)


def look_up_item(shell: Shell, name: str, index: str, text: str) -> Found:
    """One item: ``${a[1]}``, ``${m[key]}``.

    Raises:
        UnknownError: nobody knows which.
    """
    variable = shell.state.variables.get(name)
    if variable is None or variable.of_caller:
        found = look_up(shell, name, text)
        return found if index.strip() in ("", "0") or found.is_absent else Found()
    if variable.keyed:
        value = (variable.items or {}).get(index)
    else:
        place = evaluate(index, names(shell))
        items = _items(variable)
        if place < 0:
            if variable.several:
                raise UnknownError(Unknown(Kind.OTHER, text, name))
            place += max((int(key) for key in items), default=-1) + 1
        value = items.get(place)
        if variable.several and (value is None or not _is_certain(variable, place)):
            raise UnknownError(Unknown(Kind.OTHER, text, name))
    return Found(() if value is None else (value,))


def _items(variable: Variable) -> dict[int | str, Value]:
    if variable.items is not None:
        return dict(variable.items)
    return {} if variable.value is None else {0: variable.value}


def _is_certain(variable: Variable, place: int) -> bool:
    """Whether an item of an array of unknown length stands before what is not known."""
    items = [variable.items[key] for key in variable.keys if variable.items and int(key) <= place]
    return all(value.known is not None for value in items)


def names(shell: Shell) -> Names:
    """The variables, for arithmetic."""

    def get(name: str, index: str) -> str:
        text = f"${{{name}[{index}]}}" if index else f"${{{name}}}"
        found = look_up_item(shell, name, index, text) if index else look_up(shell, name, text)
        if not found.values:
            return ""
        return certain(found.values[0])

    def put(name: str, index: str, value: str) -> None:
        assign(shell, name, joined(value), index=index or None)

    return Names(get, put)


def certain(value: Value) -> str:
    """The text of a value.

    Raises:
        UnknownError: nobody knows it.
    """
    known = value.known
    if known is None:
        raise UnknownError(value.unknowns[0])
    return known


def opaque(value: Value, text: str) -> Value:
    """What comes of a value that nobody knows, by something done to it."""
    unknown = value.unknowns[0]
    return joined(Unknown(unknown.kind, text, unknown.name))


def assign(
    shell: Shell, name: str, value: Value, *, index: str | None = None, append: bool = False
) -> None:
    """``name=value``, ``name[index]=value``, or with ``+=``."""
    state = shell.state
    variable = state.variables.get(name)
    if variable is None:
        variable = Variable(exported=name in ALWAYS_EXPORTED, of_caller=True)
    if variable.of_caller:
        variable = replace(variable, of_caller=False)
        if append and index is None:
            variable = replace(variable, value=look_up(shell, name, f"${{{name}}}").values[0])
    old: Value | None = variable.scalar
    key: int | str | None = None
    if index is not None or variable.items is not None:
        key = _key(shell, variable, index if index is not None else "0")
        if key is None:
            unknown = Unknown(Kind.OTHER, f"${{{name}}}", name)
            state.variables[name] = replace(variable, items={0: joined(unknown)}, several=True)
            return
        old = _items(variable).get(key)
    value = _converted(shell, variable, old, value, append)
    if (given := shell.decided.get(name)) is not None and not _is_told(value):
        if variable is given:  # whoever starts the script need not export it
            variable = replace(variable, exported=False)
        value = given.value or Value()
        shell.record.decided[name] = str(value)
    size = sum(len(part) if isinstance(part, str) else _SIZE for part in value.parts)
    if size > LONGEST_VALUE:
        value = joined(Unknown(Kind.OTHER, f"${{{name}}}", name))
    value = _named(value, name)
    if key is None:
        exported = True if "a" in state.options else variable.exported
        state.variables[name] = replace(variable, value=value, exported=exported)
    else:
        items = {**_items(variable), key: value}
        state.variables[name] = replace(variable, value=None, items=items)


def _is_told(value: Value) -> bool:
    """Whether only the caller makes it unknown, not the script."""
    return all(each.kind not in _COMPUTED for each in value.unknowns)


def _named(value: Value, name: str) -> Value:
    """What is computed gets the name of the variable that it is kept in."""
    parts = (
        replace(part, name=name if part.name in _OF_THE_SHELL else part.name or name)
        if isinstance(part, Unknown) and part.kind in _COMPUTED
        else part
        for part in value.parts
    )
    return Value(tuple(parts))


def _key(shell: Shell, variable: Variable, index: str) -> int | str | None:
    if variable.keyed:
        return index
    try:
        place = evaluate(index, names(shell))
    except (UnknownError, WrongError):
        return None
    if place < 0:
        place += max((int(key) for key in _items(variable)), default=-1) + 1
    return place if place >= 0 and not variable.several else None


def _converted(
    shell: Shell, variable: Variable, old: Value | None, value: Value, append: bool
) -> Value:
    if variable.integer:
        return _arithmetic(shell, old if append else None, value)
    result = joined(old or Value(), value) if append else value
    change: dict[str, Callable[[str], str]] = {"u": str.upper, "l": str.lower}
    if variable.case and result.known is not None:
        return joined(change[variable.case](result.known))
    return result


def _arithmetic(shell: Shell, old: Value | None, value: Value) -> Value:
    try:
        before = evaluate(certain(old), names(shell)) if old is not None else 0
        return joined(str(before + evaluate(certain(value), names(shell))))
    except UnknownError as error:
        return joined(error.unknown)
    except WrongError:
        return joined(Unknown(Kind.OTHER, str(value)))


def unset(shell: Shell, name: str) -> None:
    """``unset name``: programs do not get it either."""
    shell.state.variables[name] = Variable(is_unset=True)


def export(shell: Shell, name: str, exported: bool = True) -> None:
    """``export name``, or ``export -n name``."""
    variable = shell.state.variables.get(name)
    if variable is not None:
        shell.state.variables[name] = replace(variable, exported=exported)
    else:
        shell.state.variables[name] = Variable(exported=exported, of_caller=True)
