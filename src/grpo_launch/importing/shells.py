"""The calls of a script, with those that another shell or a terminal is told to run."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from grpo_launch import bash
from grpo_launch.bash.directories import within
from grpo_launch.bash.script import Call, Value, joined
from grpo_launch.errors import ConfigError
from grpo_launch.importing.wrappers import Unwrapped, base, unwrapped

SHELLS = frozenset(("bash", "sh", "zsh"))

_TEXT = re.compile(r"-[a-z]*c")
_TYPES = {"tmux": ("send-keys", "send"), "screen": ("stuff",)}
"""How a terminal that is there already is told to run something."""

_NAMES_ONE = ("-t", "-S")
_RETURN = re.compile(r"(C-m|Enter|ENTER|KPEnter|\^M|\\[nr]|\$\(printf .*\)|[\n\r])+$")


@dataclass(frozen=True)
class Placed:
    """A call, and where it is made.

    Attributes:
        at: its number among the calls of the script, that of the shell where a shell is given it.
        call: the call.
        bare: it without wrappers.
        shells: those that it is made in, the outermost first: what one of them enters, no other
            does, but for those that it starts later.
        conda: the environment that the shell which is given it is started in; empty: none.
        prefix: the same, as a directory.
    """

    at: int
    call: Call
    bare: Unwrapped
    shells: tuple[str, ...]
    conda: str = ""
    prefix: str = ""


def placed(calls: Iterable[Call], name: str) -> Iterator[Placed]:
    """The calls of a script in their order, those of a text in place of the one that runs it.

    Args:
        calls: of the script.
        name: of the script, for messages.
    """
    typed: dict[str, str] = {}
    for at, call in enumerate(calls):
        call, bare = _opened(call, unwrapped(call.words))
        terminal, text = _told(bare)
        inner = _inner(call, bare, typed.get(terminal, ""), text, name) if text else None
        if terminal:
            typed[terminal] = f"{typed.get(terminal, '')}{text}\n"
        if inner is None and not _opens_terminal(bare, text):
            yield Placed(at, call, bare, tuple(map(str, call.shells)))
        for one in inner or ():
            around = (*map(str, call.shells), terminal or f"text {at}", *map(str, one.shells))
            yield Placed(at, one, unwrapped(one.words), around, bare.conda, bare.prefix)


def _opened(call: Call, bare: Unwrapped) -> tuple[Call, Unwrapped]:
    """A call with what ``tmux new-session -c DIRECTORY -e X=VALUE`` gives to its text."""
    if not bare.words or base(bare.words[0]) != "tmux":
        return call, bare
    environ = dict(bare.environ)
    for option, value in itertools.pairwise(bare.words[1:]):
        if option.known == "-c":
            call = replace(call, cwd=within(call.cwd, value))
        elif option.known == "-e":
            name, equals, _ = str(value).partition("=")
            if equals and isinstance(value.parts[0], str):
                rest = value.parts[0].partition("=")[2]
                environ[name] = joined(rest, *value.parts[1:])
    return call, replace(bare, environ=environ)


def _opens_terminal(bare: Unwrapped, text: str) -> bool:
    """Whether a call only opens a terminal, or looks at one."""
    return text == "" and bare.words != () and base(bare.words[0]) in _TYPES


def behind_c(words: Sequence[Value]) -> Value | None:
    """What stands behind ``-c`` of a shell."""
    at = next((n for n, word in enumerate(words) if _TEXT.fullmatch(word.known or "")), len(words))
    return words[at + 1] if at + 1 < len(words) else None


def _told(bare: Unwrapped) -> tuple[str, str]:
    """The terminal that is there already and is told something, and the text that is run.

    Both are empty where there is none.
    """
    words = [word.known or "" for word in bare.words]
    if not words or bare.before:  # srun and the like start it elsewhere, or several times
        return "", ""
    name = base(bare.words[0])
    if name in SHELLS:
        word = behind_c(bare.words)
        return "", (word.known or "") if word is not None else ""
    if name not in _TYPES:
        return "", ""
    at = next((n for n, word in enumerate(words) if word in _TYPES[name]), None)
    if at is None:
        return "", next((text for text in reversed(words[1:]) if " " in text.strip()), "")
    target = next((b for a, b in itertools.pairwise(words) if a in _NAMES_ONE), "")
    rest = [*words[at + 1 :]]
    while rest and rest[0].startswith("-"):
        rest = rest[2 if rest[0] in _NAMES_ONE else 1 :]
    return f"{name} {target}", _RETURN.sub("", " ".join(rest)).strip()


def _inner(call: Call, bare: Unwrapped, before: str, text: str, name: str) -> Sequence[Call] | None:
    """The calls of a text, with what they have from the one that runs it; None: it is no script.

    Args:
        call: it.
        bare: it without wrappers.
        before: the lines that the same terminal has run already.
        text: the text.
        name: of the script, for messages.
    """
    environ = {**call.environ, **bare.environ}
    environ = {name: value for name, value in environ.items() if name not in bare.unset}
    known = {k: v.known for k, v in environ.items() if v.known is not None}
    unknown = {k: v for k, v in environ.items() if v.known is None}
    try:
        script = bash.read(f"{before}{text}".encode(), name, settings=known)
    except ConfigError:
        return None
    first = before.count("\n")
    return [
        replace(
            inner,
            line=call.line + inner.line - 1 - first,
            end=call.line + inner.end - 1 - first,
            environ={**unknown, **inner.environ},
            cwd=call.cwd if inner.cwd.known == "." else within(call.cwd, inner.cwd),
            background=call.background or inner.background or base(bare.words[0]) in _TYPES,
            redirects=(*call.redirects, *inner.redirects),
            conditions=(*call.conditions, *inner.conditions),
            repeated=call.repeated or inner.repeated,
            unset=(*call.unset, *bare.unset, *inner.unset),
        )
        for inner in script.calls
        if inner.line > first
    ]
