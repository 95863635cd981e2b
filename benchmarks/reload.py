"""New weights for a vLLM server: a reload against a restart, both until a token comes back.

    python benchmarks/reload.py [--rounds 3] [--reloads 5]

With the real engine of this clone (``.venv-engine``) and its tiny model on the CPU. In every round
the server is stopped and started again, then gets other weights ``--reloads`` times. Medians of
the whole reload (headers compared, a prompt before and after) and of what requests wait.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import httpx

from grpo_launch.engines.vllm.reload import RELOAD
from grpo_launch.stages import journal
from grpo_launch.stages.journal import RELOADED
from grpo_launch.stages.reload import Server, reload

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "models" / "tiny-qwen2"
VARIABLES = {
    **dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VLLM_SERVER_DEV_MODE"), "1"),
    "VLLM_PLUGINS": "none",
    "CUDA_VISIBLE_DEVICES": "",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


def scaled(out: Path) -> Path:
    """The model with every weight 1 % larger."""
    shutil.copytree(MODEL, out)
    path = out / "model.safetensors"
    content = path.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    weights = array.array("f", content[begin:])
    path.write_bytes(content[:begin] + array.array("f", (1.01 * w for w in weights)).tobytes())
    return out


@contextlib.contextmanager
def serving(directory: Path, port: int) -> Generator[str]:
    """A server; on the way out it is stopped, and gone."""
    command = [str(ROOT / ".venv-engine/bin/python"), "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(MODEL), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--dtype", "float32", "--enforce-eager", "--max-model-len", "512"]
    with (directory / "server.log").open("ab") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **VARIABLES}, cwd=directory,
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def first_token(url: str) -> None:
    """Wait until a token comes back."""
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.post(
                f"{url}{RELOAD.probe.path}", json=RELOAD.probe.body, timeout=60
            ).is_success:
                return
        time.sleep(0.05)


def main() -> int:
    """Print the medians and their ratio."""
    parser = argparse.ArgumentParser(description="Time a reload of weights against a restart.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reloads", type=int, default=5)
    arguments = parser.parse_args()
    restarts: list[float] = []
    reloads: list[float] = []
    waits: list[float] = []
    with tempfile.TemporaryDirectory() as temporary, socket.create_server(("127.0.0.1", 0)) as free:
        directory, port = Path(temporary), free.getsockname()[1]
        free.close()
        models = (scaled(directory / "other"), MODEL)
        stopping = None
        for _ in range(arguments.rounds + 1):
            with serving(directory, port) as url:
                first_token(url)
                if stopping is not None:
                    restarts.append(time.monotonic() - stopping)
                server = Server("server", url, MODEL, RELOAD, since=time.time())
                for number in range(arguments.reloads):
                    started = time.monotonic()
                    result = reload(server, models[number % 2], directory / journal.NAME)
                    if result.outcome != RELOADED or result.seconds is None or result.warnings:
                        raise RuntimeError(result)
                    reloads.append(time.monotonic() - started)
                    waits.append(result.seconds)
                stopping = time.monotonic()
    restart, whole, wait = map(statistics.median, (restarts, reloads, waits))
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {arguments.rounds} rounds")
    print(f"restart {restart:.1f} s, reload {whole:.2f} s, of which requests wait {wait:.2f} s")
    print(f"a restart takes {restart / whole:.0f} times as long as a reload")
    return 0


if __name__ == "__main__":
    sys.exit(main())
