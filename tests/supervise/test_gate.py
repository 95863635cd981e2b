"""The gate against servers that lie, with an injected clock and transport."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from grpo_launch.errors import NotReadyError
from grpo_launch.plan import Gate, HttpCheck
from grpo_launch.supervise.gate import LONGEST_INTERVAL_S, Ready, wait_until_ready
from tests.supervise.rig import make_gate

Handler = Callable[[httpx.Request], httpx.Response]


@dataclass
class Machine:
    """Who listens where; our server is the process 7 below the guard, if there is one.

    Args:
        listeners: port to pid.
        users: port to the id of a user, also where the pid is hidden.
        started: whether the server was started here.
        hides: whether its processes cannot be looked into.
    """

    listeners: dict[int, int] = field(default_factory=dict)
    users: dict[int, int] = field(default_factory=dict)
    started: bool = True
    hides: bool = False

    def listener(self, port: int) -> int | None:
        return self.listeners.get(port)

    def user(self, port: int) -> int | None:
        return self.users.get(port)

    def is_ours(self, pid: int) -> bool | None:
        return pid == 7 if self.started else None

    def our_ports(self) -> list[int]:
        return sorted(port for port, pid in self.listeners.items() if pid == 7 and self.started)

    def ours_hide(self) -> bool:
        return self.hides


OURS = {8080: 7}


class Clock:
    """Monotonic seconds that pass only while the gate pauses."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.now += seconds
        return False


def probe(*, generate: bool = False, timeout_s: float = 10.0) -> Gate:
    gate = make_gate("http://127.0.0.1:8080", world_size=6, timeout_s=timeout_s)
    return gate if generate else replace(gate, checks=gate.checks[:2])


def answers(**by_path: httpx.Response) -> Handler:
    def handle(request: httpx.Request) -> httpx.Response:
        return by_path[request.url.path.strip("/")]

    return handle


HEALTHY = {
    "health": httpx.Response(200),
    "get_world_size": httpx.Response(200, json={"world_size": 6}),
}


def wait(
    handler: Handler,
    asked: Gate,
    clock: Clock,
    machine: Machine | None = None,
    *,
    moves: bool = True,
) -> Ready | None:
    def stream(request: httpx.Request) -> httpx.Response:
        whole = handler(request)
        return httpx.Response(whole.status_code, stream=httpx.ByteStream(whole.content))

    with httpx.Client(transport=httpx.MockTransport(stream)) as client:
        neighbours = machine or Machine(OURS)
        return wait_until_ready(asked, client, neighbours, clock.pause, clock, moves=moves)


def refused(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def test_a_healthy_server_of_the_right_size_is_ready_at_once() -> None:
    clock = Clock()
    assert wait(answers(**HEALTHY), probe(), clock) == Ready(0.0)
    assert clock.pauses == []


def test_polling_is_fast_and_never_slower_than_its_limit() -> None:
    clock = Clock()
    with pytest.raises(NotReadyError):
        wait(refused, probe(), clock)
    assert clock.pauses[0] <= 0.05
    assert max(clock.pauses) <= LONGEST_INTERVAL_S
    assert clock.now == pytest.approx(110.0)


def test_ready_as_soon_as_the_server_is() -> None:
    clock = Clock()

    def handle(request: httpx.Request) -> httpx.Response:
        return refused(request) if clock.now < 103.0 else answers(**HEALTHY)(request)

    ready = wait(handle, probe(), clock)
    assert ready is not None
    assert 3.0 <= ready.seconds <= 3.0 + LONGEST_INTERVAL_S


@pytest.mark.parametrize("status", [204, 301, 404, 500, 503])
def test_only_200_is_healthy(status: int) -> None:
    with pytest.raises(NotReadyError, match=f"status {status}"):
        wait(answers(health=httpx.Response(status)), probe(timeout_s=1), Clock())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(200, json={"world_size": 2}), "says 2, but TP x DP is 6"),
        (httpx.Response(200, json={"world_size": None}), "says None, but TP x DP is 6"),
        (httpx.Response(200, json={}), "no world size"),
        (httpx.Response(200, json=[6]), "no world size"),
        (httpx.Response(200, text="<html>"), "no world size"),
        (httpx.Response(200, content=b"\xff\x00"), "no world size"),
        (httpx.Response(404), "no world size"),
    ],
)
def test_a_stranger_that_is_healthy_is_found_out(answer: httpx.Response, said: str) -> None:
    server = answers(health=httpx.Response(200), get_world_size=answer)
    with pytest.raises(NotReadyError, match=said) as caught:
        wait(server, probe(), Clock())
    assert "rlhf.vllm_server_port" in str(caught.value)


