"""What is secret, and how it is kept out of what is shown and stored.

Secrets are known by the names of their variables. Processes get them in their environment
and may print them; their logs are scrubbed when they have ended, in place and to the same
length, and what the launcher shows of them meanwhile is masked. Standard library only: the
supervisor and the guards import it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

SHORTEST = 8
"""Characters of a value that is looked for; shorter ones are words that occur anyway."""

_NAME = re.compile(
    r"(?:^|_)(token|pat|api_?key|access_?key|secret_?key|private_?key"
    r"|password|passwd|passphrase|secret|credential)s?(?:_?\d+)?$",
    re.IGNORECASE,
)
_KEY_OF_A_SERVICE = re.compile(r"[A-Z][A-Z0-9_]*_KEYS?(?:_?\d+)?")
"""A variable, as ``OPENAI_KEY``; an option in small letters may be the key of anything."""

_PART_OF_TEXT = frozenset(
    (
        *("bos", "eos", "pad", "unk", "sep", "cls", "mask", "sequence", "special", "stop"),
        *("image", "video", "audio", "think", "new", "extra", "draft", "batched", "ignore"),
        *("max", "min", "num", "n", "total", "per", "budget"),
        *("input", "output", "prompt", "completion"),
    )
)
"""Words beside ``token`` in names of what a model reads or counts."""

_NO_LOCK = frozenset(
    (
        *("public", "sort", "primary", "foreign", "cache", "partition"),
        *("column", "prompt", "label", "data"),
    )
)
"""Words before ``KEY`` in names of variables that open nothing."""

_IN_URL = re.compile(r"(\b[a-z][a-z0-9+.-]*://)([^/\s:@]*):([^/\s@]+)(?=@)", re.IGNORECASE)
_YAML_PAIR = re.compile(r"(\s*(?:- )*[\"']?([\w.]+)[\"']?:[ \t]*)(\S.*)?$")
_NOTHING = frozenset(("", "null", "''", '""', "{}", "[]", "???"))
_CHUNK = 1 << 20


def is_secret_name(name: str) -> bool:
    """Whether a variable or key of this name holds a secret: ``WANDB_API_KEY``, ``hub_token``."""
    words = {*name.lower().split("_")}
    if words == {"tokens"}:
        return False
    if found := _NAME.search(name):
        return found[1].lower() != "token" or words.isdisjoint(_PART_OF_TEXT)
    return _KEY_OF_A_SERVICE.fullmatch(name) is not None and words.isdisjoint(_NO_LOCK)


def is_secret_place(key: str) -> bool:
    """Whether a dotted key is secret, or below one that is: ``env.set.GH_PAT.x``."""
    return any(is_secret_name(word) for word in key.split("."))


def in_urls(text: str) -> tuple[str, ...]:
    """What the URLs of a text say to log in: ``USER:PASSWORD`` and ``PASSWORD`` of each."""
    if "://" not in text or "@" not in text:
        return ()
    pairs = [(match[2], match[3]) for match in _IN_URL.finditer(text)]
    return tuple(said for user, word in pairs for said in (f"{user}:{word}", word))


def _without_logins(text: str) -> str:
    """Stars for what URLs say to log in, however short it is, and nowhere else."""
    return _IN_URL.sub(lambda found: found[1] + "*" * (len(found[0]) - len(found[1])), text)


def secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The texts that must not be shown or stored, the longest first.

    Args:
        environ: the environment that the processes get.

    Returns:
        The values of variables with secret names, and what URLs in any variable say to log
        in, as they are and as JSON and Python escape them; of a value of several lines also
        each line.
    """
    found: set[str] = set()
    for name, value in environ.items():
        whole = (value, value.strip(), *value.splitlines()) if is_secret_name(name) else ()
        for text in (*whole, *in_urls(value)):
            found |= {text, repr(text)[1:-1]}
            found |= {json.dumps(text, ensure_ascii=flag)[1:-1] for flag in (True, False)}
    return tuple(sorted((s for s in found if len(s) >= SHORTEST), key=len, reverse=True))


def masked(text: str, hidden: Sequence[str]) -> str:
    """``text`` with each of the texts in ``hidden`` as stars, of the same length."""
    for secret in hidden:
        text = text.replace(secret, "*" * len(secret))
    return text


