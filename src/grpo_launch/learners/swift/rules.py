"""The rules that ms-swift's learner brings (``swift/arguments/rlhf_args.py`` of ms-swift 4.6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from grpo_launch.config import kinds
from grpo_launch.config.arguments import find, is_true, listed
from grpo_launch.config.problem import Problem
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.config.schema import SECTIONS
from grpo_launch.learners.swift import stages
from grpo_launch.learners.swift.batch_rules import BATCH_RULES
from grpo_launch.learners.swift.batches import generates, learns_in_groups
from grpo_launch.learners.swift.data_rules import DATA_RULES
from grpo_launch.learners.swift.flag_rules import FLAG_RULES
from grpo_launch.learners.swift.gym import GYM_RULES
from grpo_launch.learners.swift.job_rules import JOB_RULES
from grpo_launch.learners.swift.json_texts import JSON_RULES
from grpo_launch.learners.swift.lora_rules import LORA_RULES
from grpo_launch.learners.swift.model_rules import local_models_are_complete
from grpo_launch.learners.swift.plugin_rules import PLUGIN_RULES
from grpo_launch.learners.swift.reward_rules import REWARD_RULES


@rule(when=generates)
def vllm_mode_is_server(context: Context) -> Iterator[Problem]:
    """``rlhf.use_vllm`` is true and ``rlhf.vllm_mode`` is ``server``, where they are said."""
    config = context.config
    (vllm_key, use_vllm), (key, mode) = (find(config, n, "rlhf") for n in ("use_vllm", "vllm_mode"))
    if use_vllm is not None and not is_true(use_vllm):
        where = config.where(f"train.{vllm_key}")
        yield Problem(where, f"is {_shown(use_vllm)}, not true", "set use_vllm: true")
    if mode not in (None, "server"):
        where = config.where(f"train.{key}")
        what = f"is {_shown(mode)}, this launcher runs server mode"
        yield Problem(where, what, "set it to server")


@rule(when=lambda config: config.learner.stage is not None)
def rlhf_type_is_the_stage(context: Context) -> Iterator[Problem]:
    """``rlhf_type``, where it is said, is what ``learner.stage`` says."""
    config = context.config
    key, value = find(config, "rlhf_type", "rlhf")
    stage = config.learner.stage
    if value is None or value == stage or not stages.is_passed(config, f"train.{key}"):
        return
    what = f"is {_shown(value)}, but learner.stage is {stage} ({config.where('learner.stage')})"
    yield Problem(config.where(f"train.{key}"), what, "keep one of them")


@rule(when=learns_in_groups)
def grpo_reads_no_cached_dataset(context: Context) -> Iterator[Problem]:
    """``cached_dataset`` is not given: ``_init_grpo`` refuses it."""
    config = context.config
    for name in ("cached_dataset", "cached_val_dataset"):
        key, value = find(config, name)
        if listed(value):
            what = "is not supported for GRPO, its rows are tokens already"
            fix = f"set {name.removeprefix('cached_')} to the rows themselves"
            yield Problem(config.where(f"train.{key}"), what, fix)


@rule
def model_is_set(context: Context) -> Iterator[Problem]:
    """``model.model`` is a non-empty string: server and learner load it."""
    config = context.config
    model = config.get("model.model")
    if model is None or (isinstance(model, str) and not model.strip()):
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
            if item is before or item == before:
                continue
            one, other = (section, item), (first, before)
            fix = "keep one of them"
            if config.where(f"train.{first}.{key}").startswith("command line"):
                one, other = other, one
                fix = f"override train.{section}.{key} instead"
            what = f"is {_shown(one[1])}, but {other[0]}.{key} is {_shown(other[1])}"
            yield Problem(config.where(f"train.{one[0]}.{key}"), what, fix)


RULES: Sequence[Rule] = (
    vllm_mode_is_server,
    rlhf_type_is_the_stage,
    grpo_reads_no_cached_dataset,
    model_is_set,
    sections_agree,
    local_models_are_complete,
    *FLAG_RULES,
    *JSON_RULES,
    *BATCH_RULES,
    *DATA_RULES,
    *PLUGIN_RULES,
    *REWARD_RULES,
    *GYM_RULES,
    *LORA_RULES,
    *JOB_RULES,
)
"""In the order in which their findings are reported."""


def _shown(value: Any) -> str:
    return "not set" if value is None else kinds.said(value)
