"""A launch imports to the same plan, in however many ways it is written in bash."""

from __future__ import annotations

import random
import shlex
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.engines.flags import Flag
from grpo_launch.engines.swift.flags import FLAGS as ENGINE_FLAGS
from grpo_launch.learners.swift.flags import SFT
from tests.effort import costly
from tests.importing.imports import imported

_TEXT = st.text("abcXYZ019 _-./#'\"$`\\{}[]*?!&;|<>()~=,%@", min_size=1, max_size=12).filter(
    lambda text: not text.startswith("-") and text.strip() == text
)
_NOT_ALONE = ("model", "dataset", "host", "port", "rlhf_type", "config", "args")


def _words(flag: Flag) -> st.SearchStrategy[list[str]]:
    if flag.choices:
        return st.sampled_from(flag.choices).map(lambda word: [word])
    one: dict[str, st.SearchStrategy[str]] = {
        "int": st.integers(0, 99).map(str),
        "float": st.sampled_from(("0.5", "1e-6", "2.0")),
        "bool": st.sampled_from(("true", "false")),
        "str": _TEXT,
    }
    words = one[flag.kind]
    return st.lists(words, min_size=1, max_size=3) if flag.is_list else words.map(lambda w: [w])


def _flags(table: dict[str, Flag]) -> st.SearchStrategy[dict[str, list[str]]]:
    usual = {
        name: flag
        for name, flag in table.items()
        if flag.kind in ("int", "float", "bool", "str")
        and name not in _NOT_ALONE
        and not any(
            part in name for part in ("token", "key", "secret", "host", "port", "deepspeed")
        )
    }
    names = st.lists(st.sampled_from(sorted(usual)), max_size=5, unique=True)
    return names.flatmap(
        lambda chosen: st.fixed_dictionaries({name: _words(usual[name]) for name in chosen})
    )


_SERVER = _flags(dict(ENGINE_FLAGS.shipped().table.flags))
_LEARNER = _flags(dict(SFT.shipped().table.flags))


class Writer:
    """Writes a launch in one of many ways."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.before: list[str] = []

    def word(self, text: str) -> str:
        """One word, quoted somehow, or from a variable."""
        way = self.random.randrange(4)
        if way == 0:
            name = f"V{len(self.before)}"
            self.before.append(f"{name}={shlex.quote(text)}")
            return f'"${{{name}}}"'
        if way == 1:
            escaped = "".join("\\" + c if c in '"$`\\' else c for c in text)
            return f'"{escaped}"'
        if way == 2:
            return "".join("\\" + c if not c.isalnum() else c for c in text)
        return shlex.quote(text)

    def script(self, program: str, flags: dict[str, list[str]], environ: dict[str, str]) -> str:
        """The script."""
        items = [*flags.items()]
        self.random.shuffle(items)
        words: list[str] = []
        for name, values in items:
            said = [*map(self.word, values)]
            is_equals = len(said) == 1 and self.random.random() < 0.3
            words += [f"--{name}={said[0]}"] if is_equals else [f"--{name}", *said]
        if self.random.random() < 0.5:
            cut = self.random.randrange(len(words) + 1)
            self.before.append(f"ARGS=({' '.join(words[:cut])})")
            words = ['"${ARGS[@]}"', *words[cut:]]
        exports, prefixes = list[str](), list[str]()
        for name, value in environ.items():
            said = f"{name}={self.word(value)}"
            prefixes += [said] if self.random.random() < 0.5 else []
            exports += [] if prefixes[-1:] == [said] else [f"export {said}"]
        between = self.random.choice((" ", " \\\n  "))
        start = self.random.choice(("", "nohup ", "exec ", "env "))
        line = between.join([*prefixes, f"{start}{program}", *words])
        body = "\n".join([*self.before, *exports, line])
        if self.random.random() < 0.3:
            body = f"launch() {{\n{body}\n}}\nlaunch"
        return f"{body}\n"


@pytest.mark.slow
@costly
@given(
    st.sampled_from((("swift rollout", _SERVER), ("swift sft", _LEARNER))).flatmap(
        lambda kind: st.tuples(st.just(kind[0]), kind[1])
    ),
    st.dictionaries(st.sampled_from(("A", "B_C", "NCCL_DEBUG")), _TEXT, max_size=2),
    st.integers(0, 2**32),
)
def test_a_launch_written_in_any_way_is_the_same_experiment(
    launch: tuple[str, dict[str, list[str]]], environ: dict[str, str], seed: int
) -> None:
    program, some = launch
    flags = {"model": ["some/model"], **some}
    line = " ".join(
        [program, *(w for n, v in flags.items() for w in (f"--{n}", *map(shlex.quote, v)))]
    )
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environ.items())
    with tempfile.TemporaryDirectory() as directory:
        first = imported(Path(directory), {"script.sh": f"{exports}{line}\n"})
        other = imported(
            Path(directory), {"script.sh": Writer(seed).script(program, flags, environ)}
        )
    assert first.status == 0, first.said
    assert other.verdict == first.verdict, other.said
    assert other.keys == first.keys
