"""What an installed ms-swift registers is read from its source, where the launcher lacks a name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from grpo_launch.checks.examine import validate
from grpo_launch.config.compose import compose
from grpo_launch.config.facts import Facts
from grpo_launch.config.hydra import lookup
from grpo_launch.learners.swift import registries
from grpo_launch.learners.swift.plugin_source import ENVIRONMENTS, REWARDS, SCHEDULERS
from grpo_launch.learners.swift.registries import SHIPPED, Registries

WANTED = {REWARDS: {"bleu"}, SCHEDULERS: {"tree"}, ENVIRONMENTS: {"maze"}}


def fork(root: Path, files: dict[str, str]) -> list[Path]:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return [root / "nothing-here", root]


@pytest.mark.parametrize(
    ("file", "text", "registry", "names"),
    [
        ("swift/rewards/orm.py", "orms = {'bleu': 1, 'format': 2}", REWARDS, {"bleu", "format"}),
        ("swift/rewards/orm.py", "orms: dict = {'a': 1}\norms['b'] = 2", REWARDS, {"a", "b"}),
        ("swift/plugin/orm.py", "orms = {'bleu': 1}", REWARDS, {"bleu"}),
        ("swift/rollout/multi_turn.py", "multi_turns = {'tree': 1}", SCHEDULERS, {"tree"}),
        ("swift/plugin/multi_turn.py", "multi_turns = {'tree': 1}", SCHEDULERS, {"tree"}),
        ("swift/rollout/gym_env.py", "envs = {'maze': 1}", ENVIRONMENTS, {"maze"}),
        # What is not plain to see is not guessed.
        ("swift/rewards/orm.py", "orms = found()", REWARDS, None),
        ("swift/rewards/orm.py", "orms = {'a': 1, **more}", REWARDS, None),
        ("swift/rewards/orm.py", "orms = {}\norms[name] = 1", REWARDS, None),
        ("swift/rewards/orm.py", "moved = 1", REWARDS, None),
        ("swift/rewards/orm.py", "orms = {", REWARDS, None),
    ],
)
def test_a_fork_is_asked(
    tmp_path: Path, file: str, text: str, registry: str, names: set[str] | None
) -> None:
    found = registries.known(WANTED, lambda: fork(tmp_path, {file: text})).names
    assert found.get(registry) == names
    assert {key: value for key, value in found.items() if key != registry} == {
        key: value for key, value in SHIPPED.items() if key != registry
    }


def test_nothing_is_read_for_a_name_that_is_known() -> None:
    def roots() -> Iterable[Path]:
        raise AssertionError("looked at the machine")

    usual = {REWARDS: {"format"}, SCHEDULERS: {"gym_scheduler"}, ENVIRONMENTS: {"math_env"}}
    assert registries.known(usual, roots).names == SHIPPED
    assert registries.known(WANTED, tuple).names == SHIPPED


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (SHIPPED, ["x.yaml: rlhf.reward_funcs: 'bleu' is not a reward of ms-swift, and there are"]),
        ({**SHIPPED, REWARDS: frozenset({"bleu"})}, []),
        ({key: SHIPPED[key] for key in (SCHEDULERS, ENVIRONMENTS)}, []),
    ],
)
def test_a_rule_judges_by_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: dict[str, frozenset[str]],
    said: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)
    text = "model: {model: a/b}\ndata: {dataset: [c/d]}\nrlhf: {reward_funcs: [bleu]}\n"
    Path("x.yaml").write_text(text)
    config = compose("x", ["role=both", "runtime=current"])
    from grpo_launch.learners.swift.plugin_rules import Plugins

    facts = Facts.of(Registries(names), Plugins((), ()))
    found = [str(problem) for problem in validate(config, facts)]
    assert [line[: len(said[0])] if said else line for line in found] == said
