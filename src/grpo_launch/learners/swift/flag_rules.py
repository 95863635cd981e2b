"""Rules on the names and values of ``swift rlhf``'s flags (``engines/swift/flag_rules.py``)."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard, cast

from grpo_launch.config import kinds, schema
from grpo_launch.config.arguments import find
from grpo_launch.config.formats import forms
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.engines.flag_facts import LearnerFlags, ServerFlags
from grpo_launch.engines.flags import Flag, accepts
from grpo_launch.engines.swift.flag_rules import value_problem
from grpo_launch.learners.swift import stages
from grpo_launch.learners.swift.batches import generates

_JUDGED_ELSEWHERE = ("use_vllm", "vllm_mode", "vllm_server_host", "vllm_server_port")
"""Flags whose values other rules judge more narrowly."""

_DEEPSPEED_KEYS = ("enabled", "config")
"""``deepspeed: {enabled: true, config: zero2}``: the launcher's form of ``--deepspeed``."""

_RENAMED = {
    "train_type": ("tuner_type",),
    "tuner_type": ("train_type",),
    "sft_type": ("tuner_type",),
    "ckpt_dir": ("model", "adapters"),
    "model_id_or_path": ("model",),
    "lora_modules": ("adapters",),
    "lora_target_modules": ("target_modules",),
    "multi_turn_func": ("multi_turn_scheduler",),
    "use_liger": ("use_liger_kernel",),
    "swanlab_lark_webhook_url": ("swanlab_webhook_url",),
    "swanlab_lark_secret": ("swanlab_secret",),
    "model_name_or_path": ("model",),
    "max_prompt_length": ("max_length",),
}
"""What ms-swift 2 and 3 call a flag, and at the end TRL, and what it is called now.

The nearest spelling is another flag's: ``output_dir`` for ``ckpt_dir``. In GRPO ``max_length``
limits the prompt alone. Both names of the tuner, since either version may be installed.
"""

COLOCATE_ONLY = (
    "vllm_gpu_memory_utilization",
    "vllm_tensor_parallel_size",
    "vllm_pipeline_parallel_size",
    "vllm_data_parallel_size",
    "vllm_enable_expert_parallel",
    "vllm_max_num_seqs",
    "vllm_max_model_len",
    "vllm_disable_custom_all_reduce",
    "vllm_enforce_eager",
    "vllm_limit_mm_per_prompt",
    "vllm_enable_lora",
    "vllm_max_lora_rank",
    "vllm_enable_prefix_caching",
    "vllm_use_async_engine",
    "vllm_quantization",
    "vllm_disable_cascade_attn",
    "vllm_mm_processor_cache_gb",
    "vllm_speculative_config",
    "vllm_engine_kwargs",
    "sleep_level",
    "offload_model",
    "offload_optimizer",
)
"""What a learner in server mode never acts on, in ms-swift 4.6.

``swift/rlhf_trainers/rollout_mixin.py``: the ``vllm_*`` ones reach vLLM only through
``_prepare_vllm_engine``, which runs for ``vllm_mode: colocate``; offloading is asked
for by ``enable_offload``, which only that branch of ``_prepare_vllm`` sets.
``swift/arguments/rlhf_args.py``, ``_init_grpo``: ``sleep_level`` becomes 0.
``move_model_batches`` is not among them: ``split_batches`` uses it in both modes.
"""

_SUGGESTIONS = 20
"""Unknown keys that get a did-you-mean; each costs a comparison with every flag."""


@rule(needs=(LearnerFlags,), settles=True)
def learner_flags_are_valid(context: Context) -> Iterator[Problem]:
    """Every key of the learner's sections is a flag of its program and takes its value."""
    config, table = context.config, context[LearnerFlags]
    known = [*table.flags, *schema.LAUNCHER_FLAGS]
    served = context.get(ServerFlags)
    of_server = () if served is None else (*served.flags, "lora_policy")
    guesses = _SUGGESTIONS
    megatron: list[tuple[str, str]] = []
    for key, name, value in (*_arguments(config), *_unset(config)):
        flag = table.flags.get(name)
        if value is None and (flag is not None or name in schema.LAUNCHER_FLAGS):
            continue  # null is "not set"
        if name in _JUDGED_ELSEWHERE or (name in schema.LAUNCHER_FLAGS and flag is None):
            continue
        if flag is None and name in _megatron():
            megatron.append((key, name))
        elif flag is None:
            place = _other_place(config, key, name, of_server)
            yield _unknown(config, table, key, name, place, known if guesses > 0 else ())
            guesses -= 1
        elif problem := value_problem(config, table.product, key, flag, _word(name, flag, value)):
            yield problem
    if megatron:
        names = [name for _, name in megatron]
        said = f"{', '.join(names[:-1])} and {names[-1]} are flags"
        what = "is a flag" if len(names) == 1 else said
        what += f" of megatron-swift, which this learner does not start ({table.program})"
        fix = "remove it" if len(names) == 1 else "remove them"
        yield Problem(config.where(megatron[0][0]), what, fix)


@rule
def deepspeed_block_is_valid(context: Context) -> Iterator[Problem]:
    """``deepspeed: {enabled, config}`` holds these two keys, and ``enabled`` is a boolean."""
    config = context.config
    block = config.get("deepspeed")
    if not _is_launcher_form(block):
        return
    for name, value in block.items():
        where = config.where(f"train.deepspeed.{name}")
        if name not in _DEEPSPEED_KEYS:
            what = "is not passed on beside enabled and config"
            yield Problem(where, what, "move it to the section training")
        elif name == "enabled" and not isinstance(value, bool):
            what = f"{kinds.said(value)} is not true or false"
            yield Problem(where, what, "write true or false")


