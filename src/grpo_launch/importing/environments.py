"""Virtual environments and conda's: which one is active where a script launches something."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from grpo_launch.bash.directories import within
from grpo_launch.bash.script import Condition, Kind, Unknown, Value, joined
from grpo_launch.importing.branches import are_branches
from grpo_launch.importing.flags import shape
from grpo_launch.importing.shells import Placed
from grpo_launch.importing.wrappers import base

_CONDA = ("conda", "mamba", "micromamba")
_SOURCE = ("source", ".")
_BASE = "base"


@dataclass(frozen=True)
class Environment:
    """What is active.

    Attributes:
        name: of conda's environment, or a directory, as seen from where the script starts; empty:
            nothing is active.
        is_conda: whether it is a name.
        conditions: on which it was entered.
    """

    name: Value = field(default_factory=Value)
    is_conda: bool = False
    conditions: tuple[Condition, ...] = field(default=(), compare=False)


@dataclass
class Entered:
    """What a script has entered so far, in the order in which it did."""

    found: list[tuple[tuple[str, ...], Environment]] = field(
        default_factory=list[tuple[tuple[str, ...], Environment]]
    )

    def takes(self, one: Placed) -> bool:
        """Note what a call enters or leaves; whether it does."""
        if _defines_conda(one.bare.words):
            return True
        chosen = _chosen(one)
        if chosen is not None:
            self.found.append((one.shells, chosen))
        return chosen is not None

    def at(self, one: Placed) -> Environment:
        """What is active where a call is made.

        What only a condition lets the script enter counts as entered, but where another one is
        active if the condition does not hold.
        """
        if one.bare.conda or one.bare.prefix:
            return _of_run(one.bare.conda, one.bare.prefix)
        held = one.call.conditions
        usual = _of_run(one.conda, one.prefix)
        ways = [usual] if usual.name.parts else []
        for shells, entered in self.found:
            if one.shells[: len(shells)] != shells or are_branches(entered.conditions, held):
                continue
            if {*entered.conditions} <= {*held}:
                ways = []
            ways.append(entered)
        if not ways:
            return usual
        first, *others = dict.fromkeys(ways)
        if not others:
            return replace(first, name=first.name if first.is_conda else _seen(first.name, one))
        names = " or ".join(str(each.name) or "none" for each in (first, *others))
        return Environment(joined(Unknown(Kind.BRANCH, names)))


def _of_run(conda: str, prefix: str) -> Environment:
    """That of ``conda run``."""
    return Environment(joined(conda or prefix), conda != "")


def _defines_conda(words: Sequence[Value]) -> bool:
    """``source .../conda.sh``, which ``conda activate`` of a script needs."""
    is_sourced = len(words) > 1 and words[0].known in _SOURCE
    return is_sourced and PurePath(shape(words[1])).name in ("conda.sh", "mamba.sh")


def _chosen(one: Placed) -> Environment | None:
    """The environment that a call enters; none where it leaves one, None where it does neither."""
    words = one.bare.words
    name = base(words[0])
    if words[0].known in _SOURCE and len(words) > 1:
        return _sourced(one, words)
    if name == "deactivate":
        return Environment(conditions=one.call.conditions)
    if name not in _CONDA or len(words) < 2 or words[1].known not in ("activate", "deactivate"):
        return None
    if words[1].known == "deactivate":
        return Environment(conditions=one.call.conditions)
    rest = [word for word in words[2:] if not shape(word).startswith("-")]
    return _conda(one, rest[0] if rest else joined(_BASE))


def _sourced(one: Placed, words: Sequence[Value]) -> Environment | None:
    """That of ``source DIRECTORY/bin/activate``; of conda's ``source activate NAME``."""
    path = PurePath(shape(words[1]))
    if path.name != "activate":
        return None
    if len(words) > 2:
        return _conda(one, words[2])
    if path.parent.name != "bin":
        return None
    directory = _without_end(within(one.call.cwd, words[1]), "/bin/activate")
    return Environment(directory or joined("."), False, one.call.conditions)


def _conda(one: Placed, name: Value) -> Environment:
    if "/" not in shape(name):
        return Environment(name, True, one.call.conditions)
    return Environment(within(one.call.cwd, name), False, one.call.conditions)


def _without_end(value: Value, end: str) -> Value | None:
    *before, last = value.parts
    if not isinstance(last, str):
        return None
    return joined(*before, last.removesuffix(end)) if last != end.lstrip("/") else None


def _seen(name: Value, one: Placed) -> Value:
    """A directory as seen from where a call is made; not known where only the script knows it."""
    cwd = one.call.cwd
    first = name.parts[0] if name.parts else "/"
    if not isinstance(first, str) or first.startswith("/") or cwd.known == ".":
        return name
    where = cwd.known
    if where is None or name.known is None or where.startswith("/") or ".." in where.split("/"):
        return joined(Unknown(Kind.OTHER, f"{name} as seen from {cwd}"))
    return joined(posixpath.relpath(name.known, where))
