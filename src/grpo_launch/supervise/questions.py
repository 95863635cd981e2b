"""What a gate asks a server over HTTP, and what an answer means."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from grpo_launch.base import files, redaction
from grpo_launch.errors import NotReadyError, one_line
from grpo_launch.plan import Gate, HttpCheck

if TYPE_CHECKING:
    import httpx

REQUEST_TIMEOUT_S = 2.0
"""For the cheap requests; a generation may take as long as the gate itself."""

_LONGEST_ANSWER = 64 * 1024
"""Bytes of an answer that are read; more is no answer to a check."""

_LONGEST_GENERATION = 16 * 1024 * 1024
"""Of one that generates: a server with turns answers with the whole conversation."""

_OK = 200
_NO_ENTRY = (401, 403)
_NO_SUCH_QUESTION = (400, 404, 405)

_LONGEST_MESSAGE = 200
"""Characters of a server's own message that are repeated."""

_LONGEST_LIST = 5
"""Values of an answer that are named."""


def ask(gate: Gate, check: HttpCheck, client: httpx.Client, url: str = "") -> str | None:
    """None when the check passes, else what was seen; a busy server may answer late.

    Args:
        gate: of the server.
        check: to ask.
        client: to ask with.
        url: of the server; empty: as planned.

    Raises:
        NotReadyError: the answer is wrong, and that means another server.
    """
    import httpx

    url = f"{url or gate.url}{check.path}"
    try:
        status, body = _answer(client, url, check.body, check.bearer, REQUEST_TIMEOUT_S)
    except httpx.HTTPError as error:
        return type(error).__name__
    if status in check.absent:
        return None
    _check_entry(url, status, check)
    try:
        if status != _OK:
            raise ValueError(f"status {status}")
        values = [check.value] if check.field is None else _values(body, check.field)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        if not check.otherwise:
            return f"status {status}" if status != _OK else f"no {check.name}"
        raise NotReadyError(
            url,
            f"no {check.name} ({type(error).__name__}), {check.otherwise}",
            f"stop what listens there or {gate.elsewhere}",
        ) from None
    if any(_is(value, check.value) for value in values):
        return None
    value = ", ".join(map(str, values[:_LONGEST_LIST])) or "nothing"
    value += ", ..." if len(values) > _LONGEST_LIST else ""
    if not check.otherwise:
        return one_line(f"{check.name} {value}")
    raise NotReadyError(
        url,
        f"says {value}, but {check.meaning or check.name} is {check.value}: this is another server",
        f"stop it, or {gate.elsewhere}",
    )


def generate(gate: Gate, check: HttpCheck, client: httpx.Client, timeout_s: float) -> None:
    """Let the engine work once: ask for one token.

    Raises:
        NotReadyError: none came back; ``TimeoutError`` is its cause where the server
            only took longer than ``timeout_s`` seconds.
    """
    import httpx

    cause: Exception | None = None
    try:
        failure = _failure(gate, check, client, timeout_s)
    except httpx.HTTPError as error:
        failure = type(error).__name__
        cause = TimeoutError() if isinstance(error, httpx.TimeoutException) else None
    if failure:
        raise NotReadyError(
            f"{gate.url}{check.path}",
            f"healthy, but no token comes back ({failure})",
            "look at the server's log: the engine is dead or stuck",
        ) from cause


def _failure(gate: Gate, check: HttpCheck, client: httpx.Client, timeout_s: float) -> str | None:
    """Why no token came back, or None where one did.

    Raises:
        NotReadyError: the server lets nobody in.
        httpx.HTTPError: it gives no answer.
    """
    until = time.monotonic() + timeout_s
    status, failure = _asked(gate, check, check.path, check.body, client, timeout_s)
    if status not in _NO_SUCH_QUESTION or not check.fallback_path:
        return failure
    rest = max(REQUEST_TIMEOUT_S, until - time.monotonic())
    path, body = check.fallback_path, check.fallback_body
    status, other = _asked(gate, check, path, body, client, rest)
    return failure if status in _NO_SUCH_QUESTION else other


def _asked(
    gate: Gate, check: HttpCheck, path: str, body: Any, client: httpx.Client, timeout_s: float
) -> tuple[int, str | None]:
    """The status of an answer, and why it holds no token."""
    url = f"{gate.url}{path}"
    status, answer = _answer(client, url, body, check.bearer, timeout_s, _LONGEST_GENERATION)
    _check_entry(url, status, check)
    if status == _OK:
        return status, _without_token(answer, check)
    return status, f"status {status}{_message(answer)}"


