"""Where metrics go: what the learner and its client libraries are told, as data.

What the configuration says wins over the caller's environment; what it does not say is a
default that the caller's variable replaces. Sources: ``WandbCallback``, ``TensorBoardCallback``
and ``TrackioCallback`` of transformers 5.19, ``WANDB_*`` of the W&B client 0.30.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import yaml

from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.plugins import LEARNERS

NONE = "none"
WANDB = "wandb"
TENSORBOARD = "tensorboard"
TRACKIO = "trackio"
TRACKERS = (WANDB, TENSORBOARD, TRACKIO)

CONFIG_FILE = "wandb_config.yaml"
"""In the run directory: the launcher's facts, for the configuration of the W&B run."""

CONFIG_VARIABLE = "WANDB_SWEEP_PARAM_PATH"
"""The one variable by which the W&B client takes a file of configuration values.

``WANDB_CONFIG_PATHS`` is meant for that, but the client fails to parse it ("'str' instances are
not allowed as a Sequence value"; run with 0.30, the same code in 0.22 to 0.31). A run is part of
a sweep only by ``WANDB_SWEEP_ID``.
"""

_UPLOAD = "checkpoint_upload"
"""The job type of the W&B run that uploads the checkpoint."""

_INIT_TIMEOUT_S = "60"
"""Seconds that ``wandb.init`` waits for the server; the client's own default is 90."""


@dataclass(frozen=True)
class Variables:
    """Variables for one process.

    Attributes:
        said: set whatever the caller's environment says.
        defaults: set unless the caller's environment has them.
    """

    said: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)


def chosen(config: LaunchConfig) -> tuple[str, ...] | None:
    """The trackers that ``tracking`` chooses; empty: none at all; None: it does not say.

    The learner's ``report_to`` on the command line wins over an experiment's choice.
    """
    if said_report_to(config) and not said_tracking(config):
        return None
    if config.tracking.none:
        return ()
    names = tuple(name for name in TRACKERS if getattr(config.tracking, name).enabled)
    return names or None


def said_tracking(config: LaunchConfig) -> bool:
    """Whether the command line chooses trackers."""
    keys = [item.partition("=")[0].lstrip("+~") for item in config.overrides]
    return any(
        key == "tracking" or (key.startswith("tracking.") and key.endswith((".enabled", ".none")))
        for key in keys
    )


def key_of(config: LaunchConfig, name: str) -> str:
    """The key below ``train`` of an argument of the learner's: ``training.report_to``."""
    return f"training.{name}" if config.sections else name


def said_report_to(config: LaunchConfig) -> bool:
    """Whether the command line says ``report_to``."""
    keys = [item.partition("=")[0].lstrip("+~") for item in config.overrides]
    return f"train.{key_of(config, 'report_to')}" in keys


def reported(config: LaunchConfig) -> list[str]:
    """What ``report_to`` names, whether a list or a text with commas; without ``none``."""
    said = config.get(key_of(config, "report_to"))
    items = cast("list[Any]", said) if isinstance(said, list) else str(said or "").split(",")
    return [name for item in items if (name := str(item).strip()) and name != NONE]


def trackers(config: LaunchConfig) -> tuple[str, ...]:
    """The trackers that the learner reports to, as far as the configuration says it."""
    names = chosen(config)
    return tuple(reported(config)) if names is None else names


def arguments(config: LaunchConfig) -> dict[str, Any]:
    """The learner's arguments that ``tracking`` decides about."""
    names = chosen(config)
    found: dict[str, Any] = {} if names is None else {"report_to": [*names] or [NONE]}
    active = trackers(config)
    if WANDB in active or TRACKIO in active:
        # Otherwise a learner may give its output directory as the name, over WANDB_NAME.
        found["run_name"] = run_name(config)
    if TRACKIO in active:
        trackio = config.tracking.trackio
        said = {"project": trackio.project, "trackio_space_id": trackio.space_id}
        found |= {key: value for key, value in said.items() if value is not None}
    return found


def run_name(config: LaunchConfig) -> str:
    """The name of the run at W&B; :func:`with_name_of` brings in the caller's own."""
    said = config.tracking.wandb.name or config.get(key_of(config, "run_name"))
    return str(said or config.experiment)


def with_name_of(config: LaunchConfig, environ: Mapping[str, str]) -> LaunchConfig:
    """``config`` with the name that the caller's ``WANDB_NAME`` gives, where it says none itself.

    The learner gets the name as an argument, which wins over its environment.
    """
    name = environ.get("WANDB_NAME", "").strip()
    said = config.tracking.wandb.name or config.get(key_of(config, "run_name"))
    if not name or said or WANDB not in trackers(config):
        return config
    wandb = replace(config.tracking.wandb, name=name)
    return replace(config, tracking=replace(config.tracking, wandb=wandb))


def group(config: LaunchConfig) -> str:
    """What the W&B runs of one training share, those of another terminal included."""
    return config.tracking.wandb.group or run_name(config)


