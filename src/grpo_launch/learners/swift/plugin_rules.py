"""The rules of plugins and of the names of rewards; a missing plugin is found by preflight.

Source: ms-swift 4.6.0. It imports the plugins as it parses its arguments, and looks rewards up
once the model is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from grpo_launch.config import kinds
from grpo_launch.config.arguments import find, listed
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.problem import Problem, Severity
from grpo_launch.config.readable import Sections
from grpo_launch.config.rule import Context, Finding, Rule, Unknown, rule
from grpo_launch.learners.swift.batches import generates
from grpo_launch.learners.swift.episodes import Episodes
from grpo_launch.learners.swift.plugin_source import REWARDS, Plugin
from grpo_launch.learners.swift.registries import Registries


@dataclass(frozen=True)
class Plugins:
    """The plugins of both halves, each with the dotted key that names it; None: not read here."""

    MISSING: ClassVar[str] = "the plugins were not looked at"

    learner: tuple[tuple[str, Plugin], ...] | None = None
    server: tuple[tuple[str, Plugin], ...] | None = None

    @property
    def all(self) -> tuple[tuple[str, Plugin], ...]:
        """Those of both halves."""
        return (*(self.learner or ()), *(self.server or ()))


@rule(needs=(Plugins,), when=lambda config: not Episodes.of(config).played)
def plugins_are_python(context: Context) -> Iterator[Finding]:
    """Each plugin parses (``import_external_file`` in ``swift/utils/utils.py``).

    F-strings that a newer Python than the launcher's accepts are a warning.
    """
    for key, plugin in context[Plugins].all:
        where = context.config.where(key)
        if plugin.missing:
            yield Unknown(f"{plugin.name} does not exist")
        elif plugin.fault:
            severity = Severity.WARNING if "f-string" in plugin.fault else Severity.ERROR
            what = f"{plugin.name} is not Python ({plugin.fault})"
            yield Problem(where, what, "correct it", severity)


@rule(needs=(Sections, Plugins), when=generates)
def rewards_are_known(context: Context) -> Iterator[Finding]:
    """Each of ``reward_funcs`` is one of ms-swift's or of the learner's plugins.

    Source: ``GRPOTrainer._prepare_rewards`` ("reward_function ... is not implemented").
    """
    config, plugins = context.config, context[Plugins].learner or ()
    key, value = find(config, "reward_funcs", "rlhf")
    own = {name for _, plugin in plugins for name in plugin.rewards}
    built_in = Registries.of(context, REWARDS)
    known = sorted({*(built_in or ()), *own})
    reason = _not_all_known([plugin for _, plugin in plugins])
    if built_in is None:
        reason = "the source of ms-swift does not show its rewards"
    for name in map(str, listed(value)):
        if name in known:
            continue
        where = config.where(f"train.{key}")
        parts = re.split(r"[\s,]+", name.strip())
        if len(parts) > 1 and all(part in known for part in parts):
            what = f"{kinds.said(name)} is one name of several rewards"
            yield Problem(where, what, f"write a list: [{', '.join(parts)}]")
        elif reason:
            yield Unknown(reason)
        else:
            files = ", ".join(plugin.name for _, plugin in plugins)
            what = f"{kinds.said(name)} is not a reward of ms-swift"
            what += f" or of {files}" if files else ", and there are no external_plugins"
            meant = kinds.nearest(name, known)
            fix = f"did you mean {meant}?" if meant else f"use one of {', '.join(known)}"
            yield Problem(where, what, fix)


@rule(needs=(Sections, Plugins), when=generates)
def rewards_can_be_called(context: Context) -> Iterator[Problem]:
    """Each of ``reward_funcs`` that a plugin defines takes what ms-swift gives it.

    Source: ``GRPOTrainer._prepare_rewards`` and ``compute_rewards_per_func``, which fail once the
    model is loaded and after the first generation.
    """
    config = context.config
    used = {str(name) for name in listed(find(config, "reward_funcs", "rlhf")[1])}
    for key, plugin in context[Plugins].learner or ():
        for name, signature in plugin.signatures.items():
            if name in used and signature.fault:
                what = f"the reward {name} ({plugin.name}:{signature.line}) {signature.fault}"
                yield Problem(config.where(key), what, signature.fix)


@rule(needs=(Plugins,))
def plugins_that_register_types_reach_both_halves(context: Context) -> Iterator[Problem]:
    """A template or model type that a plugin of the learner registers is known to the server.

    Both are told its name (``config/encoding.py``), and ``swift rollout`` refuses one that it
    does not know.
    """
    config, plugins = context.config, context[Plugins]
    if plugins.server is None or plugins.learner is None:
        return
    there = {name for _, plugin in plugins.server for name in plugin.types}
    for key in ("template.template", "model.model_type"):
        used = config.get(key)
        having = [plugin.name for _, plugin in plugins.learner if used in plugin.types]
        if having and used not in there:
            what = f"{kinds.said(used)} is registered by {having[0]}, which the rollout server "
            what += "does not import"
            fix = f"add it to {config.spelled('rollout_server.external_plugins')}"
            yield Problem(config.where(f"train.{key}"), what, fix)


PLUGIN_RULES: Sequence[Rule] = (
    plugins_are_python,
    rewards_are_known,
    rewards_can_be_called,
    plugins_that_register_types_reach_both_halves,
)
"""In the order in which their findings are reported."""


def said(config: LaunchConfig, *, on_server: bool) -> list[tuple[str, str]]:
    """The plugins of one half, each with the dotted key that names it."""
    if on_server:
        key = "rollout_server.external_plugins"
        pairs = [(key, item) for item in listed(config.rollout_server.get("external_plugins"))]
    else:
        names = ("external_plugins", "custom_register_path")
        finds = [find(config, name, "rlhf") for name in names]
        pairs = [(f"train.{key}", item) for key, value in finds for item in listed(value)]
    return [(key, item) for key, item in pairs if isinstance(item, str) and item]


def _not_all_known(plugins: Sequence[Plugin]) -> str | None:
    """Why plugins may register more rewards than those that are known."""
    for plugin in plugins:
        if plugin.missing or plugin.fault:
            return f"{plugin.name} could not be read"
        if plugin.rewards_unread:
            return plugin.rewards_unread
    return None
