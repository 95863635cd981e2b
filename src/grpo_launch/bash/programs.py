"""Small programs whose output is known where their arguments are."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from grpo_launch.bash.directories import is_open, normal, within
from grpo_launch.bash.lines import sed, without
from grpo_launch.bash.script import Value, joined
from grpo_launch.bash.syntax import HERE
from grpo_launch.bash.text import ansi

_MOST = 10_000


class BeyondError(Exception):
    """An option, or an input, that is not understood."""


def output(
    name: str, arguments: Sequence[Value], stdin: Value | None, directory: Callable[[], Value]
) -> Value | None:
    """What a program prints.

    Args:
        name: of the program.
        arguments: without its name.
        stdin: what it reads, where that is known.
        directory: the working directory.

    Returns:
        None where nobody knows, or the program is none of these.
    """
    try:
        if name == "echo":
            return _echo(arguments)
        if name == "printf":
            return formatted(arguments)
        if name == "pwd":
            return joined(directory(), "\n")
        if name == "cat" and not [a for a in arguments if a.known != "-"]:
            return stdin
        known = [argument.known for argument in arguments]
        texts = [text for text in known if text is not None]
        if len(texts) < len(known):
            return None
        if name in ("realpath", "readlink"):
            return _resolved(name, texts, directory())
        if name in _OF_ARGUMENTS:
            end = texts[:1] == ["--"] and name != "expr"  # of its options
            return joined(_OF_ARGUMENTS[name](texts[end:]))
        if name in _OF_INPUT and stdin is not None and stdin.known is not None:
            return joined(_OF_INPUT[name](texts, stdin.known))
    except (BeyondError, ValueError, IndexError):
        pass
    return None


def status(name: str, value: Value) -> int:
    """What a program returns that has printed ``value``."""
    if name == "grep":
        return 0 if value.parts else 1
    return 1 if name == "expr" and value.known in ("0\n", "\n") else 0


def _echo(arguments: Sequence[Value]) -> Value:
    rest = list(arguments)
    options = ""
    while rest and re.fullmatch(r"-[neE]+", rest[0].known or ""):
        options += str(rest.pop(0).known)[1:]
    escapes = re.findall("[eE]", options)[-1:] == ["e"]
    parts: list[Value | str] = []
    for index, value in enumerate(rest):
        parts += [" "] if index else []
        for part in value.parts:
            if isinstance(part, str) and escapes:
                if "\\c" in part:
                    raise BeyondError
                part = ansi(re.sub(r"\\0([0-7]{1,3})", r"\\\1", part))
            parts.append(joined(part))
    return joined(*parts, "" if "n" in options else "\n")


_DIRECTIVE = re.compile(
    r"%(?:%|([-+ 0#]*)(\d+|\*)?(?:\.(\d+))?([sdiuxXob]))|\\.|[^%\\]+|.", re.DOTALL
)


def formatted(arguments: Sequence[Value]) -> Value:
    """What ``printf`` prints.

    Raises:
        BeyondError: it is not understood.
    """
    rest = list(arguments)
    if rest and rest[0].known == "--":
        rest.pop(0)
    form = rest.pop(0).known if rest else None
    if form is None:
        raise BeyondError
    parts: list[Value | str] = []
    rounds = 0
    while True:
        before = len(rest)
        for match in _DIRECTIVE.finditer(form):
            piece = match[0]
            if match[4]:
                parts.append(_directive(match, rest.pop(0) if rest else Value()))
            elif piece == "%%":
                parts.append("%")
            elif piece.startswith("%"):
                raise BeyondError
            else:
                parts.append(ansi(re.sub(r"\\0([0-7]{1,3})", r"\\\1", piece)))
        rounds += 1
        if not rest or len(rest) == before or rounds > _MOST:
            return joined(*parts)


def _directive(match: re.Match[str], value: Value) -> Value:
    flags, width, precision, letter = match[1], match[2], match[3], match[4]
    if letter == "s" and not (flags or width or precision):
        return value
    text = value.known
    if text is None or width == "*" or letter == "b" or "#" in flags:
        raise BeyondError
    if letter == "s":
        text = text if precision is None else text[: int(precision)]
        size = int(width or 0)
        return joined(text.ljust(size) if "-" in flags else text.rjust(size))
    if not re.fullmatch(r"-?(0|[1-9]\d*)|", text) or precision is not None:
        raise BeyondError
    number = int(text or 0)
    if number < 0 and letter in "uxXo":
        raise BeyondError
    return joined(f"%{flags}{width or ''}{letter.replace('i', 'd').replace('u', 'd')}" % number)


def _dirname(arguments: Sequence[str]) -> str:
    if not arguments or arguments[0].startswith("-"):
        raise BeyondError
    return "".join(f"{_parent(path)}\n" for path in arguments)


def _parent(path: str) -> str:
    stripped = path.rstrip("/")
    if is_open(path) and (stripped == HERE or stripped.endswith("/..")):
        return normal(f"{stripped}/..")
    if not stripped:
        return "/" if path else "."
    head, slash, _ = stripped.rpartition("/")
    return (head.rstrip("/") or "/") if slash else "."


def _basename(arguments: Sequence[str]) -> str:
    if not arguments or arguments[0].startswith("-") or len(arguments) > 2:
        raise BeyondError
    path = arguments[0]
    base = path.rstrip("/").rpartition("/")[2] or ("/" if path else "")
    suffix = arguments[1] if len(arguments) > 1 else ""
    return f"{base.removesuffix(suffix) if base != suffix else base}\n"


def _resolved(name: str, arguments: Sequence[str], directory: Value) -> Value:
    """``realpath`` and ``readlink -f``, of paths without symbolic links."""
    options = [text for text in arguments if text.startswith("-")]
    paths = [text for text in arguments if not text.startswith("-")]
    if set(options) - {"-f", "-m", "-e", "-s", "-q"} or (name == "readlink" and not options):
        raise BeyondError
    if len(paths) != 1 or not paths[0]:
        raise BeyondError
    return joined(within(directory, joined(paths[0])), "\n")


def _seq(arguments: Sequence[str]) -> str:
    rest = list(arguments)
    separator, wide = "\n", False
    while rest and re.match(r"-[a-z]", rest[0]):
        option = rest.pop(0)
        if option == "-w":
            wide = True
        elif option.startswith("-s"):
            separator = option[2:] or rest.pop(0)
        else:
            raise BeyondError
    numbers = [int(text) for text in rest]
    if not 1 <= len(numbers) <= 3:
        raise BeyondError
    first = numbers[0] if len(numbers) > 1 else 1
    step = numbers[1] if len(numbers) == 3 else 1
    if step == 0 or abs(numbers[-1] - first) // abs(step) > _MOST:
        raise BeyondError
    values = range(first, numbers[-1] + (1 if step > 0 else -1), step)
    width = max((len(str(v)) for v in (first, numbers[-1])), default=0) if wide else 0
    return separator.join(f"{v:0{width}d}" for v in values) + ("\n" if len(values) else "")


def _tr(arguments: Sequence[str], stdin: str) -> str:
    rest = list(arguments)
    options = ""
    while rest and re.fullmatch(r"-[ds]+", rest[0]):
        options += rest.pop(0)[1:]
    sets = [_characters(text) for text in rest]
    if options == "d" and len(sets) == 1:
        return "".join(c for c in stdin if c not in sets[0])
    if options == "s" and len(sets) == 1:
        return re.sub(f"([{re.escape(sets[0])}])\\1+", r"\1", stdin)
    if options or len(sets) != 2 or not sets[1]:
        raise BeyondError
    to = sets[1].ljust(len(sets[0]), sets[1][-1])
    table: dict[int, str] = {}
    for old, new in zip(sets[0], to, strict=False):
        table[ord(old)] = new  # the last one counts
    return stdin.translate(table)


def _characters(text: str) -> str:
    """A set of characters of ``tr``."""
    low, high = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    digits, space = "0123456789", " \t\n\r\v\f"
    for name, inside in (("lower", low), ("upper", high), ("digit", digits), ("space", space)):
        text = text.replace(f"[:{name}:]", inside)
    if "[:" in text or "[=" in text or re.search(r"\[.\*", text):
        raise BeyondError
    text = re.sub(
        r"([a-zA-Z0-9])-([a-zA-Z0-9])",
        lambda m: "".join(chr(c) for c in range(ord(m[1]), ord(m[2]) + 1)),
        text,
    )
    return ansi(text)


def _wc(arguments: Sequence[str], stdin: str) -> str:
    counts = {"-l": stdin.count("\n"), "-w": len(stdin.split()), "-c": len(stdin.encode())}
    if len(arguments) != 1 or arguments[0] not in counts:
        raise BeyondError
    return f"{counts[arguments[0]]}\n"


def _cut(arguments: Sequence[str], stdin: str) -> str:
    match = re.fullmatch(r"-d\0?(.)\0-f\0?(\d+)(-?)", "\0".join(arguments), re.DOTALL)
    if match is None:
        raise BeyondError
    first = int(match[2]) - 1
    lines = ""
    for line in stdin.splitlines():
        parts = line.split(match[1])
        chosen = parts[first:] if match[3] else parts[first : first + 1]
        lines += (line if len(parts) == 1 else match[1].join(chosen)) + "\n"
    return lines


def _awk(arguments: Sequence[str], stdin: str) -> str:
    match = re.fullmatch(
        r"(?:-F\0?([^\0\\])\0)?\s*\{\s*print\s+(NF|\$\d+|\$NF)\s*;?\s*\}\s*", "\0".join(arguments)
    )
    if match is None or (match[1] and match[1] not in ",:;=/-_"):
        raise BeyondError
    lines = ""
    for line in stdin.splitlines():
        parts = (line.split(match[1]) if line else []) if match[1] else line.split()
        if match[2] == "NF":
            lines += f"{len(parts)}\n"
        else:
            index = len(parts) if match[2] == "$NF" else int(match[2][1:])
            whole = line if index == 0 else ""
            lines += f"{parts[index - 1] if 0 < index <= len(parts) else whole}\n"
    return lines


def _expr(arguments: Sequence[str]) -> str:
    """Of integers, with operators that bind alike."""
    numbers, operators = arguments[::2], {*arguments[1::2]}
    if not all(re.fullmatch(r"-?\d+", number) for number in numbers):
        raise BeyondError
    if len(arguments) % 2 == 0 or not (operators <= {"+", "-"} or operators <= {"*", "/", "%"}):
        raise BeyondError
    result = int(numbers[0])
    for operator, number in zip(arguments[1::2], map(int, numbers[1:]), strict=True):
        if operator in ("+", "-"):
            result += number if operator == "+" else -number
        elif operator == "*":
            result *= number
        elif number == 0:
            raise BeyondError
        else:
            quotient = abs(result) // abs(number) * (1 if (result < 0) == (number < 0) else -1)
            result = quotient if operator == "/" else result - quotient * number
    return f"{result}\n"


def _grep(arguments: Sequence[str], stdin: str) -> str:
    """``grep -o TEXT``: each place of it in a line; ``grep -v '^#'``: the lines without it."""
    option, text = arguments
    if option == "-v" and (rest := without(text, stdin)) is not None:
        return rest
    if option != "-o" or not re.fullmatch(r"[\w,:;=/ -]+", text) or text.startswith("-"):
        raise BeyondError
    return f"{text}\n" * sum(line.count(text) for line in stdin.split("\n"))


def _sed(arguments: Sequence[str], stdin: str) -> str:
    if (lines := sed(arguments, stdin)) is None:
        raise BeyondError
    return lines


def _xargs(arguments: Sequence[str], stdin: str) -> str:
    """Without a program: the words of all lines in one, without quotes."""
    words = _QUOTED.findall(stdin)
    if arguments or "".join("".join(stdin.split())) != "".join("".join(words).split()):
        raise BeyondError
    found = [re.sub(_QUOTES, lambda m: m[1] or m[2] or m[3] or "", word) for word in words]
    if found and found[0].startswith("-"):
        raise BeyondError
    return " ".join(found) + "\n"


_QUOTES = r"'([^'\n]*)'|\"([^\"\n]*)\"|\\(.)"
_QUOTED = re.compile(r"(?:[^\s'\"\\]|'[^'\n]*'|\"[^\"\n]*\"|\\[^\n])+")
"""Words of ``xargs``; what does not match, as one quote alone, is an error of it."""

OF_FILES = ("cat", "grep", "sed")
"""Programs that read the file that is their last argument."""

_OF_ARGUMENTS: dict[str, Callable[[Sequence[str]], str]] = {
    "dirname": _dirname,
    "basename": _basename,
    "seq": _seq,
    "expr": _expr,
}
_OF_INPUT: dict[str, Callable[[Sequence[str], str], str]] = {
    "tr": _tr,
    "wc": _wc,
    "cut": _cut,
    "awk": _awk,
    "grep": _grep,
    "sed": _sed,
    "xargs": _xargs,
}
