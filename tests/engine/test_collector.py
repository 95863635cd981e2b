"""The collector in environments of others, and its files in programs of others."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.engine.real import ENGINE
from tests.rollout.server import Body, Reply, Server, completion, http, said

pytestmark = pytest.mark.engine

LLAMAFACTORY = ROOT / ".venv-llamafactory"


def collect(server: Server, directory: Path, texts: Sequence[str], **settings: object) -> Path:
    """Episodes that the engine's interpreter collects, from the sources alone."""
    tasks = directory / "tasks.jsonl"
    rows = ({"id": text, "messages": [{"role": "user", "content": text}]} for text in texts)
    tasks.write_text("".join(json.dumps(row) + "\n" for row in rows))
    body = {"urls": [server.url], "train_tasks": str(tasks), "max_failed": 1.0, **settings}
    (directory / "collect.json").write_text(json.dumps({"completion_threshold": 1.0, **body}))
    command = [str(ENGINE / "bin" / "python"), "-m", "grpo_launch.rollout"]
    subprocess.run(
        [*command, str(directory / "collect.json"), "--output", str(directory / "out")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "CUDA_VISIBLE_DEVICES": ""},
        cwd=directory, check=True, timeout=280,
    )  # fmt: skip
    return directory / "out" / "episodes.jsonl"


def test_a_plugin_with_the_real_ms_swift(tmp_path: Path) -> None:
    plugin = str(ROOT / "examples" / "digits" / "plugin.py")
    with Server(lambda *_: completion("12ab")) as server:
        chosen = {"plugins": [plugin], "environment": "digits.share"}
        path = collect(server, tmp_path, ["a", "b"], **chosen)
    assert [json.loads(line)["reward"] for line in path.read_text().splitlines()] == [0.5] * 2


def test_datasets_opens_the_trajectories(tmp_path: Path) -> None:
    """Types are taken from the first 10 MB: what fails behind that must fit as well."""

    def answer(body: Body, count: int) -> Reply:
        if said(body) == "late":
            return http(400, {"error": "too long"})
        logprobs = {"content": [{"logprob": -1}]}
        return completion("x" * 500_000, token_ids=[1], logprobs=logprobs)

    texts = [f"t{number}" for number in range(30)]
    with Server(answer) as server:
        collect(server, tmp_path, texts)
        path = collect(server, tmp_path, [*texts, "late"])
    code = (
        "import datasets, sys; rows = datasets.load_dataset('json', data_files=sys.argv[1], "
        "split='train', cache_dir=sys.argv[2]); print(len(rows), rows[30]['error'])"
    )
    done = subprocess.run(
        [str(LLAMAFACTORY / "bin" / "python"), "-c", code, str(path), str(tmp_path / "cache")],
        env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.stdout.strip() == "31 status 400 (too long)", done.stderr
