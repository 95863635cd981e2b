"""Episodes a second of the collector, its memory, and its share of an engine's throughput.

    python benchmarks/collector.py [--episodes 20000] [--size 64] [--memory 100000] [--engine]

Single turns against a server in a process of its own that answers at once; collector and server
have a core each, and bare requests of aiohttp before and after tell what the machine gives.
``--memory`` collects so many more and compares the memory at a tenth and at the end. ``--engine``
compares with ``vllm bench serve`` at the same concurrency, in turns, on the real engine of this
clone and its tiny model.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx

from grpo_launch.rollout import Client, Collector, Environments, Settings, Summary, Task

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "models" / "tiny-qwen2"
VARIABLES = {
    **dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"), "1"),
    "VLLM_PLUGINS": "none",
    "CUDA_VISIBLE_DEVICES": "",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
MESSAGES = [{"role": "user", "content": "Write a line of digits, case a."}]
TOKENS = 32


class Numbered:
    """Tasks that are made when they are asked for."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int, /) -> Task:
        return Task(str(index), {"messages": MESSAGES})


class Immediate(asyncio.Protocol):
    """HTTP/1.1 of one request after the other, each answered with the same completion."""

    def __init__(self) -> None:
        choice = {
            "message": {"role": "assistant", "content": "1" * TOKENS},
            "finish_reason": "length",
            "token_ids": list(range(TOKENS)),
            "logprobs": {"content": [{"logprob": -1.5}] * TOKENS},
        }
        usage = {"prompt_tokens": 33, "completion_tokens": TOKENS}
        body = {"choices": [choice], "prompt_token_ids": list(range(33)), "usage": usage}
        content = json.dumps(body).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n"
        self._answer = f"{head}Content-Type: application/json\r\n\r\n".encode() + content
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer what is whole."""
        self._data += data
        head, found, rest = self._data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if found and len(rest) >= (int(length[1]) if length else 0):
            self._data = b""
            self._transport.write(self._answer)


async def serve() -> None:
    """Say the port, and answer until the end."""
    server = await asyncio.get_running_loop().create_server(Immediate, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def immediate(cores: list[int]) -> Generator[str]:
    """The address of a server in its own process, on the last core."""
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(process.pid, {cores[-1]})
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def rss_mib() -> float:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def collect(url: str, episodes: int, size: int, seen: list[Any] | None = None) -> Summary:
    """Collect into a directory that is gone afterwards."""
    sampling = {"max_tokens": TOKENS, "temperature": 1.0, "ignore_eos": True}
    settings = Settings(
        (url,), model="policy", server_size=size, sampling=sampling, completion_threshold=1.0
    )

    def note(figures: dict[str, Any]) -> None:
        if seen is not None:
            seen.append((figures["step"], rss_mib()))

    with tempfile.TemporaryDirectory() as directory:
        collector = Collector(
            Client.of(settings), Environments(), Numbered(episodes), settings,
            output=Path(directory), report=note,
        )  # fmt: skip
        summary = asyncio.run(collector.run())
        lines = sum(1 for _ in (Path(directory) / "episodes.jsonl").open("rb"))
        assert lines == summary.step == episodes, summary
    return summary


async def bare(url: str, requests: int, size: int) -> float:
    """Requests a second of aiohttp alone, whose answers are read as JSON and forgotten."""
    import aiohttp

    remaining = iter(range(requests))
    body = {"model": "policy", "messages": MESSAGES, "max_tokens": TOKENS}

    async def work(session: aiohttp.ClientSession) -> None:
        for _ in remaining:
            async with session.post(f"{url}/v1/chat/completions", json=body) as response:
                await response.json()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        begun = time.perf_counter()
        await asyncio.gather(*(work(session) for _ in range(size)))
        return requests / (time.perf_counter() - begun)


def speed(arguments: argparse.Namespace, cores: list[int]) -> None:
    """Print episodes a second, against bare requests."""
    with immediate(cores) as url:
        os.sched_setaffinity(0, {cores[0]})
        before = asyncio.run(bare(url, arguments.episodes, arguments.size))
        begun = time.process_time()
        summary = collect(url, arguments.episodes, arguments.size)
        used = time.process_time() - begun
        after = asyncio.run(bare(url, arguments.episodes, arguments.size))
        rate, plain = summary.episodes_per_s, (before + after) / 2
        print(f"{summary.step} single turns, {arguments.size} at once, one core, written to disk:")
        print(f"  {rate:.0f} episodes/s, {rate / plain:.2f} of bare requests ({plain:.0f}/s)")
        print(f"  {summary.step / used:.0f} for each second of the core that it got")
        if arguments.memory:
            seen: list[Any] = []
            summary = collect(url, arguments.memory, arguments.size, seen)
            early = next(mib for step, mib in seen if step >= arguments.memory / 10)
            print(f"{summary.step} more, {summary.episodes_per_s:.0f} episodes/s: memory ", end="")
            print(f"{early:.1f} MiB at a tenth, {rss_mib():.1f} MiB at the end")


@contextlib.contextmanager
def engine() -> Generator[str]:
    """A vLLM server that has answered once."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [str(ROOT / ".venv-engine/bin/python"), "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(MODEL), "--served-model-name", "policy", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--dtype", "float32", "--enforce-eager"]
    command += ["--max-model-len", "512"]
    with tempfile.TemporaryDirectory() as where, (Path(where) / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **VARIABLES}, cwd=where,
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            body = {"model": "policy", "messages": MESSAGES, "max_tokens": 1}
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60).is_success:
                        break
                if process.poll() is not None:
                    raise RuntimeError(Path(log.name).read_text()[-2000:])
                time.sleep(0.2)
            yield url
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def bench_serve(url: str, requests: int, size: int) -> float:
    """Output tokens a second that vLLM's own benchmark gets of as many requests at once."""
    # The console program asks for the metadata of the package vllm, and it is vllm-cpu here.
    code = "import argparse; from vllm.benchmarks import serve; p = argparse.ArgumentParser();"
    code += "serve.add_cli_args(p); serve.main(p.parse_args())"
    with tempfile.TemporaryDirectory() as where:
        prompts = Path(where) / "prompts.jsonl"
        prompts.write_text((json.dumps({"prompt": MESSAGES[0]["content"]}) + "\n") * requests)
        command = [str(ROOT / ".venv-engine/bin/python"), "-c", code]
        command += ["--backend", "openai-chat", "--endpoint", "/v1/chat/completions"]
        command += ["--base-url", url, "--model", "policy", "--tokenizer", str(MODEL)]
        command += ["--dataset-name", "custom", "--dataset-path", str(prompts), "--ignore-eos"]
        command += ["--skip-chat-template", "--custom-output-len", str(TOKENS)]
        command += ["--num-prompts", str(requests), "--max-concurrency", str(size)]
        command += ["--temperature", "1.0", "--num-warmups", "0"]
        done = subprocess.run(
            [*command, "--save-result", "--result-dir", where, "--result-filename", "r.json"],
            env={**os.environ, **VARIABLES}, cwd=where, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stdout[-1000:] + done.stderr[-2000:])
        result = json.loads((Path(where) / "r.json").read_text())
        assert result["completed"] == requests, result
        return result["output_throughput"]


