"""The rehearsal with the real ms-swift: what it catches, what it passes, what it leaves alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from grpo_launch.learners.swift import flags
from tests.conftest import ROOT
from tests.engine.real import MODEL, Swift

pytestmark = pytest.mark.engine

SCRIPT = Path(flags.__file__).with_name("rehearse.py")
CLEAN: dict[str, Any] = {
    "rlhf_type": "grpo",
    "model": str(MODEL),
    "model_type": "qwen2",
    "torch_dtype": "float32",
    "template": "qwen2_5",
    "max_length": 448,
    "dataset": [str(ROOT / "examples/digits/dataset.jsonl")],
    "split_dataset_ratio": 0,
    "tuner_type": "full",
    "max_steps": 4,
    "per_device_train_batch_size": 8,
    "bf16": False,
    "fp16": False,
    "report_to": ["none"],
    "use_vllm": True,
    "vllm_mode": "server",
    "vllm_server_host": ["127.0.0.1"],
    "vllm_server_port": [1],
    "num_generations": 8,
    "max_completion_length": 16,
    "beta": 0.0,
    "external_plugins": [str(ROOT / "examples/digits/plugin.py")],
    "reward_funcs": ["digits.share"],
    "output_dir": "output",
}

PLUGIN = """
from swift.rewards import ORM, orms

class Needs(ORM):
    def __call__(self, completions, solution, **kwargs):
        return [0.0] * len(completions)

class Optional(ORM):
    def __call__(self, completions, solution=None, **kwargs):
        return [0.0] * len(completions)

