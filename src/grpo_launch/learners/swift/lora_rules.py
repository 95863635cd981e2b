"""Whether the server can serve the LoRA adapter that the learner trains.

A server with ``vllm_enable_lora`` gets the adapter after each update, and answers 200 to one that
it does not take: the training goes on with rollouts of old weights. Without that flag the
learner merges the adapter and sends whole weights (``RolloutTrainerMixin._move_model_to_vllm``,
ms-swift 4.6), so nothing about LoRA concerns the server.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from grpo_launch.config import arguments, kinds
from grpo_launch.config.formats import batch_plan
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Finding, Rule, Unknown, rule
from grpo_launch.engines.swift.lora_rules import ENABLE, MAX_RANK, USUAL_MAX_RANK, max_rank_for

_USUAL_TUNER = "lora"
"""``BaseArguments.tuner_type`` of ms-swift 4.6."""

_USUAL_RANK = 8
"""``TunerArguments.lora_rank`` of ms-swift 4.6."""

_TUNERS = (
    *("lora", "full", "longlora", "adalora", "llamapro", "adapter", "vera", "boft", "fourierft"),
    *("reft", "bone", "ia3", "lora_llm", "dummy"),
)
"""``get_supported_tuners`` of ms-swift 4.6 (``swift/arguments/base_args/base_args.py``)."""

_WITH_RANK = ("lora", "longlora")
"""The tuners whose rank is ``lora_rank``."""

_FROM_CHECKPOINT = ("adapters", "resume_from_checkpoint")
"""Each brings an adapter whose rank is its own."""


def _serves_adapters(config: LaunchConfig) -> bool:
    return config.rollout_server.get(ENABLE) is True


def _may_serve_adapters(config: LaunchConfig) -> bool:
    return _serves_adapters(config) and config.allows_lora


@rule(when=lambda config: config.trains)
def tuner_exists(context: Context) -> Iterator[Problem]:
    """``tuner_type`` is a tuner of ms-swift, and the rank of LoRA is positive.

    Source: ``prepare_adapter`` (``swift/pipelines/train/tuner.py``) and ``LoraLayer.update_layer``
    of PEFT, once the model is loaded. A plugin and a fork may have other tuners.
    """
    config = context.config
    key, tuner = arguments.find(config, "tuner_type", "tuner")
    plugins = arguments.find(config, "external_plugins", "rlhf")[1]
    if isinstance(tuner, str) and tuner not in _TUNERS and not plugins:
        meant = kinds.nearest(tuner, _TUNERS)
        severity = Severity.ERROR if meant else Severity.WARNING
        fix = f"did you mean {meant}?" if meant else f"use one of {', '.join(_TUNERS)}"
        what = f"{kinds.said(tuner)} is not a tuner of ms-swift"
        yield Problem(config.where(f"train.{key}"), what, fix, severity)
    key, said = arguments.find(config, "lora_rank", "tuner")
    rank = batch_plan.integer(said)
    if rank is not None and rank < 1 and _said(config, "tuner_type", _USUAL_TUNER) in _WITH_RANK:
        yield Problem(config.where(f"train.{key}"), f"{rank} is below 1", "use a positive integer")


@rule(when=_serves_adapters)
def lora_rank_fits_the_server(context: Context) -> Iterator[Finding]:
    """``lora_rank`` is at most the server's ``vllm_max_lora_rank``.

    Source: ``PEFTHelper.validate_legal`` (``vllm/lora/peft_helper.py``).
    """
    config = context.config
    if _said(config, "tuner_type", _USUAL_TUNER) not in _WITH_RANK:
        return
    for name in _FROM_CHECKPOINT:
        key, value = arguments.find(config, name)
        if value not in (None, [], False):
            yield Unknown(f"the rank of an adapter from {key} is that checkpoint's own")
            return
    key, value = arguments.find(config, "lora_rank", "tuner")
    rank = _USUAL_RANK if value is None else arguments.size(value)
    most = config.rollout_server.get(MAX_RANK, USUAL_MAX_RANK)
    if rank is None or rank <= most:
        return
    what = f"{rank} is above the server's {MAX_RANK} {most} "
    what += f"({config.where(f'rollout_server.{MAX_RANK}')}), it would not take the adapter"
    wanted, off = max_rank_for(rank), f"{config.spelled(f'rollout_server.{ENABLE}')} to false"
    max_rank = config.spelled(f"rollout_server.{MAX_RANK}")
    fix = f"set {max_rank} to {wanted}, or {off}" if wanted else f"set {off}"
    yield Problem(config.where(f"train.{key}"), what, fix)


@rule(when=_serves_adapters)
def the_server_takes_the_adapter(context: Context) -> Iterator[Problem]:
    """The adapter has nothing that vLLM does not serve: DoRA, biases, whole modules.

    Source: ``PEFTHelper._validate_features`` and ``validate_legal`` (vLLM 0.32).
    """
    config = context.config
    if _said(config, "tuner_type", _USUAL_TUNER) not in _WITH_RANK:
        return
    off = f"set {config.spelled(f'rollout_server.{ENABLE}')} to false"
    for name, taken in (("use_dora", False), ("lora_bias", "none"), ("modules_to_save", [])):
        key, value = arguments.find(config, name, "tuner")
        if name == "use_dora":
            value = arguments.is_true(value)
        if value is not None and value != taken:
            what = "is not served by vLLM, it would not take the adapter"
            yield Problem(config.where(f"train.{key}"), what, f"remove it, or {off}")


@rule(when=_may_serve_adapters)
def full_tuning_needs_no_lora_on_the_server(context: Context) -> Iterator[Problem]:
    """A warning for a server that is ready for adapters while the learner sends whole weights.

    They reach the weights below the LoRA layers (``add_base_layer_suffix_by_param_names``), so
    the rollouts are right.
    """
    config = context.config
    if _said(config, "tuner_type", _USUAL_TUNER) == "full":
        where = config.where(f"rollout_server.{ENABLE}")
        what = "costs memory and time for nothing, tuner_type full sends whole weights"
        yield Problem(where, what, "set it to false", Severity.WARNING)


LORA_RULES: Sequence[Rule] = (
    tuner_exists,
    lora_rank_fits_the_server,
    the_server_takes_the_adapter,
    full_tuning_needs_no_lora_on_the_server,
)


def _said(config: LaunchConfig, name: str, usual: Any) -> Any:
    value = arguments.find(config, name, "tuner")[1]
    return usual if value is None else value
