"""Conditions of two calls: whether these are branches of one condition."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from grpo_launch.bash.script import Condition
from grpo_launch.importing.reading import plugin_programs

_PREPARE = frozenset(
    (
        *("mkdir", "cp", "mv", "ln", "rm", "touch", "chmod", "tar", "unzip", "sed", "sleep"),
        *("pip", "pip3", "uv", "conda", "mamba", "apt", "apt-get", "npm", "git", "wget", "module"),
        *("python", "python3", "hf", "huggingface-cli", "wandb", "modelscope", "export", "cd"),
        *("megatron", "accelerate", "torchrun", "deepspeed", "trl"),
    )
)
"""Programs that are called for what they do, not to ask something."""

_ASKS = re.compile(
    r"[|;&`]|\$\(|\s(-c|--help|--version|-h|diff|status)(\s|$)|^uv pip show|^pip3? show"
)


def is_preparation(condition: Condition) -> bool:
    """Whether a condition is that a preparation succeeds: ``mkdir -p out && ...``."""
    program, _, _ = condition.text.partition(" ")
    is_one = PurePath(program).name in _PREPARE | plugin_programs()
    return is_one and not _ASKS.search(condition.text)


def are_branches(one: Sequence[Condition], other: Sequence[Condition]) -> bool:
    """Whether conditions are those of two branches, in whichever order."""
    return parting(one, other) is not None or parting(other, one) is not None


def parting(one: Sequence[Condition], other: Sequence[Condition]) -> int | None:
    """Where two ways part, if the second is the one where that condition does not hold."""
    for depth, (first, second) in enumerate(zip(one, other, strict=False)):
        if first != second:
            return depth if second == Condition(first.line, f"not {first.text}") else None
    return None
