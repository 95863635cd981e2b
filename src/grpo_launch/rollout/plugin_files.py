"""Plugin files of ms-swift, imported as ``--external_plugins`` does."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grpo_launch.errors import ConfigError
from grpo_launch.rollout import stand_in
from grpo_launch.rollout.environments import Environments

_FIX = "correct collector.plugins, or the environment of collector.runtime"


def load(
    plugins: Sequence[str], name: str | None = None, env_config: Mapping[str, Any] | None = None
) -> Environments:
    """Import plugins; what they registered.

    The directory of each is put in front of ``sys.path``, as ms-swift does.

    Args:
        plugins: Python files, in the order of import.
        name: the environment of tasks that name none.
        env_config: for all environments.

    Raises:
        ConfigError: a plugin cannot be imported, or does not bring ``name``.
    """
    envs: Mapping[str, Any] = {}
    rewards: Mapping[str, Any] = {}
    if plugins:
        needed = stand_in.is_needed()
        with stand_in.importable() if needed else contextlib.nullcontext():
            for plugin in plugins:
                _import(Path(plugin).expanduser().resolve())
            try:
                envs = importlib.import_module("swift.rollout.gym_env").envs
                rewards = importlib.import_module("swift.rewards").orms
            except (ImportError, AttributeError) as error:
                raise ConfigError("ms-swift", f"cannot be used: {error}", _FIX) from None
    if name is not None and name not in envs and name not in rewards:
        known = ", ".join(sorted((*envs, *rewards))) or "none"
        fix = f"use one of these: {known}; or name its file in collector.plugins"
        raise ConfigError("collector.environment", f"no environment is called {name}", fix)
    return Environments(envs, rewards, name, dict(env_config or {}))


def _import(path: Path) -> None:
    name = f"_grpo_launch_plugin_{hashlib.sha256(str(path).encode()).hexdigest()}"
    if name in sys.modules:
        return
    if not path.is_file():
        raise ConfigError(str(path), "no such plugin", "correct collector.plugins")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(str(path), "is no Python file", "correct collector.plugins")
    sys.path.insert(0, str(path.parent))
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        what = f"cannot be imported ({type(error).__name__}: {error})"
        raise ConfigError(str(path), what, _FIX) from None
