"""A server that somebody else runs: asked, watched, let be."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from grpo_launch.engines.base import ServeRequest
from grpo_launch.engines.external.engine import ENGINE
from tests.conftest import Finished, Project

KEY = "planted-key-0123456789"

ASKER = '''
from grpo_launch.learners.absent import NoLearner


class Asker(NoLearner):
    """A learner that needs servers and is done at once."""

    product = "asker"
    transfers = frozenset({"reload"})

    def needs_servers(self, config):
        return True


LEARNER = Asker()
'''


class Api(BaseHTTPRequestHandler):
    """An API with a key, and a list of models or none."""

    def do_GET(self) -> None:
        self.server.asked.append(f"GET {self.path}")  # pyright: ignore[reportAttributeAccessIssue]
        self.answer({"data": [{"id": "big"}]} if self.server.lists else None)  # pyright: ignore[reportAttributeAccessIssue]

    def do_POST(self) -> None:
        self.server.asked.append(f"POST {self.path}")  # pyright: ignore[reportAttributeAccessIssue]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body["model"] != "big":
            self.answer(None, f"no model {body['model']} for {self.headers['Authorization']}")
        else:
            self.answer({"choices": [{"message": {"content": "1"}}]})

    def answer(self, body: object, message: str = "no such path") -> None:
        if self.headers["Authorization"] != f"Bearer {KEY}":
            self.send_response(401)
        else:
            self.send_response(200 if body else 404)
        self.end_headers()
        self.wfile.write(json.dumps(body or {"error": {"message": message}}).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


class Server(ThreadingHTTPServer):
    lists = True
    asked: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def api() -> Generator[Server]:
    with Server(("127.0.0.1", 0), Api) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of packages with a learner that needs servers."""
    directory = tmp_path_factory.mktemp("site")
    (directory / "asker.py").write_text(ASKER)
    info = directory / "asker-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: asker\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[grpo_launch.learners]\nasker = asker:LEARNER\n")
    return directory


def launch(project: Project, site: Path, *overrides: str, **environ: str) -> Finished:
    text = "engine: external\nlearner: asker\nrollout_server:\n  model: big\n"
    (project.directory / "configs").mkdir(exist_ok=True)
    (project.directory / "configs" / "asked.yaml").write_text(text)
    common = ("accelerator=cpu_native", "runtime=current", "run.dir=runs/r")
    common += ("rollout_server.api_key_env=BIG_API_KEY",)
    return project.launch(
        "role=learner", "config=asked", *common, *overrides, PYTHONPATH=str(site), **environ
    )


@pytest.mark.slow
@pytest.mark.parametrize("base", ["", "/", "/v1", "/v1/"])
@pytest.mark.parametrize("lists", [True, False], ids=["lists", "no list"])
def test_it_is_gated_and_let_be(
    project: Project, site: Path, api: Server, base: str, lists: bool
) -> None:
    api.lists = lists
    done = launch(project, site, f"rollout_server.url={api.url}{base}", BIG_API_KEY=KEY)
    assert done.status == 0, done.stderr
    assert api.asked[:2] == ["GET /v1/models", "POST /v1/chat/completions"]
    assert "server: started" not in done.stderr
    run = project.directory / "runs" / "r"
    texts = [p.read_text() for p in run.rglob("*") if p.is_file()]
    assert not any(KEY in text for text in (done.stdout, done.stderr, *texts))
    plan = json.loads((run / "plan.json").read_text())
    assert [process["name"] for process in plan["processes"]] == ["learner"]
    assert plan["gates"][0]["checks"][0]["bearer"] == "BIG_API_KEY"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "key", "said"),
    [
        ([], "", "asks for an API key (status 401), export BIG_API_KEY"),
        ([], "another-key-0123", "does not take the key in BIG_API_KEY (status 401)"),
        (["rollout_server.model=small"], KEY, "(status 404: no model small for Bearer *****"),
    ],
)
def test_why_it_lets_nobody_in_is_said_without_the_key(
    project: Project, site: Path, api: Server, overrides: list[str], key: str, said: str
) -> None:
    environ = {"BIG_API_KEY": key} if key else {}
    done = launch(project, site, f"rollout_server.url={api.url}", *overrides, **environ)
    assert done.status == 4, done.stderr
    assert said in done.stderr
    assert not key or key not in done.stderr


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://node-1:8000", "/v1"),
        ("http://node-1:8000/", "/v1"),
        ("https://api.example.com/v1", ""),
        ("https://api.example.com/v1beta/openai/", ""),
    ],
)
def test_an_api_is_below_v1_unless_its_url_has_a_path(url: str, base: str) -> None:
    request = ServeRequest(
        entry=ENGINE.entry, model="m", host="node-1", port=8000, group_port=None,
        settings={}, encoding={}, cwd=Path("/x"), url=url,
    )  # fmt: skip
    health, token = ENGINE.checks(request, ENGINE.health_path)
    assert token == ENGINE.generation(request)
    assert (health.path, token.path) == (f"{base}/models", f"{base}/chat/completions")
    assert token.fallback_path == f"{base}/completions"
    assert ENGINE.checks(request, "/ready")[0].path == "/ready"
