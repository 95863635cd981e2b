"""A loop whose server and learner share a real GPU: the learner starts when its memory is free."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import NO_PICTURES
from tests.gpu.card import GIB, HELD_GIB, MARKS, environment
from tests.loop.rig import FAKES, Loop

pytestmark = MARKS

HOLDS = f"""
import runpy, sys, torch
held = torch.empty({HELD_GIB} << 30, dtype=torch.uint8, device="cuda")
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
NOTES = """
import json, os, runpy, sys, pynvml
pynvml.nvmlInit()
used = pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).used
with open("used", "a") as file:
    file.write(json.dumps([used, os.environ["CUDA_VISIBLE_DEVICES"]]) + "\\n")
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    environ = environment(os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]))
    made = Loop(tmp_path, environ=environ)
    # The modules that were found beside this test's own are found in the loop's processes as well.
    made.environ["PYTHONPATH"] = os.pathsep.join(
        [str(NO_PICTURES), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    yield made
    made.close()


def test_the_learner_starts_when_the_memory_is_free(loop: Loop) -> None:
    here = loop.directory
    (here / "holds.py").write_text(HOLDS)
    (here / "notes.py").write_text(NOTES)
    experiment = here / "configs" / "exp.yaml"
    text = experiment.read_text()
    text = text.replace(f"-I, -S, {FAKES}/vllm", f"{here}/holds.py, {FAKES}/vllm")
    text = text.replace(f"{FAKES}/llamafactory", f"{here}/notes.py, {FAKES}/llamafactory")
    text = text.replace("accelerator: cpu_native", "gpus: {server: [0], learner: [0]}")
    experiment.write_text(f"{text}gpu_wait: {{below_gib: {HELD_GIB - 2}, timeout_s: 60}}\n")
    assert loop.run("loop.iterations=2", timeout_s=240) == 0, loop.said
    rows = [json.loads(line) for line in (here / "used").read_text().splitlines()]
    assert [visible for _, visible in rows] == ["0", "0"]
    assert all(used < GIB for used, _ in rows), rows
    assert [row["step"] for row in loop.rows()] == [1, 2]
    logs = "".join(path.read_text() for path in loop.loop.rglob("*.log"))
    assert logs.count("GPU 0: free after") >= 4  # before each server and each learner
    assert loop.alive() == []


def test_what_somebody_else_holds_is_named_and_left_alone(loop: Loop) -> None:
    experiment = loop.directory / "configs" / "exp.yaml"
    text = experiment.read_text().replace(
        "accelerator: cpu_native", "gpus: {server: [0], learner: [0]}"
    )
    experiment.write_text(f"{text}gpu_wait: {{below_gib: {HELD_GIB - 2}, timeout_s: 1}}\n")
    import torch

    held = torch.empty(HELD_GIB << 30, dtype=torch.uint8, device="cuda")
    assert loop.run("loop.iterations=1", timeout_s=240) != 0
    # Shown of the stage's log. A container may hide whose memory it is.
    held_gib = re.search(r"error: GPU 0: not free after 1 s: GPU 0, ([\d.]+) GiB in use", loop.said)
    assert held_gib, loop.said[-500:]
    assert float(held_gib[1]) >= HELD_GIB
    assert held.is_cuda
