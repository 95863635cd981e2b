"""What a plugin registers, from its source: as people write it, and what is not to be known."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.learners.swift.plugin_source import ENVIRONMENTS, SCHEDULERS, Plugin, read

IMPORT = "from swift.rollout.gym_env import Env, envs\n"


def source(directory: Path, text: str) -> Plugin:
    (directory / "p.py").write_text(text)
    return read("p.py", directory)


@pytest.mark.parametrize(
    "text",
    [
        'envs["a"] = A',
        'envs["a"]: type = A',
        'envs.update({"a": A})',
        "envs.update(a=A)",
        'envs.setdefault("a", A)',
        'envs |= {"a": A}',
        'NAME = "a"\nenvs[NAME] = A',
        'if True:\n    envs["a"] = A',
        'def register():\n    envs["a"] = A\nregister()',
        'import swift.rollout.gym_env\nswift.rollout.gym_env.envs["a"] = A',
        'from swift.rollout import gym_env\ngym_env.envs["a"] = A',
        'from swift.rollout.gym_env import envs as E\nE["a"] = A',
        'if "a" not in envs:\n    envs["a"] = A\nprint(envs["a"], envs.get("b"), *envs.keys())',
    ],
)
def test_a_registration_is_found(tmp_path: Path, text: str) -> None:
    found = source(tmp_path, IMPORT + text)
    assert found.registered == {ENVIRONMENTS: {"a"}, SCHEDULERS: frozenset()}
    assert (found.unread, found.fault, found.missing) == ({}, None, False)


def test_both_registries_are_told_apart(tmp_path: Path) -> None:
    text = 'envs["a"] = A\nmulti_turns["b"] = B\nmulti_turns.update({"c": C, "d": D})'
    assert source(tmp_path, text).registered == {ENVIRONMENTS: {"a"}, SCHEDULERS: {"b", "c", "d"}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("for n in names():\n    envs[n] = A", "p.py computes a name at line 2"),
        ('envs[f"{x}_env"] = A', "p.py computes a name at line 1"),
        ("envs.update(load())", "p.py computes a name at line 1"),
        ("envs.update({**more})", "p.py computes a name at line 1"),
        ("envs.update(**more)", "p.py computes a name at line 1"),
        ("envs |= more", "p.py computes a name at line 1"),
        ("fill(envs)", "p.py uses envs at line 1"),
        ('registry = envs\nregistry["a"] = A', "p.py uses envs at line 1"),
        ("import cards\ncards.register()", "p.py imports cards"),
        ("from cards.envs_of_ours import *", "p.py imports cards.envs_of_ours"),
        ("from . import cards", "p.py imports ."),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, text: str, reason: str) -> None:
    assert source(tmp_path, text).unread[ENVIRONMENTS] == reason


def test_a_plugin_that_registers_itself_is_read_whole_whatever_it_imports(tmp_path: Path) -> None:
    found = source(tmp_path, f'import pyspiel\nimport cards\n{IMPORT}envs["a"] = A\n')
    assert found.unread == {}


def test_a_plugin_may_bring_an_environment_beside_a_reward() -> None:
    found = read("examples/digits/plugin.py", Path("/"))
    assert found.registered == {ENVIRONMENTS: frozenset({"digits"}), SCHEDULERS: frozenset()}


def test_a_plugin_of_rewards_registers_no_environment() -> None:
    found = read("examples/summary/plugin.py", Path("/"))
    assert found.registered == {ENVIRONMENTS: frozenset(), SCHEDULERS: frozenset()}
    assert (found.unread, found.fault, found.missing) == ({}, None, False)


def test_faults_are_facts(tmp_path: Path) -> None:
    assert read("no.py", tmp_path) == Plugin("no.py", missing=True)
    assert source(tmp_path, "def f(:\n").fault == "line 1: invalid syntax"
    (tmp_path / "long.py").write_text("x = 1\n" * 200_000)
    assert read("long.py", tmp_path).unread[ENVIRONMENTS] == "long.py is too long to be read"
    odd = read("a\0b", tmp_path)
    assert odd.missing or odd.unread


def test_a_warning_of_the_parser_is_not_shown(tmp_path: Path) -> None:
    text = 'envs["a"] = A\npattern = "\\d"\nx = 1 is 1\n'
    assert source(tmp_path, text).registered[ENVIRONMENTS] == {"a"}


@given(text=st.text(max_size=60) | st.binary(max_size=60).map(lambda b: b.decode("latin-1")))
def test_any_text_is_survived(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("plugin")
    (directory / "p.py").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert read("p.py", directory).name == "p.py"


@given(names=st.lists(st.text(max_size=8), max_size=4))
def test_every_literal_name_is_found(
    names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("plugin")
    lines = [f"envs[{name!a}] = A\n" for name in names]
    assert source(directory, "".join(lines)).registered[ENVIRONMENTS] == set(names)


def test_a_module_beside_it_that_knows_the_engine_may_register_more(tmp_path: Path) -> None:
    text = "import my_envs\nmulti_turns['own'] = A\n"
    (tmp_path / "my_envs.py").write_text("import game\n")
    assert not source(tmp_path, text).unread
    (tmp_path / "my_envs.py").write_text(f"{IMPORT}envs['game'] = A\n")
    found = source(tmp_path, text)
    assert found.registered[SCHEDULERS] == {"own"}
    assert "imports my_envs" in found.unread[ENVIRONMENTS]
