"""Shell completion: Hydra's own, with the command line that it can read.

The shell asks with ``grpo-launch -sc query=bash`` and the line in ``COMP_LINE``.
Hydra takes the ``-m`` of ``python -m grpo_launch`` for ``--multirun``, stops at a
flag among the overrides, completes no key before the role and the experiment are said,
and knows no short form (``check EXP``); the line is rewritten so that none of this matters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path

from grpo_launch.cli import words
from grpo_launch.cli.words import Kind
from grpo_launch.config.formats import document
from grpo_launch.config.hydra import hints, lookup, source

_FLAGS = ("-sc", "--shell-completion")
_LINE = "COMP_LINE"
_POINT = "COMP_POINT"
_PROGRAM = re.compile(r"\s*(?:\S*python[\d.]*\s+(?:\S+\s+)*?-m\s+grpo_launch|\S+)(?!\S)")

_BASH_INSTALL = """\
_grpo_launch_module() {
    [[ $COMP_LINE =~ -m\\ +grpo_launch\\  ]] || return
    local choices
    choices=$(COMP_LINE=$COMP_LINE COMP_POINT=$COMP_POINT \\
        "${COMP_WORDS[0]}" -m grpo_launch -sc query=bash 2> /dev/null)
    COMPREPLY=($(compgen -W "$choices" -- "${COMP_WORDS[COMP_CWORD]}"))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o bashdefault -o default -F _grpo_launch_module python python3"""

_BASH_UNINSTALL = """\
complete -r python python3
unset -f _grpo_launch_module"""

_FISH_INSTALL = """\
function _grpo_launch_module
    set -l words (commandline -cpo)
    env COMP_LINE=(commandline -cp | string collect) $words[1] -m grpo_launch -sc query=fish
end
for python in python python3
    complete -c $python -n 'string match -qr -- "-m +grpo_launch " (commandline -cp)' \\
        -f -a '(_grpo_launch_module)'
end"""

_FISH_UNINSTALL = """\
complete -e -c python
complete -e -c python3
functions -e _grpo_launch_module"""

_MODULE_SCRIPTS = {
    "install=bash": _BASH_INSTALL,
    "install=zsh": _BASH_INSTALL,  # which zsh reads with bashcompinit, as Hydra's own
    "install=fish": _FISH_INSTALL,
    "uninstall=bash": _BASH_UNINSTALL,
    "uninstall=zsh": _BASH_UNINSTALL,
    "uninstall=fish": _FISH_UNINSTALL,
}


def is_asked(arguments: Sequence[str]) -> bool:
    """Whether the arguments are about completion: install, uninstall or query."""
    return any(flag in arguments for flag in _FLAGS)


def is_query(arguments: Sequence[str]) -> bool:
    """Whether a shell asks what may follow; it shows whatever is printed."""
    return is_asked(arguments) and any(item.startswith("query=") for item in arguments)


def module_script(arguments: Sequence[str], program: str) -> str | None:
    """The text that a shell evaluates for ``python -m grpo_launch``.

    Args:
        arguments: ``-sc install=bash``, for example.
        program: ``sys.argv[0]``.

    Returns:
        None for the console script and for anything else than (un)installing: that
        is Hydra's to answer.
    """
    if not program.endswith("__main__.py"):
        return None
    return next((_MODULE_SCRIPTS[item] for item in arguments if item in _MODULE_SCRIPTS), None)


def rewrite_line(environ: MutableMapping[str, str]) -> None:
    """Rewrite ``COMP_LINE``, up to the cursor, to what Hydra reads."""
    if _LINE in environ:
        environ[_LINE] = rewritten(environ[_LINE], environ.get(_POINT, ""))


def rewritten(line: str, point: str = "") -> str:
    """A command line that is being typed as Hydra must see it.

    Args:
        line: with the program, ``python -m grpo_launch role=both confi``.
        point: the cursor's offset in bytes; empty: the end.

    Returns:
        ``grpo-launch OVERRIDES WORD``: no flags, no short form, and a role and an experiment,
        or its absence, where none is said, or one that would have to be run. ``WORD`` is what
        is being completed.
    """
    before, word = _typed(line, point)
    typed = words.split(words.expanded(before))
    said = [item.text for item in typed if item.kind is Kind.OVERRIDE and not _runs(item.text)]
    keys = {hints.key_of(item) for item in said}
    absent = [
        item for key, item in (("role", "role=check"), ("config", "~config")) if key not in keys
    ]
    return " ".join(["grpo-launch", *absent, *hints.for_hydra(said), word])


def short_words(environ: Mapping[str, str]) -> list[str]:
    """What may stand without a key where the cursor is: a role, or the experiment behind it."""
    before, word = _typed(environ.get(_LINE, ""), environ.get(_POINT, ""))
    if "=" in word or word[:1] in ("-", "+", "~"):
        return []
    typed = words.split(words.expanded(before))
    overrides = [item.text for item in typed if item.kind is Kind.OVERRIDE]
    said = {hints.key_of(item): item.partition("=")[2] for item in overrides}
    if any(item.kind is Kind.BARE for item in typed):
        return []
    if "role" not in said:
        offered = [*words.roles(), words.RUNS, words.IMPORT, words.HELP]
    elif "config" in words.meanings(said["role"]) and "config" not in said:
        bases = (lookup.Base(base, Path.cwd()) for base in source.bases())
        offered = sorted({name for base in bases for name in base.names()})
    else:
        return []
    return [name for name in offered if name.startswith(word)]


def _runs(override: str) -> bool:
    """Whether composing an override would run a file: what is typed is not named for that yet."""
    names = hints.unquoted(override.partition("=")[2]).split(",")
    return hints.key_of(override) == "config" and any(x.endswith(document.PYTHON) for x in names)


def is_of_runs(environ: Mapping[str, str]) -> bool:
    """Whether the line is one of ``grpo-runs`` or of an import, which Hydra knows nothing of."""
    first = _typed(environ.get(_LINE, ""), environ.get(_POINT, ""))[0][:1]
    return first in ([words.RUNS], [words.IMPORT])


def _typed(line: str, point: str) -> tuple[list[str], str]:
    """The words before the one that is being completed, without the program, and that one."""
    if point.isdecimal():
        line = line.encode()[: int(point)].decode(errors="ignore")
    typed = _PROGRAM.sub("", line, count=1).split()
    word = typed.pop() if typed and not line[-1].isspace() else ""
    return typed, word
