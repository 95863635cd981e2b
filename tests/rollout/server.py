"""A server of chat completions in a thread, that answers as it is told, rightly or not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """An answer, whole or not.

    Attributes:
        data: what is written, status line and all.
        after_s: seconds before.
        endless: go on writing after it.
        reset: end the connection with a reset.
    """

    data: bytes = b""
    after_s: float = 0.0
    endless: bool = False
    reset: bool = False


def http(status: int, content: Any = b"", after_s: float = 0.0, **headers: str) -> Reply:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return Reply("\r\n".join([*lines, "", ""]).encode() + body, after_s)


def completion(text: Any = "42", finish: str = "stop", after_s: float = 0.0, **more: Any) -> Reply:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish, **more}
    usage = {"prompt_tokens": 10, "completion_tokens": 2}
    return http(200, {"choices": [choice], "usage": usage}, after_s)


def said(body: Body) -> str:
    """The last message of a request."""
    return body["messages"][-1]["content"]


@dataclass
class Server:
    """Listens while it is entered.

    Attributes:
        answer: gets the body of a request and how many had the same one before.
        models: what is said of models; empty: 404, None: there is ``policy``.
        busy: how often it says 503 before that.
        bodies: of the requests so far.
        most: requests that were open at once.
    """

    answer: Callable[[Body, int], Reply] = lambda body, count: completion()
    bodies: list[Body] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    most: int = 0
    models: bytes | None = None
    busy: int = 0
    url: str = ""

    def __enter__(self) -> Server:
        self._open = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        started = asyncio.run_coroutine_threadsafe(self._start(), self._loop)
        self.url = f"http://127.0.0.1:{started.result(10)}"
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def stop(self) -> None:
        """Listen no more, and end what is open."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)

    async def _start(self) -> int:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._answered(reader, writer):
                    pass
        except asyncio.CancelledError:
            pass
        finally:
            writer.transport.abort()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lengths = [x for x in head.splitlines() if x.lower().startswith("content-length")]
        raw = await reader.readexactly(int(lengths[0].split(":")[1]) if lengths else 0)
        self.headers.append(head)
        if head.startswith("GET"):
            known = b'{"data": [{"id": "policy"}]}' if self.models is None else self.models
            reply = http(200, known) if known else http(404)
            if self.busy:
                self.busy -= 1
                reply = http(503)
        else:
            body = json.loads(raw)
            count = self.bodies.count(body)
            self.bodies.append(body)
            reply = self.answer(body, count)
        self._open += 1
        self.most = max(self.most, self._open)
        try:
            await asyncio.sleep(reply.after_s)
        finally:
            self._open -= 1
        writer.write(reply.data)
        while reply.endless:
            writer.write(b"x" * (1 << 16))
            await writer.drain()
        await writer.drain()
        if reply.reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        return not reply.reset and b"Content-Length" in reply.data
