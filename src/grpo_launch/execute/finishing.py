"""After a training that ended well: the plan's last programs, which cannot spoil the run.

Today that is one, the upload of the newest checkpoint. It runs behind a guard like
all others, has a time limit, and ends with the launcher. Whatever becomes of it is a line on the
console and a note in the record; the run's status stays what it is.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import time
from pathlib import Path
from typing import Any

from grpo_launch.base import atomic, codec, redaction
from grpo_launch.errors import InterruptedRunError, LaunchError
from grpo_launch.execute.console import duration
from grpo_launch.execute.processes import WITNESS, Processes
from grpo_launch.execute.surroundings import Surroundings
from grpo_launch.plan import ProcessSpec
from grpo_launch.planning import shell
from grpo_launch.runs import pace, record
from grpo_launch.runs.checkpoints import Checkpoint
from grpo_launch.runs.metrics import Step
from grpo_launch.runs.outputs import Outputs

MANIFEST = "checkpoint_upload.json"
"""In the run directory: what is to be uploaded, and how that went."""

RETRY = "upload_again.sh"
"""In the run directory until an upload has succeeded: the command that tries again."""


def finish(around: Surroundings, outputs: Outputs, steps: list[Step]) -> None:
    """Run what the plan has for after the training.

    Args:
        around: what the attempts of the run shared.
        outputs: what this run wrote, and nobody else.
        steps: that the run logged.
    """
    for spec in around.plan.afterwards:
        found = outputs.newest()
        if found is None:
            around.console.say("warning: no complete checkpoint of this run, nothing is uploaded")
            with around.noting():
                around.record.followed(spec.name, "no checkpoint", None)
            continue
        with around.noting():
            around.record.enter(record.UPLOADING)
        began = time.monotonic()
        fault = _upload(around, spec, found, outputs, steps)
        result = _result(around.record.directory) if fault is None else None
        if result is None:
            _failed(around, spec, fault or "it left no result")
            continue
        with around.noting():
            around.record.followed(spec.name, result["state"], result.get("artifact"))
            (around.record.directory / RETRY).unlink(missing_ok=True)
        around.console.say(_said(around, result, found, time.monotonic() - began))


def _upload(
    around: Surroundings,
    spec: ProcessSpec,
    checkpoint: Checkpoint,
    outputs: Outputs,
    steps: list[Step],
) -> str | None:
    """Run the program; why it failed, or None."""
    directory = around.record.directory
    _note_failure(around, spec, "the launcher was killed")  # true if nobody can say it later
    try:
        atomic.write(directory / MANIFEST, _manifest(around, checkpoint, outputs, steps))
        return _run(around, spec)
    except OSError as error:
        return f"{directory}: cannot be written ({error.strerror})"
    except InterruptedRunError as error:
        return f"{error.where}, the upload was stopped"
    except LaunchError as error:
        return str(error)


def _run(around: Surroundings, spec: ProcessSpec) -> str | None:
    """Run one program behind a guard; why it failed, or None.

    Raises:
        LaunchError: it cannot be started, or a signal asked for the end.
        OSError: its log cannot be made.
    """
    around.console.say(f"{spec.name}: started, log {spec.log}")
    logs = around.record.directory / "logs"
    processes = Processes(around, logs, lambda: None)
    limit = float("inf") if spec.timeout_s is None else spec.timeout_s
    try:
        for name in (spec.name, WITNESS):
            processes.guard(name)
        process = processes.start(spec)
        until = time.monotonic() + limit
        while process.is_running and time.monotonic() < until:
            processes.turn()
        if process.is_running:
            return f"no end after {duration(limit)}"
        return None if process.status == 0 else f"status {process.status}, see {spec.log}"
    finally:
        processes.tear_down()
        with contextlib.suppress(OSError):
            redaction.scrub(logs / f"{spec.name}.log", redaction.secrets(around.environ))


def _manifest(
    around: Surroundings, checkpoint: Checkpoint, outputs: Outputs, steps: list[Step]
) -> str:
    plan = around.plan
    before = [step for step in steps if step.step <= checkpoint.step]
    metadata = {
        "experiment": plan.experiment,
        "run": str(around.record.directory),
        "step": checkpoint.step,
        "reward": pace.newest_reward(before),
        "loss": pace.newest_loss(before),
        "output_dir": str(around.cwd / plan.output_dir),
        "git": _git(around.record.directory),
    }
    files = {checkpoint.path.name: str(checkpoint.path)}
    files |= {path.name: str(path) for path in outputs.beside(checkpoint)}
    body = {"files": files, "metadata": metadata, "result": None}
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def _git(directory: Path) -> Any:
    """What the provenance says of the code, or None."""
    try:
        return codec.read(directory / "provenance.json")["git"]
    except (OSError, ValueError, KeyError):
        return None


def _result(directory: Path) -> dict[str, Any] | None:
    """What the program left in the manifest, or None."""
    try:
        result = codec.read(directory / MANIFEST).get("result")
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and "state" in result else None


def _said(
    around: Surroundings, result: dict[str, Any], checkpoint: Checkpoint, seconds: float
) -> str:
    name, artifact = checkpoint.path.name, result.get("artifact")
    if result["state"] == "queued":
        # The client writes where the caller's WANDB_DIR says, if that is set.
        where = Path(str(result.get("run"))).parent
        where = where.relative_to(around.cwd) if where.is_relative_to(around.cwd) else where
        sync = f"wandb sync {where}/offline-run-*"
        return f"{name} is queued as the artifact {artifact}; upload it with: {sync}"
    if result["state"] == "disabled":
        return "W&B is disabled, no checkpoint is uploaded"
    return f"{name} is uploaded as {artifact}, {duration(seconds)}"


def _failed(around: Surroundings, spec: ProcessSpec, fault: str) -> None:
    """Say what failed and how to try again."""
    _note_failure(around, spec, fault)
    again = f"bash {shlex.quote(f'{around.plan.run_dir}/{RETRY}')}"
    what = f"the checkpoint was not uploaded ({fault})"
    around.console.say(f"warning: {what}; the training is done, try again with: {again}")


def _note_failure(around: Surroundings, spec: ProcessSpec, fault: str) -> None:
    """Note why it failed, and a command that needs the API key in its environment."""
    command = f"cd {shlex.quote(spec.cwd)} && {shell.command(spec)}"
    path = around.record.directory / RETRY
    with around.noting():
        around.record.followed(spec.name, "failed", fault)
        atomic.write(path, f"# Uploads the checkpoint of this run again; {fault}\n{command}\n")
