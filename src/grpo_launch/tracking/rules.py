"""Rules on ``tracking``: one place says the trackers, and their settings are what they take."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from grpo_launch.config import kinds
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.rule import Context, Rule, rule
from grpo_launch.tracking import variables

_LOG_MODEL = ("checkpoint", "end", "false")
_WATCH = ("false", "gradients", "parameters", "all")


@rule
def tracking_and_report_to_agree(context: Context) -> list[Problem]:
    """``tracking=none`` stands alone; ``tracking`` and ``report_to`` do not contradict each other.

    On the command line both are said on purpose. Otherwise the command line wins over the
    experiment, and ``tracking`` over ``report_to``.
    """
    config = context.config
    said = config.tracking
    enabled = [name for name in variables.TRACKERS if getattr(said, name).enabled]
    if said.none and enabled:
        what = f"names none and {' and '.join(enabled)}"
        return [Problem(config.where("tracking"), what, "keep one of them")]
    if not (variables.said_tracking(config) and variables.said_report_to(config)):
        return []
    chosen, reported = variables.chosen(config), variables.reported(config)
    if chosen is None or set(chosen) == set(reported):
        return []
    key = variables.key_of(config, "report_to")
    what = f"is {kinds.said(config.get(key))}, but tracking is "
    what += " and ".join(chosen) or "none"
    return [Problem(config.where(f"train.{key}"), what, "keep one of them")]


@rule
def tracker_settings_have_a_tracker(context: Context) -> list[Problem]:
    """What the command line sets below ``tracking.NAME`` is for a tracker that is used."""
    config = context.config
    active = variables.trackers(config)
    keys = [item.partition("=")[0].lstrip("+~").split(".") for item in config.overrides]
    idle = [key for key in keys if len(key) == 3 and key[0] == "tracking" and key[1] not in active]
    return [
        Problem(
            f"command line: {'.'.join(key)}",
            f"has no effect, the learner does not report to {key[1]}",
            f"add tracking={key[1]}",
            Severity.WARNING,
        )
        for key in idle
        if key[2] != "enabled"
    ]


@rule
def tracker_settings_are_known(context: Context) -> list[Problem]:
    """``log_model`` and ``watch`` have values that transformers knows; it ignores others.

    Source: ``WandbLogModel`` and ``WandbCallback`` in transformers 5.19.
    """
    config = context.config
    wandb = config.tracking.wandb
    values = (("log_model", wandb.log_model, _LOG_MODEL), ("watch", wandb.watch, _WATCH))
    return [
        Problem(
            config.where(f"tracking.wandb.{name}"),
            f"{kinds.said(value.lower())} is unknown",
            f"use one of {', '.join(known)}",
        )
        for name, value, known in values
        if value is not None and value.lower() not in known
    ]


@rule
def wandb_names_are_valid(context: Context) -> list[Problem]:
    """Names that W&B would refuse when the training begins, or when it has ended.

    Source: ``validate_project_name`` and the checks of ``run_id`` and ``Artifact`` in wandb 0.30.
    """
    config = context.config
    if variables.WANDB not in variables.trackers(config):
        return []
    wandb = config.tracking.wandb
    problems: list[Problem] = []
    for key, value, pattern, fix in (
        ("project", wandb.project, r"[^/\\#?%:]{1,128}", "leave out / \\ # ? % :"),
        ("id", wandb.id, r"[^/\\#?%:]{1,128}", "leave out / \\ # ? % :"),
        ("artifact_name", wandb.artifact_name, r"[\w.-]{1,128}", "use letters, digits, -, _ and ."),
    ):
        if value is not None and not re.fullmatch(pattern, value, re.ASCII):
            what = f"{kinds.said(value)} is not a valid name for W&B"
            problems.append(Problem(config.where(f"tracking.wandb.{key}"), what, fix))
    wrong = [alias for alias in wandb.artifact_aliases if not re.fullmatch(r"[^/:]+", alias)]
    if wrong:
        what = f"{kinds.said(wrong[0])} is not a valid alias"
        where = config.where("tracking.wandb.artifact_aliases")
        problems.append(Problem(where, what, "leave out / and :"))
    return problems


@rule
def upload_timeout_is_positive(context: Context) -> list[Problem]:
    """``tracking.wandb.upload_timeout_s`` is a time limit."""
    config = context.config
    seconds = config.tracking.wandb.upload_timeout_s
    if math.isfinite(seconds) and seconds > 0:
        return []
    where = config.where("tracking.wandb.upload_timeout_s")
    return [Problem(where, f"{seconds} s is not a time limit", "use a positive number")]


TRACKING_RULES: Sequence[Rule] = (
    tracking_and_report_to_agree,
    tracker_settings_have_a_tracker,
    tracker_settings_are_known,
    wandb_names_are_valid,
    upload_timeout_is_positive,
)
"""All rules of this module, in the order in which their findings are reported."""
