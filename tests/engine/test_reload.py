"""The reload protocol with the real vLLM on the CPU; one server for all."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from grpo_launch.engines.vllm.reload import RELOAD
from grpo_launch.stages import journal
from grpo_launch.stages.journal import REFUSED, RELOADED, RESTART, Result
from grpo_launch.stages.reload import Server, reload
from tests.engine.real import MODEL, OFFLINE, PYTHON
from tests.supervise.rig import quiet_port

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600), pytest.mark.xdist_group("reload")]

LONG = [(7 * number) % 300 + 3 for number in range(300)]
"""A prompt of two blocks of the prefix cache (128 tokens on a CPU) and more."""


@dataclass(frozen=True)
class Vllm:
    """A running vLLM, and directories with variants of its model."""

    process: subprocess.Popen[bytes]
    url: str
    variants: Path
    record: Path

    def reload(self, name: str = "", served: Path = MODEL, **more: Any) -> Result:
        directory = self.variants / name if name else MODEL
        return reload(Server("server", self.url, served, RELOAD), directory, self.record, **more)

    def post(self, path: str, body: Any = None) -> Any:
        answer = httpx.post(f"{self.url}{path}", json=body, timeout=300)
        answer.raise_for_status()
        return answer.json()

    def logprobs(self, prompt: list[int], **more: Any) -> list[float]:
        body = {"prompt": prompt, "max_tokens": 4, "temperature": 0, "logprobs": 0, **more}
        choice = self.post("/v1/completions", body)["choices"][0]
        return choice["logprobs"]["token_logprobs"]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, caches: dict[str, str]) -> Iterator[Vllm]:
    directory, port = tmp_path_factory.mktemp("reload"), quiet_port()
    script = Path(__file__).with_name("reload_models.py")
    subprocess.run([PYTHON, script, MODEL, directory], check=True)
    environ = {
        **os.environ, **OFFLINE, **caches, "VLLM_SERVER_DEV_MODE": "1", "VLLM_PLUGINS": "none",
        "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }  # fmt: skip
    words = [
        "-m", "vllm.entrypoints.openai.api_server", "--model", str(MODEL),
        "--served-model-name", "policy", "--host", "127.0.0.1", "--port", str(port),
        "--dtype", "float32", "--enforce-eager", "--max-model-len", "2048",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with (directory / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [PYTHON, *words], env=environ, cwd=directory, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        while not is_healthy(url):
            assert process.poll() is None, (directory / "server.log").read_text()[-3000:]
            time.sleep(0.5)
        yield Vllm(process, url, directory, directory / journal.NAME)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def vllm(started: Vllm) -> Vllm:
    """With its first weights, a cold cache, and without a history."""
    started.record.unlink(missing_ok=True)
    assert started.reload().outcome == RELOADED
    started.record.unlink()
    return started


def test_there_and_back(vllm: Vllm) -> None:
    first = vllm.logprobs(LONG)
    there = vllm.reload("other", version="iter-1")
    assert (there.outcome, there.problems, there.warnings) == (RELOADED, (), ())
    assert there.before is not None
    assert there.after is not None
    assert there.before.logprobs != there.after.logprobs
    assert vllm.logprobs(LONG) != first
    said = httpx.get(f"{vllm.url}/weight_info", timeout=10).json()
    assert said["weight_version"] == "iter-1"
    back = vllm.reload()
    assert back.after == there.before
    assert vllm.logprobs(LONG) == first


def test_in_other_types_and_files(vllm: Vllm) -> None:
    other = vllm.reload("other")
    sharded = vllm.reload("sharded")
    assert sharded.after == other.after
    assert "the same weights" in sharded.warnings[0]
    rounded = vllm.reload("bfloat16")
    assert (rounded.outcome, rounded.warnings) == (RELOADED, ())
    assert other.after is not None
    assert rounded.after is not None
    pairs = zip(rounded.after.logprobs[:1], other.after.logprobs[:1], strict=True)
    assert all(abs(one - two) < 0.1 for one, two in pairs)


def test_a_repeated_prompt_is_clean(vllm: Vllm) -> None:
    old = vllm.logprobs(LONG)
    load = {"method": "reload_weights", "kwargs": {"weights_path": str(vllm.variants / "other")}}
    vllm.post("/collective_rpc", load)
    stale, clean = vllm.logprobs(LONG), vllm.logprobs(LONG, cache_salt="own")
    assert stale not in (old, clean)  # what the protocol is for
    assert vllm.reload().outcome == RELOADED
    assert vllm.logprobs(LONG) == old
    assert vllm.reload("other").outcome == RELOADED
    assert vllm.logprobs(LONG) == clean


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "is no directory"),
        ("shape", "lm_head.weight is [320, 64], the server has [320, 128]"),
        ("missing", "model.layers.1.mlp.down_proj.weight and 2 more are missing"),
        ("architecture", "architectures is ['LlamaForCausalLM'], the server has ['Qwen2"),
        ("truncated", "model.safetensors: is only a part of a file"),
        ("extra", "model.layers.0.mlp.down_proj.bias is unknown to the server's model"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_old_weights_are_served(
    vllm: Vllm, name: str, said: str
) -> None:
    before = vllm.logprobs(LONG)
    result = vllm.reload(name)
    assert result.outcome == REFUSED
    assert said in result.problems[0]
    assert vllm.logprobs(LONG) == before


@pytest.mark.parametrize(
    ("mode", "tokens", "finish"),
    [("wait", 200, "length"), ("keep", 400, "length"), ("abort", 1500, "abort")],
)
def test_requests_in_flight(vllm: Vllm, mode: str, tokens: int, finish: str) -> None:
    reasons: list[str] = []
    answering = threading.Barrier(3, timeout=300)

    def generate(number: int) -> None:
        body = {"prompt": [*LONG, number], "max_tokens": tokens, "ignore_eos": True}
        url = f"{vllm.url}/v1/completions"
        with httpx.stream("POST", url, json={**body, "stream": True}, timeout=300) as answer:
            data = (line[6:] for line in answer.iter_lines() if line.startswith("data: {"))
            next(data)
            answering.wait()
            reasons.append([json.loads(text)["choices"][0]["finish_reason"] for text in data][-1])

    threads = [threading.Thread(target=generate, args=(number,)) for number in range(3, 5)]
    for thread in threads:
        thread.start()
    answering.wait()
    result = vllm.reload("other", mode=mode)
    assert (result.outcome, result.problems) == (RELOADED, ())
    for thread in threads:
        thread.join()
    assert reasons == [finish] * len(threads)
    assert vllm.logprobs(LONG) == vllm.logprobs(LONG, cache_salt=mode)


@pytest.mark.parametrize("mode", ["wait", "keep"])
def test_a_reload_that_was_killed_in_between(vllm: Vllm, mode: str) -> None:
    """It had paused, and told the server of a directory that was gone."""
    expected = vllm.reload("other").after
    begun = Result("server", "gone", "gone", mode, time.time())
    journal.append(vllm.record, begun)
    vllm.post(f"/pause?mode={mode}")
    gone = {"method": "reload_weights", "kwargs": {"weights_path": "/nowhere/at/all"}}
    assert httpx.post(f"{vllm.url}/collective_rpc", json=gone, timeout=60).status_code == 500
    result = vllm.reload("other")
    assert (result.outcome, result.after) == (RELOADED, expected)


def test_last_an_engine_that_fails_has_to_be_restarted(vllm: Vllm) -> None:
    """As if it served the narrow model: nothing keeps the protocol from asking."""
    result = vllm.reload("shape", served=vllm.variants / "shape")
    assert result.outcome == RESTART
    assert "load failed (status 500" in result.problems[0]
    assert vllm.reload().outcome == RESTART
    assert is_healthy(vllm.url)  # it says so until something is generated
    body = {"prompt": LONG, "max_tokens": 1}
    with pytest.raises(httpx.HTTPError):  # status 500, or no answer at all
        httpx.post(f"{vllm.url}/v1/completions", json=body, timeout=30).raise_for_status()
