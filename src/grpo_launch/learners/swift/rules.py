"""The rules that ms-swift's learner brings (``swift/arguments/rlhf_args.py`` of ms-swift 4.6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from grpo_launch.config import kinds
from grpo_launch.config.arguments import find
from grpo_launch.config.problem import Problem
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.config.schema import SECTIONS
from grpo_launch.learners.swift.batch_rules import BATCH_RULES
from grpo_launch.learners.swift.flag_rules import FLAG_RULES
from grpo_launch.learners.swift.gym import GYM_RULES
from grpo_launch.learners.swift.json_texts import JSON_RULES
from grpo_launch.learners.swift.lora_rules import LORA_RULES
from grpo_launch.learners.swift.reward_rules import REWARD_RULES


@rule
def vllm_mode_is_server(context: Context) -> Iterator[Problem]:
    """``rlhf.use_vllm`` is true and ``rlhf.vllm_mode`` is ``server``, where they are said."""
    config = context.config
    (vllm_key, use_vllm), (key, mode) = (find(config, n, "rlhf") for n in ("use_vllm", "vllm_mode"))
    if use_vllm not in (None, True):
        where = config.where(f"train.{vllm_key}")
        yield Problem(where, f"is {_shown(use_vllm)}, not true", "set use_vllm: true")
    if mode not in (None, "server"):
        where = config.where(f"train.{key}")
        what = f"is {_shown(mode)}, this launcher runs server mode"
        yield Problem(where, what, "set it to server")


@rule
def model_is_set(context: Context) -> Iterator[Problem]:
    """``model.model`` is a non-empty string: server and learner load it."""
    config = context.config
    model = config.get("model.model")
    if not isinstance(model, str) or not model.strip():
        where = config.where("train.model.model")
        yield Problem(where, f"is {_shown(model)}", "set it to a model's name or directory")


@rule
def sections_agree(context: Context) -> Iterator[Problem]:
    """An argument that two sections give has one value."""
    config = context.config
    seen: dict[Any, tuple[str, Any]] = {}
    for section in SECTIONS:
        value = config.train.get(section)
        if not isinstance(value, dict):
            continue
        for key, item in cast("dict[Any, Any]", value).items():
            first, before = seen.setdefault(key, (section, item))
            if item != before:
                where = config.where(f"train.{section}.{key}")
                what = f"is {_shown(item)}, but {first}.{key} is {_shown(before)}"
                yield Problem(where, what, "keep one of them")


RULES: Sequence[Rule] = (
    vllm_mode_is_server,
    model_is_set,
    sections_agree,
    *FLAG_RULES,
    *JSON_RULES,
    *BATCH_RULES,
    *REWARD_RULES,
    *GYM_RULES,
    *LORA_RULES,
)
"""In the order in which their findings are reported."""


def _shown(value: Any) -> str:
    return "not set" if value is None else kinds.said(value)
