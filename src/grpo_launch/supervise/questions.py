"""What a gate asks a server over HTTP, and what an answer means."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from grpo_launch.base import files
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
        status, body = _answer(client, url, check.body, REQUEST_TIMEOUT_S)
    except httpx.HTTPError as error:
        return type(error).__name__
    try:
        if status != _OK:
            raise ValueError(f"status {status}")
        value = check.value if check.field is None else _value(body, check)
    except (ValueError, KeyError, TypeError) as error:
        if not check.otherwise:
            return f"status {status}" if status != _OK else f"no {check.name}"
        raise NotReadyError(
            url,
            f"no {check.name} ({type(error).__name__}), {check.otherwise}",
            f"stop what listens there or {gate.elsewhere}",
        ) from None
    if value == check.value and isinstance(value, bool) is isinstance(check.value, bool):
        return None
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
        url = f"{gate.url}{check.path}"
        status, body = _answer(client, url, check.body, timeout_s, _LONGEST_GENERATION)
        failure = f"status {status}" if status != _OK else _without_token(body, check)
    except httpx.HTTPError as error:
        failure = type(error).__name__
        cause = TimeoutError() if isinstance(error, httpx.TimeoutException) else None
    if failure:
        raise NotReadyError(
            f"{gate.url}{check.path}",
            f"healthy, but no token comes back ({failure})",
            "look at the server's log: the engine is dead or stuck",
        ) from cause


def _without_token(body: bytes, check: HttpCheck) -> str | None:
    """Why an answer with status 200 holds no token, or None where it holds one."""
    try:
        if check.field is not None and _value(body, check) != check.value:
            return f"another {check.field} than {check.value}"
        if not check.tokens:
            return None
        answer = files.loads(body)
        if any(_leads_to_tokens(answer, path) for path in check.tokens):
            return None
    except (ValueError, KeyError, TypeError):
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
    client: httpx.Client, url: str, body: Any, timeout_s: float, at_most: int = _LONGEST_ANSWER
) -> tuple[int, bytes]:
    """Status and body of an answer that is no longer than it may be, in time and bytes."""
    import httpx

    deadline = time.monotonic() + timeout_s
    content = bytearray()
    method = "GET" if body is None else "POST"
    plain = {"Accept-Encoding": "identity"}  # what is packed could unfold without end
    with client.stream(method, url, json=body, timeout=timeout_s, headers=plain) as answer:
        for chunk in answer.iter_raw():  # with a size it would collect drops up to it
            content += chunk
            # An endless answer that comes drop by drop never runs into a timeout of its own.
            if len(content) > at_most or time.monotonic() > deadline:
                raise httpx.ReadTimeout("the answer does not end", request=answer.request)
        return answer.status_code, bytes(content)


def _value(body: bytes, check: HttpCheck) -> Any:
    """What an answer has as the field of ``check``; it may be any JSON, or none."""
    return files.loads(body)[check.field]
