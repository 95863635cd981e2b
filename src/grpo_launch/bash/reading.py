"""Reading a script from its bytes."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence

from grpo_launch.bash import traps
from grpo_launch.bash.directories import normal, shown
from grpo_launch.bash.script import Remark, Script, joined
from grpo_launch.bash.shell import EndlessError, Shell
from grpo_launch.bash.state import Positionals, State, Variable
from grpo_launch.bash.statements import walk
from grpo_launch.bash.syntax import HERE, parse, short
from grpo_launch.errors import ConfigError

Sources = Mapping[str, bytes] | Callable[[str], "bytes | None"]
"""Texts of sourced files, by their paths as seen from where the script starts."""


def read(
    text: bytes,
    name: str,
    *,
    arguments: Sequence[str] | None = None,
    settings: Mapping[str, str] | None = None,
    decides: bool = False,
    ways: Mapping[int, bool] | None = None,
    sources: Sources | None = None,
    start: str = "",
) -> Script:
    """Read a script, without running anything of it.

    The script is taken to be started in its own directory, so that ``dirname "$0"`` is ``.``;
    directories are said relative to that, see ``Call.cwd``. Variables that it does not set come
    from the caller and are not known, but ``${X:-default}`` is the default; positionals are not
    known either unless ``arguments`` are given, while ``$#`` is 0 then.

    Args:
        text: the script.
        name: of the file, for messages, and for ``$0``.
        arguments: that it is started with, all of them; None: nobody knows.
        settings: variables of the caller's environment.
        decides: whether they are also what variables hold to which the script assigns what nobody
            knows, as a date; without the ``export``.
        ways: by line, whether the conditions of the script hold there that nobody knows.
        sources: the texts of files that it sources, or what gives them (None: not this one).
        start: the absolute path of the directory that it is started in, which ``pwd`` prints;
            without it a call gets the relative path that leads there from its own directory.

    Raises:
        ConfigError: the syntax is wrong, or ``shfmt`` is not installed.
    """
    data, found = traps.normalised(text, name)
    source = parse(data, "", name)
    found += traps.of_source(source)
    state = State(
        variables={
            key: Variable(joined(value), exported=True) for key, value in (settings or {}).items()
        },
        positionals=Positionals(
            tuple(joined(x) for x in arguments or ()), of_caller=arguments is None
        ),
        zero=joined(f"./{posixpath.basename(name)}"),
    )
    shell = Shell(
        source,
        state,
        walk,
        _loader(sources),
        start=normal(start) if start else HERE,
        shown=name,
        decided=state.variables.copy() if decides else {},
        ways=ways or {},
    )
    try:
        walk(shell, source.tree.get("Stmts") or [])
    except (EndlessError, RecursionError):
        what = "the script goes on for longer than it is followed"
        found.append(Remark(len(source.lines), short(source.lines[-1]), what))
    remarks = sorted([*found, *shell.record.remarks], key=_line)
    defaults = {key: shown(value, joined(".")) for key, value in shell.record.defaults.items()}
    record = shell.record
    return Script(name, record.calls, remarks, defaults, record.decided, record.is_placed)


def _line(remark: Remark) -> tuple[str, int]:
    return remark.file, remark.line


def _loader(sources: Sources | None) -> Callable[[str], bytes | None]:
    if sources is None:
        return lambda _: None
    return sources.get if isinstance(sources, Mapping) else sources


__all__ = ["ConfigError", "Sources", "read"]
