"""Completion of ``grpo-runs`` in bash and zsh: commands, options, runs and processes.

The shell asks this program, with the words up to the cursor; it never evaluates an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from grpo_launch.errors import ConfigError
from grpo_launch.monitor import arguments, planned
from grpo_launch.monitor.detail import LAUNCHER
from grpo_launch.monitor.prune import STATES
from grpo_launch.runs import find
from grpo_launch.transfer import MODES

FLAG = "-sc"
"""The flag that ``grpo-launch`` has for it as well."""

_BASH = f"""\
_grpo_runs() {{
    mapfile -t COMPREPLY < <("$1" {FLAG} query "${{COMP_WORDS[@]:1:COMP_CWORD}}" 2> /dev/null)
}}
complete -o bashdefault -o default -F _grpo_runs grpo-runs"""

_ZSH = f"""\
(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit }}
_grpo_runs() {{
    local -a found
    found=("${{(@f)$("${{words[1]}}" {FLAG} query "${{(@)words[2,CURRENT-1]}}" "$PREFIX" \\
        2> /dev/null)}}")
    if [[ -n "$found[1]" ]]; then compadd -a found; else _files; fi
}}
compdef _grpo_runs grpo-runs"""

_SCRIPTS = {
    "install=bash": _BASH,
    "uninstall=bash": "complete -r grpo-runs\nunset -f _grpo_runs",
    "install=zsh": _ZSH,
    "uninstall=zsh": "compdef -d grpo-runs\nunfunction _grpo_runs",
}

_OPTION = re.compile(r"^  (?:-\w(?: [A-Z]+)?, )?(--[\w-]+)( [A-Z]+)?", re.MULTILINE)
_PLAIN = re.compile(r"[\w./@%+,-]+")
"""What a shell takes for one word without quotes."""


def answer(words: Sequence[str]) -> str:
    """What is printed for ``grpo-runs -sc WORDS``.

    Raises:
        ConfigError: the words ask for nothing that there is.
    """
    asked, *typed = words or ("",)
    if asked == "query":
        return "\n".join(candidates(typed or [""]))
    if asked not in _SCRIPTS:
        what = f"{asked or 'nothing'} cannot be answered"
        raise ConfigError(FLAG, what, "say install=bash, install=zsh, uninstall=bash or -zsh")
    return _SCRIPTS[asked]


def candidates(typed: Sequence[str]) -> list[str]:
    """What the last of the words that are typed may become, in the order of their use.

    Args:
        typed: without the program; the last may be empty.
    """
    *before, word = typed
    every = dict.fromkeys(_offered(before, word))
    return [item for item in every if item.startswith(word) and _PLAIN.fullmatch(item)]


def _offered(before: Sequence[str], word: str) -> Iterator[str]:
    helps = arguments.helps()
    if not before:
        yield from ("--help", "--version") if word.startswith("-") else helps
        return
    command, *others = before
    takes_value = dict(_OPTION.findall(helps.get(command, "")))
    last = others[-1] if others else ""
    if takes_value.get(last):
        yield from _states(word) if last == "--state" else MODES if last == "--pause" else ()
    elif word.startswith("-"):
        yield from takes_value
    elif command == "reload" and _named(others, takes_value):
        return  # a directory, which the shell completes
    elif command in arguments.OF_A_RUN:
        yield from _runs(_root(others), word)
        if command == "logs":
            yield from _processes(others)


def _states(word: str) -> Iterator[str]:
    said, comma, _ = word.rpartition(",")
    yield from (f"{said}{comma}{state}" for state in STATES)


def _runs(root: Path, word: str) -> Iterator[str]:
    found = [run.name for run in reversed(find.runs(root))]  # the newest first
    yield from (find.LATEST,) if found else ()
    yield from (name.rpartition("/")[0] for name in found)
    yield from found
    if word[:1].isdigit():
        yield from (name.rpartition("/")[2] for name in found)


def _processes(others: Sequence[str]) -> Iterator[str]:
    """Names of the logs of the run that is named before, or of the newest."""
    root = _root(others)
    named = [item for item in others if not item.startswith("-") and item != str(root)]
    try:
        run = find.one(named[-1] if named else find.LATEST, root, Path.cwd())
    except ConfigError:
        return
    yield from (*planned.read(run.directory).logged, LAUNCHER)


def _named(others: Sequence[str], takes_value: Mapping[str, str]) -> list[str]:
    """The words that are neither options nor their values."""
    behind = zip(("", *others), others, strict=False)
    return [w for option, w in behind if not (w.startswith("-") or takes_value.get(option))]


def _root(others: Sequence[str]) -> Path:
    """The directory of the runs."""
    at = [i + 1 for i, item in enumerate(others) if item == "--runs" and i + 1 < len(others)]
    said = [item.partition("=")[2] for item in others if item.startswith("--runs=")]
    return Path(([others[i] for i in at] + said + [str(find.ROOT)])[0])
