"""What a command line takes for an annotation, as transformers' ``HfArgumentParser`` decides.

Source: ``HfArgumentParser._parse_dataclass_field`` of transformers 5.19
(``hf_argparser.py``), with ms-swift's patch of the type hints (``_patch_get_type_hints``
in ``swift/utils/utils.py`` of ms-swift 4.6).
"""

from __future__ import annotations

import ast
import dataclasses
from dataclasses import dataclass

from grpo_launch.engines.flags import Flag, Kind
from grpo_launch.engines.flags.static.choices import metadata_choices
from grpo_launch.engines.flags.static.classes import Field, Sources


@dataclass(frozen=True)
class Hint:
    """A type hint.

    Attributes:
        name: the last part of its name; ``Union``, ``Literal``, ``list``, ``dict``, ``None``.
        args: of a union, list or dict.
        values: of a literal, as text.
        module: where the name is looked up.
    """

    name: str
    args: tuple[Hint, ...] = ()
    values: tuple[str, ...] = ()
    module: str = ""


_NONE = Hint("None")
_GENERICS = {"List": "list", "Dict": "dict", "Sequence": "list"}
_PLAIN: dict[str, Kind] = {
    "int": "int",
    "float": "float",
    "bool": "bool",
    "str": "str",
    "Path": "str",
    "PathLike": "str",
}
_UNREADABLE = frozenset({"Any", "dict", "Callable", "tuple", "Tuple"})
"""Calling these with text fails, so that argparse refuses every value."""


def flag(sources: Sources, field: Field) -> Flag:
    """The flag of a dataclass field; other names are looked up in ``sources``."""
    made = _by_annotation(sources, _hint(sources, field.module, field.annotation))
    if made.choices is None and made.kind == "str":
        choices = metadata_choices(sources, field.default_module, field.default)
        return dataclasses.replace(made, choices=choices)
    return made


def _by_annotation(sources: Sources, hint: Hint) -> Flag:
    if hint.name != "Union":
        return _of(sources, hint, optional=False)
    members = hint.args
    optional = _NONE in members
    names = [member.name for member in members]
    if optional and "bool" in names:
        return Flag("bool" if len(names) == 2 else "object", optional=True)
    if "str" not in names and (len(names) != 2 or not optional):
        return Flag("any", optional=optional)  # the parser itself refuses such a field
    if "dict" in names and "str" in names:
        return Flag("json", optional=optional)
    chosen = members[0] if members[1] == (_NONE if optional else Hint("str")) else members[1]
    return _of(sources, chosen, optional)


def _of(sources: Sources, hint: Hint, optional: bool) -> Flag:
    if hint.name == "Literal":
        return Flag("str", optional=optional, choices=hint.values)
    if hint.name == "list":
        if not hint.args or hint.args[0].name in ("Union", "Literal", "bool", "list"):
            return Flag("any", is_list=True, optional=optional)
        item = _of(sources, hint.args[0], optional)
        return Flag(item.kind, is_list=True, optional=optional, choices=item.choices)
    if hint.name in _PLAIN:
        return Flag(_PLAIN[hint.name], optional=optional)
    if hint.name in _UNREADABLE:
        return Flag("object", optional=optional)
    values = _enum_values(sources, hint)
    if values is not None:
        return Flag("str", optional=optional, choices=values)
    known = sources.class_of(hint.module, hint.name) is not None
    return Flag("object" if known else "any", optional=optional)


def _hint(sources: Sources, module: str, node: ast.expr) -> Hint:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return _hint(sources, module, ast.parse(node.value, mode="eval").body)
        return _NONE
    if isinstance(node, ast.BinOp):
        return _union(_hint(sources, module, node.left), _hint(sources, module, node.right))
    if isinstance(node, ast.Subscript):
        return _generic(sources, module, _name(node.value), node.slice)
    name = _name(node)
    if name not in _PLAIN and name not in _UNREADABLE and name not in _GENERICS:
        alias = sources.value_of(module, name)
        if alias is not None and isinstance(alias[1], ast.Subscript | ast.BinOp):
            return _hint(sources, *alias)
    return Hint(_GENERICS.get(name, name).replace("Dict", "dict"), module=_home(name, module))


def _generic(sources: Sources, module: str, name: str, inner: ast.expr) -> Hint:
    items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if name == "Literal":
        values = [value for item in items for value in _literal_values(sources, module, item)]
        return Hint("Literal", values=tuple(dict.fromkeys(values)))
    args = [_hint(sources, module, item) for item in items]
    if name == "Optional":
        return _union(args[0], _NONE)
    if name == "Union":
        return _union(*args)
    if name in ("Annotated", "Required", "Final"):
        return args[0]
    name = _GENERICS.get(name, name)
    return Hint(name, tuple(args) if name in ("list", "dict") else (), module=_home(name, module))


def _literal_values(sources: Sources, module: str, item: ast.expr) -> list[str]:
    try:
        return [str(ast.literal_eval(item))]
    except ValueError:
        return list(_hint(sources, module, item).values)  # a literal inside a literal


def _union(*members: Hint) -> Hint:
    """A union as ``typing`` makes it: flat, without repetitions, one member is itself."""
    flat = [m for member in members for m in (member.args if _is_union(member) else (member,))]
    unique = tuple(dict.fromkeys(flat))
    return unique[0] if len(unique) == 1 else Hint("Union", unique)


def _is_union(hint: Hint) -> bool:
    return hint.name == "Union"


def _home(name: str, module: str) -> str:
    """The module of a name, empty for built-in ones, so that equal hints compare equal."""
    known = name in _PLAIN or name in _UNREADABLE or name in ("list", "dict", "None", *_GENERICS)
    return "" if known else module


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _enum_values(sources: Sources, hint: Hint) -> tuple[str, ...] | None:
    """The values of an enumeration as text; None for any other class."""
    cls = sources.class_of(hint.module, hint.name)
    for _ in range(10):
        if cls is None:
            return None
        bases = [_name(base) for base in cls.node.bases]
        if any(base.endswith("Enum") for base in bases):
            break
        cls = sources.class_of(cls.module, bases[0]) if bases else None
    else:
        return None
    found: list[str] = []
    for statement in cls.node.body:
        if isinstance(statement, ast.Assign):
            try:
                found.append(str(ast.literal_eval(statement.value)))
            except ValueError:
                return None
    return tuple(dict.fromkeys(found))  # an alias repeats a value and is no member
