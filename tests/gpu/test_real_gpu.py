"""What only a machine with an NVIDIA GPU can show: discovery, memory, and that it is given back."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from grpo_launch.base.host import Host, nvidia_smi
from tests.conftest import Project
from tests.gpu.card import GIB, HELD_GIB, INDICES, MARKS, environment
from tests.launch.helpers import in_state, nothing_left, until

pytestmark = MARKS

HOLDER = f"""
import signal, torch
held = torch.empty({HELD_GIB} << 30, dtype=torch.uint8, device="cuda")
open("held", "w").close()
signal.pause()
"""


def host(**environ: str) -> Host:
    return Host(Path.cwd(), environ, 0.0, "aaaa")


def own_environment(project: Project) -> dict[str, str]:
    return environment(project.environment()["PATH"])


def torch_says(expression: str) -> Any:
    code = f"import json, torch; print(json.dumps({expression}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def used_bytes(uuid: str) -> int:
    import pynvml

    pynvml.nvmlInit()
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByUUID(uuid)).used)
    finally:
        pynvml.nvmlShutdown()


def test_the_devices_are_those_that_torch_sees() -> None:
    assert len(host().visible_devices()) == torch_says("torch.cuda.device_count()")
    assert host(CUDA_VISIBLE_DEVICES="0").visible_devices() == ["0"]
    assert host(CUDA_VISIBLE_DEVICES="").visible_devices() == []


def test_a_gpu_that_is_not_there_is_refused_by_name(project: Project) -> None:
    absent = str(len(INDICES))
    given = ("role=both", "config=exp", "gpus.server=[0]", f"gpus.learner=[{absent}]")
    done = project.launch(*given, **own_environment(project))
    assert done.status == 3
    assert f"names GPU {absent}, this machine has {', '.join(INDICES)}" in done.errors[0]
    assert project.files() == set()


def test_a_check_reckons_with_the_memory_that_the_card_has(project: Project) -> None:
    """A model whose weights do not fit, by far, is warned of; the card's own GiB are in it."""
    shape = {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 152064,
        "hidden_size": 8192, "intermediate_size": 29568, "num_hidden_layers": 160,
        "num_attention_heads": 64, "num_key_value_heads": 8, "max_position_embeddings": 4096,
        "torch_dtype": "bfloat16", "tie_word_embeddings": False,
    }  # fmt: skip
    (project.directory / "big").mkdir()
    (project.directory / "big" / "config.json").write_text(json.dumps(shape))
    done = project.launch(
        "role=check",
        "config=exp",
        "train.model.model=big",
        "output=json",
        **own_environment(project),
    )
    found = json.loads(done.stdout)
    said = [p["what"] for p in found["problems"] if "GiB" in p["what"]]
    total = torch_says("torch.cuda.mem_get_info()[1]") / GIB
    assert said, found["problems"]
    told = "\n".join(said)
    (number,) = {float(gib) for gib in re.findall(r"([\d.]+) GiB per device", told)}
    assert abs(number - total) / total < 0.05, (said, total)


def test_the_memory_of_an_engine_that_hides_is_given_back(project: Project) -> None:
    uuid = nvidia_smi("uuid")[0]
    before = used_bytes(uuid)
    launcher = project.start(
        "role=server", "config=exp", "gpus.server=[0]", "shutdown.term_s=2",
        FAKE_SERVER="stubborn", FAKE_CHILD=HOLDER, **own_environment(project),
    )  # fmt: skip
    runs = project.directory / "runs" / "latest"
    until(lambda: runs.exists())
    in_state(runs.resolve(), "serving")
    until(lambda: (project.directory / "held").exists())
    assert used_bytes(uuid) - before >= HELD_GIB * GIB
    shown = subprocess.run(
        [sys.executable, "-m", "grpo_launch.monitor", "watch", "--json"],
        cwd=project.directory, env={**project.environment(), **own_environment(project)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    seen = json.loads(shown.stdout)
    assert seen["gpu_problem"] is None
    (gpu,) = seen["gpus"]
    assert gpu["id"] == "0"
    assert gpu["used"] >= HELD_GIB * GIB
    assert gpu["total"] >= torch_says("torch.cuda.mem_get_info()[1]")
    launcher.send_signal(signal.SIGTERM)
    launcher.communicate(timeout=60)
    assert launcher.returncode == 143
    nothing_left(project)
    until(lambda: used_bytes(uuid) - before < GIB)