@pytest.mark.parametrize("status", [500, 404])
def test_healthy_without_generating_is_not_ready(status: int) -> None:
    with pytest.raises(NotReadyError, match=f"no token comes back \\(status {status}\\)"):
        wait(answers(**HEALTHY, infer=httpx.Response(status)), probe(generate=True), Clock())


def rollout(tokens: Any = 1, content: Any = "1") -> dict[str, Any]:
    """A ``RolloutOutput`` as ms-swift answers it, as far as it matters here."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}}
    usage = {"prompt_tokens": 20, "completion_tokens": tokens, "total_tokens": 21}
    return {"response": {"choices": [choice], "usage": usage}, "response_token_ids": []}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param([rollout()], id="a token"),
        pytest.param([rollout(content="")], id="a token without a character, as the last one"),
        pytest.param([rollout(content=None)], id="a token that is the call of a tool"),
        pytest.param([rollout(tokens=3)], id="more than one"),
        pytest.param([rollout()["response"]], id="a ChatCompletionResponse"),
        pytest.param([{**rollout(), "messages": [{"content": "x" * 200_000}]}], id="turns"),
    ],
)
def test_a_token_makes_it_ready(body: Any) -> None:
    server = answers(**HEALTHY, infer=httpx.Response(200, json=body))
    assert wait(server, probe(generate=True), Clock()) == Ready(0.0)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "an empty body"),
        (b"null", "without a token"),
        (b"[]", "without a token"),
        (b"[{}]", "without a token"),
        (b"{}", "without a token"),
        (b"[null]", "without a token"),
        (b"1", "without a token"),
        (b"true", "without a token"),
        (b'"text"', "without a token"),
        (b'{"error": "EngineDeadError", "detail": []}', "without a token"),
        (b'[{"response": null}]', "without a token"),
        (b'[{"response": {"choices": []}}]', "without a token"),
        (b'[{"response": {"choices": [{"message": {"content": "1"}}]}}]', "without a token"),
        (json.dumps([rollout(tokens=0)]).encode(), "without a token"),
        (json.dumps([rollout(tokens=-1)]).encode(), "without a token"),
        (json.dumps([rollout(tokens=None)]).encode(), "without a token"),
        (json.dumps([rollout(tokens=True)]).encode(), "without a token"),
        (json.dumps([rollout(tokens={})]).encode(), "without a token"),
        (json.dumps([rollout(tokens="error")]).encode(), "without a token"),
        (json.dumps([rollout()]).encode()[:-1], "not JSON"),
        (b"Internal Server Error", "not JSON"),
        (b"<html>gateway</html>", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 50_000, "not JSON"),
        (b"[" * 500 + b"]" * 500, "not JSON"),
        (b"9" * 10_000, "not JSON"),
    ],
)
def test_healthy_without_a_token_is_not_ready_whatever_the_status(body: bytes, said: str) -> None:
    server = answers(**HEALTHY, infer=httpx.Response(200, content=body))
    with pytest.raises(NotReadyError) as caught:
        wait(server, probe(generate=True), Clock())
    line = str(caught.value)
    assert f"no token comes back (status 200, but {said})" in line
    assert line.isprintable()


def test_a_generation_without_paths_needs_the_status_alone() -> None:
    """As a plan of an older version says."""
    asked = probe(generate=True)
    checks = tuple(replace(check, tokens=()) for check in asked.checks)
    server = answers(**HEALTHY, infer=httpx.Response(200, json=[{}]))
    assert wait(server, replace(asked, checks=checks), Clock()) == Ready(0.0)


def test_giving_up_is_quiet() -> None:
    with httpx.Client(transport=httpx.MockTransport(refused)) as client:
        assert wait_until_ready(probe(), client, Machine(), lambda _: True) is None


def test_a_busy_server_may_answer_late() -> None:
    clock = Clock()

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/get_world_size/" and clock.now < 103.0:
            raise httpx.ReadTimeout("busy", request=request)
        return answers(**HEALTHY)(request)

    ready = wait(handle, probe(), clock)
    assert ready is not None
    assert ready.seconds >= 3.0


def test_a_stranger_on_our_port_is_named() -> None:
    machine = Machine({8080: os.getpid()})
    with pytest.raises(NotReadyError, match="not by the started server") as caught:
        wait(answers(**HEALTHY), probe(), Clock(), machine)
    assert f"is answered by pid {os.getpid()} (" in str(caught.value)


def test_another_users_process_is_a_stranger_though_nobody_sees_it() -> None:
    machine = Machine(users={8080: os.geteuid() + 1})
    with pytest.raises(NotReadyError, match=f"user with id {os.geteuid() + 1}"):
        wait(answers(**HEALTHY), probe(), Clock(), machine)


@pytest.mark.parametrize(
    "machine",
    [Machine(users={8080: os.geteuid()}, hides=True), Machine(started=False), Machine()],
    ids=["a process of ours that hides", "a server of another terminal", "nothing is known"],
)
def test_what_is_not_known_is_not_held_against_a_server(machine: Machine) -> None:
    assert wait(answers(**HEALTHY), probe(), Clock(), machine) == Ready(0.0)


def test_a_process_in_another_container_is_a_stranger() -> None:
    machine = Machine(users={8080: os.geteuid()})
    with pytest.raises(NotReadyError, match="cannot be seen from here"):
        wait(answers(**HEALTHY), probe(), Clock(), machine)


@pytest.mark.parametrize("user", [0, 1], ids=["a daemon's", "a container's"])
def test_a_service_may_be_the_client_of_what_listens_unseen(user: int) -> None:
    gate = replace(probe(), server="judge", model="", checks=probe().checks[:1])
    machine = Machine(users={8080: os.geteuid() + 1 - user})
    assert wait(answers(**HEALTHY), gate, Clock(), machine) == Ready(0.0)


def test_a_visible_stranger_is_no_service() -> None:
    gate = replace(probe(), server="judge", model="", checks=probe().checks[:1])
    with pytest.raises(NotReadyError, match=f"is answered by pid {os.getpid()} "):
        wait(answers(**HEALTHY), gate, Clock(), Machine({8080: os.getpid()}))


@pytest.mark.parametrize(("name", "said"), [("server", "not"), ("judge", "judge is not")])
def test_of_several_the_one_that_is_not_ready_is_named(name: str, said: str) -> None:
    with pytest.raises(NotReadyError) as caught:
        wait(refused, replace(probe(), server=name), Clock())
    assert caught.value.what == f"{said} healthy after 10 s (ConnectError)"


def test_a_server_that_moved_to_another_port_is_found_and_named() -> None:
    clock = Clock()

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.port == 8080:
            return httpx.Response(404)
        return refused(request) if clock.now < 105.0 else answers(**HEALTHY)(request)

    machine = Machine({8080: os.getpid(), 8081: 7})
    with pytest.raises(NotReadyError, match="moved to port 8081") as caught:
        wait(handle, probe(timeout_s=600), clock, machine)
    assert f"pid {os.getpid()} (" in str(caught.value)
    assert clock.now < 110.0


def test_another_port_of_a_server_that_loads_its_model_is_no_move() -> None:
    clock = Clock()

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.port != 8080:
            return httpx.Response(404)  # vLLM's own channels, metrics, ...
        return refused(request) if clock.now < 105.0 else answers(**HEALTHY)(request)

    assert wait(handle, probe(), clock, Machine({8080: 7, 5557: 7})) is not None


# Checks that other engines may ask


def loading(answer: dict[str, object]) -> Handler:
    return answers(health=httpx.Response(200), status=httpx.Response(200, json=answer))


STATUS = HttpCheck("state", "/status", field="state", value="ready")


def test_a_server_that_says_that_it_loads_is_asked_again() -> None:
    asked = replace(probe(timeout_s=1), checks=(HttpCheck("health", "/health"), STATUS))
    with pytest.raises(NotReadyError, match=r"not healthy after 1 s \(state loading\)"):
        wait(loading({"state": "loading"}), asked, Clock())
    with pytest.raises(NotReadyError, match=r"not healthy after 1 s \(no state\)"):
        wait(loading({}), asked, Clock())
    assert wait(loading({"state": "ready"}), asked, Clock()) == Ready(0.0)


def test_a_wrong_answer_is_said_in_the_words_of_the_plan() -> None:
    check = replace(STATUS, otherwise="this is no such server")
    asked = replace(probe(), checks=(HttpCheck("health", "/health"), check), elsewhere="move")
    with pytest.raises(NotReadyError, match="says 3, but state is ready: this is another server"):
        wait(loading({"state": 3}), asked, Clock())
    with pytest.raises(
        NotReadyError, match=r"no state \(KeyError\), this is no such server.* or move"
    ):
        wait(loading({}), asked, Clock())


def test_a_check_with_a_body_is_posted() -> None:
    methods: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        methods.append(f"{request.method} {request.content.decode()}")
        return httpx.Response(200)

    checks = (HttpCheck("health", "/health"), HttpCheck("echo", "/echo", body={"a": 1}))
    assert wait(handle, replace(probe(), checks=checks), Clock()) == Ready(0.0)
    assert methods == ["GET ", 'POST {"a":1}']


def test_a_server_without_checks_is_ready_at_once() -> None:
    assert wait(refused, replace(probe(), checks=()), Clock()) == Ready(0.0)


def test_only_an_engine_that_moves_is_looked_for_elsewhere() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        return answers(**HEALTHY)(request) if request.url.port != 8080 else httpx.Response(404)

    with pytest.raises(NotReadyError, match="not healthy after"):
        wait(handle, probe(), Clock(), Machine({8080: 99, 8081: 7}), moves=False)


# Keys, lists and what a server may not have

KEY = "SOME_API_KEY"
MODELS = HttpCheck(
    "model",
    "/v1/models",
    field="data.*.id",
    value="policy",
    meaning="the model",
    otherwise="this is no such server",
    bearer=KEY,
)
CHAT = HttpCheck(
    "token",
    "/v1/chat/completions",
    body={"messages": []},
    generates=True,
    tokens=("usage.completion_tokens",),
    bearer=KEY,
    fallback_path="/v1/completions",
    fallback_body={"prompt": "1"},
)
TOKEN = {"usage": {"completion_tokens": 1}}


def asking(*checks: HttpCheck) -> Gate:
    return replace(probe(), checks=checks)


def models(*names: object) -> dict[str, Any]:
    return {"data": [{"id": name} for name in names]}


@pytest.mark.parametrize(
    "body", [models("policy"), models("base", "policy"), models(None, "policy")]
)
def test_one_of_the_values_that_a_path_leads_to_is_enough(body: dict[str, Any]) -> None:
    answer = httpx.Response(200, json=body)
    assert wait(lambda _: answer, asking(MODELS), Clock()) == Ready(0.0)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (models("a", "b"), "says a, b, but the model is policy: this is another server"),
        (models(*"abcdefg"), "says a, b, c, d, e, ..., but the model is policy"),
        (models(), "says nothing, but the model is policy"),
        ({"data": 3}, r"no model \(TypeError\), this is no such server"),
        ({"data": [3]}, r"no model \(TypeError\), this is no such server"),
        ([], "this is no such server"),
    ],
)
def test_none_of_them_is_another_server(body: Any, said: str) -> None:
    with pytest.raises(NotReadyError, match=said):
        wait(lambda _: httpx.Response(200, json=body), asking(MODELS), Clock())


def test_a_key_is_sent_where_its_variable_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str | None] = []

    def handle(request: httpx.Request) -> httpx.Response:
        heard.append(request.headers.get("Authorization"))
        return httpx.Response(200, json=models("policy"))

    for key in (None, "", "abc", " abc\n"):
        monkeypatch.delenv(KEY, raising=False)
        if key is not None:
            monkeypatch.setenv(KEY, key)
        assert wait(handle, asking(replace(MODELS, bearer="")), Clock()) == Ready(0.0)
        assert wait(handle, asking(MODELS), Clock()) == Ready(0.0)
    assert heard == [*(None,) * 4, None, "Bearer abc", None, "Bearer abc"]


@pytest.mark.parametrize("check", [MODELS, CHAT], ids=lambda check: check.name)
@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_is_said_at_once_without_it(
    check: HttpCheck, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = httpx.Response(status, json={"error": {"message": "wrong key: secret-abcdef"}})
    monkeypatch.delenv(KEY, raising=False)
    with pytest.raises(NotReadyError, match=rf"asks for an API key .*export {KEY}"):
        wait(lambda _: answer, asking(check), Clock())
    monkeypatch.setenv(KEY, "secret-abcdef")
    with pytest.raises(NotReadyError, match=rf"does not take the key in {KEY}") as refusal:
        wait(lambda _: answer, asking(check), Clock())
    assert "secret" not in str(refusal.value)
    monkeypatch.setenv(KEY, "sécret")
    with pytest.raises(NotReadyError, match="is no API key"):
        wait(lambda _: answer, asking(check), Clock())


def test_a_server_that_says_why_is_quoted_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "secret-abcdef")
    answer = httpx.Response(500, json={"error": {"message": "oh\nsecret-abcdef"}})
    with pytest.raises(NotReadyError, match=r"\(status 500: oh \*{13}\)"):
        wait(lambda _: answer, asking(CHAT), Clock())


def test_what_a_server_may_lack_passes() -> None:
    check = replace(MODELS, field=None, absent=(404, 405))
    for status in (404, 405):
        assert wait(lambda _, s=status: httpx.Response(s), asking(check), Clock()) == Ready(0.0)
    with pytest.raises(NotReadyError, match="status"):
        wait(lambda _: httpx.Response(500), asking(replace(check, otherwise="")), Clock())


@pytest.mark.parametrize("status", [400, 404, 405])
def test_a_model_without_chats_is_asked_for_plain_text(status: int) -> None:
    chat = {"error": {"message": "no chat template"}}
    handle: Handler = lambda request: (  # noqa: E731
        httpx.Response(status, json=chat)
        if request.url.path == CHAT.path
        else httpx.Response(200, json=TOKEN if b"prompt" in request.content else {})
    )
    assert wait(handle, asking(CHAT), Clock()) == Ready(0.0)
    with pytest.raises(NotReadyError, match=rf"\(status {status}: no chat template\)"):
        wait(handle, asking(replace(CHAT, fallback_path="")), Clock())
    with pytest.raises(NotReadyError, match=r"status 200, but without a token"):
        wait(handle, asking(replace(CHAT, fallback_body={})), Clock())


def test_a_broken_engine_is_not_asked_for_plain_text() -> None:
    paths: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        return httpx.Response(500)

    with pytest.raises(NotReadyError, match=r"\(status 500\)"):
        wait(handle, asking(CHAT), Clock())
    assert paths == [CHAT.path]


def test_who_asks_for_its_model_by_name_is_not_told_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run serves under a name of its own what its plan calls a directory."""
    plan = {
        "processes": [{"name": "server"}],
        "gates": [{"server": "server", "model": "models/tiny"}],
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    monkeypatch.setattr("grpo_launch.supervise.sockets.run_of", lambda _: tmp_path)
    theirs = Machine(OURS, started=False)
    named = replace(CHAT, body={"model": "policy"})
    token: Handler = lambda _: httpx.Response(200, json=TOKEN)  # noqa: E731
    ready = wait(token, replace(asking(named), model="policy"), Clock(), theirs)
    assert ready == Ready(0.0, str(tmp_path))
    with pytest.raises(NotReadyError, match=r"serves models/tiny .*learner trains policy"):
        wait(token, replace(asking(CHAT), model="policy"), Clock(), theirs)
