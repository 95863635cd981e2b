"""Pages and answers of the web agent as text, and what its rows may ask for."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webagent_gym.settings import Settings, SettingsError
from webagent_gym.text import Action, Element, parse, render

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "webagent"


@pytest.mark.parametrize(
    ("answer", "action"),
    [
        ("click 4", Action("click", 4)),
        ("Click [4].", Action("click", 4)),
        ("CLICK(4)", Action("click", 4)),
        ("click on element 4", Action("click", 4)),
        ("I will press the button.\n\n`click 12`", Action("click", 12)),
        ("click 4, no, click 5", Action("click", 5)),
        ("<think>click 4 or type 5 x?</think>click 6", Action("click", 6)),
        ("type 5 hello", Action("type", 5, "hello")),
        ('type [5] "hello you"', Action("type", 5, "hello you")),
        ("type 5: don't", Action("type", 5, "don't")),
        ("Type 5 12", Action("type", 5, "12")),
        ("press Enter", Action("press", text="enter")),
        ("press <Tab>", Action("press", text="tab")),
        ("4", Action("click", 4)),
        ("[4]", Action("click", 4)),
        ("the 4th", Action("click", 4)),
        ("\ufffd4Q table", Action("click", 4)),
        ("4, I say 4", Action("click", 4)),
        ("4 or 5", None),
        ("type 5", None),
        ("press the button", None),
        ("", None),
        ("no idea", None),
    ],
)
def test_an_answer_is_read_leniently(answer: str, action: Action | None) -> None:
    assert parse(answer) == action


@given(st.text())
def test_any_answer_can_be_read(answer: str) -> None:
    action = parse(answer)
    assert action is None or action.name in ("click", "type", "press")


@given(
    st.integers(0, 999_999),
    st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9 ]*[a-zA-Z0-9])?", fullmatch=True),
)
def test_what_the_prompt_asks_for_is_read(ref: int, text: str) -> None:
    assert parse(f"click {ref}") == Action("click", ref)
    assert parse(f"type {ref} {text}") == Action("type", ref, text)


PAGE = [
    Element(4, "div", "lorem ipsum"),
    Element(6, "input_checkbox", value="checked", hint="#ch0"),
    Element(-1, "t", "USa"),
    Element(7, "input_text", value="Ann", hint="#tt"),
    Element(8, "button", "OK", hint="#subbtn"),
    Element(9, "span", hint=".star"),
]


def test_a_page_is_a_line_for_each_element() -> None:
    assert render("Click OK.", PAGE).splitlines() == [
        "Click OK.",
        '[4] div "lorem ipsum"',
        '[6] input_checkbox #ch0 value "checked"',
        '"USa"',
        '[7] input_text #tt value "Ann"',
        '[8] button "OK"',
        "[9] span .star",
    ]


def test_a_page_can_be_shortened_and_says_so() -> None:
    assert render("Click OK.", PAGE, actionable=True).splitlines() == [
        "Click OK.",
        '[6] input_checkbox #ch0 value "checked"',
        '[7] input_text #tt value "Ann"',
        '[8] button "OK"',
    ]
    assert render("Click OK.", PAGE, limit=2).splitlines()[-1] == "(4 more elements)"
    assert "more" not in render("Click OK.", PAGE, limit=6)


GOOD = {"name": "webagent", "task": "click-test-2", "seed": 1}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"max_steps": 1, "elements": "actionable", "browsers": 256, "max_elements": 1},
        {"max_steps": None},
        {"on_failure": "end"},
        {"task": "flight.AA"},
    ],
)
def test_a_row_with_possible_values_is_taken(more: dict[str, Any]) -> None:
    Settings.of_row({**GOOD, **more})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"task": None}, "env_config.task is missing"),
        ({"seed": None}, "env_config.seed is missing"),
        ({"task": "../../etc/passwd"}, "set a name such as click-button"),
        ({"task": 3}, "set a name such as click-button"),
        ({"seed": -1}, "set a number from 0 to 2147483647"),
        ({"seed": True}, "set a number from 0 to"),
        ({"max_steps": 0}, "set a number from 1 to 1000"),
        ({"browsers": 1.5}, "set a number from 1 to 256"),
        ({"elements": "some"}, "use all or actionable"),
        ({"on_failure": 1}, "use raise or end"),
        ({"sede": 1}, "env_config.sede is unknown, choose from task, seed"),
    ],
)
def test_a_row_with_an_impossible_value_is_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=r"^env_config\.[^\n]*$") as caught:
        Settings.of_row({**GOOD, **more})
    assert message in str(caught.value)


def _tasks() -> Any:
    spec = importlib.util.spec_from_file_location(
        "example_webagent_tasks", EXAMPLE / "make_tasks.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_shipped_tasks_are_what_the_script_makes(tmp_path: Path) -> None:
    assert _tasks().main([str(tmp_path)]) == 0
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in (EXAMPLE / "tasks").iterdir()}


def test_tasks_are_pages_that_exist_and_evaluation_has_its_own() -> None:
    pages: dict[str, set[tuple[str, int]]] = {}
    for path in (EXAMPLE / "tasks").iterdir():
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        settings = [Settings.of_row(row["env_config"]) for row in rows]
        pages[path.name] = {(each.task, each.seed) for each in settings}
        assert len({row["id"] for row in rows}) == len(rows) == len(pages[path.name])
        assert {row["env_config"]["name"] for row in rows} == {"webagent"}
    assert not pages["train.jsonl"] & pages["eval.jsonl"]
    assert not pages["tiny_train.jsonl"] & pages["tiny_eval.jsonl"]
