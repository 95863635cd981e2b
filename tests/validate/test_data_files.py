"""Data sets: files that cannot be read, rows without a prompt or without what rewards read."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from grpo_launch.base.host import Host
from grpo_launch.checks.examine import examine
from grpo_launch.config.compose import compose
from grpo_launch.config.facts import Facts, MissingFiles
from grpo_launch.config.rule import Outcome
from grpo_launch.learners.swift.data_rules import DATA_RULES
from grpo_launch.learners.swift.dataset_columns import preprocessed
from grpo_launch.learners.swift.learner import LEARNER

EXPERIMENT: dict[str, Any] = {
    "model": {"model": "some/model"},
    "data": {"dataset": ["d.jsonl"]},
    "rlhf": {
        "use_vllm": True,
        "vllm_mode": "server",
        "vllm_server_host": ["127.0.0.1"],
        "vllm_server_port": [8000],
        "max_completion_length": 64,
        "reward_funcs": ["accuracy"],
    },
    "custom": {
        "extra": {
            "rollout_server": {
                "vllm_tensor_parallel_size": 1,
                "vllm_data_parallel_size": 1,
                "vllm_max_model_len": 512,
            }
        }
    },
}
ROW = {"query": "1 + 1?", "solution": "2"}
PLACE = "configs/x.yaml: data.dataset: "


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    write("d.jsonl", ROW)


def write(name: str, *rows: Any) -> None:
    """Rows, text as it is."""
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    Path(name).write_text("".join(f"{line}\n" for line in lines))


def facts_of(*overrides: str, **said: Any) -> tuple[list[Outcome], list[str]]:
    """The outcomes of the rules of data, and what preflight reports as missing."""
    experiment = json.loads(json.dumps(EXPERIMENT))
    experiment["data"] |= said
    Path("configs/x.yaml").write_text(json.dumps(experiment))
    config = compose("x", ["role=check", *overrides])
    facts = Facts.of(*LEARNER.facts(config, Host(Path.cwd(), {}, 0.0, "0000")))
    missing = facts.get(MissingFiles)
    assert missing is not None
    names = {rule.name for rule in DATA_RULES}
    outcomes = [o for o in examine(config, facts) if o.rule in names]
    return outcomes, [str(problem) for problem in missing.problems]


def found(*overrides: str, **said: Any) -> list[str]:
    """Every problem of the rules, without its place; nothing is missing."""
    outcomes, missing = facts_of(*overrides, **said)
    assert missing == []
    return [str(p).removeprefix(PLACE) for outcome in outcomes for p in outcome.problems]


def skipped(**said: Any) -> set[str]:
    return {outcome.skipped for outcome in facts_of(**said)[0] if outcome.skipped}


@pytest.mark.parametrize(
    "dataset",
    [
        "d.jsonl",
        ["d.jsonl#500", "list.json", "lines.json", "table.csv"],
        "list.jsonl",
        "several.jsonl",
        "spread.jsonl",
        "table.parquet",
        ["directory", "directory/", "directory:default#2"],
        "splits",
        "described",
        ["some/data:subset#10", "hf::some/data", "hf::name", "self-cognition#5"],
        "packed.jsonl",
        "marked.jsonl",
        "a#1.jsonl",
        ["a#1.jsonl#7"],
    ],
)
def test_what_ms_swift_reads_is_accepted(dataset: Any) -> None:
    Path("list.json").write_text(json.dumps([ROW], indent=1))
    Path("list.jsonl").write_text(json.dumps([ROW]))
    write("lines.json", ROW, ROW)
    write("several.jsonl", json.dumps(ROW) * 2, "", ROW)
    Path("spread.jsonl").write_text(json.dumps(ROW, indent=1) * 2)
    Path("table.csv").write_text('query,solution\n"1 +\n1",2\n')
    Path("packed.jsonl").write_bytes(gzip.compress(json.dumps(ROW).encode()))
    Path("marked.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(ROW).encode())
    write("a#1.jsonl", ROW)
    Path("table.parquet").write_bytes(b"PAR1 columns PAR1")
    Path("directory").mkdir()
    write("directory/part-0.jsonl", ROW)
    Path("splits").mkdir()
    write("splits/a_test.jsonl", {"query": "1"})
    write("splits/train.jsonl", ROW)
    Path("described").mkdir()
    write("described/a.jsonl", {"other": "1"})
    write("described/README.md", "configs: ...")
    assert found(dataset=dataset) == []


def row(**said: Any) -> str:
    return json.dumps(said)


USER = {"role": "user", "content": "1 + 1?"}


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("d.jsonl#0", None, "d.jsonl#0 asks for 0 rows"),
        ("d.jsonl#-5", None, "d.jsonl#-5 asks for -5 rows"),
        ("d.jsonl#1k", None, "d.jsonl#1k asks for 1k rows"),
        ("some/data#all", None, "some/data#all asks for all rows"),
        ("d.jsonl/", None, "d.jsonl/ is a file, not a directory"),
        ("e.txt", "1 + 1\n", "no column of e.txt is taken for the prompt (text)"),
        ("e.csv", "query;solution\na;b\n", "no column of e.csv is taken for the prompt"),
        ("e.csv", "query,solution\na,b\nc,d,e\n", "row 3 of e.csv has more fields"),
        ("e.json", row(data=[ROW]), "no column of e.json is taken for the prompt (data)"),
        ("e.parquet", "PA", "e.parquet is no Parquet file"),
        ("e/e.md", "", "e holds no data files"),
        ("e/e.jsonl", "x\n", "e/e.jsonl:1 is not a JSON object"),
        ("e/e.jsonl", row(query="a"), "no row of e/e.jsonl has solution"),
        ("e.jsonl", row(messages="hi", solution="2"), "the messages of all of 1 rows of e.jsonl"),
        ("e.jsonl", row(messages=[], solution="2"), "the messages of all of 1 rows"),
        ("e.jsonl", row(messages=None, solution="2"), "the messages of all of 1 rows"),
        ("e.jsonl", row(messages=[{"role": "usr"}], solution="2"), "the messages of all"),
        ("e.jsonl", row(messages=["hi"], solution="2"), "the messages of all of 1 rows"),
        ("e.jsonl", row(query="a", solution=None), "no row of e.jsonl has solution"),
    ],
)
def test_what_ms_swift_cannot_use_is_one_finding(name: str, text: str | None, problem: str) -> None:
    if text is not None:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    (said,) = found(dataset="e" if name.startswith("e/") else name)
    assert said.startswith(problem)


@pytest.mark.parametrize(
    "messages",
    [
        [USER],
        [{"from": "human", "value": "1"}],
        [{"user": "1", "assistant": "2"}],
        json.dumps([USER]),
        str([USER]),
        [USER, {"role": "assistant", "content": None, "tool_calls": []}],
        [USER, {"role": "function-call", "content": "{}"}],
        [{"role": "user", "content": [{"type": "text", "text": "1"}]}],
    ],
)
def test_messages_in_all_forms_of_ms_swift_are_accepted(messages: Any) -> None:
    write("e.jsonl", {"messages": messages, "solution": "2"})
    assert found(dataset="e.jsonl") == []


def test_a_few_rows_that_are_dropped_are_a_warning() -> None:
    write("e.jsonl", {"messages": [USER], "solution": "2"}, {"messages": "hi", "solution": "2"})
    (problem,) = [p for o in facts_of(dataset="e.jsonl")[0] for p in o.problems]
    assert "the messages of 1 of 2 rows of e.jsonl cannot be read, the first at line 2" in str(
        problem
    )
    assert problem.severity.value == "warning"


def test_a_column_that_only_another_file_has_is_a_warning() -> None:
    write("e.jsonl", {"query": "1"})
    (problem,) = [p for o in facts_of(dataset=["d.jsonl", "e.jsonl"])[0] for p in o.problems]
    assert "1 of 1 rows of e.jsonl have no solution" in str(problem)
    assert problem.severity.value == "warning"


def test_a_bare_name_is_not_silently_of_a_hub() -> None:
    what = "mine is no directory here, so a hub is asked for it"
    assert found(dataset="mine") == [f"{what}, correct the path if it is one"]
    Path("info.json").write_text("[]")
    assert found(dataset="mine", custom_dataset_info="info.json") == []


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("info.json", "info.json:2 is not JSON"),
        ("one.json", "one.json is no list of data sets"),
        ("[{}", "[{}:1 is not JSON"),
        ('[{"dataset_name": "mine"}]', None),
    ],
)
def test_the_description_of_data_sets_is_read(entry: str, problem: str | None) -> None:
    Path("info.json").write_text("[\n{]")
    Path("one.json").write_text("{}")
    said = [p for o in facts_of(custom_dataset_info=entry)[0] for p in o.problems]
    assert [p.where for p in said] == (["configs/x.yaml: data.custom_dataset_info"] * bool(problem))
    assert all(p.what.startswith(problem or "") for p in said)
    missing = facts_of(custom_dataset_info="no.json")[1]
    what = "no.json does not exist, correct the path, or create it"
    assert missing == [f"configs/x.yaml: data.custom_dataset_info: {what}"]


def test_what_a_shell_would_have_expanded_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = EXPERIMENT | {"data": {"dataset": "~/d.jsonl"}}
    Path("configs/x.yaml").write_text(json.dumps(experiment))
    host = Host(Path.cwd(), {"HOME": str(tmp_path)}, 0.0, "0000")
    missing = Facts.of(*LEARNER.facts(compose("x", ["role=check"]), host)).get(MissingFiles)
    assert missing is not None
    (problem,) = missing.problems
    assert problem.what == "ms-swift does not expand the ~ of ~/d.jsonl"
    assert problem.fix == f"write {tmp_path}/d.jsonl"


@pytest.mark.parametrize("dataset", [None, ""])
def test_there_is_a_data_set(dataset: Any) -> None:
    assert found(dataset=dataset) == ["is not set, name the rows to train on"]
    assert found(dataset=dataset, load_data_args=True) == []
    assert facts_of("role=server", dataset=dataset)[0] == []


@pytest.mark.parametrize(
    "entry", ["no.jsonl", "no.jsonl#5", "/no/where", "./no", "no.parquet", "a/b/c", "no.csv:x"]
)
def test_a_file_that_is_not_here_is_told_by_preflight(entry: str) -> None:
    outcomes, missing = facts_of(dataset=["d.jsonl", entry])
    name = entry.partition("#")[0].partition(":")[0]
    assert missing == [f"{PLACE}{name} does not exist, correct the path, or create it"]
    assert [problem for outcome in outcomes for problem in outcome.problems] == []
    reasons = {outcome.skipped for outcome in outcomes}
    assert f"{name} does not exist" in reasons


def test_a_cached_data_set_that_is_not_here_is_told_by_preflight() -> None:
    _, missing = facts_of(dataset=None, cached_dataset="cached")
    assert [line.partition(": data.")[2] for line in missing] == [
        "cached_dataset: cached does not exist, correct the path, or create it"
    ]


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("e.jsonl", "", "e.jsonl has no rows, add some"),
        ("e.jsonl", "\n\n", "e.jsonl has no rows, add some"),
        ("e.json", "[]", "e.json has no rows, add some"),
        ("e.csv", "query,solution\n", "e.csv has no rows, add some"),
        (
            "e.jsonl",
            json.dumps(ROW) + "\n\nnot JSON\n",
            "e.jsonl:3 is not a JSON object, write one object a line",
        ),
        ("e.jsonl", "null\n", "e.jsonl:1 is not a JSON object, write one object a line"),
        (
            "e.jsonl",
            json.dumps(ROW) + '\n{"query": "cut sh',
            "e.jsonl:2 is not a JSON object, write one object a line",
        ),
        (
            "e.json",
            '{\n"query": "1 + 1?",\n"solution": "2"\n}',
            "e.json is one JSON value, not a list of rows, correct the file, or name another",
        ),
        ("e.json", '[\n{"a": 1},\n', "e.json:3 is not JSON, correct the file, or name another"),
        (
            "e.json",
            "[1]",
            "item 1 of e.json is no row, correct the file, or name another",
        ),
        ("e.parquet", "text", "e.parquet is no Parquet file, correct the file, or name another"),
        (
            "e.tsv",
            "a\tb\n",
            (
                "e.tsv ends in .tsv, ms-swift reads .jsonl, .json, .csv, .parquet, .txt, "
                "correct the file, or name another"
            ),
        ),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(name: str, text: str, fault: str) -> None:
    Path(name).write_text(text)
    assert found(dataset=name) == [fault]


def test_nothing_waits_for_a_pipe() -> None:
    os.mkfifo("p.jsonl")
    assert found(dataset="p.jsonl") == [
        "p.jsonl is no regular file, correct the file, or name another"
    ]


def test_a_name_below_a_directory_is_not_silently_of_a_hub() -> None:
    Path("data").mkdir()
    what = "data/train is not in the directory data, so a hub is asked for it"
    assert found(dataset="data/train") == [f"{what}, correct the path if it is one"]


@pytest.mark.parametrize("argument", ["dataset", "val_dataset"])
def test_both_data_sets_are_read(argument: str) -> None:
    write("e.jsonl", "x")
    (problem,) = found(**{argument: "e.jsonl"})
    assert "e.jsonl:1 is not a JSON object" in problem


@pytest.mark.slow
def test_a_check_reads_more_lines_than_a_dry_run() -> None:
    write("e.jsonl", *[ROW] * 300, "x")
    assert found(dataset="e.jsonl") == ["e.jsonl:301 is not a JSON object, write one object a line"]
    outcomes, _ = facts_of("role=both", "dry_run=true", dataset="e.jsonl")
    assert "only the first 200 rows of e.jsonl were looked at" in {o.skipped for o in outcomes}
    assert [problem for outcome in outcomes for problem in outcome.problems] == []


# Columns


@pytest.mark.parametrize(
    ("columns", "mapping", "left", "has_prompt"),
    [
        (("messages", "solution"), {}, {"messages", "solution"}, True),
        (("conversations", "answer", "system"), {}, {"messages", "answer"}, True),
        (("Question", "answer"), {}, {"messages"}, True),
        (("query", "solution"), {}, {"messages", "solution"}, True),
        (("query", "answer", "solution"), {}, {"messages", "answer", "solution"}, True),
        (("prompt", "question"), {}, {"messages", "prompt", "question"}, False),
        (("text",), {}, {"messages"}, False),
        (("q", "a"), {"q": "query", "a": "solution"}, {"messages", "solution"}, True),
        (("instruction", "input", "output"), {}, {"messages"}, True),
        (("history", "image"), {}, {"messages", "images"}, True),
        (("env_config",), {}, {"messages", "env_config"}, False),
    ],
)
def test_columns_become_what_ms_swift_makes_of_them(
    columns: tuple[str, ...], mapping: dict[str, str], left: set[str], has_prompt: bool
) -> None:
    made = preprocessed(columns, mapping, automatic=True)
    assert (set(made.columns), made.has_prompt) == (left, has_prompt)


def test_names_are_not_translated_where_that_is_turned_off() -> None:
    made = preprocessed(("question", "answer"), {}, automatic=False)
    assert (set(made.columns), made.has_messages) == ({"question", "answer", "messages"}, False)


@pytest.mark.slow
def test_rows_without_a_prompt_are_found() -> None:
    write("e.jsonl", {"ask": "1 + 1?", "solution": "2", "note": ""}, {"ask": "", "solution": "3"})
    fix = "name it messages, query or prompt, or say which it is with columns: {NAME: query}"
    what = "no column of e.jsonl is taken for the prompt (ask, solution, note)"
    assert found(dataset="e.jsonl") == [f"{what}, {fix}"]
    assert found(dataset="e.jsonl", columns={"ask": "query"}) == []
    assert found(dataset="e.jsonl", columns='{"ask": "query"}') == []
    Path("info.json").write_text("[]")
    assert found(dataset="e.jsonl", custom_dataset_info="info.json") == []


@pytest.mark.slow
def test_rows_without_what_a_reward_reads_are_found() -> None:
    write("e.jsonl", {"query": "1 + 1?", "result": "2"})
    what = "no row of e.jsonl has solution, which the reward accuracy reads"
    fix = "add it, or say which column it is with columns: {NAME: solution}"
    assert found(dataset="e.jsonl") == [f"{what}, {fix}"]
    assert found(dataset="e.jsonl", columns={"result": "solution"}) == []
    assert found("train.rlhf.reward_funcs=[format]", dataset="e.jsonl") == []


@pytest.mark.slow
def test_a_plug_ins_reward_gets_what_its_signature_asks_for() -> None:
    write("e.jsonl", {"query": "1 + 1?", "result": "2"})
    signature = "class A:\n  def __call__(self, texts, {}, **kwargs): ...\norms['mine'] = A\n"
    mine = ("train.rlhf.reward_funcs=[mine]", "train.rlhf.external_plugins=[p.py]")
    Path("p.py").write_text(signature.format("truth"))
    what = "no row of e.jsonl has truth, which the reward mine reads"
    assert [line.partition(", add it")[0] for line in found(*mine, dataset="e.jsonl")] == [what]
    for taken in ("truth=None", "result"):
        Path("p.py").write_text(signature.format(taken))
        assert found(*mine, dataset="e.jsonl") == []


def test_rows_that_lack_it_beside_others_are_a_warning() -> None:
    write("e.jsonl", ROW, {"query": "2 + 2?"}, ROW, {"query": "3 + 3?"})
    what = "2 of 4 rows of e.jsonl have no solution, which the reward accuracy reads"
    outcomes, _ = facts_of(dataset="e.jsonl")
    (problem,) = [problem for outcome in outcomes for problem in outcome.problems]
    assert str(problem) == f"{PLACE}{what}, the first at line 2, give each row one"
    assert problem.severity.value == "warning"


def test_what_a_hub_has_is_not_refused() -> None:
    write("e.jsonl", {"query": "1 + 1?"})
    assert found(dataset=["e.jsonl", "some/data"]) == []
    assert "some/data is a data set of a hub" in skipped(dataset=["e.jsonl", "some/data"])


@pytest.mark.slow
def test_prompts_that_do_not_fit_are_estimated() -> None:
    write("e.jsonl", ROW, {"query": "word " * 500, "solution": "2"}, ROW)
    assert found(dataset="e.jsonl") == [
        (
            "the prompt at e.jsonl:2 has about 500 tokens or more (an estimate); with "
            "rlhf.max_completion_length 64 that is above vllm_max_model_len 512, shorten it, or "
            "raise the limit"
        )
    ]
    assert found("+train.template.max_length=448", dataset="e.jsonl") == []
    assert found("train.rlhf.max_completion_length=4", dataset="e.jsonl") == []
    # No prompt at all would fit: that is said of the lengths, once.
    assert found("train.rlhf.max_completion_length=512", dataset="e.jsonl") == []
