"""What the rewards of a plugin are called with, read from their signatures.

ms-swift makes a reward with ``args=`` alone (``GRPOTrainer._prepare_rewards`` in
``swift/rlhf_trainers/grpo_trainer.py``, 4.6.0), and calls it with the completions and every column
of the rows by name (``compute_rewards_per_func`` in ``swift/rl_core/grpo_algorithm.py``). So a
parameter without a default is a column that the rows must have, and ``**kwargs`` takes the others.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_REGISTRY = "orms"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Signature:
    """How a reward takes what it is called with.

    Attributes:
        columns: those that it cannot do without.
        line: of the function that is called, or that makes the reward.
        fault: why ms-swift cannot make or call it, or None.
        fix: what to write instead.
    """

    columns: tuple[str, ...] = ()
    line: int = 0
    fault: str | None = None
    fix: str = ""


def signatures(tree: ast.Module) -> Mapping[str, Signature]:
    """By the name of a reward, its signature.

    Only of a reward that the file itself defines and registers under a plain name; a class that
    inherits its ``__call__`` is left out.
    """
    defined = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | Function)}
    found: dict[str, Signature] = {}
    for name, item in _registered(tree):
        node = defined.get(item)
        if isinstance(node, ast.ClassDef):
            methods = {item.name: item for item in node.body if isinstance(item, Function)}
            made, call = methods.get("__init__"), methods.get("__call__")
            signature = _made(made, method=True) or (_called(call) if call else None)
        else:
            signature = _made(node, method=False)
        if signature is not None:
            found[name] = signature
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


def _made(function: Function | None, *, method: bool) -> Signature | None:
    """A fault where it cannot be called with ``args=`` alone."""
    if function is None or function.decorator_list:
        return None
    names = [a.arg for a in (*function.args.args[method:], *function.args.kwonlyargs)]
    needed = [name for name in _required(function)[method:] if name != "args"]
    if not needed and ("args" in names or function.args.kwarg):
        return None
    what = "cannot be made: ms-swift calls it with args= and nothing else"
    fix = "give it the parameters (self, args=None, **kwargs)"
    if not method:
        what = "is a function, which ms-swift calls with args= to make the reward"
        fix = "register a class whose __call__ takes (self, completions, **kwargs)"
    return Signature(line=function.lineno, fault=what, fix=fix)


def _called(call: Function) -> Signature | None:
    if call.decorator_list:  # it may give what the signature asks for
        return Signature()
    needed = _required(call)[1:]
    if call.args.kwarg is None:
        what = "takes no **kwargs, and ms-swift gives it every column by name"
        return Signature(line=call.lineno, fault=what, fix="add **kwargs to its parameters")
    plain = [*call.args.posonlyargs, *call.args.args][1:]
    if plain and plain[0].arg in needed:
        needed.remove(plain[0].arg)
    if "completions" in needed:
        what = f"gets the completions as its first parameter, which it calls {plain[0].arg}"
        return Signature(line=call.lineno, fault=what, fix="put completions first")
    return Signature(tuple(needed), call.lineno)


def _required(function: Function) -> list[str]:
    """The parameters without a default, ``self`` included."""
    arguments = function.args
    plain = [*arguments.posonlyargs, *arguments.args]
    needed = plain[: len(plain) - len(arguments.defaults)]
    named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    needed += [argument for argument, default in named if default is None]
    return [argument.arg for argument in needed]
