"""Scripts that launch several times: which launches are one experiment, and how that is told."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch import bash
from grpo_launch.errors import ConfigError
from grpo_launch.importing.files import Source
from grpo_launch.importing.findings import Sort
from grpo_launch.importing.launches import sorted_calls
from grpo_launch.importing.several import Experiment, experiments, order_of
from tests.effort import costly

SFT = "swift sft --model m --dataset a"
GRPO = "swift rlhf --rlhf_type grpo --model m --dataset a --use_vllm true --vllm_mode server"
ASKS = f"{GRPO} --vllm_server_host 127.0.0.1 --vllm_server_port"
ROLLOUT = "swift rollout --model m --port"
ONE_BY_ONE = "the script starts them one after the other, in this order"
BESIDE = "the script starts them side by side"
ONE_OF = "the script starts one of them"
MIXED = "the script starts them in this order, some of them side by side"
SOME_OF = "the script starts them in this order, some of them instead of others"


def source(text: str, name: str = "run.sh") -> Source:
    script = bash.read(text.encode(), name)
    return Source(script, sorted_calls(script))


def shown(made: list[Experiment]) -> dict[str, list[int]]:
    """The lines of the launches of each experiment."""
    return {
        one.name: [launch.call.line for each in one.sources for launch in each.made.launches]
        for one in made
    }


GROUPS: dict[str, tuple[str, dict[str, list[int]], str]] = {
    "one training": (f"{SFT}\n", {"run": [1]}, ""),
    "a training and its server": (f"{ROLLOUT} 8000 &\n{ASKS} 8000\n", {"run": [1, 2]}, ""),
    "in two terminals, the learner first": (f"{ASKS} 8000\n{ROLLOUT} 8000\n", {"run": [1, 2]}, ""),
    "two trainings": (f"{SFT}\n{SFT}\n", {"run_1": [1], "run_2": [2]}, ONE_BY_ONE),
    "side by side": (f"{SFT} &\n{SFT} &\nwait\n", {"run_1": [1], "run_2": [2]}, BESIDE),
    "the last one in front": (f"{SFT} &\n{SFT}\n", {"run_1": [1], "run_2": [2]}, BESIDE),
    "waited for": (f"{SFT} &\nwait $!\n{SFT}\n", {"run_1": [1], "run_3": [3]}, ONE_BY_ONE),
    "not waited for all": (f"{SFT} &\nwait -n\n{SFT}\n", {"run_1": [1], "run_3": [3]}, BESIDE),
    "two at a time": (
        f"for i in 0 1 2; do\n{SFT} &\nif (( i % 2 )); then wait; fi\ndone\n",
        {"run_2_1": [2], "run_2_2": [2], "run_2_3": [2]},
        MIXED,
    ),
    "a loop": (
        f"for m in a b; do\n  {SFT} --seed $m\ndone\n",
        {"run_2_1": [2], "run_2_2": [2]},
        ONE_BY_ONE,
    ),
    "the same again and again": (
        f"f() {{\n  {SFT}\n}}\nf\nf\n",
        {"run_2_1": [2], "run_2_2": [2]},
        ONE_BY_ONE,
    ),
    "a server that both ask": (
        f"{ROLLOUT} 8000 &\n{ASKS} 8000\n{ASKS} 8000\n",
        {"run_2": [1, 2], "run_3": [1, 3]},
        ONE_BY_ONE,
    ),
    "a server for each": (
        f"{ROLLOUT} 8000 &\n{ROLLOUT} 8001 &\n{ASKS} 8000\n{ASKS} 8001\n",
        {"run_3": [1, 3], "run_4": [2, 4]},
        ONE_BY_ONE,
    ),
    "a server that is started again": (
        f"for i in 0 1; do\n{ROLLOUT} 8000 &\n{ASKS} 8000 --seed $i\nkill %1\ndone\n",
        {"run_3_1": [2, 3], "run_3_2": [2, 3]},
        ONE_BY_ONE,
    ),
    "an address that nobody knows": (
        f"{ROLLOUT} $A &\n{ROLLOUT} $B &\n{ASKS} $A\n{ASKS} $B\n",
        {"run_3": [1, 3], "run_4": [2, 4]},
        ONE_BY_ONE,
    ),
    "the usual address": (
        f"{ROLLOUT} 8001 &\nswift rollout --model m &\n{GRPO}\n{ASKS} 8001\n",
        {"run_3": [2, 3], "run_4": [1, 4]},
        ONE_BY_ONE,
    ),
    "a URL": (
        f"{ROLLOUT} 8001 &\n{SFT}\n{GRPO} --vllm_server_base_url http://localhost:8001\n",
        {"run_2": [2], "run_3": [1, 3]},
        ONE_BY_ONE,
    ),
    "a host": (
        f"for h in a b; do {ROLLOUT} 80 --host $h & done\n{SFT}\n{ASKS} 80 --vllm_server_host a\n",
        {"run_1": [1], "run_2": [2], "run_3": [1, 3]},
        MIXED,
    ),
    "several servers of one training": (
        f"{ROLLOUT} 8000 &\n{ROLLOUT} 8001 &\n{SFT}\n{ASKS} 8000 8001\n",
        {"run_3": [3], "run_4": [1, 2, 4]},
        ONE_BY_ONE,
    ),
    "a judge that a variable names": (
        f"vllm serve j --port 9001 &\n{SFT}\nJUDGE=http://localhost:9001/v1 {ASKS} 8000\n",
        {"run_2": [2], "run_3": [1, 3]},
        ONE_BY_ONE,
    ),
    "a judge of the only training": (
        f"vllm serve j --port 9001 &\n{ROLLOUT} 8000 &\n{ASKS} 8000\n",
        {"run": [1, 2, 3]},
        "",
    ),
    "a judge that nobody names": (
        f"vllm serve j --port 9001 &\n{SFT}\n{SFT}\n",
        {"run_1": [1], "run_2": [2], "run_3": [3]},
        MIXED,
    ),
    "a server of what was trained": (
        f"{SFT}\nvllm serve out\n",
        {"run_1": [1], "run_2": [2]},
        ONE_BY_ONE,
    ),
    "a wrong address": (f"{ROLLOUT} 8001\n{ASKS} 8000\n", {"run": [1, 2]}, ""),
    "servers alone": (
        "".join(f"vllm serve {words} &\n" for words in ("a", "a --port 81", "b --port 82", "a")),
        {"run_1": [1, 2], "run_3": [3], "run_4": [4]},
        BESIDE,
    ),
    "servers in two terminals": (
        "vllm serve a --port 80\nvllm serve a --port 81\n",
        {"run": [1, 2]},
        "",
    ),
    "servers one after the other": (
        "vllm serve a --port 80 &\nkill $!; wait $!\nvllm serve a --port 81\n",
        {"run_1": [1], "run_3": [3]},
        ONE_BY_ONE,
    ),
    "a server in another terminal": (f"vllm serve m\n{SFT}\n", {"run": [1, 2]}, ""),
    "branches": (
        f"if [ -d x ]; then\n{SFT}\nelif [ -d y ]; then\n{SFT}\nelse\n{SFT}\nfi\n",
        {"run_2": [2], "run_4": [4], "run_6": [6]},
        ONE_OF,
    ),
    "an end on one way": (
        f"if [ -d x ]; then\n{SFT}\nexit\nfi\n{SFT}\n",
        {"run_2": [2], "run_5": [5]},
        ONE_OF,
    ),
    "cases": (
        f"case $X in\na) {SFT} ;;\nb) {SFT} ;;\nesac\n",
        {"run_2": [2], "run_3": [3]},
        ONE_OF,
    ),
    "branches, and what follows": (
        f"if [ -d x ]; then\n{SFT}\nelse\n{SFT}\nfi\n{SFT}\n",
        {"run_2": [2], "run_4": [4], "run_6": [6]},
        SOME_OF,
    ),
    "branches in a loop": (
        f"for i in 0 1; do\nif [ -d $i ]; then\n{SFT}\nelse\n{SFT}\nfi\ndone\n",
        {"run_3_1": [3], "run_5_1": [5], "run_3_2": [3], "run_5_2": [5]},
        SOME_OF,
    ),
    "a server and a learner by an argument": (
        f"if [ $1 = serve ]; then\n{ROLLOUT} 8000\nelse\n{ASKS} 8000\nfi\n",
        {"run": [2, 4]},
        "",
    ),
    "a server for each branch": (
        f"if [ -d x ]; then {ROLLOUT} 80 &\n{ASKS} 80\nelse {ROLLOUT} 80 &\n{ASKS} 80\nfi\n",
        {"run_2": [1, 2], "run_4": [3, 4]},
        ONE_OF,
    ),
    "a server on one branch alone": (
        f"if [ -d x ]; then\n{ROLLOUT} 8000 &\n{ASKS} 8000\nelse\n{ASKS} 8000\nfi\n",
        {"run_3": [2, 3], "run_5": [5]},
        ONE_OF,
    ),
}


@pytest.mark.costly
@pytest.mark.parametrize(("text", "groups", "order"), GROUPS.values(), ids=GROUPS)
def test_launches_are_grouped(text: str, groups: dict[str, list[int]], order: str) -> None:
    made = experiments([source(text)])
    assert (shown(made), order_of(made).removeprefix("; ")) == (groups, order)


def test_branches_of_rounds_are_alternatives_of_one_round() -> None:
    made = experiments([source(GROUPS["branches in a loop"][0])])
    assert [one.place.partition(": ")[2] for one in made] == [
        "",
        "the script starts it instead of run_3_1.",
        "the script starts it after the end of run_5_1.",
        "the script starts it instead of run_3_2.",
    ]


def test_a_server_that_several_start_is_told() -> None:
    one, *_ = experiments([source(GROUPS["a server that both ask"][0])])
    assert [*map(str, one.findings)] == ["run.sh:1: swift rollout is started by run_3 as well"]
    beside = experiments([source(f"{ROLLOUT} 8000 &\n{ASKS} 8000 &\n{ASKS} 8000\n")])
    told = [found for one in beside for found in one.findings]
    assert [found.sort for found in told] == [Sort.DIFFERENCE, Sort.DIFFERENCE]
    assert [found.what.partition(" which")[0] for found in told] == [
        "swift rollout is started by run_3 as well,",
        "swift rollout is started by run_2 as well,",
    ]


def test_what_is_waited_for_is_named() -> None:
    script = f"{SFT}\nfor i in 0 1 2; do\n{SFT} &\ndone\nwait\n{SFT}\n"
    *_, last = experiments([source(script)])
    names = "run_3_1 and run_3_2 and run_3_3"
    assert last.place == f"5 of 5 of run.sh: the script starts it after the end of {names}."


def test_scripts_are_taken_together() -> None:
    server, *learners = (
        source(f"{ROLLOUT} 8000\n", "server.sh"),
        source(f"{ASKS} 8000\n", "one.sh"),
        source(f"{ASKS} 8000\n{SFT}\n", "more.sh"),
    )
    made = experiments([server, *learners])
    assert shown(made) == {"one": [1, 1], "more_1": [1, 1], "more_2": [2]}
    assert [one.scripts for one in made] == [["server.sh", "one.sh"], ["server.sh", "more.sh"],
                                             ["more.sh"]]  # fmt: skip
    assert [one.place for one in made] == [
        "",
        "1 of 2 of more.sh.",
        "2 of 2 of more.sh: the script starts it after the end of more_1.",
    ]
    assert order_of(made) == ""


def test_what_a_script_prepares_that_starts_nothing_is_for_all() -> None:
    made = experiments([source("pip install x\n", "setup.sh"), source(f"{SFT}\n{SFT}\n")])
    assert [len(one.sources[0].made.others) for one in made] == [1, 1]
    assert [one.scripts for one in made] == [["run.sh"], ["run.sh"]]


NAMES = {
    "run.sh": "run",
    "a/b.c.sh": "b.c",
    "061.sh": "_061",
    "my run (2).sh": "my_run__2_",
    "a=b,c.sh": "a_b_c",
    "-x.sh": "_-x",
    "null.sh": "_null",
    "True.sh": "_True",
    "stdin": "imported",
    "läuft.sh": "l_uft",
    "übung.sh": "_bung",
}


@pytest.mark.parametrize(("script", "name"), NAMES.items())
def test_names_need_no_quotes(script: str, name: str) -> None:
    (one,) = experiments([source(SFT, script)])
    (override,) = OverridesParser.create().parse_overrides([f"config={one.name}"])
    assert (one.name, override.value()) == (name, name)


def test_two_experiments_of_one_name_are_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"x_2.sh and x.sh: would both become x_2.yaml"):
        experiments([source(SFT, "x_2.sh"), source(f"{SFT}\n{SFT}\n", "x.sh")])


LINES = st.sampled_from(
    (
        f"{SFT}\n",
        f"{SFT} &\n",
        f"{GRPO} &\n",
        "torchrun train.py &\n",
        *(f"{ASKS} {port}\n" for port in (8000, 8001, "8000 8001", "$P")),
        *(f"{ROLLOUT} {port} &\n" for port in (8000, 8001, "$P")),
        "vllm serve j --port 9001 &\n",
        "wait\n",
        "if [ -d x ]; then\n",
        "else\n",
        "fi\n",
    )
)


@costly
@given(st.lists(LINES, min_size=1, max_size=12))
def test_no_launch_is_lost_or_doubled(lines: list[str]) -> None:
    opened, text = list[str](), ""
    for line in lines:
        word = line.split()[0]
        if (word == "else" and opened[-1:] != ["if"]) or (word == "fi" and not opened):
            continue
        text += "true\n" * (word in ("else", "fi")) + line
        opened += ["if"] if word == "if" else []
        if word in ("else", "fi"):
            opened.pop()
            opened += ["else"] if word == "else" else []
    text += "true\nfi\n" * len(opened)
    whole = source(text)
    made = experiments([whole]) if whole.made.launches else []
    members = [[launch.at for launch in one.sources[0].made.launches] for one in made]
    kinds = {launch.at: launch.kind for launch in whole.made.launches}
    assert {at for some in members for at in some} == {*kinds}
    for some in members:
        assert len({*some}) == len(some)
        assert sum(kinds[at] == "learner" for at in some) <= 1
    learners = [at for some in members for at in some if kinds[at] == "learner"]
    assert len({*learners}) == len(learners)
    alone = [at for some in members for at in some if all(kinds[n] == "engine" for n in some)]
    assert all(sum(at in some for some in members) == 1 for at in alone)
