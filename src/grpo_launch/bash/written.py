"""Files that a script writes itself, which it may read later on."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from grpo_launch.bash import programs
from grpo_launch.bash.pieces import Field
from grpo_launch.bash.script import Redirect, Value, joined
from grpo_launch.bash.shell import Shell

_OUT = (">", ">>", ">|", "&>", "&>>")
_PRINTS = ("echo", "printf", "cat")
_INTO = ("cp", "mv", "ln", "install")
_ALL = ("mv", "rm", "tee", "truncate", "dos2unix", "unlink")
"""Programs after which what their operands hold is not what it was before."""

_OUTPUTS = {"wget": ("-O", "--output-document"), "curl": ("-o", "--output")}


def by_redirects(shell: Shell, listed: Sequence[Redirect], text: Value | None = None) -> None:
    """Note the files that the output of a command goes to.

    Args:
        shell: the reader.
        listed: the redirections of the command itself.
        text: what it prints; None: nobody knows.
    """
    files = [one for one in listed if one.operator in _OUT]
    for one in files:
        is_all = one.operator in (">", ">>", ">|") and one.descriptor in (None, 1)
        said = text if is_all and len(files) == 1 else None
        if one.operator.endswith(">>") and said is not None:
            before = shell.written(shell.place(one.target))
            said = None if before is None else joined(before, said)
        shell.write(one.target, said)


def by_command(
    shell: Shell, fields: Sequence[Field], listed: Sequence[Redirect], stdin: Value | None
) -> None:
    """Note the files that a command, which is no function, has written."""
    name = fields[0].value.known or ""
    text = None
    if name in _PRINTS and not any(field.several for field in fields):
        arguments = [field.value for field in fields[1:]]
        text = programs.output(name, arguments, stdin, shell.directory)
    by_redirects(shell, listed, text)
    is_plain = name == "tee" and not any(str(f.value).startswith("-") for f in fields[1:])
    for target in _operands(name, [field.value for field in fields[1:]]):
        shell.write(target, stdin if is_plain else None)


def _operands(name: str, arguments: Sequence[Value]) -> Iterator[Value]:
    """The files that a program changes by their names."""
    operands = [value for value in arguments if not str(value).startswith("-")]
    if name == "sed":
        if any(re.match(r"-[a-zA-Z]*i|--in-place", str(value)) for value in arguments):
            yield from operands
    elif name in _OUTPUTS:
        for option, value in pairwise(arguments):
            if option.known in _OUTPUTS[name]:
                yield value
    if name in _ALL:
        yield from operands
    if name in _INTO and len(operands) > 1:
        yield operands[-1]
        for source in operands[:-1]:  # where that is a directory
            yield joined(operands[-1], "/", posixpath.basename(str(source)))