def against_engine(arguments: argparse.Namespace) -> None:
    """Print the share of what vLLM's own benchmark gets, in turns."""
    theirs: list[float] = []
    ours: list[float] = []
    requests = 4 * arguments.size
    print(f"vLLM, {requests} requests of {TOKENS} tokens, {arguments.size} at once, tokens/s:")
    with engine() as url:
        collect(url, requests, arguments.size)  # warm
        for _ in range(arguments.rounds):
            theirs.append(bench_serve(url, requests, arguments.size))
            ours.append(collect(url, requests, arguments.size).tokens_per_s)
            print(f"  vllm bench serve {theirs[-1]:.0f}, collector {ours[-1]:.0f}", flush=True)
    print(f"  share {statistics.median(ours) / statistics.median(theirs):.2f} of the medians")


def _end(number: int, _: object) -> None:
    """End as by an exception: that leaves no server behind."""
    sys.exit(128 + number)


def main() -> int:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description="Time the collector.")
    parser.add_argument("--episodes", type=int, default=20000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--memory", type=int, default=0, metavar="EPISODES")
    parser.add_argument("--engine", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve())
        return 0
    signal.signal(signal.SIGTERM, _end)
    cores = sorted(os.sched_getaffinity(0))
    print(f"load {os.getloadavg()[0]:.1f}, {len(cores)} cores")
    if arguments.engine:
        against_engine(arguments)
    else:
        speed(arguments, cores)
    return 0


if __name__ == "__main__":
    sys.exit(main())
