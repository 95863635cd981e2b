"""The rules that need to know an engine's own flags (``engines/flags.py``).

Each is a pure function from a configuration and the flags of the installed, or of
the pinned, version of ms-swift to what is wrong. They judge keys and values as the
parser of ms-swift does, with one difference: ``argparse`` takes ``--num_gen`` for
``--num_generations`` and dashes for underscores; here a key is a flag's whole name,
because the launcher's other rules look for that.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeGuard, cast

from grpo_launch.config import kinds, schema
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.engines.flags import TAKEN_FOR_A_FLAG, EngineFlags, Flag, accepts, expected
from grpo_launch.engines.swift import serve

EngineRule = Callable[[LaunchConfig, EngineFlags], list[Problem]]

_RULED = ("use_vllm", "vllm_mode", "vllm_server_host", "vllm_server_port")
"""Flags whose values ``rules.py`` judges more narrowly."""

_DEEPSPEED_KEYS = ("enabled", "config")
"""``deepspeed: {enabled: true, config: zero2}``: the launcher's form of ``--deepspeed``."""

_RENAMED = {"train_type": "tuner_type", "tuner_type": "train_type"}
"""ms-swift 3 says ``train_type`` where ms-swift 4 says ``tuner_type``."""

_NARROWER = {
    "truncation_strategy": (("delete", "left"), " (all that GRPO takes)"),
    "eval_strategy": (("no", "steps", "epoch"), ""),
}
"""Narrower than the parser: ``RLHFArguments._init_grpo`` raises for other values, and so
does ``TrainingArguments.__post_init__`` of transformers (``IntervalStrategy``)."""

