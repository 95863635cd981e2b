"""Servers that speak OpenAI's chat completions, and what their answers ask of the collector."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from grpo_launch.base.redaction import masked, without_named
from grpo_launch.errors import ConfigError, ServerDiedError
from grpo_launch.rollout import answers
from grpo_launch.rollout.answers import Answer, EpisodeError
from grpo_launch.rollout.settings import Settings

if TYPE_CHECKING:
    import aiohttp

_LONGEST = 64 << 20
"""Bytes of an answer; ids and logprobs of 32,000 tokens are about 4 MB."""

_KEPT_S = 4.0
"""Seconds that an idle connection is kept; uvicorn closes them after 5."""

_FIRST_S, _LONGEST_S = 0.25, 15.0
"""The first and the longest wait for a server that is busy."""

_JSON = json.JSONEncoder()
_TOKENS = {"return_token_ids": True, "logprobs": True}

Message = Mapping[str, Any]


@dataclass(eq=False)
class Server:
    """One of the servers.

    Attributes:
        url: up to ``/v1``.
        slots: requests at once.
        episodes: that go to it now.
    """

    url: str
    slots: int
    episodes: int = 0

    def __post_init__(self) -> None:
        self.shown = str(without_named(self.url))
        self.session: aiohttp.ClientSession | None = None
        self.free = asyncio.Semaphore(self.slots)
        self.quiet_until = 0.0
        """When it wants requests again, of ``time.monotonic``."""


class Client:
    """One or more servers of one model. An asynchronous context manager.

    All requests of an episode go to one server, which has its prefix in the cache.

    Args:
        urls: of the servers, at least one.
        model: the name in requests; None: the first that the first server lists.
        key: sent as bearer token; kept out of all messages.
        weights: capacity of each server; None: 1 each.
        server_size: requests at once to a server of weight 1.
        sampling: goes into each request.
        token_ids: ask for token ids and logprobs, unless the server refuses such requests.
        timeout_s: seconds of one request.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        model: str | None = None,
        key: str | None = None,
        weights: Sequence[float] | None = None,
        server_size: int = 64,
        sampling: Mapping[str, Any] | None = None,
        token_ids: bool = True,
        timeout_s: float = 300.0,
    ) -> None:
        if not urls:
            raise ConfigError("collector.urls", "no server", "name one with --url")
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                shown = str(without_named(url))
                raise ConfigError("collector.urls", f"{shown!r} is no address", "write http://...")
        sizes = [max(1, round(server_size * weight)) for weight in weights or [1.0] * len(urls)]
        bases = [url.rstrip("/").removesuffix("/v1") + "/v1" for url in urls]
        self._sizes = tuple(zip(bases, sizes, strict=True))
        self.capacity = sum(sizes)
        """Requests at once to all servers."""
        self._servers: list[Server] = []
        self._model = model
        self._key = key
        self._sampling = dict(sampling or {})
        self._timeout_s = timeout_s
        self._tokens: bool | None = None if token_ids else False
        """Whether servers give token ids; None: not known yet."""

    @classmethod
    def of(cls, settings: Settings, key: str | None = None) -> Client:
        """The client that settings describe."""
        return cls(
            settings.urls,
            model=settings.model,
            key=key,
            weights=settings.weights,
            server_size=settings.server_size,
            sampling=settings.sampling,
            token_ids=settings.token_ids,
            timeout_s=settings.call_timeout_s,
        )

    async def __aenter__(self) -> Client:
        try:
            import aiohttp
        except ImportError:
            fix = "pip install 'grpo-launch[rollout]', or aiohttp alone"
            raise ConfigError("collector.runtime", "aiohttp is not installed", fix) from None
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        for url, slots in self._sizes:
            server = Server(url, slots)
            server.session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                trust_env=url.startswith("https:"),
            )
            self._servers.append(server)
        try:
            if self._model is None:
                self._model = await self._first_model(self._servers[0])
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            if server.session is not None:
                await server.session.close()
        self._servers.clear()

    def take(self) -> Server:
        """The server with most room, for an episode; give it back with :meth:`give_back`."""
        server = min(self._servers, key=lambda each: each.episodes / each.slots)
        server.episodes += 1
        return server

    def give_back(self, server: Server) -> None:
        """An episode has ended."""
        server.episodes -= 1

    async def ask(self, server: Server, messages: Sequence[Message]) -> Answer:
        """The model's next message.

        A busy server is asked again until the caller gives up.

        Args:
            server: of the episode.
            messages: the conversation so far.

        Raises:
            EpisodeError: this conversation gets no answer.
            ConfigError: no request will, as the server does not know the path, model or key.
            ServerDiedError: nothing listens there, or the server says that it is broken.
        """
        asked = self._tokens
        attempt = lost = 0
        while True:
            body = {**self._sampling, "model": self._model, "messages": messages}
            if asked is not False:
                body |= _TOKENS
            async with server.free:
                result = await self._request(server, "POST", "/chat/completions", body)
            if result is None:
                # A server may close an idle connection just as the request is sent.
                lost += 1
                if lost > 1:
                    raise EpisodeError("the connection was lost")
                continue
            status, after, content = result
            meaning = answers.meaning(status)
            if meaning == answers.OK:
                if self._tokens is None:
                    self._tokens = asked is None
                return answers.read(content)
            if meaning == answers.BUSY:
                await self._wait(server, after, attempt)
                attempt += 1
            elif meaning == answers.EPISODE and asked is not False and not self._tokens:
                asked = False  # of others' servers some refuse what they do not know
            else:
                raise self._error(server, status, content)

    async def _wait(self, server: Server, after: str | None, attempt: int) -> None:
        seconds = answers.retry_after(after, time.time())
        if seconds is not None:  # whoever asks meanwhile is refused as well
            server.quiet_until = max(server.quiet_until, time.monotonic() + seconds)
            attempt = 0  # it is asked when it wants to be, but not without a pause if that is now
        longest = min(_LONGEST_S, _FIRST_S * 2 ** min(attempt, 10))
        # All that were refused at once must not come back at once.
        await asyncio.sleep(random.uniform(longest / 2, longest))  # noqa: S311

    async def _request(
        self, server: Server, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> tuple[int, str | None, bytes] | None:
        """Status, Retry-After and content; None: the connection was lost on the way."""
        import aiohttp

        assert server.session is not None
        data = None if body is None else _JSON.encode(body).encode()
        while (wait_s := server.quiet_until - time.monotonic()) > 0:
            await asyncio.sleep(wait_s)
        try:
            async with server.session.request(
                method, server.url + path, data=data, allow_redirects=False
            ) as response:
                content = await _content(response)
                return response.status, response.headers.get("Retry-After"), content
        except asyncio.TimeoutError:
            raise EpisodeError(f"no answer within {self._timeout_s:g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise self._died(server, self._safe(str(error.os_error))) from None
        except aiohttp.ClientConnectionError:
            return None
        except aiohttp.ClientPayloadError:
            raise EpisodeError("the answer was cut off") from None
        except aiohttp.ClientError as error:
            raise EpisodeError(f"no HTTP ({type(error).__name__})") from None

    async def _models(self, server: Server) -> tuple[int, bytes]:
        """Status and content of the list of models, once the server is not too busy for it."""
        deadline = time.monotonic() + self._timeout_s
        attempt = 0
        while True:
            try:
                result = await self._request(server, "GET", "/models")
            except EpisodeError as error:
                raise self._died(server, str(error)) from None
            if result is None:
                raise self._died(server, "the connection was lost")
            status, after, content = result
            if answers.meaning(status) != answers.BUSY or time.monotonic() > deadline:
                return status, content
            await self._wait(server, after, attempt)
            attempt += 1

    async def _first_model(self, server: Server) -> str:
        status, content = await self._models(server)
        if status != 200:
            raise self._error(server, status, content)
        try:
            return str(json.loads(content)["data"][0]["id"])
        except (ValueError, LookupError, TypeError):
            fix = "set collector.model"
            raise ConfigError(f"{server.shown}/models", "lists no model", fix) from None

    def _error(self, server: Server, status: int, content: bytes) -> Exception:
        said = self._safe(answers.complaint(content))
        text = f"status {status}{f' ({said})' if said else ''}"
        meaning = answers.meaning(status)
        if meaning == answers.EPISODE:
            return EpisodeError(text)
        if meaning == answers.CONFIGURATION:
            fix = "correct collector.urls, model or key"
            return ConfigError(server.shown, text, fix)
        return self._died(server, text)

    def _died(self, server: Server, what: str) -> ServerDiedError:
        return ServerDiedError(server.shown, what, "see the log of the server")

    def _safe(self, text: str) -> str:
        return masked(text, (self._key,)) if self._key else text


async def _content(response: aiohttp.ClientResponse) -> bytes:
    """The body of an answer, to a limit."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > _LONGEST:
            raise EpisodeError(f"the answer has more than {_LONGEST >> 20} MiB")
    return b"".join(parts)