def artifact_name(config: LaunchConfig) -> str:
    """The name of the checkpoint's artifact; W&B takes letters, digits, ``-``, ``_`` and ``.``."""
    said = config.tracking.wandb.artifact_name
    return said or re.sub(r"[^\w.-]+", "-", f"{run_name(config)}-ckpt", flags=re.ASCII)


def uploads(config: LaunchConfig) -> bool:
    """Whether a checkpoint becomes an artifact after training ended well."""
    wandb = config.tracking.wandb
    disabled = wandb.mode is not None and wandb.mode.value == "disabled"
    return WANDB in trackers(config) and wandb.upload_checkpoint and not disabled


def of_learner(config: LaunchConfig, run_id: str, run_dir: str) -> Variables:
    """The learner's variables.

    Args:
        config: a valid configuration.
        run_id: names the run, for one W&B run over all its attempts.
        run_dir: the run directory, absolute.
    """
    active = trackers(config)
    said: dict[str, str] = {}
    defaults: dict[str, str] = {}
    if WANDB in active:
        said, defaults = _wandb(config, run_dir, "train")
        wandb = config.tracking.wandb
        said["WANDB_NAME"] = run_name(config)
        _put(said, defaults, "WANDB_RUN_ID", wandb.id, run_id)
        _put(said, defaults, "WANDB_LOG_MODEL", _lower(wandb.log_model), "checkpoint")
        _put(said, defaults, "WANDB_WATCH", _lower(wandb.watch), "false")
        defaults |= {
            "WANDB_RESUME": "allow",
            "WANDB_INIT_TIMEOUT": _INIT_TIMEOUT_S,
            CONFIG_VARIABLE: f"{run_dir}/{CONFIG_FILE}",
        }
    if TENSORBOARD in active and TENSORBOARD in (chosen(config) or ()):
        directory = config.tracking.tensorboard.logging_dir
        _put(said, defaults, "TENSORBOARD_LOGGING_DIR", directory, f"{run_dir}/tensorboard")
    if TRACKIO in active:
        defaults["TRACKIO_DIR"] = f"{run_dir}/trackio"
    return Variables(said, defaults)


def of_server(config: LaunchConfig, run_dir: str) -> Variables:
    """The server's variables: what a plugin of it logs belongs to the learner's group."""
    if WANDB not in trackers(config):
        return Variables()
    return Variables(*_wandb(config, run_dir, "rollout"))


def of_upload(config: LaunchConfig, run_id: str, run_dir: str) -> Variables:
    """The variables of the program that uploads the checkpoint: a W&B run of its own.

    Args:
        config: a valid configuration.
        run_id: names the run; trying again writes into the same W&B run.
        run_dir: the run directory, absolute.
    """
    said, defaults = _wandb(config, run_dir, _UPLOAD)
    said |= {
        "WANDB_NAME": f"{run_name(config)}-ckpt-upload",
        "WANDB_JOB_TYPE": _UPLOAD,
        "WANDB_RUN_ID": f"{config.tracking.wandb.id or run_id}-ckpt-upload",
        "WANDB_RESUME": "allow",
    }
    kept = {name: value for name, value in defaults.items() if name not in said}
    return Variables(said, {**kept, "WANDB_INIT_TIMEOUT": _INIT_TIMEOUT_S})


def facts(config: LaunchConfig, body: Mapping[str, Any]) -> str:
    """The text of :data:`CONFIG_FILE`: what the launcher adds to the W&B run's configuration.

    Args:
        config: a valid configuration.
        body: what is known of the plan.
    """
    said = {"experiment": config.experiment, "role": config.role, **body}
    return entry("launcher", {**said, "overrides": list(config.overrides)})


def entry(name: str, value: Any) -> str:
    """One entry of :data:`CONFIG_FILE`, as the W&B client reads it."""
    return yaml.safe_dump({name: {"value": value}}, sort_keys=False, allow_unicode=True)


def _wandb(
    config: LaunchConfig, run_dir: str, job_type: str
) -> tuple[dict[str, str], dict[str, str]]:
    """What all W&B runs of a training share."""
    wandb = config.tracking.wandb
    said = {
        "WANDB_PROJECT": wandb.project,
        "WANDB_ENTITY": wandb.entity,
        "WANDB_RUN_GROUP": wandb.group,
        "WANDB_MODE": wandb.mode.value if wandb.mode else None,
    }
    defaults = {
        "WANDB_RUN_GROUP": group(config),
        "WANDB_PROJECT": LEARNERS.get(config.learner.name).product,
        "WANDB_JOB_TYPE": job_type,
        "WANDB_DIR": run_dir,
        "WANDB_DATA_DIR": f"{run_dir}/wandb/data",
        # The run directory has the log; what is printed may hold what nobody wants uploaded.
        "WANDB_CONSOLE": "off",
    }
    explicit = {name: value for name, value in said.items() if value is not None}
    return explicit, {name: value for name, value in defaults.items() if name not in explicit}


def _lower(value: str | None) -> str | None:
    return None if value is None else value.lower()  # YAML's false arrives as "False"


def _put(
    said: dict[str, str], defaults: dict[str, str], name: str, value: str | None, default: str
) -> None:
    if value is None:
        defaults[name] = default
    else:
        said[name] = value