def _message(body: bytes) -> str:
    """What a server says of an error (``{"error": {"message": ...}}``); keys are masked."""
    try:
        said = _values(body, "error.message")[0]
    except (ValueError, KeyError, TypeError, IndexError):
        return ""
    text = redaction.masked(str(said), redaction.secrets(os.environ))
    return f": {one_line(text)[:_LONGEST_MESSAGE]}"


def _check_entry(url: str, status: int, check: HttpCheck) -> None:
    """See whether a server takes the key that it was sent, where there may be one.

    Raises:
        NotReadyError: it does not.
    """
    if status not in _NO_ENTRY or not check.bearer:
        return
    is_set = bool(os.environ.get(check.bearer))
    what = f"does not take the key in {check.bearer}" if is_set else "asks for an API key"
    fix = f"{'correct' if is_set else 'export'} {check.bearer}"
    raise NotReadyError(url, f"{what} (status {status})", fix)


def _without_token(body: bytes, check: HttpCheck) -> str | None:
    """Why an answer with status 200 holds no token, or None where it holds one."""
    try:
        if check.field is not None and check.value not in _values(body, check.field):
            return f"another {check.field} than {check.value}"
        if not check.tokens:
            return None
        answer = files.loads(body)
        if any(_leads_to_tokens(answer, path) for path in check.tokens):
            return None
    except (ValueError, KeyError, TypeError, IndexError):
        return f"status 200, but {'not JSON' if body else 'an empty body'}"
    return "status 200, but without a token"


def _leads_to_tokens(found: Any, path: str) -> bool:
    for key in path.split("."):
        if isinstance(found, dict):
            found = cast("dict[str, Any]", found).get(key)
        elif isinstance(found, list) and key.isdecimal():
            found = next(iter(cast("list[Any]", found)[int(key) :]), None)
        else:
            return False
    if isinstance(found, list):
        return bool(found)
    return isinstance(found, int) and found is not True and found > 0


def _answer(
    client: httpx.Client,
    url: str,
    body: Any,
    bearer: str,
    timeout_s: float,
    at_most: int = _LONGEST_ANSWER,
) -> tuple[int, bytes]:
    """Status and body of an answer that is no longer than it may be, in time and bytes.

    Raises:
        NotReadyError: the key cannot be sent.
        httpx.HTTPError: there is no such answer.
    """
    import httpx

    deadline = time.monotonic() + timeout_s
    content = bytearray()
    method = "GET" if body is None else "POST"
    # What is packed could unfold without end.
    headers = {"Accept-Encoding": "identity", **authorization(bearer, os.environ)}
    with client.stream(method, url, json=body, timeout=timeout_s, headers=headers) as answer:
        for chunk in answer.iter_raw():  # with a size it would collect drops up to it
            content += chunk
            # An endless answer that comes drop by drop never runs into a timeout of its own.
            if len(content) > at_most or time.monotonic() > deadline:
                raise httpx.ReadTimeout("the answer does not end", request=answer.request)
        return answer.status_code, bytes(content)


def authorization(bearer: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The header with the key in the variable ``bearer``; none where it is not set.

    Raises:
        NotReadyError: no header can hold the key.
    """
    key = environ.get(bearer, "").strip() if bearer else ""
    if not key:
        return {}
    if not (key.isascii() and key.isprintable()):
        raise NotReadyError(bearer, "is no API key: a header cannot hold it", "correct it")
    return {"Authorization": f"Bearer {key}"}


def _is(value: Any, wanted: Any) -> bool:
    """Whether they are equal; true is no number."""
    return value == wanted and isinstance(value, bool) is isinstance(wanted, bool)


def _values(body: bytes, path: str) -> list[Any]:
    """What a path leads to in an answer, which may be any JSON, or none.

    Raises:
        ValueError: it is not JSON.
        KeyError, TypeError, IndexError: the path leads nowhere.
    """
    return [*_below(files.loads(body), path.split("."))]


def _below(node: Any, keys: list[str]) -> Iterator[Any]:
    if not keys:
        yield node
        return
    key, *rest = keys
    if key == "*":
        if not isinstance(node, list):
            raise TypeError(f"{type(node).__name__} is no list")
        for item in cast("list[Any]", node):
            yield from _below(item, rest)
    else:
        yield from _below(node[int(key)] if isinstance(node, list) else node[key], rest)