orms["needs"], orms["optional"] = Needs, Optional
"""


def rehearse(
    swift: Swift, directory: Path, processes: int = 1, max_model_len: int = 512, **changes: Any
) -> dict[str, Any]:
    """The last answer."""
    said = {key: value for key, value in {**CLEAN, **changes}.items() if value is not None}
    (directory / "arguments.yaml").write_text(yaml.safe_dump(said))
    argv = [str(SCRIPT), "rlhf", "arguments.yaml", str(processes), str(max_model_len)]
    home = directory.with_name(f"{directory.name}-home")  # libraries make their caches there
    environ = {"PYTHONDONTWRITEBYTECODE": "1", "HOME": str(home)}
    done = swift.run(argv, cwd=directory, **environ)
    lines = [line for line in done.stdout.splitlines() if line.startswith("rehearsal ")]
    assert lines, done.stderr[-3000:]
    return json.loads(lines[-1].removeprefix("rehearsal "))


def test_a_clean_configuration_passes_and_leaves_nothing(
    swift: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timing = str(ROOT / "engines/swift_timing/grpo_launch_timing.py")
    monkeypatch.setenv("GRPO_LAUNCH_RUN", str(tmp_path))
    plugins = [*CLEAN["external_plugins"], timing]
    answer = rehearse(swift, tmp_path, external_plugins=plugins)
    assert (answer["verdict"], answer["rows"], answer["warnings"]) == ("passed", 64, [])
    assert 0 < answer["longest"] < 448
    assert [path.name for path in tmp_path.iterdir()] == ["arguments.yaml"]


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"reward_funcs": ["soft_overlong"]}, "", "soft_cache_length must be set"),
    ({"tuner_type": "lora", "ref_model": str(MODEL), "beta": 0.1}, "ref_model", "ref_model"),
    (
        {"async_generate": True, "multi_turn_scheduler": "math_tip_trick"},
        "async_generate",
        "async_generate",
    ),
    ({"use_liger_kernel": True, "padding_free": True}, "padding_free", "padding_free"),
    ({"generation_batch_size": 12}, "generation_batch_size", "generation_batch_size"),
    (
        {"generation_batch_size": 8, "steps_per_generation": 2},
        "generation_batch_size",
        "steps_per_generation",
    ),
    ({"external_plugins": ["nothere.py"]}, "external_plugins", "nothere.py"),
    ({"external_plugins": ["broken.py"]}, "external_plugins", "broken.py"),
    ({"template": "qwen2_6"}, "template", "qwen2_6"),
    ({"loss_type": "grop"}, "loss_type", "unknown loss type grop"),
    ({"reward_funcs": ["digits.shar"]}, "reward_funcs", "digits.shar"),
    ({"reward_funcs": ["accuracy"]}, "reward_funcs", "math_verify"),
    ({"lerning_rate": 1}, "lerning_rate", "is no argument of swift rlhf"),
    ({"max_steps": "many"}, "max_steps", "invalid int value: 'many'"),
    ({"external_plugins": ["plugin.py"], "reward_funcs": ["needs"]}, "dataset", "solution"),
]


@pytest.mark.parametrize(("changes", "key", "message"), REFUSED, ids=[str(r[0]) for r in REFUSED])
def test_what_the_learner_would_refuse_is_refused(
    swift: Swift, tmp_path: Path, changes: dict[str, Any], key: str, message: str
) -> None:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    (tmp_path / "broken.py").write_text("import swift\n\nclass Broken(:\n")
    answer = rehearse(swift, tmp_path, **changes)
    assert answer["verdict"] == "refused", answer
    assert message in answer["message"]
    assert answer["key"] == key, answer


@pytest.mark.parametrize("deepspeed", ["zero4", "nothere.json"])
def test_a_deepspeed_configuration_that_is_none_is_named(
    swift: Swift, tmp_path: Path, deepspeed: str
) -> None:
    """Whether deepspeed is installed is looked up in metadata alone."""
    info = tmp_path / "site" / "deepspeed-0.18.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: deepspeed\nVersion: 0.18.0\n")
    plugin = tmp_path / "plugin.py"
    plugin.write_text(f"import sys; sys.path.append({str(tmp_path / 'site')!r})\n{PLUGIN}")
    changes: dict[str, Any] = {"external_plugins": [str(plugin)], "reward_funcs": ["optional"]}
    answer = rehearse(swift, tmp_path, deepspeed=deepspeed, **changes)
    assert (answer["verdict"], answer["key"]) == ("refused", "deepspeed"), answer
    assert answer["message"].startswith(f"{deepspeed} is no preset, no file, and no JSON")


def test_the_world_is_that_of_all_nodes(swift: Swift, tmp_path: Path) -> None:
    """12 a device are 1.5 groups of 8 for one process, and 3 for two."""
    assert rehearse(swift, tmp_path, per_device_train_batch_size=12)["verdict"] == "refused"
    changes: dict[str, Any] = {"processes": 2, "per_device_train_batch_size": 12}
    assert rehearse(swift, tmp_path, **changes)["verdict"] == "passed"


@pytest.mark.parametrize(
    "code",
    [
        "import torch; torch.cuda.current_device()",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:1/')",
        "raise RuntimeError('of its own')",
        "raise MemoryError",
    ],
)
def test_what_may_be_of_the_rehearsal_is_no_refusal(
    swift: Swift, tmp_path: Path, code: str
) -> None:
    (tmp_path / "plugin.py").write_text(f"{code}\n{PLUGIN}")
    changes: dict[str, Any] = {"external_plugins": ["plugin.py"], "reward_funcs": ["optional"]}
    assert rehearse(swift, tmp_path, **changes)["verdict"] == "unknown"


def test_rows_and_prompts_are_warnings(swift: Swift, tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples/digits/dataset.jsonl", tmp_path / "rows.jsonl")
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write("{no json\n")
    changes: dict[str, Any] = {"dataset": ["rows.jsonl"], "max_length": 10}
    answer = rehearse(swift, tmp_path, **changes)
    assert answer["verdict"] == "passed"
    assert "rows.jsonl" in answer["warnings"][0]
    answer = rehearse(swift, tmp_path, max_model_len=48, max_length=40)
    assert answer["verdict"] == "passed"
    first, second = answer["warnings"]
    assert "prompts are longer than max_length (40 tokens)" in first
    assert "vllm_max_model_len - max_completion_length (32 tokens)" in second
