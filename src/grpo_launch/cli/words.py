"""The words of a command line: overrides, Hydra's flags, and the short form of ``role=``.

``check EXP`` is short for ``role=check config=EXP``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from grpo_launch.base import resources
from grpo_launch.config.hydra import hints

RUNS = "runs"
"""The first word that hands all others over to ``grpo-runs``."""

IMPORT = "import"
"""The first word that makes an experiment of scripts."""

HELP = "help"
"""The first word that is the flag ``--help``."""

FLAGS = {
    "--help": None,
    "--hydra-help": None,
    "--version": None,
    "--resolve": None,
    "--run": None,
    "--multirun": None,
    "--shell-completion": None,
    "--": None,
    "--package": (),
    "--config-path": (),
    "--config-name": (),
    "--config-dir": (),
    "--experimental-rerun": (),
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
"""Hydra's flags, and the values that each takes; empty: any, None: it takes no value."""

SHORT = {
    "-h": "--help",
    "-r": "--run",
    "-m": "--multirun",
    "-sc": "--shell-completion",
    "-p": "--package",
    "-cp": "--config-path",
    "-cn": "--config-name",
    "-cd": "--config-dir",
    "-c": "--cfg",
    "-i": "--info",
}
"""Hydra's short flags, and what they are short for."""

_OPTIONAL = "--info"
"""The one flag whose value may be left out."""

_MEANINGS = {"advise": ("run",), "explain": ("config", "key")}
"""What words behind a role stand for, in order; behind any other it is the experiment alone."""


class Kind(Enum):
    """What a word is."""

    OVERRIDE = auto()
    FLAG = auto()
    VALUE = auto()
    BARE = auto()


@dataclass(frozen=True)
class Word:
    """A word of the command line.

    Attributes:
        text: as typed; a flag of Hydra by its long name.
        kind: what it is; a value is that of the flag before it.
    """

    text: str
    kind: Kind


def split(arguments: Sequence[str]) -> list[Word]:
    """The words of a command line, a value told from what stands alone."""
    words: list[Word] = []
    for argument in arguments:
        flag = words[-1].text if words and words[-1].kind is Kind.FLAG else ""
        if argument.startswith("-"):
            words.append(Word(_long(argument), Kind.FLAG))
        elif _takes(flag, argument):
            words.append(Word(argument, Kind.VALUE))
        elif "=" in argument or argument.startswith("~"):
            words.append(Word(argument, Kind.OVERRIDE))
        else:
            words.append(Word(argument, Kind.BARE))
    return words


def expanded(arguments: Sequence[str]) -> list[str]:
    """A command line without its short form, and with Hydra's flags by their long names.

    A role stands first; the word behind it is the experiment, whatever it is called. What
    an override says already is not said again: such a word stays as it is.
    """
    words = split(arguments)
    bare = [i for i, word in enumerate(words) if word.kind is Kind.BARE]
    texts = [word.text for word in words]
    keys = {hints.key_of(word.text) for word in words if word.kind is Kind.OVERRIDE}
    if bare and texts[bare[0]] in roles() and "role" not in keys:
        meant = ("role", *meanings(texts[bare[0]]))
        for place, key in zip(bare, meant, strict=False):
            if key not in keys:
                texts[place] = _override(key, texts[place])
    return texts


def meanings(role: str) -> tuple[str, ...]:
    """The keys that words behind a role stand for."""
    return _MEANINGS.get(role, ("config",))


def roles() -> list[str]:
    """What a command line can begin with, ``runs`` not among it."""
    return sorted(path.stem for path in resources.path("conf/role").glob("*.yaml"))


def _override(key: str, word: str) -> str:
    if key == "config":
        word = ",".join(hints.as_name(part) for part in word.split(","))
    return f"{key}={word}"


def _takes(flag: str, argument: str) -> bool:
    """Whether an argument is the value of the flag before it."""
    if flag not in FLAGS:  # nobody knows; it would be no override
        return flag.startswith("-") and "=" not in f"{flag}{argument}" and argument[:1] != "~"
    choices = FLAGS[flag]
    return choices is not None and (flag != _OPTIONAL or argument in choices)


def _long(flag: str) -> str:
    """A flag of Hydra by its long name, as ``argparse`` reads it; another one as it is."""
    name, equals, value = flag.partition("=")
    if name in SHORT:
        return f"{SHORT[name]}{equals}{value}"
    if name.startswith("--"):
        matches = [known for known in FLAGS if known.startswith(name)] if len(name) > 2 else []
        return f"{matches[0]}{equals}{value}" if len(matches) == 1 else flag
    short = SHORT.get(flag[:2])
    return f"{short}={flag[2:]}" if short and FLAGS[short] is not None else flag


def unread(words: Sequence[Word]) -> Iterator[tuple[Word, str | None]]:
    """The words that nobody understands, each flag with its value."""
    for word, following in zip(words, (*words[1:], None), strict=True):
        name, equals, value = word.text.partition("=")
        after = following.text if following and following.kind is Kind.VALUE else None
        if word.kind is Kind.BARE:
            yield word, None
        elif word.kind is Kind.FLAG and not _is_good(name, value if equals else after):
            yield Word(name, Kind.FLAG), value if equals else after


def _is_good(flag: str, value: str | None) -> bool:
    if flag not in FLAGS:
        return False
    choices = FLAGS[flag]
    if choices is None or value is None:
        return (value is None) == (choices is None) or flag == _OPTIONAL
    return not choices or value in choices