def without_named(value: Any, name: str = "") -> Any:
    """Plain data with stars for the texts that stand under secret names, and in URLs.

    Args:
        value: mappings, lists and scalars.
        name: of ``value`` itself, its last part.
    """
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value).items()
        below = "" if not is_secret_name(name) else name
        return {key: without_named(item, below or str(key)) for key, item in pairs}
    if isinstance(value, list | tuple):
        return [without_named(item, name) for item in cast("Sequence[Any]", value)]
    if not isinstance(value, str):
        return value
    return "*" * len(value) if is_secret_name(name) else _without_logins(value)


def without_named_in_yaml(text: str) -> str:
    """YAML text with stars for the scalars that stand under secret names, and in URLs."""
    lines: list[str] = []
    secret_at: int | None = None  # how far the secret name is indented that the line is below
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip(" "))
        pair = _YAML_PAIR.match(line)
        is_item = line.lstrip(" ").startswith("- ")
        if secret_at is not None and line.strip() and indent + is_item <= secret_at:
            secret_at = None
        if secret_at is None and pair and is_secret_name(pair[2].rpartition(".")[2]):
            secret_at = indent
        elif secret_at is None or not line.strip():
            lines.append(line)
            continue
        begin, value = (pair[1], pair[3] or "") if pair else _item(line)
        lines.append(line if value in _NOTHING else begin + "*" * len(value))
    return _without_logins("\n".join(lines))


def _item(line: str) -> tuple[str, str]:
    """A line of YAML as what precedes its scalar, and the scalar."""
    rest = line.lstrip(" -")
    return line[: len(line) - len(rest)], rest


class Mask:
    """Masks a text that comes in parts; a secret may begin in one and end in the next.

    Args:
        hidden: see :func:`secrets`.
    """

    def __init__(self, hidden: Sequence[str]) -> None:
        self._hidden = hidden
        self._held = ""

    def take(self, part: str) -> str:
        """What can be shown of the text so far and has not been returned yet."""
        text = masked(self._held + part, self._hidden)
        begun = max((_overlap(text, secret) for secret in self._hidden), default=0)
        shown, self._held = text[: len(text) - begun], text[len(text) - begun :]
        return shown

    def rest(self) -> str:
        """What was held back, at the end of the text."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, secret: str) -> int:
    """How many characters at the end of ``text`` begin ``secret``."""
    longest = min(len(text), len(secret) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(secret[:n])), 0)


def scrub(path: str | os.PathLike[str], hidden: Sequence[str]) -> bool:
    """Overwrite secrets in a file with stars, in place: length and times stay.

    Nobody may write to the file meanwhile. A file without secrets is only read, a part at a
    time.

    Args:
        path: the file.
        hidden: see :func:`secrets`.

    Returns:
        Whether there were any.

    Raises:
        OSError: it cannot be read, or cannot be written though it holds a secret.
    """
    needles = [secret.encode("utf-8", "surrogateescape") for secret in hidden]
    if not needles:
        return False
    pattern = re.compile(b"|".join(re.escape(needle) for needle in needles))
    overlap = max(map(len, needles)) - 1
    found = False
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        kept, position = b"", 0
        while chunk := file.read(_CHUNK):
            data = kept + chunk
            if any(needle in data for needle in needles):  # much faster than the pattern
                found = True
                data = pattern.sub(lambda match: b"*" * len(match[0]), data)
                _overwrite(path, position - len(kept), data)
            position += len(chunk)
            kept = data[max(0, len(data) - overlap) :]
    if found:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return found


def _overwrite(path: str | os.PathLike[str], offset: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def scrub_below(directory: str, hidden: Sequence[str]) -> list[str]:
    """Scrub every regular file below a directory; links are not followed.

    Returns:
        The files that could not be scrubbed.
    """
    failed: list[str] = []
    for above, _, names in os.walk(directory) if hidden else ():
        for name in names:
            path = os.path.join(above, name)
            if os.path.isfile(path) and not os.path.islink(path):
                try:
                    scrub(path, hidden)
                except OSError:
                    failed.append(path)
    return failed


def of_arguments(arguments: Iterable[str]) -> dict[str, str]:
    """Values that a command line gives to keys with secret names, by the key's last part.

    They are refused; the messages about them must not show them either. Of a sweep each
    value stands on a line of its own, as :func:`secrets` takes them.
    """
    pairs = (argument.partition("=") for argument in arguments)
    named = ((key.rpartition(".")[2].lstrip("+~"), value.strip("'\"")) for key, _, value in pairs)
    return {
        name: "\n".join(dict.fromkeys((value, *value.split(","))))
        for name, value in named
        if is_secret_name(name)
    }
