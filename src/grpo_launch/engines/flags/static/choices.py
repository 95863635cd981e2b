"""The choices that a dataclass field names beside its type, read from source.

``HfArgumentParser`` hands the ``metadata`` of a field to ``argparse``, and some
fields of transformers' ``TrainingArguments`` give ``choices`` there: a list, or the
keys of a dictionary that is built at the top of the module.
"""

from __future__ import annotations

import ast

from grpo_launch.engines.flags.static.classes import Sources
from grpo_launch.engines.flags.static.modules import Import

_DEPTH = 20
"""Steps through names and imports; more is a cycle."""


def metadata_choices(
    sources: Sources, module: str, default: ast.expr | None
) -> tuple[str, ...] | None:
    """``choices`` of ``field(metadata={"choices": ...})``; None where not given or not readable."""
    if not isinstance(default, ast.Call):
        return None
    metadata = next((k.value for k in default.keywords if k.arg == "metadata"), None)
    if not isinstance(metadata, ast.Dict):
        return None
    for key, value in zip(metadata.keys, metadata.values, strict=True):
        if isinstance(key, ast.Constant) and key.value == "choices":
            keys = _keys(sources, module, value, _DEPTH)
            return None if keys is None else tuple(dict.fromkeys(keys))
    return None


def _keys(sources: Sources, module: str, node: ast.expr, depth: int) -> list[str] | None:
    """What iterating over ``node`` would give, as text; None where that cannot be told."""
    if not depth:
        return None
    if isinstance(node, ast.List | ast.Tuple | ast.Dict):
        items = node.keys if isinstance(node, ast.Dict) else node.elts
        texts = [str(i.value) for i in items if isinstance(i, ast.Constant)]
        return texts if len(texts) == len(items) else None
    if isinstance(node, ast.Name):
        found = sources.value_of(module, node.id)
        return None if found is None else _keys(sources, *found, depth - 1)
    if not isinstance(node, ast.Call):
        return None
    function = node.func
    if isinstance(function, ast.Name) and function.id == "dict" and not node.args:
        return _keys_of_dict(sources, module, node, depth)
    if not isinstance(function, ast.Attribute):
        return None
    if function.attr in ("keys", "copy"):
        return _keys(sources, module, function.value, depth - 1)
    returned = _returned(sources, module, function)
    return None if returned is None else _keys(sources, *returned, depth - 1)


def _keys_of_dict(sources: Sources, module: str, call: ast.Call, depth: int) -> list[str] | None:
    """The keys of ``dict(**other, name=value)``."""
    found: list[str] = []
    for keyword in call.keywords:
        inner = None if keyword.arg else _keys(sources, module, keyword.value, depth - 1)
        if keyword.arg is None and inner is None:
            return None
        found += inner or [str(keyword.arg)]
    return found


def _returned(
    sources: Sources, module: str, function: ast.Attribute
) -> tuple[str, ast.expr] | None:
    """What ``module.function()`` returns, where that is all that the function does."""
    source = sources.module(module)
    if source is None or not isinstance(function.value, ast.Name):
        return None
    bound = source.names.get(function.value.id)
    if not isinstance(bound, Import):
        return None
    home = f"{bound.module}.{bound.name}" if bound.name else bound.module
    target = sources.module(home)
    defined = target.names.get(function.attr) if target else None
    if isinstance(defined, ast.FunctionDef):
        last = defined.body[-1]
        if isinstance(last, ast.Return) and last.value is not None:
            return home, last.value
    return None
