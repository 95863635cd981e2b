"""A proxy of the environment does not stand between the learner and its server."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grpo_launch.plan import LEARNER, SERVER, ProcessSpec
from grpo_launch.supervise.process import environment
from grpo_launch.supervise.proxies import bypassing
from tests.supervise.rig import Rig, process

LOCAL = ("127.0.0.1", "localhost", "::1")
NAMES = ",".join(LOCAL)
PROXY = {"http_proxy": "http://proxy:3128"}


@pytest.mark.parametrize(
    ("environ", "lower", "upper"),
    [
        (PROXY, NAMES, NAMES),
        ({"HTTP_PROXY": "http://proxy"}, NAMES, NAMES),
        ({"ALL_PROXY": "socks5://proxy"}, NAMES, NAMES),
        ({"https_proxy": "http://proxy"}, NAMES, NAMES),
        ({**PROXY, "no_proxy": "a.org"}, f"a.org,{NAMES}", f"a.org,{NAMES}"),
        ({**PROXY, "NO_PROXY": "a.org"}, f"a.org,{NAMES}", f"a.org,{NAMES}"),
        ({**PROXY, "no_proxy": "a", "NO_PROXY": "b"}, f"a,{NAMES}", f"b,{NAMES}"),
        ({**PROXY, "no_proxy": " localhost, a,"}, "localhost,a,127.0.0.1,::1", None),
        ({**PROXY, "no_proxy": "*"}, "*", "*"),
    ],
)
def test_both_spellings_get_the_hosts(
    environ: dict[str, str], lower: str, upper: str | None
) -> None:
    assert bypassing(environ, LOCAL) == {"no_proxy": lower, "NO_PROXY": upper or lower}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"no_proxy": "a"},
        {"http_proxy": ""},
        {**PROXY, "no_proxy": NAMES, "NO_PROXY": NAMES},
        {**PROXY, "no_proxy": "*", "NO_PROXY": "*"},
    ],
)
def test_without_a_proxy_and_where_all_is_said_nothing_changes(environ: dict[str, str]) -> None:
    assert bypassing(environ, LOCAL) == {}


@given(st.lists(st.sampled_from([*LOCAL, "a.org", ".b", "10.0.0.0/8"]), max_size=6))
def test_adding_twice_is_adding_once_and_loses_nothing(entries: list[str]) -> None:
    environ = {**PROXY, "NO_PROXY": ",".join(entries)}
    once = {**environ, **bypassing(environ, LOCAL)}
    assert {*entries, *LOCAL} == set(once["NO_PROXY"].split(","))
    assert bypassing(once, LOCAL) == {}


def test_what_the_user_sets_for_the_processes_gets_them_too() -> None:
    spec = ProcessSpec("learner", LEARNER, ("x",), "/", "log", direct_hosts=LOCAL)
    own = dataclasses.replace(spec, env={"NO_PROXY": "hub.org"}, env_defaults=PROXY)
    assert environment(own, {})["NO_PROXY"] == f"hub.org,{NAMES}"
    assert "NO_PROXY" not in environment(spec, {})


# A proxy that refuses, a server, and clients that read the environment

CLIENTS = {
    "urllib": "import urllib.request as u; print(u.urlopen(URL, timeout=20).status)",
    "httpx": "import httpx; print(httpx.get(URL, timeout=20).status_code)",
    "requests": "import requests; print(requests.get(URL, timeout=20).status_code)",
}


@pytest.fixture
def answering() -> Iterator[tuple[str, str, list[str]]]:
    """The URLs of a server and of a proxy that refuses, and what was asked of the proxy."""
    refused: list[str] = []

    class Server(BaseHTTPRequestHandler):
        status = 200

        def do_GET(self) -> None:
            self.send_response(self.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object, **_: object) -> None:
            pass

    class Proxy(Server):
        status = 403

        def do_GET(self) -> None:
            refused.append(self.path)
            super().do_GET()

    servers = [ThreadingHTTPServer(("127.0.0.1", 0), kind) for kind in (Server, Proxy)]
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url, proxy = (f"http://127.0.0.1:{server.server_address[1]}/" for server in servers)
    yield url, proxy, refused
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.costly
@pytest.mark.parametrize("variable", ["http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("client", CLIENTS)
def test_clients_reach_the_server_and_not_the_proxy(
    client: str, variable: str, answering: tuple[str, str, list[str]]
) -> None:
    pytest.importorskip(client.partition(".")[0])
    if (client, variable) == ("urllib", "ALL_PROXY"):
        pytest.skip("urllib knows no proxy for all")
    url, proxy, refused = answering
    spec = ProcessSpec("learner", LEARNER, ("x",), "/", "log")
    caller = {"PATH": os.environ["PATH"], variable: proxy}
    code = f"URL = {url!r}; {CLIENTS[client]}"
    statuses: list[str] = []
    for hosts in ((), LOCAL):
        env = environment(dataclasses.replace(spec, direct_hosts=hosts), caller)
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        statuses.append(done.stdout.strip())
    assert statuses[1] == "200"
    assert statuses[0] != "200"
    assert len(refused) == 1


ASKS = "import sys, urllib.request as u; sys.exit(u.urlopen(sys.argv[1], timeout=20).status != 200)"


@pytest.mark.slow
def test_a_learner_reaches_its_server_past_a_proxy_and_it_is_said_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path, {"http_proxy": "http://127.0.0.1:9"})
    url = f"http://127.0.0.1:{rig.port}/health/"
    learner = process(tmp_path, LEARNER, sys.executable, "-I", "-S", "-c", ASKS, url)
    specs = (rig.adversary(SERVER), learner)
    specs = tuple(dataclasses.replace(spec, direct_hosts=LOCAL) for spec in specs)
    try:
        rig.start(rig.plan(*specs))
        assert rig.ended() == 0, rig.said
        assert rig.said.count("NO_PROXY: with 127.0.0.1, localhost, ::1, so") == 1
        plan = json.loads((rig.run / "plan.json").read_text())
        assert plan["processes"][1]["direct_hosts"] == [*LOCAL]
    finally:
        rig.close()