_COLOCATE_ONLY = (
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


def learner_flags(config: LaunchConfig, flags: EngineFlags) -> list[Problem]:
    """Every key of the learner's sections is a flag of ``swift rlhf`` and takes its value."""
    problems: list[Problem] = []
    known = [*flags.rlhf, *schema.LAUNCHER_FLAGS]
    guesses = _SUGGESTIONS
    for key, name, value in _said(config):
        flag = flags.rlhf.get(name)
        if name in _RULED or (name in schema.LAUNCHER_FLAGS and flag is None):
            continue
        if flag is None:
            problems.append(_unknown(config, flags, key, name, known if guesses > 0 else ()))
            guesses -= 1
        else:
            problems += _wrong(config, flags, key, name, flag, value)
    return problems


def deepspeed_block(config: LaunchConfig, flags: EngineFlags) -> list[Problem]:
    """``deepspeed: {enabled, config}`` holds these two keys, and ``enabled`` is a boolean."""
    del flags
    block = config.get("deepspeed")
    if not _is_launcher_form(block):
        return []
    problems: list[Problem] = []
    for name, value in block.items():
        key = f"train.deepspeed.{name}"
        if name not in _DEEPSPEED_KEYS:
            what = "is not passed on beside enabled and config"
            problems.append(Problem(config.where(key), what, "move it to the section training"))
        elif name == "enabled" and not isinstance(value, bool):
            what = f"{kinds.said(value)} is not true or false"
            problems.append(Problem(config.where(key), what, "write true or false"))
    return problems


def rollout_flags(config: LaunchConfig, flags: EngineFlags) -> list[Problem]:
    """Every flag of the rollout server's command line exists there and takes its value."""
    problems: list[Problem] = []
    for name, value in config.rollout_server.items():
        problems += _on_the_server(config, flags, f"rollout_server.{name}", name, value)
    for key in serve.SHARED:
        name, value = key.rpartition(".")[2], config.get(key)
        learner = flags.rlhf.get(name)
        if value is None or learner is None or accepts(learner, value) is not None:
            continue  # not said, or reported for the learner
        problems += _on_the_server(config, flags, f"train.{key}", name, value)
    return problems


def ignored_in_server_mode(config: LaunchConfig, flags: EngineFlags) -> list[Problem]:
    """A warning for each key that only ``vllm_mode: colocate`` acts on."""
    if config.get("rlhf.vllm_mode") != "server":
        return []
    served = {field.name for field in fields(schema.RolloutServer)} & flags.rollout.keys()
    return [
        Problem(
            config.where(key),
            "is ignored in server mode",
            _instead(config, name) if name in served else "remove it",
            Severity.WARNING,
        )
        for key, name, _ in _said(config)
        if name in _COLOCATE_ONLY and name in flags.rlhf
    ]


def steps_win_over_epochs(config: LaunchConfig, flags: EngineFlags) -> list[Problem]:
    """A warning where ``max_steps`` and ``num_train_epochs`` are both given.

    transformers, ``Trainer.__init__`` and ``set_initial_training_values``: a positive
    ``max_steps`` "will override any value given in num_train_epochs".
    """
    del flags
    said = {name: (key, value) for key, name, value in _said(config)}
    if "max_steps" not in said or "num_train_epochs" not in said:
        return []
    (where, steps), (other, epochs) = said["max_steps"], said["num_train_epochs"]
    if accepts(Flag("int"), steps) is not None or int(str(steps)) <= 0:
        return []
    what = f"{steps} steps win over num_train_epochs {epochs} ({config.where(other)})"
    return [Problem(config.where(where), what, "keep one of them", Severity.WARNING)]


ENGINE_RULES: Sequence[EngineRule] = (
    learner_flags,
    deepspeed_block,
    rollout_flags,
    ignored_in_server_mode,
    steps_win_over_epochs,
)
"""All of them, in the order in which their findings are reported."""


def engine_problems(config: LaunchConfig, flags: EngineFlags) -> list[Problem]:
    """Every problem that the flags of the engine show."""
    return [problem for rule in ENGINE_RULES for problem in rule(config, flags)]


def _said(config: LaunchConfig) -> Iterator[tuple[str, str, Any]]:
    """Key, flag name and value of all that the sections pass on; null means "not said"."""
    for section in schema.SECTIONS:
        value = config.train.get(section)
        if section == "deepspeed" and isinstance(value, str):
            yield "train.deepspeed", "deepspeed", value
        elif section == "deepspeed" and _is_launcher_form(value):
            if value.get("enabled", True) and value.get("config") is not None:
                yield "train.deepspeed.config", "deepspeed", value["config"]
        elif isinstance(value, dict):
            for name, item in cast("dict[Any, Any]", value).items():
                if item is not None:
                    yield f"train.{section}.{name}", str(name), item


def _instead(config: LaunchConfig, name: str) -> str:
    return f"set {config.spelled(f'rollout_server.{name}')} instead"


def _is_launcher_form(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping) and any(key in value for key in _DEEPSPEED_KEYS)


def _unknown(
    config: LaunchConfig, flags: EngineFlags, key: str, name: str, known: Sequence[str]
) -> Problem:
    where, engine = config.where(key), f"{flags.engine} {flags.version}"
    renamed = _RENAMED.get(name)
    if renamed in flags.rlhf:
        return Problem(where, f"is not what {engine} calls it", f"rename it to {renamed}")
    near = difflib.get_close_matches(name, known, n=1)
    fix = f"did you mean {near[0]}?" if near else "remove it"
    return Problem(where, f"unknown key, no flag of swift rlhf of {engine}", fix)


def _on_the_server(
    config: LaunchConfig, flags: EngineFlags, key: str, name: str, value: Any
) -> list[Problem]:
    flag = flags.rollout.get(name)
    if flag is None:
        what = f"unknown key, no flag of swift rollout of {flags.engine} {flags.version}"
        return [Problem(config.where(key), what, "remove it")]
    as_json = isinstance(value, list) and name not in serve.WORDS
    one_word = serve.render(value) if as_json else value
    return _wrong(config, flags, key, name, flag, one_word)


def _wrong(
    config: LaunchConfig, flags: EngineFlags, key: str, name: str, flag: Flag, value: Any
) -> list[Problem]:
    """The problem with ``value``, if it has one."""
    if flag.kind == "object":
        what = f"cannot be given to {flags.engine} {flags.version} as a flag"
        return [Problem(config.where(key), what, "remove it")]
    wanted = accepts(flag, value)
    narrow, why = _NARROWER.get(name, ((), ""))
    if narrow and (wanted or str(value) not in narrow) and config.get("rlhf.rlhf_type") in _GRPO:
        flag = Flag("str", choices=narrow)
        wanted = expected(flag) + why
    if wanted is None:
        return []
    fix = "choose one of them" if flag.choices else f"write {expected(flag)}"
    if value is False and "no" in (flag.choices or ()):
        fix = "quote it, since YAML reads no as false: 'no'"
    if wanted.endswith(TAKEN_FOR_A_FLAG):
        fix = "write it without an exponent" if flag.kind == "float" else "begin it otherwise"
    return [Problem(config.where(key), f"{kinds.said(value)} is not {wanted}", fix)]


_GRPO = (None, "grpo")
"""``rlhf_type``: unset is grpo (``learners/swift/arguments.py``)."""
