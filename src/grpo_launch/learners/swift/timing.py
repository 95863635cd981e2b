"""The plugin that times the learner: see ``engines/swift_timing`` and docs/adr/0016."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from grpo_launch.base import resources

PLUGIN = "engines/swift_timing/grpo_launch_timing.py"


def with_plugin(plugins: Any, cwd: Path) -> list[Any]:
    """The learner's ``external_plugins`` and, behind them, the timing.

    Args:
        plugins: what the experiment says: nothing, one file, or several.
        cwd: the working directory of the learner.
    """
    path = resources.path(PLUGIN)
    own = str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)
    if not plugins:
        return [own]
    return [*(cast("list[Any]", plugins) if isinstance(plugins, list) else [plugins]), own]