@rule(needs=(LearnerFlags, ServerFlags), when=generates)
def flags_have_an_effect_in_server_mode(context: Context) -> Iterator[Problem]:
    """A warning for each key that only ``vllm_mode: colocate`` acts on."""
    config = context.config
    if find(config, "vllm_mode")[1] not in (None, "server"):
        return
    served = context[ServerFlags].flags.keys()
    for key, name, value in _arguments(config):
        if name in COLOCATE_ONLY and name in context[LearnerFlags].flags:
            to_set = name in served and config.rollout_server.get(name) != value
            instead = f"set {config.spelled(f'rollout_server.{name}')} instead"
            fix = instead if to_set else "remove it"
            where = config.where(key)
            yield Problem(where, "is ignored in server mode", fix, Severity.WARNING)


@rule
def max_steps_overrides_num_train_epochs(context: Context) -> Iterator[Problem]:
    """A warning where ``max_steps`` and ``num_train_epochs`` are both given.

    transformers, ``Trainer.__init__`` and ``set_initial_training_values``: a positive
    ``max_steps`` "will override any value given in num_train_epochs".
    """
    config = context.config
    arguments = {name: (key, value) for key, name, value in _arguments(config)}
    if "max_steps" not in arguments or "num_train_epochs" not in arguments:
        return
    (where, steps), (other, epochs) = arguments["max_steps"], arguments["num_train_epochs"]
    if accepts(Flag("int"), steps) is not None or int(str(steps)) <= 0:
        return
    what = f"{steps} overrides num_train_epochs {epochs} ({config.where(other)})"
    yield Problem(config.where(where), what, "keep one of them", Severity.WARNING)


FLAG_RULES: Sequence[Rule] = (
    learner_flags_are_valid,
    deepspeed_block_is_valid,
    flags_have_an_effect_in_server_mode,
    max_steps_overrides_num_train_epochs,
)


def _arguments(config: LaunchConfig) -> Iterator[tuple[str, str, Any]]:
    """Key, flag name and value of all that the sections pass on; null means "not set"."""
    for section in schema.SECTIONS:
        value = config.train.get(section)
        if section == "deepspeed" and isinstance(value, str):
            yield "train.deepspeed", "deepspeed", value
        elif section == "deepspeed" and _is_launcher_form(value):
            if value.get("enabled", True) and value.get("config") is not None:
                yield "train.deepspeed.config", "deepspeed", value["config"]
        elif isinstance(value, dict):
            for name, item in cast("dict[Any, Any]", value).items():
                key = f"train.{section}.{name}"
                if item is not None and stages.is_passed(config, key):
                    yield key, str(name), item


def _unset(config: LaunchConfig) -> Iterator[tuple[str, str, None]]:
    """Key and name of all that the sections set to null."""
    for section in schema.SECTIONS:
        block = config.train.get(section)
        if isinstance(block, dict) and not _is_launcher_form(block):
            for name, item in cast("dict[Any, Any]", block).items():
                key = f"train.{section}.{name}"
                if item is None and stages.is_passed(config, key):
                    yield key, str(name), None


def _word(name: str, flag: Flag, value: Any) -> Any:
    """What is judged: a bare number is JSON too, and harms nobody where it is not acted on."""
    unused = name in COLOCATE_ONLY and flag.kind == "json" and isinstance(value, int | float)
    return str(value) if unused else value


@functools.cache
def _megatron() -> frozenset[str]:
    """Flags of ``megatron rlhf`` alone, of ms-swift 4.6 and 3 (``swift/megatron/arguments``)."""
    text = Path(__file__).with_name("megatron.json").read_text(encoding="utf-8")
    return frozenset(json.loads(text))


def _is_launcher_form(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping) and any(key in value for key in _DEEPSPEED_KEYS)


def _other_place(config: LaunchConfig, key: str, name: str, of_server: Sequence[str]) -> str | None:
    """Where a key of the launcher, of the server or of a section belongs instead."""
    if name in forms.NODES:
        place = config.spelled(name)
    elif name == forms.SERVER or name in of_server:
        place = config.spelled(name if name == forms.SERVER else f"{forms.SERVER}.{name}")
    elif name in (*schema.SECTIONS, *schema.BESIDE_SECTIONS):
        place = f"{name}, at the top of the file"
    else:
        return None
    return place if place != config.spelled(key) else None


def _unknown(
    config: LaunchConfig,
    table: LearnerFlags,
    key: str,
    name: str,
    place: str | None,
    known: Sequence[str],
) -> Problem:
    where = config.where(key)
    renamed = [new for new in _RENAMED.get(name, ()) if new in table.flags]
    if renamed:
        fix = f"rename it to {' or '.join(renamed)}"
        return Problem(where, f"is not what {table.product} calls it", fix)
    if place:
        what = f"is no flag of {table.program} and has no effect here"
        return Problem(where, what, f"move it to {place}")
    if known and "." not in config.spelled(key):  # at the top of a file
        known = ["extends", *known, *schema.SECTIONS, forms.SERVER, *forms.NODES]
    near = kinds.nearest(name, known)
    fix = f"did you mean {near}?" if near else "remove it"
    what = f"unknown key, no flag of {table.program} of {table.product}"
    return Problem(where, what, fix, meant=near or "")
