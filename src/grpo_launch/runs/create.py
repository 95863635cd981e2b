"""The run directory, with everything that is known before the start."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import yaml

from grpo_launch.base import atomic, occupied
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.errors import PreflightError
from grpo_launch.plan import LaunchPlan
from grpo_launch.runs import loop_state
from grpo_launch.runs.record import NAME, RunRecord
from grpo_launch.tracking import variables


def create(
    plan: LaunchPlan,
    config: LaunchConfig,
    provenance: dict[str, Any],
    cwd: Path,
    *,
    goes_on: bool = False,
) -> RunRecord:
    """Make the run directory and write all that is known.

    Args:
        plan: of the run.
        config: that the plan was made of.
        provenance: see ``provenance.collect``.
        cwd: what relative paths of the plan are relative to.
        goes_on: whether the directory is that of a loop, whose record goes on.

    Raises:
        PreflightError: the directory exists and is not empty, or cannot be made.
    """
    directory = cwd / plan.run_dir
    if not goes_on and (what := occupied.by(directory)) is not None:
        raise PreflightError(str(directory), what, occupied.FIX)
    record = RunRecord.new(plan, directory, config.launch.backend)
    try:
        if goes_on:
            record.go_on()
        (directory / "logs").mkdir(parents=True, exist_ok=goes_on)
        if plan.loop is not None and not goes_on:  # killed from here on, it can be gone on with
            loop_state.write(directory, loop_state.LoopState())
        atomic.write(directory / "plan.json", plan.to_json())
        atomic.write(directory / "config.yaml", _yaml(config.as_dict()))
        atomic.write(directory / "overrides.yaml", _yaml(config.retyped))
        text = json.dumps(provenance, indent=2, ensure_ascii=False, default=str) + "\n"
        atomic.write(directory / "provenance.json", text)
        for file in plan.files:
            path = cwd / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            known = path.name == variables.CONFIG_FILE
            origin = variables.entry("provenance", provenance) if known else ""
            atomic.write(path, file.text + origin)
        atomic.put_aside(directory / NAME)
        record.write()
        _point_latest(directory, plan.experiment)
    except FileExistsError:
        raise PreflightError(str(directory), occupied.BY_A_RUN, occupied.FIX) from None
    except ValueError as error:
        raise PreflightError(str(directory), str(error), "choose another loop.dir") from None
    except (OSError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else "too many levels"
        what = f"cannot be written ({why})"
        raise PreflightError(str(directory), what, occupied.FIX) from None
    return record


def _point_latest(directory: Path, experiment: str) -> None:
    """Point ``runs/latest`` at this run, where the layout is the usual one."""
    root = directory.parent.parent
    if directory.parent.name != experiment:
        return
    link, fresh = root / "latest", root / f".latest-{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    fresh.symlink_to(directory.relative_to(root))
    os.replace(fresh, link)


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
