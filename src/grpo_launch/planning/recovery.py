"""What follows a failure of the learner, and what watches it: part of a plan."""

from __future__ import annotations

from grpo_launch.config import arguments
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.learners.base import Learner, Particular, TrainRequest
from grpo_launch.plan import Recovery, Watchdog


def of(
    config: LaunchConfig, trained: Learner, request: TrainRequest, arguments_file: str | None
) -> Recovery:
    """How the learner is started again.

    Args:
        config: a valid configuration.
        trained: its learner.
        request: the training.
        arguments_file: with its arguments, or None.
    """
    resume = trained.resume(config)
    own = trained.resuming(request) if isinstance(trained, Particular) else None
    key = "" if resume is None else resume.checkpoint_key
    checkpoint = arguments.find(config, key)[1] if key and (arguments_file or own) else None
    return Recovery(
        on_failure=config.on_failure.value,
        restarts=config.restart.budget,
        backoff_s=config.restart.backoff_s,
        max_backoff_s=config.restart.max_backoff_s,
        arguments_file=arguments_file,
        versioned=trained.is_versioned(config),
        checkpoint_key=key,
        output_key="" if resume is None else resume.output_key,
        resumed_from=None if checkpoint is None else str(checkpoint),
        resuming=own,
    )


def watchdog(config: LaunchConfig, trained: Learner) -> Watchdog:
    """What watches the training."""
    settings = config.watchdog
    return Watchdog(
        health_s=settings.health_s,
        probe_s=settings.probe_s,
        stall_s=settings.stall_s,
        on_stall=settings.on_stall.value,
        on_alarm=settings.on_alarm.value,
        silence_s=trained.silence_s(config) if isinstance(trained, Particular) else 0.0,
    )
