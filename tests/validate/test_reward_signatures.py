"""The columns that a plug-in's rewards take."""

from __future__ import annotations

import ast

import pytest

from grpo_launch.learners.swift.reward_signatures import columns

CLASS = """\
class R(ORM):
    def __call__(self, completions, {parameters}):
        return []

orms["r"] = R
"""


@pytest.mark.parametrize(
    ("parameters", "taken"),
    [
        ("**kwargs", ()),
        ("solution, **kwargs", ("solution",)),
        ("solution, answer=None, **kwargs", ("solution",)),
        ("solution=None, **kwargs", ()),
        ("*, solution, answer=None", ("solution",)),
        ("a, b, /, c, *args, d, **kwargs", ("a", "b", "c", "d")),
    ],
)
def test_a_parameter_without_a_default_is_a_column(parameters: str, taken: tuple[str, ...]) -> None:
    assert columns(ast.parse(CLASS.format(parameters=parameters))) == {"r": taken}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def f(completions, truth, **k): pass\norms['f'] = f", {"f": ("truth",)}),
        ("async def f(completions, truth): pass\norms['f'] = f", {"f": ("truth",)}),
        # What cannot be seen is not told.
        ("class R(Base): pass\norms['r'] = R", {}),
        ("orms['r'] = Imported", {}),
        ("orms['r'] = made(1)", {}),
        ("class R:\n    def __call__(self, x): pass\norms[name] = R", {}),
        ("@wrapped\ndef f(completions, truth): pass\norms['f'] = f", {"f": ()}),
        ("other['f'] = f", {}),
    ],
)
def test_what_a_file_shows(source: str, told: dict[str, tuple[str, ...]]) -> None:
    assert columns(ast.parse(source)) == told
