"""Two ways of a script, where nobody knows which it takes, and subshells."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import replace

from grpo_launch.bash.script import About, Condition, Kind, Unknown, Value
from grpo_launch.bash.shell import FatalError, Frame, Shell
from grpo_launch.bash.state import State, merged_files, united
from grpo_launch.bash.syntax import short
from grpo_launch.bash.variables import ALWAYS_SET, look_up

_EMPTY = re.compile(r"(?:\[\[?|test) -z \"?\$\{?([A-Za-z_]\w*)(?::?[-+]x?)?\}?\"?(?: \]\]?)?")
_NAME = re.compile(r"\$\{?([A-Za-z_]\w*|\d)")


def fork(
    shell: Shell, line: int, text: str, then: Callable[[], bool], otherwise: Callable[[], bool]
) -> bool:
    """Go one way where the last status is known, and both where it is not.

    Calls get the condition. A way that ends with an error (``|| exit 1``) is a guard: what is
    behind it does not get it, as the script is over where it does not hold.

    Args:
        shell: the reader; its status decides.
        line: of the condition.
        text: of it.
        then: follows the script where it holds.
        otherwise: where it does not.

    Returns:
        Whether the script goes on.
    """
    status = shell.state.status
    if status is not None:
        return then() if status == 0 else otherwise()
    if shell.source.name == "" and line in shell.ways:
        holds = shell.ways[line]
        shell.remark_line(line, text, f"is taken {'' if holds else 'not '}to hold", About.LEFT)
        shell.state.status = 0 if holds else -1
        return then() if holds else otherwise()
    if shell.context.capture is not None:
        shell.context.capture.is_known = False
    before = shell.state
    count = len(before.conditions)
    ends: list[tuple[bool, State]] = []
    held, names = short(text), _unknown_in(shell, text)
    for said, run, result in ((held, then, 0), (f"not {held}", otherwise, -1)):
        shell.state = before.copy()
        shell.state.status, shell.state.doubts = result, ()
        shell.state.conditions = (*before.conditions, Condition(line, said, names))
        alive = run()
        ends.append((alive, shell.state))
    (goes, first), (other_goes, second) = ends
    if goes and other_goes:
        _take_default(shell, held, first, second)
        doubts = _doubts(first, second, len(before.conditions)) if {*names} - ALWAYS_SET else ()
        shell.join([first, second])
        shell.state.doubts = united(shell.state.doubts, doubts)
        _name_deciders(shell.state, before, names, () if names or shell.source.name else (line,))
        return True
    if not goes and not other_goes:
        first.failed = first.failed and second.failed
        shell.state = first
        return False
    on, over = (first, second) if goes else (second, first)
    if over.failed:
        on.conditions = (*on.conditions[:count], *on.conditions[count + 1 :])
    shell.state = on
    return True


def _take_default(shell: Shell, held: str, first: State, second: State) -> None:
    """``[ -z "$X" ] && X=default`` is ``X=${X:-default}``."""
    match = _EMPTY.fullmatch(held)
    name = match[1] if match else ""
    variable = first.variables.get(name)
    if variable is None or variable.value is None or variable.value.unknowns:
        return
    if name not in second.variables:
        second.variables[name] = variable
        shell.record.defaults.setdefault(name, variable.value)


def _name_deciders(
    state: State, before: State, names: tuple[str, ...], lines: tuple[int, ...]
) -> None:
    """What decides the variables that differ since a condition."""

    def named(value: Value) -> Value:
        parts = (
            replace(part, deciders=united(part.deciders, names), lines=united(part.lines, lines))
            if isinstance(part, Unknown) and part.kind is Kind.BRANCH
            else part
            for part in value.parts
        )
        return Value(tuple(parts))

    for name, variable in state.variables.items():
        if variable == before.variables.get(name):
            continue
        value = None if variable.value is None else named(variable.value)
        items = variable.items and {key: named(item) for key, item in variable.items.items()}
        state.variables[name] = replace(variable, value=value, items=items)


def _doubts(one: State, other: State, count: int) -> tuple[Condition, ...]:
    """The condition at the place ``count`` of the way that succeeds, where the other one fails."""
    fails = [state.status not in (0, None) for state in (one, other)]
    if fails[0] == fails[1]:
        return ()
    return (other if fails[0] else one).conditions[count : count + 1]


def _unknown_in(shell: Shell, text: str) -> tuple[str, ...]:
    """The names in the text of a condition that whoever starts the script decides."""
    found: dict[str, None] = {}
    for name in _NAME.findall(text):
        for value in look_up(shell, name, f"${name}").values:
            for one in value.unknowns:
                names = one.deciders if one.kind is Kind.BRANCH else (one.name,)
                found |= dict.fromkeys(names)
    found.pop("", None)
    return tuple(found)


def subshell(shell: Shell, run: Callable[[], bool]) -> None:
    """Follow what runs in a process of its own: only its status comes back."""
    before = shell.state
    shell.state = before.copy()
    frame = Frame()
    shell.record.shells += 1
    inside = (*shell.context.shells, shell.record.shells)
    with shell.within(subshell=frame, loops=(), function=None, shells=inside):
        try:
            alive = run()
        except FatalError:
            frame.left.append(State(status=1))
            alive = False
    ends = [*frame.left, *([shell.state] if alive else [])]
    statuses = {state.status for state in ends}
    needs = united(*(state.needs for state in ends))
    doubts = united(*(state.doubts for state in ends if state.status is None))
    shell.state = before
    if ends:
        shell.state.files = functools.reduce(merged_files, (end.files for end in ends))
    shell.state.status = statuses.pop() if len(statuses) == 1 else None
    # What has ended the process by set -e is a failure of it to the script around.
    shell.state.doubts = (*doubts, *(need for need in needs if need not in before.needs))
    if shell.state.doubts and shell.state.status == 0:
        shell.state.status = None
