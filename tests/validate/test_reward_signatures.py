"""How a plug-in's rewards are made and called."""

from __future__ import annotations

import ast

import pytest

from grpo_launch.learners.swift.reward_signatures import Signature, signatures

CLASS = """\
class R(ORM):
    def __call__({parameters}):
        return []

orms["r"] = R
"""


@pytest.mark.parametrize(
    ("parameters", "taken"),
    [
        ("self, completions, **kwargs", ()),
        ("self, texts, **kwargs", ()),
        ("self, *texts, **kwargs", ()),
        ("self, completions=None, **kwargs", ()),
        ("self, completions, solution, **kwargs", ("solution",)),
        ("self, completions, solution, answer=None, **kwargs", ("solution",)),
        ("self, completions, solution=None, **kwargs", ()),
        ("self, completions, a, /, c, *args, d, **kwargs", ("a", "c", "d")),
    ],
)
def test_a_parameter_without_a_default_is_a_column(parameters: str, taken: tuple[str, ...]) -> None:
    assert signatures(ast.parse(CLASS.format(parameters=parameters))) == {"r": Signature(taken, 2)}


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (CLASS.format(parameters="self, completions"), "takes no **kwargs"),
        (CLASS.format(parameters="self, completions, solution"), "takes no **kwargs"),
        (CLASS.format(parameters="self, prompts, completions, **kwargs"), "calls prompts"),
        ("def f(completions, **k): pass\norms['f'] = f", "is a function"),
        ("async def f(completions, truth): pass\norms['f'] = f", "is a function"),
        ("class R:\n    def __init__(self): pass\norms['r'] = R", "cannot be made"),
        ("class R:\n    def __init__(self, url, args=None): pass\norms['r'] = R", "cannot be made"),
    ],
)
def test_what_cannot_be_made_or_called_is_a_fault(source: str, fault: str) -> None:
    (signature,) = signatures(ast.parse(source)).values()
    assert signature.fault is not None
    assert fault in signature.fault
    assert signature.fix


@pytest.mark.parametrize(
    "source",
    [
        "class R(Base): pass\norms['r'] = R",
        "orms['r'] = Imported",
        "orms['r'] = made(1)",
        "class R:\n    def __call__(self, x): pass\norms[name] = R",
        "@wrapped\ndef f(completions, truth): pass\norms['f'] = f",
        "def f(args): return R()\norms['f'] = f",
        "def f(**kwargs): return R()\norms['f'] = f",
        "class R:\n    def __init__(self, args=None, **kwargs): pass\norms['r'] = R",
        "class R:\n    def __init__(self, *, args): pass\norms['r'] = R",
        "other['f'] = f",
    ],
)
def test_what_a_file_does_not_show_is_not_told(source: str) -> None:
    assert signatures(ast.parse(source)) == {}
