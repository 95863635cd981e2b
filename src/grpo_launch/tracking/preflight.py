"""Preflight of trackers: their packages in the learner's environment, a key for W&B."""

from __future__ import annotations

import netrc
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from grpo_launch import runtimes
from grpo_launch.base import files
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.machine_checks import PACKAGES, WANDB_KEY
from grpo_launch.config.problem import Problem
from grpo_launch.plan import LEARNER, LaunchPlan
from grpo_launch.supervise.process import environment
from grpo_launch.tracking import variables

_MODULES = {
    variables.WANDB: ("wandb",),
    variables.TENSORBOARD: ("tensorboard", "tensorboardX"),
    variables.TRACKIO: ("trackio",),
}
"""By tracker, the modules of which one must be there (``integration_utils.py`` of transformers)."""

_FIND = """
import importlib.util, sys
del sys.path[0]  # the working directory: a directory wandb/ of earlier runs is no package
for name in sys.argv[1:]:
    if importlib.util.find_spec(name) is None:
        print(name)
"""
_ASKED_S = 60.0
_SERVER = "https://api.wandb.ai"


def problems(
    config: LaunchConfig, plan: LaunchPlan, environ: Mapping[str, str], cwd: Path
) -> Iterator[Problem]:
    """What keeps the learner from reporting to its trackers: a package, W&B's key.

    Args:
        config: the configuration of the plan.
        plan: what would be started.
        environ: the caller's environment, with the variables of ``env.file``.
        cwd: what relative paths are relative to.
    """
    learner = plan.process(LEARNER)
    active = [name for name in variables.trackers(config) if name in _MODULES]
    if learner is None or not active:
        return
    whole = environment(learner, environ)
    python = runtimes.of(config.runtime_of(LEARNER)).python(config.learner.entry, whole, cwd)
    if python is not None:
        missing = _missing(python, [m for name in active for m in _MODULES[name]], whole)
        for name in active:
            if set(_MODULES[name]) <= missing:
                yield _no_package(config, name)
    if variables.WANDB in active and (whole.get("WANDB_MODE") or "online").lower() == "online":
        yield from _key(config, whole)


def _missing(python: Path, modules: Sequence[str], environ: Mapping[str, str]) -> set[str]:
    """The modules that an interpreter does not find; none where it cannot be asked."""
    command = [str(python), "-c", _FIND, *modules]
    try:
        answer = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=_ASKED_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return set()
    return set(answer.stdout.split())


def _no_package(config: LaunchConfig, name: str) -> Problem:
    runtime, package = runtimes.of(config.runtime_of(LEARNER)), _MODULES[name][0]
    by_report_to = variables.chosen(config) is None
    at = (
        config.where(f"train.{variables.key_of(config, 'report_to')}")
        if by_report_to
        else f"tracking={name}"
    )
    what = f"the learner's environment ({runtime.shown}) has no package {package}"
    fix = (
        f"run '{runtime.python_command} -m pip install {package}', or choose another with tracking="
    )
    return Problem(at, what, fix, rule=PACKAGES.name)


def _key(config: LaunchConfig, environ: Mapping[str, str]) -> Iterator[Problem]:
    """The W&B client finds a key where it looks for one.

    Its order: the environment, netrc, its own settings (``wandb/sdk/lib/wbauth``). Without any
    it fails when training begins, minutes after the start.
    """
    if environ.get("WANDB_API_KEY") or environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return
    home = Path(environ.get("HOME", "/"))
    server, said = environ.get("WANDB_BASE_URL") or _SERVER, environ.get("NETRC")
    try:
        host = urlsplit(server).netloc
    except ValueError as error:
        what, fix = f"{server!r} is no address ({error})", "correct it, or unset it"
        yield Problem("environment: WANDB_BASE_URL", what, fix, rule=WANDB_KEY.name)
        return
    files = [home / ".netrc", home / "_netrc"]
    if said:  # pathlib raises for the home of an unknown user
        files = [Path(os.path.expanduser(said))]  # noqa: PTH111
    settings = Path(environ.get("WANDB_CONFIG_DIR") or home / ".config" / "wandb") / "settings"
    if any(_names(path, host) for path in files) or _holds_key(settings):
        return
    what = f"W&B is online and has no API key for {host}"
    fix = "export WANDB_API_KEY, or name a file with it in env.file, or set the mode to offline"
    yield Problem(config.where("tracking.wandb.mode"), what, fix, rule=WANDB_KEY.name)


def _names(path: Path, host: str) -> bool:
    """Whether a netrc file has an entry for a host."""
    try:
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, ValueError, netrc.NetrcParseError):
        return False


def _holds_key(settings: Path) -> bool:
    """Whether the W&B client's own settings hold a key."""
    try:
        return "api_key" in files.text(settings)
    except (OSError, ValueError):
        return False
