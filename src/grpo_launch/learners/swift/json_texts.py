"""Flags of ms-swift whose text is JSON, the path of a JSON file, or the name of a preset.

Source: ms-swift 4.6.0, ``json_parse_to_dict`` (``swift/utils/utils.py``): a path that exists is
read, anything else is parsed, and what does not parse is repaired (``{'a': 1}``). What is neither
a mapping nor a file ends the program once its value is looked into, after the imports.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from grpo_launch.base import files
from grpo_launch.config import kinds
from grpo_launch.config.arguments import find
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.learners.swift.flag_rules import COLOCATE_ONLY

_ZERO = ("zero0", "zero1", "zero2", "zero3", "zero2_offload", "zero3_offload")
PRESETS: Mapping[str, tuple[str, ...]] = {
    "deepspeed": _ZERO,
    "teacher_deepspeed": _ZERO,
    "fsdp": ("fsdp2",),
    "rope_scaling": ("linear", "dynamic", "yarn"),
    **dict.fromkeys(
        (
            "model_kwargs",
            "max_memory",
            "columns",
            "lr_scheduler_kwargs",
            "gradient_checkpointing_kwargs",
            "eval_dataset_args",
            "eval_generation_config",
            "extra_eval_args",
            "vllm_limit_mm_per_prompt",
            "vllm_speculative_config",
            "vllm_engine_kwargs",
        ),
        (),
    ),
}
"""Those flags, and the words that each takes besides."""

_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True)
class JsonFiles:
    """What files hold that such texts name: None where it is a mapping, else what is wrong.

    Attributes:
        faults: by text; one that is no path of a file is not among them.
    """

    MISSING: ClassVar[str] = "the files that texts name were not looked at"

    faults: Mapping[str, str | None]


def texts(config: LaunchConfig) -> Iterator[tuple[str, str, str]]:
    """The dotted key, the flag and the text of each of these flags that is a text.

    Of the half that runs here: a file of the other one may be on another machine.
    """
    for name in PRESETS:
        block = config.train.get("deepspeed")
        key, value = find(config, name, "training")
        if name == "deepspeed":
            key, value = _deepspeed(config, block)
        if config.trains and isinstance(value, str) and value.strip():
            yield f"train.{key}", name, value
        own = config.rollout_server.get(name)
        if config.role != "learner" and isinstance(own, str) and own.strip():
            yield f"rollout_server.{name}", name, own


def gather(config: LaunchConfig, cwd: Path) -> JsonFiles:
    """Read the files that these texts name."""
    found: dict[str, str | None] = {}
    for _, name, text in texts(config):
        if text in PRESETS[name] or text.lstrip().startswith("{"):
            continue
        try:
            path = cwd / text
            if path.is_file():
                found[text] = _fault(files.read(path, _MAX_BYTES))
        except (OSError, ValueError):
            found[text] = "cannot be read"
    return JsonFiles(found)


@rule(needs=(JsonFiles,))
def json_texts_are_mappings(context: Context) -> Iterator[Problem]:
    """A text that ms-swift reads as JSON is a mapping, a file that holds one, or a preset."""
    config, faults = context.config, context[JsonFiles].faults
    for key, name, text in texts(config):
        presets = PRESETS[name]
        if text in presets or (name == "max_memory" and _is_literal(text)):
            continue
        where = config.where(key)
        if text in faults:
            if faults[text]:
                what = f"{text} {faults[text]}, it should hold a JSON mapping"
                yield Problem(where, what, "correct it")
        elif not _may_be_mapping(text) and not _is_unused_json(key, name, text):
            meant = kinds.nearest(text, presets)
            fix = f"did you mean {meant}?" if meant else "write a mapping, or correct the path"
            one = f" ({', '.join(presets)})" if presets else ""
            what = f"{kinds.said_at(key, text)} is no JSON mapping and no file"
            what += f", nor a preset of ms-swift{one}" if presets else ""
            yield Problem(where, what, fix)


JSON_RULES: Sequence[Rule] = (json_texts_are_mappings,)


def _deepspeed(config: LaunchConfig, block: Any) -> tuple[str, Any]:
    """``deepspeed: zero2``, the launcher's ``{enabled, config}``, or the flag in a section."""
    if isinstance(block, str):
        return "deepspeed", block
    if isinstance(block, dict) and ("config" in block or "enabled" in block):
        return "deepspeed.config", block.get("config") if block.get("enabled", True) else None
    if isinstance(block, dict) and block.get("deepspeed") is not None:
        return "deepspeed.deepspeed", block["deepspeed"]
    return find(config, "deepspeed", "training")


def _may_be_mapping(text: str) -> bool:
    """Whether it is one, or looks like one that ms-swift would repair."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return text.strip().startswith("{")


def _is_unused_json(key: str, name: str, text: str) -> bool:
    """Whether it is JSON that no mapping has to be: of a learner that never acts on the flag."""
    if name not in COLOCATE_ONLY or key.startswith("rollout_server."):
        return False
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _is_literal(text: str) -> bool:
    try:
        return isinstance(ast.literal_eval(text), dict)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False


def _fault(content: bytes) -> str | None:
    try:
        return None if isinstance(json.loads(content), dict) else "is no mapping"
    except ValueError as error:
        line = getattr(error, "lineno", None)
        return "is no JSON" + (f" (line {line})" if line else "")
