"""What the rewards of a plugin cannot do without, read from their signatures.

ms-swift calls a reward with the completions and every column of the rows by name
(``compute_rewards_per_func`` in ``swift/rl_core/grpo_algorithm.py``, 4.6.0), so that a parameter
without a default is a column that the rows must have.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

_REGISTRY = "orms"
_CALLED_WITH = ("self", "completions")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def columns(tree: ast.Module) -> Mapping[str, tuple[str, ...]]:
    """By the name of a reward, the columns that it takes.

    Only of a reward that the file itself defines and registers under a plain name; a class that
    inherits its ``__call__`` is left out.
    """
    defined = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | Function)}
    found: dict[str, tuple[str, ...]] = {}
    for name, item in _registered(tree):
        call = _call(defined.get(item))
        if call is not None:
            found[name] = tuple(_required(call))
    return found


def _registered(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Name and class of each ``orms["name"] = Class``."""
    for node in tree.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Name):
            continue
        for target in node.targets:
            if (
                isinstance(target, ast.Subscript)
                and ast.unparse(target.value) == _REGISTRY
                and isinstance(target.slice, ast.Constant)
            ):
                yield str(target.slice.value), node.value.id


def _call(node: ast.ClassDef | Function | None) -> Function | None:
    """What is called: a function that is no factory, or the method of a class."""
    if not isinstance(node, ast.ClassDef):
        return node
    methods = (item for item in node.body if isinstance(item, Function))
    return next((item for item in methods if item.name == "__call__"), None)


def _required(call: Function) -> Iterator[str]:
    if call.decorator_list:  # it may give what the signature asks for
        return
    plain = [*call.args.posonlyargs, *call.args.args]
    without_default = plain[: len(plain) - len(call.args.defaults)]
    named = zip(call.args.kwonlyargs, call.args.kw_defaults, strict=True)
    without_default += [argument for argument, default in named if default is None]
    yield from (a.arg for a in without_default if a.arg not in _CALLED_WITH)
