"""The real vLLM on the CPU, as an engine of its own and as a server that somebody else runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from grpo_launch.engines.flags import FlagTable
from grpo_launch.engines.snapshot import Snapshot, digest
from grpo_launch.engines.vllm import serve
from grpo_launch.engines.vllm.flags import API_KEY, FLAGS
from grpo_launch.engines.vllm.rules import not_taken
from tests.conftest import Finished, Project
from tests.engine.real import ENGINE, MODEL, OFFLINE, PYTHON, finish, nightly, quiet_ports, titled
from tests.plugins.test_external import KEY, launch
from tests.plugins.test_external import site as site

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

HELPER = Path(__file__).with_name("vllm_parser.py")
NAME = "rollout_server.model=policy"
TOKEN = {"model": "policy", "max_tokens": 1, "messages": [{"role": "user", "content": "1"}]}


class Served:
    """A server that the launcher has started and found ready."""

    def __init__(self, project: Project, *overrides: str, **environ: str) -> None:
        (self.port,) = quiet_ports(1)
        self.project = project
        self.run = project.directory / "runs" / "served"
        self.process = project.start(
            "role=server", "config=digits_vllm", f"run.dir={self.run}",
            f"runtime.path={ENGINE}", f"rollout_server.model={MODEL}",
            f"rollout_server.port={self.port}", *overrides, **environ,
        )  # fmt: skip
        self.said = ""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line
            if line.startswith("server: ready"):
                return
        raise AssertionError(self.said)

    def post(self, path: str, body: dict[str, Any], key: str = "") -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.post(url, json=body, headers=headers, timeout=60, trust_env=False)

    def ended(self) -> Finished:
        done = finish(self.process)
        return Finished(done.status, done.stdout, self.said + done.stderr)


def test_it_is_served_gated_and_its_engines_death_is_seen(elsewhere: Project) -> None:
    server = Served(elsewhere)
    answer = server.post("/v1/chat/completions", TOKEN).json()
    assert answer["usage"]["completion_tokens"] == 1
    (core,) = titled("VLLM::EngineCore", elsewhere)
    os.kill(core, signal.SIGKILL)
    done = server.ended()
    assert done.status == 5, done.stderr
    assert f"(VLLM::EngineCore, pid {core})" in done.stderr
    assert json.loads((server.run / "run.json").read_text())["state"] == "failed"
    assert elsewhere.left_over() == []


@nightly
def test_a_key_is_asked_for_and_masked_and_sigterm_leaves_nothing(
    elsewhere: Project, site: Path
) -> None:
    """And as a server that somebody else runs it is gated, and let be."""
    server = Served(elsewhere, **{API_KEY: KEY})
    assert server.post("/v1/chat/completions", TOKEN).status_code == 401
    assert server.post("/v1/chat/completions", TOKEN, KEY).status_code == 200
    url = f"rollout_server.url=http://127.0.0.1:{server.port}"
    assert launch(elsewhere, site, url, NAME, BIG_API_KEY=KEY).status == 0
    refused = launch(elsewhere, site, url, NAME, "run.dir=runs/refused")
    assert refused.status == 4
    assert "asks for an API key (status 401), export BIG_API_KEY" in refused.stderr
    wrong = launch(elsewhere, site, url, "run.dir=runs/wrong", BIG_API_KEY=KEY)
    assert "The model `big` does not exist" in wrong.stderr
    assert server.process.poll() is None
    server.process.send_signal(signal.SIGTERM)
    done = server.ended()
    assert done.status == 143, done.stderr
    assert elsewhere.left_over() == []
    texts = [p.read_text() for p in elsewhere.directory.rglob("*") if p.is_file()]
    said = (done.stderr, refused.stderr, wrong.stderr, *texts)
    assert not any(KEY in text for text in said)


@nightly
def test_a_model_without_a_chat_template_is_gated_too(elsewhere: Project, tmp_path: Path) -> None:
    model = tmp_path / "plain"
    model.mkdir()
    for file in MODEL.iterdir():
        if file.name != "chat_template.jinja":
            (model / file.name).symlink_to(file)
    assert "chat_template" not in json.loads((MODEL / "tokenizer_config.json").read_text())
    server = Served(elsewhere, f"rollout_server.model={model}")
    assert server.post("/v1/chat/completions", TOKEN).status_code == 400
    server.process.send_signal(signal.SIGTERM)
    assert server.ended().status == 143


SAMPLES: list[Any] = [
    5, 0, 3.0, 2.5, "1_000", " 7 ", "nan", "x", "None", "true", "auto", "32k", "1.5K", True, False,
    ["a"], ["a", "b"], [1, 2], {"a": 1}, {}, "{}", "float32", "--x",
]  # fmt: skip
STRICTER = ("bool", "switch", "json")
"""Kinds whose values vLLM's parser never sees as they are written, or reads more closely."""

OTHERWISE = ("lora_modules", "max_model_len")
"""Flags with a reader of their own, and one whose 0 fails later."""


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory = tmp_path_factory.mktemp("parser")
    request, answer = directory / "request.json", directory / "answer.json"
    flags = FLAGS.shipped().table.flags
    words = {name: [serve.words(name, sample) for sample in SAMPLES] for name in flags}
    lines = [
        serve.words("limit_mm_per_prompt", {"video": 0}),
        serve.words("enforce_eager", False),
        serve.words("served_model_name", ["a", "b"]),
        serve.words("watermark", -0.5),
        serve.words("compilation_config", {"cudagraph_capture_sizes": [1, 2]}),
    ]
    request.write_text(json.dumps({"words": words, "lines": lines}))
    done = subprocess.run(
        [PYTHON, HELPER, FLAGS.script, request, answer],
        env={**os.environ, **OFFLINE}, capture_output=True, text=True, check=False, cwd=directory,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {**json.loads(answer.read_text()), "told": json.loads(done.stdout)}


@nightly
def test_the_snapshot_is_that_of_the_installed_vllm(parser: dict[str, Any]) -> None:
    told, shipped = parser["told"][FLAGS.program], FLAGS.shipped()
    version, flags = shipped.table.version, told["flags"]
    table = FlagTable.of(FLAGS.program, "vLLM", version, flags, told["defaults"])
    digests = {name: digest(Path(file)) for name, file in told["files"].items()}
    assert Snapshot(table, digests) == shipped


@nightly
def test_a_value_is_judged_as_its_parser_judges_it(parser: dict[str, Any]) -> None:
    flags = FLAGS.shipped().table.flags
    judged = {name for name in flags if name not in FLAGS.given and name not in OTHERWISE}
    wrong = [
        (name, sample, verdict)
        for name, verdicts in parser["accepted"].items()
        for sample, verdict in zip(SAMPLES, verdicts, strict=True)
        if (not_taken(name, flags[name], sample) is None) != verdict
        and name in judged
        and flags[name].kind not in STRICTER
        and not (sample == "None" or isinstance(sample, dict | list))
    ]
    assert wrong == []


@nightly
def test_rendered_values_arrive(parser: dict[str, Any]) -> None:
    fields = [line.get("fields") for line in parser["parsed"]]
    assert fields[:4] == [
        {"limit_mm_per_prompt": "{'video': 0}"},
        {},  # false is its default
        {"served_model_name": "['a', 'b']"},
        {"watermark": "-0.5"},
    ]
    assert fields[4] is not None
    assert "cudagraph_capture_sizes" in fields[4]["compilation_config"]
