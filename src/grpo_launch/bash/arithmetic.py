"""Arithmetic, as ``$(( ))`` does it: 64 bits, names are variables whose text is arithmetic too.

The text is parsed after its expansions, as bash does it: ``$x*2`` is ``1+2*2`` where ``x`` holds
``1+2``, and ``x*2`` is 6.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from grpo_launch.bash.script import Unknown

_TOKEN = re.compile(
    r"\s*(?:(0[xX][0-9a-fA-F]+|\d+#[0-9a-zA-Z@_]+|\d+)|([A-Za-z_]\w*)"
    r"|(<<=|>>=|\*\*|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|[-+*/%&|^~!<>=?:,()\[\]]))"
)
_BINARY = (
    ("||",),
    ("&&",),
    ("|",),
    ("^",),
    ("&",),
    ("==", "!="),
    ("<=", ">=", "<", ">"),
    ("<<", ">>"),
    ("+", "-"),
    ("*", "/", "%"),
)
_ASSIGNMENTS = ("=", "+=", "-=", "*=", "/=", "%=", "<<=", ">>=", "&=", "^=", "|=")
_DEEPEST = 64


class WrongError(Exception):
    """The text is no arithmetic, or divides by zero: bash reports it and goes on."""


class UnknownError(Exception):
    """The result depends on something that nobody knows.

    Args:
        unknown: what.
    """

    def __init__(self, unknown: Unknown) -> None:
        super().__init__()
        self.unknown = unknown


@dataclass(frozen=True)
class Names:
    """The variables of an expression.

    Attributes:
        get: the text of a variable, by its name and the text of an index (empty: none); raises
            ``UnknownError``.
        put: sets one.
    """

    get: Callable[[str, str], str]
    put: Callable[[str, str, str], None]


def evaluate(text: str, names: Names, depth: int = 0) -> int:
    """The value of an expression; an empty one is 0.

    Raises:
        WrongError: see there.
        UnknownError: see there.
    """
    if depth > _DEEPEST:
        raise WrongError
    parser = _Parser(_tokens(text), names, depth)
    if not parser.tokens:
        return 0
    result = parser.comma()
    if parser.at != len(parser.tokens):
        raise WrongError
    return result


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise WrongError
        tokens.append(match[0].strip())
        at = match.end()
    return tokens


def _wrapped(value: int) -> int:
    """A number of 64 bits with its sign."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


@dataclass
class _Place:
    """A variable that an expression may set."""

    name: str
    index: str


