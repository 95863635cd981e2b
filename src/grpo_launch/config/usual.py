"""What is usual for an engine and a learner, where a configuration does not say it."""

from __future__ import annotations

from dataclasses import replace

from grpo_launch.config import schema
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.plugins import ENGINES, LEARNERS


def filled(config: LaunchConfig) -> LaunchConfig:
    """``config`` with what is usual for its engine and its learner, where it does not say it.

    Raises:
        ConfigError: there is no such engine or learner.
    """
    plugins = (
        ENGINES.get(config.engine.name, lambda: config.where("engine.name")),
        LEARNERS.get(config.learner.name, lambda: config.where("learner.name")),
    )
    on_cpu = config.accelerator.cpu_entry
    engine, learner = (plugin.cpu_entry if on_cpu else plugin.entry for plugin in plugins)
    halves = zip(("server", "learner"), plugins, strict=True)
    own = {part: _with_environment(config, part, plugin.environment) for part, plugin in halves}
    return replace(
        config,
        runtime=replace(config.runtime, **own),
        health=replace(config.health, path=config.health.path or plugins[0].health_path),
        engine=replace(config.engine, entry=config.engine.entry or [*engine]),
        learner=replace(config.learner, entry=config.learner.entry or [*learner]),
    )


def _with_environment(config: LaunchConfig, part: str, usual: str) -> schema.HalfRuntime:
    """The environment of a half; a virtual one without a name is the one made for its program."""
    runtime, half = config.runtime_of(part), getattr(config.runtime, part)
    named = runtime.kind is not schema.RuntimeKind.venv or runtime.path
    return half if named else replace(half, path=usual or None)
