"""Preflight of trackers: their packages in the learner's environment, a key for W&B."""

from __future__ import annotations

import netrc
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from grpo_launch.config import schema
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.errors import PreflightError
from grpo_launch.plan import LEARNER, LaunchPlan
from grpo_launch.runtimes.enter import conda_environments
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


def check(config: LaunchConfig, plan: LaunchPlan, environ: Mapping[str, str], cwd: Path) -> None:
    """Check that the learner can report to its trackers.

    Args:
        config: the configuration of the plan.
        plan: what would be started.
        environ: the caller's environment, with the variables of ``env.file``.
        cwd: what relative paths are relative to.

    Raises:
        PreflightError: a package is missing, or W&B is online and has no API key.
    """
    learner = plan.process(LEARNER)
    active = [name for name in variables.trackers(config) if name in _MODULES]
    if learner is None or not active:
        return
    whole = environment(learner, environ)
    python = _python(config, whole, cwd)
    if python is not None:
        missing = _missing(python, [m for name in active for m in _MODULES[name]], whole)
        for name in active:
            if set(_MODULES[name]) <= missing:
                raise _no_package(config, name)
    if variables.WANDB in active and (whole.get("WANDB_MODE") or "online").lower() == "online":
        _has_key(config, whole)


def _python(config: LaunchConfig, environ: Mapping[str, str], cwd: Path) -> str | None:
    """The interpreter of the learner's environment, or None where that cannot be told."""
    runtime = config.runtime
    if runtime.kind is schema.RuntimeKind.venv:
        return str(cwd / (runtime.path or "") / "bin" / "python")
    if runtime.kind is schema.RuntimeKind.conda:
        conda = shutil.which("conda", path=environ.get("PATH"))
        found = conda_environments(conda, runtime.name or "", environ) if conda else ()
        candidates = [prefix / "bin" / "python" for prefix in found]
    else:
        command = shutil.which(config.learner.entry[0], path=environ.get("PATH"))
        candidates = [Path(command).parent / "python"] if command else []
    return next((str(path) for path in candidates if path.exists()), None)


def _missing(python: str, modules: Sequence[str], environ: Mapping[str, str]) -> set[str]:
    """The modules that an interpreter does not find; none where it cannot be asked."""
    command = [python, "-c", _FIND, *modules]
    try:
        answer = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=_ASKED_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return set()
    return set(answer.stdout.split())


def _no_package(config: LaunchConfig, name: str) -> PreflightError:
    runtime, package = config.runtime, _MODULES[name][0]
    if runtime.kind is schema.RuntimeKind.conda:
        where, python = f"conda environment {runtime.name}", f"conda run -n {runtime.name} python"
    elif runtime.kind is schema.RuntimeKind.venv:
        where, python = str(runtime.path), shlex.quote(f"{runtime.path}/bin/python")
    else:
        where, python = "runtime=current", "python"
    by_report_to = variables.chosen(config) is None
    at = config.where("train.training.report_to") if by_report_to else f"tracking={name}"
    what = f"the learner's environment ({where}) has no package {package}"
    fix = f"run '{python} -m pip install {package}', or choose another with tracking="
    return PreflightError(at, what, fix)


def _has_key(config: LaunchConfig, environ: Mapping[str, str]) -> None:
    """Check that the W&B client finds a key where it looks for one.

    Its order: the environment, netrc, its own settings (``wandb/sdk/lib/wbauth``). Without any
    it fails when training begins, minutes after the start.

    Raises:
        PreflightError: there is none.
    """
    if environ.get("WANDB_API_KEY") or environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return
    home = Path(environ.get("HOME", "/"))
    server, said = environ.get("WANDB_BASE_URL") or _SERVER, environ.get("NETRC")
    try:
        host = urlsplit(server).netloc
    except ValueError as error:
        what, fix = f"{server!r} is no address ({error})", "correct it, or unset it"
        raise PreflightError("environment: WANDB_BASE_URL", what, fix) from None
    files = [home / ".netrc", home / "_netrc"]
    if said:  # pathlib raises for the home of an unknown user
        files = [Path(os.path.expanduser(said))]  # noqa: PTH111
    settings = Path(environ.get("WANDB_CONFIG_DIR") or home / ".config" / "wandb") / "settings"
    if any(_names(path, host) for path in files) or _holds_key(settings):
        return
    what = f"W&B is online and has no API key for {host}"
    fix = "export WANDB_API_KEY, or name a file with it in env.file, or set the mode to offline"
    raise PreflightError(config.where("tracking.wandb.mode"), what, fix)


def _names(path: Path, host: str) -> bool:
    """Whether a netrc file has an entry for a host."""
    try:
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, ValueError, netrc.NetrcParseError):
        return False


def _holds_key(settings: Path) -> bool:
    """Whether the W&B client's own settings hold a key."""
    try:
        return "api_key" in settings.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
