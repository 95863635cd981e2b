"""The rules of episodes: what they find, where they stay silent, what they cannot know."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.base import resources
from grpo_launch.base.host import Host
from grpo_launch.checks import gather as gathering
from grpo_launch.checks.examine import Outcome, Severity, examine, validate
from grpo_launch.config.compose import compose
from grpo_launch.config.facts import Facts
from grpo_launch.config.hydra import lookup
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.rule import Context
from grpo_launch.learners.swift.batches import rewards
from grpo_launch.learners.swift.dataset_rows import Rows
from grpo_launch.learners.swift.episodes import Episodes, GymFacts
from grpo_launch.learners.swift.gym import GYM_RULES
from grpo_launch.learners.swift.plugin_source import ENVIRONMENTS, SCHEDULERS, Plugin

GOOD: dict[str, Any] = {
    "data": {"dataset": ["d.jsonl"]},
    "rlhf": {"use_gym_env": True, "vllm_server_pass_dataset": True},
    "server": {
        "external_plugins": ["p.py"],
        "multi_turn_scheduler": "gym_scheduler",
        "use_gym_env": True,
        "gym_env": "cards",
        "max_turns": 4,
    },
}
PLUGIN = Plugin("p.py", registered={ENVIRONMENTS: frozenset({"cards"}), SCHEDULERS: frozenset()})
ROWS = Rows("d.jsonl", lines=8, names=(("cards", 1),))
FACTS = GymFacts(rows=(ROWS,), plugins=(PLUGIN,))
SERVER = "custom.extra.rollout_server"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(lookup.SETTING, raising=False)


def config(changes: dict[str, Any] | None = None) -> LaunchConfig:
    """GOOD with changes by dotted key; None removes a key."""
    blocks = {name: dict(block) for name, block in GOOD.items()}
    for key, value in (changes or {}).items():
        section, name = key.split(".")
        blocks[section][name] = value
        if value is None:
            del blocks[section][name]
    server = blocks.pop("server")
    custom = {"extra": {"rollout_server": server}}
    Path("x.yaml").write_text(yaml.safe_dump({**blocks, "custom": custom}))
    return compose("x")


def found(changes: dict[str, Any], facts: GymFacts = FACTS) -> list[str]:
    """The problems of the rules about episodes, warnings marked."""
    problems = [problem for outcome in outcomes(changes, facts) for problem in outcome.problems]
    marks = {Severity.ERROR: "", Severity.WARNING: "warning: "}
    return [marks[p.severity] + str(p).removeprefix("x.yaml: ") for p in problems]


def skipped(changes: dict[str, Any], facts: GymFacts) -> dict[str, str]:
    return {o.rule: o.skipped for o in outcomes(changes, facts) if o.skipped}


def outcomes(changes: dict[str, Any], facts: GymFacts) -> list[Outcome]:
    said = config(changes)
    context = Context.of(said, Facts.of(facts))
    return [rule.check(context) for rule in GYM_RULES if rule.when(said)]


SILENT: list[dict[str, Any]] = [
    {},
    {"server.vllm_use_async_engine": True},
    {"server.use_gym_env": None},  # gym_env means it
    {"rlhf.use_gym_env": None},  # the learner asks the server
    {"rlhf.use_gym_env": None, "rlhf.gym_env": "cards"},
    {"server.gym_env": None, "server.use_gym_env": None},  # the rows name it, the learner is told
    {"rlhf.max_turns": 4, "rlhf.multi_turn_scheduler": "gym_scheduler"},
    {"rlhf.vllm_server_pass_dataset": "true"},
    {"rlhf.vllm_server_pass_dataset": None, "rlhf.multi_turn_scheduler": "gym_scheduler"},
    {"rlhf.completion_length_limit_scope": "per_round"},
    {"data.dataset": "d.jsonl#4"},
]


@pytest.mark.parametrize("changes", SILENT, ids=str)
def test_what_works_is_left_alone(changes: dict[str, Any]) -> None:
    assert found(changes) == []


NO_REWARD = {"server.gym_env": None, "server.use_gym_env": None, "rlhf.use_gym_env": None}
FOUND: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"server.multi_turn_scheduler": None},
        [
            (
                f"{SERVER}.gym_env: is set, but without {SERVER}.multi_turn_scheduler no "
                f"environment is asked, set {SERVER}.multi_turn_scheduler to gym_scheduler"
            )
        ],
    ),
    (
        {"server.vllm_use_async_engine": False},
        [
            (
                f"{SERVER}.vllm_use_async_engine: is false, but 'gym_scheduler' needs the "
                "asynchronous "
                "engine, set it to true or remove it"
            )
        ],
    ),
    (
        {"server.multi_turn_scheduler": "gym", "server.gym_env": "card"},
        [
            (
                f"{SERVER}.multi_turn_scheduler: 'gym' is not a scheduler of ms-swift or of p.py, "
                "use one"
                " of gym_scheduler, math_tip_trick, openenv_scheduler, thinking_tips_scheduler"
            ),
            (
                f"{SERVER}.gym_env: 'card' is not an environment of ms-swift or of p.py, "
                "did you mean cards?"
            ),
        ],
    ),
    (
        {"rlhf.vllm_server_pass_dataset": False},
        [
            (
                "rlhf.vllm_server_pass_dataset: is false, so the environment on the server "
                "gets no column of a row, not even env_config, set it to true"
            )
        ],
    ),
    (
        {"rlhf.use_gym_env": False},
        [
            (
                "warning: rlhf.use_gym_env: is false, so the reward of the environment is dropped, "
                "set it to true"
            )
        ],
    ),
    (
        {"server.use_gym_env": False},
        [
            (
                f"{SERVER}.use_gym_env: is false, so the scheduler does not get gym_env "
                "'cards', set it"
                " to true or remove it"
            )
        ],
    ),
    (
        {"server.use_gym_env": False, "server.gym_env": None},
        [
            (
                f"warning: {SERVER}.use_gym_env: is false, but rlhf.use_gym_env is true, which "
                "counts, "
                "remove it"
            )
        ],
    ),
    (
        {"rlhf.reward_funcs": ["a.b"], "rlhf.reward_weights": [1, 2]},
        [
            (
                "warning: rlhf.reward_funcs: a.b count beside the environment's reward, which "
                "is the "
                "last one, remove them, or set reward_weights for all"
            )
        ],
    ),
    (
        {"rlhf.multi_turn_scheduler": "math_tip_trick"},
        [
            (
                "warning: rlhf.multi_turn_scheduler: 'math_tip_trick' has no effect: "
                f"{SERVER}.multi_turn_scheduler counts, and is 'gym_scheduler', remove it, or "
                "set it there"
            )
        ],
    ),
    (
        {"server.max_turns": None, "rlhf.max_turns": 9},
        [
            (
                f"warning: rlhf.max_turns: 9 has no effect: {SERVER}.max_turns counts, and is not "
                "set, remove it, or set it there"
            )
        ],
    ),
    ({"data.dataset": None}, ["data.dataset: is not set, name the rows that are played"]),
]


@pytest.mark.parametrize(("changes", "messages"), FOUND, ids=[str(c) for c, _ in FOUND])
def test_what_fails_later_is_found(changes: dict[str, Any], messages: list[str]) -> None:
    facts = GymFacts(rows=() if "data.dataset" in changes else (ROWS,), plugins=(PLUGIN,))
    assert found(changes, facts) == messages


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (Rows("d.jsonl", missing=True), "d.jsonl does not exist, correct the path, or create it"),
        (Rows("d.jsonl"), "d.jsonl has no rows, add some"),
        (
            Rows("d.jsonl", lines=3, unreadable=4, whole=False),
            "d.jsonl:4 is not a JSON object, write one object a line",
        ),
        (
            Rows("d.jsonl", lines=9, without=2, first_without=5),
            (
                "2 of 9 rows of d.jsonl have no env_config (a mapping), the first at line 5, "
                "give each row one"
            ),
        ),
        (
            Rows("d.jsonl", lines=20000, without=2, first_without=5, whole=False),
            (
                "2 of the first 20000 rows of d.jsonl have no env_config (a mapping), the first at "
                "line 5, give each row one"
            ),
        ),
        (
            Rows("d.jsonl", lines=1, names=(("card", 1),)),
            (
                "env_config at d.jsonl:1 names 'card', not an environment of ms-swift or of p.py, "
                "did you mean cards?"
            ),
        ),
    ],
)
def test_what_is_wrong_with_the_rows_is_said_with_their_line(rows: Rows, message: str) -> None:
    assert found({}, GymFacts((rows,), (PLUGIN,))) == [f"data.dataset: {message}"]


def test_rows_must_name_an_environment_where_the_server_names_none() -> None:
    rows = Rows("d.jsonl", lines=3, nameless=2)
    assert found({"server.gym_env": None}, GymFacts((rows,), (PLUGIN,))) == [
        (
            f"data.dataset: env_config at d.jsonl:2 names no environment, and {SERVER}.gym_env is "
            f"not set, set {SERVER}.gym_env"
        )
    ]


def test_the_environment_of_ms_swift_needs_no_env_config() -> None:
    rows = Rows("d.jsonl", lines=3, without=3, first_without=1)
    assert found({"server.gym_env": "math_env"}, GymFacts((rows,), (PLUGIN,))) == []


def test_a_scheduler_without_environment_needs_no_env_config_and_no_rows_on_the_server() -> None:
    changes = {
        **NO_REWARD,
        "server.multi_turn_scheduler": "math_tip_trick",
        "rlhf.vllm_server_pass_dataset": None,
        "rlhf.reward_funcs": ["a.b"],
    }
    rows = Rows("d.jsonl", lines=3, without=3, first_without=1)
    assert found(changes, GymFacts((rows,), (PLUGIN,))) == []


def test_a_scheduler_of_the_learner_plays_where_the_server_has_none() -> None:
    changes = {
        "server.multi_turn_scheduler": None,
        "server.gym_env": None,
        "server.use_gym_env": None,
        "server.max_turns": None,
        "rlhf.multi_turn_scheduler": "gym_scheduler",
        "rlhf.gym_env": "card",
        "rlhf.external_plugins": "p.py",
        "rlhf.vllm_server_pass_dataset": None,
    }
    assert found(changes) == [
        "rlhf.gym_env: 'card' is not an environment of ms-swift or of p.py, did you mean cards?"
    ]


def test_without_episodes_nothing_is_judged() -> None:
    changes = {
        f"server.{name}": None for name in ("multi_turn_scheduler", "gym_env", "use_gym_env")
    }
    said = config({**changes, "rlhf.use_gym_env": None})
    assert not Episodes.of(said).played
    names = {outcome.rule for outcome in examine(said)}
    assert not names & {rule.name for rule in GYM_RULES}


# What could not be judged


def test_what_was_not_looked_at_is_skipped_not_passed() -> None:
    assert skipped({}, GymFacts()) == {
        "plugins_exist": "the plugins were not looked at",
        "scheduler_is_known": "the plugins were not looked at",
        "environments_are_known": "the plugins were not looked at",
        "dataset_exists": "the data set was not looked at",
        "rows_have_env_config": "the data set was not looked at",
    }
    hub = Rows("org/d", unseen="org/d is a data set of a hub")
    assert skipped({}, GymFacts((hub,), (PLUGIN,))) == dict.fromkeys(
        ("environments_are_known", "dataset_exists", "rows_have_env_config"), hub.unseen
    )
    long = Rows("d.jsonl", lines=20000, whole=False)
    assert skipped({}, GymFacts((long,), (PLUGIN,))) == dict.fromkeys(
        ("environments_are_known", "rows_have_env_config"),
        "only the first 20000 rows of d.jsonl were looked at",
    )


def test_of_a_plugin_that_cannot_be_read_nothing_is_known() -> None:
    plugin = Plugin("p.py", unread={ENVIRONMENTS: "p.py computes a name at line 3"})
    facts = GymFacts((ROWS,), (plugin,))
    assert found({"server.gym_env": "card"}, facts) == []
    assert skipped({}, facts) == {"environments_are_known": "p.py computes a name at line 3"}


def test_a_scheduler_of_a_plugin_may_make_environments_itself() -> None:
    plugin = Plugin("p.py", registered={SCHEDULERS: frozenset({"mine"})})
    facts = GymFacts((ROWS,), (plugin,))
    changes = {"server.multi_turn_scheduler": "mine", "server.gym_env": "whatever"}
    assert found(changes, facts) == []
    assert skipped(changes, facts) == {
        "environments_are_known": "mine may make its environments itself"
    }


# The reward


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, ["gym_reward"]),
        ({"rlhf.use_gym_env": None}, ["gym_reward"]),
        ({"rlhf.use_gym_env": None, "server.use_gym_env": None}, ["gym_reward"]),
        ({"rlhf.use_gym_env": None, "server.vllm_use_async_engine": False}, []),
        ({"rlhf.use_gym_env": False}, []),
        (NO_REWARD, []),
        ({"rlhf.use_gym_env": None, "rlhf.reward_funcs": ["a"]}, ["a", "gym_reward"]),
    ],
    ids=str,
)
def test_the_learner_takes_the_reward_that_the_server_announces(
    changes: dict[str, Any], names: list[str]
) -> None:
    assert rewards(config(changes)) == names


# Facts


def host(directory: Path) -> Host:
    return Host.current({"PATH": "", "HOME": str(directory)})


@pytest.mark.parametrize(
    ("role", "rows", "plugins"),
    [
        ("check", True, True),
        ("both", True, True),
        ("server", False, True),
        ("learner", True, False),
    ],
)
def test_each_role_looks_at_the_files_that_its_half_reads(
    role: str, rows: bool, plugins: bool, tmp_path: Path
) -> None:
    config()
    said = compose("x", [f"role={role}", "runtime=current", "preflight=false"])
    gym = gathering.gather(said, host(tmp_path)).get(GymFacts)
    assert gym is not None
    assert (gym.rows is not None, gym.plugins is not None) == (rows, plugins)


def test_files_are_read_from_the_working_directory_or_from_what_ships(tmp_path: Path) -> None:
    Path("p.py").write_text('envs["cards"] = Cards\n')
    Path("d.jsonl").write_text(json.dumps({"env_config": {"name": "cards"}}) + "\n")
    changes = {"data.dataset": ["d.jsonl", "examples/digits/dataset.jsonl"]}
    gym = gathering.gather(config(changes), host(tmp_path)).get(GymFacts)
    assert gym is not None
    assert gym.plugins is not None
    assert gym.plugins[0].registered[ENVIRONMENTS] == {"cards"}
    assert gym.rows is not None
    assert [rows.missing for rows in gym.rows] == [False, False]
    shipped = resources.path("examples/digits/dataset.jsonl").read_text().splitlines()
    assert [rows.lines for rows in gym.rows] == [1, len(shipped)]


# Odd values


_odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=4),
    st.just("gym_scheduler"),
)
_deep = _odd | st.lists(_odd, max_size=2) | st.dictionaries(st.text(max_size=2), _odd, max_size=2)
_LEARNER = (
    *("multi_turn_scheduler", "max_turns", "use_gym_env", "gym_env", "external_plugins"),
    *("vllm_server_pass_dataset", "reward_funcs", "reward_model", "reward_weights"),
    *("dataset", "val_dataset", "custom_register_path", "completion_length_limit_scope"),
)
_SERVER = ("multi_turn_scheduler", "gym_env", "use_gym_env", "max_turns", "vllm_use_async_engine")


_good = functools.cache(config)


@pytest.mark.slow
@given(
    learner=st.dictionaries(st.sampled_from(_LEARNER), _deep, max_size=5),
    server=st.dictionaries(st.sampled_from(_SERVER), _odd, max_size=4),
    facts=st.sampled_from([GymFacts(), FACTS, GymFacts((Rows("d", missing=True),), ())]),
)
def test_every_rule_survives_any_value(
    learner: dict[str, Any], server: dict[str, Any], facts: GymFacts
) -> None:
    said = _good()
    train = {**said.train, "rlhf": learner}
    odd = dataclasses.replace(said, train=train, rollout_server=server)
    for problem in validate(odd, Facts.of(facts)):
        assert "\n" not in str(problem)
