"""Plugins that are missing or wrong, rewards that nobody registers, packages that are absent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.base.host import Host
from grpo_launch.checks.examine import examine
from grpo_launch.config.compose import compose
from grpo_launch.config.facts import Facts, MissingFiles
from grpo_launch.config.rule import Outcome
from grpo_launch.learners.swift.learner import LEARNER
from grpo_launch.learners.swift.plugin_rules import PLUGIN_RULES
from tests.validate.test_data_files import EXPERIMENT, ROW, write

IMPORT = "from swift.rewards import ORM, orms\n"
PLACE = "configs/x.yaml: rlhf."
SEVERAL = "is one name of several rewards, write a list: [mine, format]"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    write("d.jsonl", ROW)
    Path("p.py").write_text(f'{IMPORT}class A(ORM): ...\norms["mine"] = A\n')


def facts_of(*overrides: str, environ: dict[str, str] | None = None, **said: Any) -> Facts:
    experiment = json.loads(json.dumps(EXPERIMENT))
    experiment["rlhf"] |= said
    Path("configs/x.yaml").write_text(json.dumps(experiment))
    config = compose("x", ["role=check", *overrides])
    return Facts.of(*LEARNER.facts(config, Host(Path.cwd(), environ or {}, 0.0, "0000")))


def outcomes(*overrides: str, **said: Any) -> list[Outcome]:
    facts = facts_of(*overrides, **said)
    names = {rule.name for rule in PLUGIN_RULES}
    config = compose("x", ["role=check", *overrides])
    return [outcome for outcome in examine(config, facts) if outcome.rule in names]


def found(*overrides: str, **said: Any) -> list[str]:
    problems = (p for outcome in outcomes(*overrides, **said) for p in outcome.problems)
    return [str(problem).removeprefix(PLACE) for problem in problems]


def missing(facts: Facts) -> list[str]:
    fact = facts.get(MissingFiles)
    assert fact is not None
    return [str(problem).removeprefix(PLACE) for problem in fact.problems]


@pytest.mark.parametrize(
    ("rewards", "plugins"),
    [
        (["accuracy", "soft_overlong"], None),
        ("format", None),
        (["mine", "format"], ["p.py"]),
        ("mine", "p.py"),
        (None, "p.py"),
    ],
)
def test_what_is_registered_is_known(rewards: Any, plugins: Any) -> None:
    assert found(reward_funcs=rewards, external_plugins=plugins) == []


@pytest.mark.parametrize(
    ("rewards", "problem"),
    [
        (["acuracy"], "'acuracy' is not a reward of ms-swift or of p.py, did you mean accuracy?"),
        (["mina"], "'mina' is not a reward of ms-swift or of p.py, did you mean mine?"),
        (
            "mine format",
            "'mine format' is one name of several rewards, write a list: [mine, format]",
        ),
        (
            ["mine,format"],
            "'mine,format' is one name of several rewards, write a list: [mine, format]",
        ),
    ],
)
def test_a_reward_that_nobody_registers_is_found(rewards: Any, problem: str) -> None:
    assert found(reward_funcs=rewards, external_plugins="p.py") == [f"reward_funcs: {problem}"]


def test_without_plugins_the_message_says_so() -> None:
    (problem,) = found(reward_funcs=["mine"])
    assert "'mine' is not a reward of ms-swift, and there are no external_plugins" in problem


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{IMPORT}for n in names: orms[n] = A\n", "p.py computes a name at line 2"),
        ("import my_rewards\n", "p.py imports my_rewards"),
        (f"{IMPORT}register(orms)\n", "p.py uses orms at line 2"),
    ],
)
def test_of_a_plugin_that_computes_its_names_nothing_is_refused(text: str, reason: str) -> None:
    Path("p.py").write_text(text)
    made = outcomes(reward_funcs=["theirs"], external_plugins="p.py")
    assert [problem for outcome in made for problem in outcome.problems] == []
    assert reason in {outcome.skipped for outcome in made}


def test_a_plugin_that_is_no_python_is_found_with_its_line() -> None:
    Path("p.py").write_text("x = 1\ndef f(:\n")
    assert found(reward_funcs=["mine"], external_plugins="p.py") == [
        "external_plugins: p.py is not Python (line 2: invalid syntax), correct it"
    ]


def test_a_plugin_of_either_half_that_is_not_here_is_told_by_preflight() -> None:
    server = "+rollout_server.external_plugins=[no.py]"
    facts = facts_of(server, external_plugins=["p.py", "gone.py"])
    assert missing(facts) == [
        "external_plugins: gone.py does not exist, correct the path, or create it",
        (
            "command line: rollout_server.external_plugins: no.py does not exist, "
            "correct the path, or create it"
        ),
    ]


@pytest.mark.slow
def test_a_template_of_a_plugin_reaches_both_halves() -> None:
    Path("p.py").write_text('register_template(QwenTemplateMeta("short"))\n')
    template = "+train.template.template=short"
    assert found(template, reward_funcs="format", external_plugins="p.py") == [
        (
            "command line: train.template.template: 'short' is registered by p.py, which the "
            "rollout server does not import, add it to "
            "custom.extra.rollout_server.external_plugins"
        )
    ]
    both = "+rollout_server.external_plugins=[p.py]"
    assert found(template, both, reward_funcs="format", external_plugins="p.py") == []
    assert found(reward_funcs="format", external_plugins="p.py") == []


def installed() -> tuple[Path, dict[str, str]]:
    """An environment with ms-swift: its packages, and the variables that find it."""
    site = Path("env/lib/python3.11/site-packages")
    (site / "swift/rewards").mkdir(parents=True)
    (site / "swift/__init__.py").write_text("")
    (site / "swift/version.py").write_text("__version__ = '4.6.0'\n")
    Path("env/pyvenv.cfg").write_text("")
    Path("env/bin").mkdir()
    for name in ("swift", "python"):
        (Path("env/bin") / name).write_text(f"#!{Path('env/bin/python').absolute()}\n")
        (Path("env/bin") / name).chmod(0o755)
    return site, {"PATH": str(Path("env/bin").absolute())}


@pytest.mark.parametrize("there", [True, False])
def test_a_package_that_a_reward_needs_is_looked_for(there: bool) -> None:
    site, environ = installed()
    if there:
        (site / "math_verify").mkdir()
    told = missing(facts_of("runtime=current", environ=environ))
    assert len(told) == (0 if there else 1)
    if not there:
        what = "the reward accuracy needs the package math_verify, which is not installed"
        assert told[0].startswith(f"reward_funcs: {what}, install it with '")
    assert missing(facts_of("role=both", "dry_run=true", "runtime=current", environ=environ)) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("from swift.rewards import orms\nimport swift.version\nimport swift", []),
        ("try:\n    from swift.plugin import orms\nexcept ImportError: pass", []),
        ("from .plugin import orms", []),
        ("\nfrom swift.plugin import orms", ["p.py:2 imports swift.plugin, "]),
        ("import swift.plugin.orm as orm", ["p.py:1 imports swift.plugin.orm, "]),
    ],
)
def test_a_module_that_the_installed_engine_lacks_is_told(text: str, told: list[str]) -> None:
    Path("p.py").write_text(text)
    _, environ = installed()
    found = missing(
        facts_of("runtime=current", environ=environ, external_plugins="p.py", reward_funcs="format")
    )
    assert [line.partition(": ")[2].partition("which")[0] for line in found] == told


@pytest.mark.parametrize("entry", ["p.py q.py", "p.py,q.py", "p.py, q.py"])
def test_several_plugins_in_one_text_are_told_to_be_a_list(entry: str) -> None:
    Path("q.py").write_text("")
    assert missing(facts_of(external_plugins=entry)) == [
        f"external_plugins: {entry} is one text of several names, write a list: [p.py, q.py]"
    ]


@pytest.mark.parametrize(
    ("name", "fault"),
    [("d", "it is a directory"), ("p.txt", "its name does not end in .py"), ("p", "its name")],
)
def test_what_the_import_refuses_by_its_name_is_found(name: str, fault: str) -> None:
    Path("d").mkdir()
    for other in ("p", "p.txt"):
        Path(other).write_text(Path("p.py").read_text())
    (problem,) = found(reward_funcs=["mine"], external_plugins=[name])
    assert problem.startswith(f"external_plugins: {name} is not Python ({fault}")


@pytest.mark.slow
def test_a_reward_that_cannot_be_called_is_found_where_it_is_used() -> None:
    source = 'class A(ORM):\n    def __call__(self, completions): ...\norms["mine"] = A\n'
    Path("p.py").write_text(IMPORT + source)
    assert found(reward_funcs=["mine"], external_plugins="p.py") == [
        (
            "external_plugins: the reward mine (p.py:3) takes no **kwargs, and ms-swift gives it "
            "every column by name, add **kwargs to its parameters"
        )
    ]
    assert found(reward_funcs=["format"], external_plugins="p.py") == []
