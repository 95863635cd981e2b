"""Texts of scripts: what backslashes and quotes mean."""

from __future__ import annotations

import re

from grpo_launch.bash.pieces import Piece, Role

_ANSI = {
    "a": "\a",
    "b": "\b",
    "e": "\x1b",
    "E": "\x1b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "?": "?",
}
_ANSI_ESCAPE = re.compile(
    r"\\(?:([abeEfnrtv\\'\"?])|([0-7]{1,3})|x([0-9a-fA-F]{1,2})"
    r"|u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})|c(.))",
    re.DOTALL,
)


def unquoted(text: str, role: Role = Role.PLAIN) -> list[Piece]:
    """A literal outside quotes: a backslash quotes what is behind it."""
    pieces: list[Piece] = []
    start = 0
    for match in re.finditer(r"\\(.|$)", text, re.DOTALL):
        if match.start() > start:
            pieces.append(Piece(text[start : match.start()], role))
        if match[1] != "\n":
            pieces.append(Piece(match[1] or "\\", Role.QUOTED))
        start = match.end()
    if start < len(text):
        pieces.append(Piece(text[start:], role))
    return pieces


def double_quoted(text: str, inside: str = '$`"\\') -> str:
    """A literal between double quotes: a backslash is one, but before few characters."""
    return re.sub(
        r"\\(.)",
        lambda m: "" if m[1] == "\n" else m[1] if m[1] in inside else m[0],
        text,
        flags=re.DOTALL,
    )


def here_document(text: str) -> str:
    """A literal of a here-document whose delimiter is not quoted."""
    return double_quoted(text, "$`\\")


def ansi(text: str) -> str:
    r"""What stands in ``$'...'``, ``\n`` for example.

    Bytes that ``\x..`` and octals name are decoded as UTF-8, as programs would.
    """
    found = bytearray()
    start = 0
    for match in _ANSI_ESCAPE.finditer(text):
        found += text[start : match.start()].encode("utf-8", "surrogateescape")
        start = match.end()
        if match[1]:
            found += _ANSI[match[1]].encode()
        elif match[2]:
            found.append(int(match[2], 8) & 0xFF)
        elif match[3]:
            found.append(int(match[3], 16))
        elif match[6]:
            found.append(ord(match[6].upper()) & 0x1F)
        else:
            code = int(match[4] or match[5], 16)
            found += chr(code).encode("utf-8", "surrogatepass") if code <= 0x10FFFF else b""
    found += text[start:].encode("utf-8", "surrogateescape")
    return found.decode("utf-8", "surrogateescape").partition("\0")[0]
