"""``sed`` and ``grep`` on lines, with the expressions that files of variables are read with."""

from __future__ import annotations

import re
from collections.abc import Sequence

_TOKEN = re.compile(
    r"(?P<blank>\\s|\[\[:(?:space|blank):\]\]|\[ \]|\[ \\t\])|(?P<quoted>\\[./#$^*])"
    r"|(?P<plain>[\w #=:,\"'/@%~!<>&;-])|(?P<any>\.)"
)
_SUBSTITUTION = re.compile(r"s([/|#,@])((?:\\.|(?!\1)[^\\])*)\1([\w ,:=./-]*)\1(g?)")
_DELETION = re.compile(r"/((?:\\.|[^/\\])*)/\s*d")


def expression(text: str) -> re.Pattern[str] | None:
    """A simple regular expression of ``sed`` and ``grep``; None: it is not understood."""
    body = text.removeprefix("^")
    start = "^" if body != text else ""
    end = "$" if body.endswith("$") and not body.endswith("\\$") else ""
    body = body.removesuffix("$") if end else body
    found = ""
    at = 0
    while at < len(body):
        match = _TOKEN.match(body, at)
        if match is None:
            return None
        at = match.end()
        token = match[0]
        found += "[ \\t]" if match["blank"] else "." if match["any"] else re.escape(token[-1])
        if body[at : at + 1] == "*":
            found += "*"
            at += 1
    return re.compile(f"{start}{found}{end}")


def sed(arguments: Sequence[str], stdin: str) -> str | None:
    """``s/X/Y/``, ``s/X//g`` and ``/X/d``; None: it is not understood."""
    scripts = [text for text in arguments if text != "-e"]
    if not scripts or (len(scripts) > 1 and arguments.count("-e") != len(scripts)):
        return None
    lines = stdin.splitlines()
    for script in scripts:
        if (match := _SUBSTITUTION.fullmatch(script)) is not None:
            pattern = expression(match[2])
            if pattern is None or pattern.pattern == "":
                return None
            count = 0 if match[4] else 1
            lines = [pattern.sub(match[3], line, count=count) for line in lines]
        elif (match := _DELETION.fullmatch(script)) is not None:
            if (pattern := expression(match[1])) is None:
                return None
            lines = [line for line in lines if not pattern.search(line)]
        else:
            return None
    return "".join(f"{line}\n" for line in lines)


def without(text: str, stdin: str) -> str | None:
    """``grep -v X``: the other lines; None: it is not understood."""
    pattern = expression(text)
    if pattern is None:
        return None
    return "".join(f"{line}\n" for line in stdin.splitlines() if not pattern.search(line))
