"""What a server answers, and what becomes of the conversation or the collection."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest

from grpo_launch.errors import ConfigError, ServerDiedError
from grpo_launch.rollout import Answer, Client, EpisodeError
from tests.rollout.server import Body, Reply, Server, completion, http

MESSAGES = [{"role": "user", "content": "hi"}]
PLAIN = Answer("42", "stop", prompt_tokens=10, completion_tokens=2)


def ask(url: str, **options: Any) -> Answer:
    async def run() -> Answer:
        async with Client([url], **options) as client:
            server = client.take()
            return await client.ask(server, MESSAGES)

    return asyncio.run(run())


def in_turn(*replies: Reply) -> Any:
    """A server that gives these answers, then the right one."""
    remaining = list(replies)
    return lambda *_: remaining.pop(0) if remaining else completion()


def test_a_request_has_what_was_said_and_no_seed() -> None:
    with Server() as server:
        assert ask(server.url + "/v1/", sampling={"temperature": 0.5}) == PLAIN
    expected = {"temperature": 0.5, "model": "policy", "messages": MESSAGES}
    assert server.bodies == [{**expected, "return_token_ids": True, "logprobs": True}]


def test_a_server_that_is_named_is_not_asked_for_models() -> None:
    with Server(models=b"") as server:
        assert ask(server.url, model="x", token_ids=False) == PLAIN
        assert server.bodies == [{"model": "x", "messages": MESSAGES}]
        with pytest.raises(ConfigError, match=r"status 404, correct collector\.urls"):
            ask(server.url)


def test_the_key_is_sent_and_not_shown() -> None:
    key = "sk-abcdef"
    with Server(lambda *_: http(401, {"error": {"message": f"bad key {key}"}})) as server:
        with pytest.raises(ConfigError) as error:
            ask(server.url, key=key)
        assert f"Authorization: Bearer {key}" in server.headers[-1]
    assert "bad key *********" in str(error.value)


def test_a_login_in_the_address_is_not_shown() -> None:
    with Server(lambda *_: http(404)) as server, pytest.raises(ConfigError) as error:
        ask(server.url.replace("//", "//me:secret@"), model="x")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("status", [503, 502, 429])
def test_a_busy_server_is_asked_again(status: int) -> None:
    with Server(in_turn(http(status), http(status))) as server:
        assert ask(server.url) == PLAIN
    assert len(server.bodies) == 3


def test_a_server_that_is_too_busy_to_list_its_models_is_asked_again() -> None:
    with Server(busy=2) as server:
        assert ask(server.url) == PLAIN
    assert server.bodies[0]["model"] == "policy"


def test_a_server_that_says_at_once_gets_a_pause_all_the_same() -> None:
    begun = time.monotonic()
    with Server(in_turn(*[http(429, Retry_After="0")] * 3)) as server:
        assert ask(server.url) == PLAIN
    assert time.monotonic() - begun >= 3 * 0.125


def test_retry_after_holds_for_all_requests_to_this_server() -> None:
    times: list[float] = []

    def answer(body: Body, count: int) -> Reply:
        times.append(time.monotonic())
        return http(429, Retry_After="0.5") if len(times) == 1 else completion()

    async def run() -> None:
        async with Client([server.url]) as client:
            taken = client.take()
            first = asyncio.ensure_future(client.ask(taken, MESSAGES))
            while not taken.quiet_until:
                await asyncio.sleep(0.01)
            await asyncio.gather(first, *(client.ask(taken, MESSAGES) for _ in range(3)))

    with Server(answer) as server:
        asyncio.run(run())
    assert len(times) == 5
    assert min(times[1:]) - times[0] >= 0.45


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (http(400, {"error": {"message": "too long"}}), "status 400 (too long)"),
        (http(422), "status 422"),
        (http(200, b"garbage"), "the answer is no chat completion"),
        (http(200, {"choices": []}), "the answer is no chat completion"),
        (completion(["wrong"]), "the answer is no chat completion"),
        (completion(finish="abort"), "aborted by the server"),
        (completion(after_s=5), "no answer within 0.3 s"),
        (Reply(b"HTTP/1.1 200 X\r\nContent-Length: 99\r\n\r\n{", reset=True), "the answer was cut"),
        (Reply(b"HTTP/1.1 200 X\r\n\r\n", endless=True), "the answer has more than 64 MiB"),
        (Reply(b"SSH-2.0-OpenSSH\r\n\r\n"), "no HTTP"),
        (Reply(reset=True), "the connection was lost"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_ends_the_episode(reply: Reply, reason: str) -> None:
    with Server(lambda *_: reply) as server, pytest.raises(EpisodeError) as error:
        ask(server.url, token_ids=False, timeout_s=0.3 if reply.after_s else 30)
    assert str(error.value).startswith(reason)


def test_a_connection_that_is_lost_once_is_made_again() -> None:
    with Server(in_turn(Reply(reset=True))) as server:
        assert ask(server.url) == PLAIN
    assert len(server.bodies) == 2


@pytest.mark.parametrize("status", [301, 401, 403, 404])
def test_what_is_a_mistake_of_the_configuration(status: int) -> None:
    reply = http(status, {"error": "no such model"}, Location="http://127.0.0.1:1/")
    with Server(lambda *_: reply) as server, pytest.raises(ConfigError, match="no such model"):
        ask(server.url)


def test_a_server_that_is_broken_or_gone() -> None:
    with Server(lambda *_: http(500, b"EngineDeadError")) as server:
        with pytest.raises(ServerDiedError, match="EngineDeadError"):
            ask(server.url)
        assert len(server.bodies) == 1
    for options in ({}, {"model": "policy"}):
        with pytest.raises(ServerDiedError):
            ask(server.url, **options)


def test_a_port_where_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(ServerDiedError, match=r"Connect call failed|refused"):
            ask(f"http://127.0.0.1:{bound.getsockname()[1]}")


@pytest.mark.parametrize("url", ["", "nonsense", "127.0.0.1:8000", "http://", "ftp://a"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ConfigError, match=r"collector\.urls: .*write http"):
        ask(url, model="x")


@pytest.mark.parametrize("models", [b"{}", b'{"data": []}', b"x"])
def test_a_server_that_lists_no_model(models: bytes) -> None:
    match = r"lists no model, set collector\.model"
    with Server(models=models) as server, pytest.raises(ConfigError, match=match):
        ask(server.url)


def test_a_server_that_refuses_token_ids_is_asked_without() -> None:
    def answer(body: Body, count: int) -> Reply:
        return http(400, {"error": "unknown argument"}) if "logprobs" in body else completion()

    async def run() -> None:
        async with Client([server.url]) as client:
            for _ in range(3):
                assert await client.ask(client.take(), MESSAGES) == PLAIN

    with Server(answer) as server:
        asyncio.run(run())
    assert ["logprobs" in body for body in server.bodies] == [True, False, False, False]


def test_a_refusal_is_not_taken_for_one_of_token_ids_once_they_came() -> None:
    replies = in_turn(completion(token_ids=[1, 2]), http(400, {"error": "too long"}))

    async def run() -> None:
        async with Client([server.url]) as client:
            taken = client.take()
            assert (await client.ask(taken, MESSAGES)).token_ids == (1, 2)
            with pytest.raises(EpisodeError, match="too long"):
                await client.ask(taken, MESSAGES)

    with Server(replies) as server:
        asyncio.run(run())
    assert len(server.bodies) == 2


@pytest.mark.parametrize(
    ("weights", "episodes", "shares"),
    [(None, 6, [3, 3]), ((3.0, 1.0), 8, [6, 2]), ((0.1, 0.2), 3, [1, 2])],
)
def test_episodes_go_to_servers_by_weight(
    weights: tuple[float, ...] | None, episodes: int, shares: list[int]
) -> None:
    async def run() -> list[str]:
        urls = ["http://a", "http://b"]
        async with Client(urls, weights=weights, server_size=10, model="x") as client:
            return [client.take().url for _ in range(episodes)]

    taken = asyncio.run(run())
    assert [taken.count(f"http://{name}/v1") for name in "ab"] == shares


def test_requests_at_once_are_limited() -> None:
    async def run() -> None:
        async with Client([server.url], server_size=3) as client:
            taken = client.take()
            await asyncio.gather(*(client.ask(taken, MESSAGES) for _ in range(12)))

    with Server(lambda *_: completion(after_s=0.1)) as server:
        asyncio.run(run())
    assert server.most == 3


def test_there_must_be_a_server() -> None:
    with pytest.raises(ConfigError, match="name one with --url"):
        Client([])
