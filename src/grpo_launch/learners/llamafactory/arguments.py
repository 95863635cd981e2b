"""The training file: the experiment's own mapping, and what the launcher adds to it."""

from __future__ import annotations

import re
from typing import Any

from grpo_launch.config.arguments import own
from grpo_launch.config.env import of_half
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.learners.base import TrainRequest
from grpo_launch.learners.llamafactory import datasets
from grpo_launch.learners.llamafactory.flags import FLAGS
from grpo_launch.plan import LEARNER
from grpo_launch.tracking import variables

STAGES = ("sft", "dpo", "kto", "pt", "rm", "ppo")
USUAL_STAGE = "sft"
"""LLaMA-Factory's own default (``hparams/finetuning_args.py``)."""

_ACTIONS = ("do_train", "do_eval", "do_predict")

EXPONENT = re.compile(r"[-+]?\d[\d_]*\.?[\d_]*[eE][-+]?\d+", re.ASCII)
"""A number to LLaMA-Factory, which reads YAML with OmegaConf; a text to PyYAML: ``1e-4``."""


def stage(config: LaunchConfig) -> str:
    """The stage that a valid configuration trains."""
    return str(config.learner.stage or config.get("stage") or USUAL_STAGE)


def stages_agree(config: LaunchConfig) -> bool:
    """Whether ``learner.stage`` and the file's ``stage`` are the same, where both are said."""
    chosen, own_stage = config.learner.stage, config.get("stage")
    return chosen is None or own_stage is None or chosen == own_stage


def number(value: Any) -> Any:
    """``value``, a number where LLaMA-Factory's own reader takes a text for one."""
    if isinstance(value, str) and EXPONENT.fullmatch(value):
        return float(value.replace("_", ""))
    return value


def of(request: TrainRequest) -> tuple[dict[str, Any], str | None]:
    """The arguments of a training, and the text of its list of data sets.

    The experiment's mapping as it is, but for null, which stands only where LLaMA-Factory takes
    it; it means "not set" elsewhere. Added where the experiment does not say it: the stage,
    ``do_train`` (LLaMA-Factory does nothing at all without it), the output directory, ``report_to``
    (``none``), and what ``tracking`` chooses; and ``use_cpu`` on a machine without a GPU.

    Args:
        request: the training; its configuration is valid.

    Returns:
        Both; no text where the experiment names no file.
    """
    config = request.config
    train = {k: v if _is_text(k) else number(v) for k, v in own(config).items()}
    directory = f"{request.run_dir}/data"
    data, text = datasets.resolved(train, stage(config), directory, request.cwd)
    train.pop(datasets.DATA, None)
    said = {name: v for name, v in train.items() if v is not None or _takes_null(name)}
    arguments: dict[str, Any] = {**said, **data, "stage": stage(config)}
    if not any(name in said for name in _ACTIONS):
        arguments["do_train"] = True
    arguments.setdefault("output_dir", request.output_dir)
    if not request.cuda:
        arguments.setdefault("use_cpu", True)
    arguments |= variables.arguments(config)
    arguments.setdefault("report_to", variables.NONE)
    return arguments, text


def _is_text(name: str) -> bool:
    flag = FLAGS.shipped().table.flags.get(name)
    return flag is not None and flag.kind == "str"


def _takes_null(name: str) -> bool:
    flag = FLAGS.shipped().table.flags.get(name)
    return flag is not None and flag.optional


def uses_torchrun(request: TrainRequest) -> bool:
    """Whether it starts processes with torchrun.

    For several devices or nodes, and for DeepSpeed, which LLaMA-Factory demands it for
    (``get_train_args`` in ``hparams/parser.py``).
    """
    return is_distributed(request.config, request.world_size)


def is_distributed(config: LaunchConfig, world_size: int) -> bool:
    """See :func:`uses_torchrun`; also where the experiment's variables ask for it."""
    asked = _variable(config, "FORCE_TORCHRUN").lower() in ("true", "y", "1")
    return world_size > 1 or asked or config.get("deepspeed") is not None


def _variable(config: LaunchConfig, name: str) -> str:
    return of_half(config.env, LEARNER).set.get(name, "")