class _Parser:
    """Parses and evaluates at once; what is not reached has no effect (``quiet``)."""

    def __init__(self, tokens: list[str], names: Names, depth: int) -> None:
        self.tokens = tokens
        self.names = names
        self.depth = depth
        self.at = 0
        self.quiet = False
        self.nested = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, *wanted: str) -> str:
        token = self.peek()
        if not token or (wanted and token not in wanted):
            raise WrongError
        self.at += 1
        return token

    def comma(self) -> int:
        result = self.assignment()
        while self.peek() == ",":
            self.take()
            result = self.assignment()
        return result

    def assignment(self) -> int:
        start = self.at
        place = self.place()
        if place is not None and self.peek() in _ASSIGNMENTS:
            operator = self.take()[:-1]
            if operator and not self.quiet:
                old = self.value(place)
                new = self.apply(operator, old, self.assignment())
            else:
                new = self.assignment()
            self.put(place, new)
            return new
        self.at = start
        return self.ternary()

    def place(self) -> _Place | None:
        """A variable at this place, with its index."""
        name = self.peek()
        if not re.match(r"[A-Za-z_]", name):
            return None
        self.take()
        if self.peek() != "[":
            return _Place(name, "")
        self.take()
        start, depth = self.at, 1
        while depth:
            depth += {"[": 1, "]": -1}.get(self.take(), 0)
        return _Place(name, " ".join(self.tokens[start : self.at - 1]) or "0")

    def ternary(self) -> int:
        self.nested += 1
        if self.nested > _DEEPEST:
            raise WrongError
        test = self.binary(0)
        if self.peek() == "?":
            self.take()
            yes = self.unless(not test, self.comma)
            self.take(":")
            no = self.unless(bool(test), self.assignment)
            test = yes if test else no
        self.nested -= 1
        return test

    def unless(self, skipped: bool, parse: Callable[[], int]) -> int:
        """Parse a part; one that is not reached sets and reads nothing."""
        before = self.quiet
        self.quiet = before or skipped
        try:
            return parse()
        finally:
            self.quiet = before

    def binary(self, level: int) -> int:
        if level == len(_BINARY):
            return self.power()
        left = self.binary(level + 1)
        while self.peek() in _BINARY[level]:
            operator = self.take()
            if operator == "&&":
                right = self.unless(not left, lambda: self.binary(level + 1))
                left = int(bool(left) and bool(right))
            elif operator == "||":
                right = self.unless(bool(left), lambda: self.binary(level + 1))
                left = int(bool(left) or bool(right))
            else:
                left = self.apply(operator, left, self.binary(level + 1))
        return left

    def power(self) -> int:
        base = self.unary()
        if self.peek() != "**":
            return base
        self.take()
        exponent = self.power()
        if exponent < 0:
            if self.quiet:
                return 0
            raise WrongError
        return _wrapped(pow(base, exponent, 1 << 64))

    def unary(self) -> int:
        sign = self.peek()
        if sign in ("++", "--"):
            self.take()
            place = self.place()
            if place is None:  # --5 is -(-5)
                return self.unary()
            return self.put(place, self.value(place) + (1 if sign == "++" else -1))
        if sign in ("-", "+", "!", "~"):
            self.nested += 1
            if self.nested > _DEEPEST:
                raise WrongError
            self.take()
            value = self.unary()
            self.nested -= 1
            return _wrapped({"-": -value, "+": value, "!": int(not value), "~": ~value}[sign])
        return self.primary()

    def primary(self) -> int:
        if self.peek() == "(":
            self.take()
            result = self.comma()
            self.take(")")
            return result
        place = self.place()
        if place is None:
            return _number(self.take())
        value = self.value(place)
        if self.peek() in ("++", "--"):
            self.put(place, value + (1 if self.take() == "++" else -1))
        return value

    def value(self, place: _Place) -> int:
        if self.quiet:
            return 0
        return evaluate(self.names.get(place.name, place.index), self.names, self.depth + 1)

    def put(self, place: _Place, value: int) -> int:
        value = _wrapped(value)
        if not self.quiet:
            self.names.put(place.name, place.index, str(value))
        return value

    def apply(self, operator: str, left: int, right: int) -> int:
        if operator in ("/", "%"):
            if right == 0:
                if self.quiet:
                    return 0
                raise WrongError
            quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
            return _wrapped(quotient if operator == "/" else left - quotient * right)
        if operator in ("<<", ">>"):
            shift = right % 64
            return _wrapped(left << shift if operator == "<<" else left >> shift)
        results = {
            "+": left + right,
            "-": left - right,
            "*": left * right,
            "|": left | right,
            "^": left ^ right,
            "&": left & right,
            "==": left == right,
            "!=": left != right,
            "<": left < right,
            ">": left > right,
            "<=": left <= right,
            ">=": left >= right,
        }
        return _wrapped(int(results[operator]))


def _number(token: str) -> int:
    if "#" in token:
        base, _, digits = token.partition("#")
        return _of_base(int(base), digits)
    if token.lower().startswith("0x"):
        return _wrapped(int(token, 16))
    if not token.isdigit() or len(token) > 40:
        raise WrongError
    try:
        return _wrapped(int(token, 8 if token.startswith("0") else 10))
    except ValueError:
        raise WrongError from None


def _of_base(base: int, digits: str) -> int:
    alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ@_"
    if base <= 36:
        digits = digits.lower()
    value = 0
    for digit in digits:
        if not 2 <= base <= 64 or alphabet.index(digit) >= base:
            raise WrongError
        value = value * base + alphabet.index(digit)
    return _wrapped(value)
