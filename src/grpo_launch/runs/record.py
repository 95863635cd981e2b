"""The record of a run: ``run.json`` and the files around it.

    runs/<experiment>/<YYYYmmdd-HHMMSS>-<hex>/
        run.json          state, reason, per process: argv, pid + start time, exit
        plan.json         what was started
        config.yaml       the composed, resolved configuration
        overrides.yaml    the command line
        provenance.json   git commit and dirtiness, package versions, devices
        learner_arguments.yaml
        logs/server.log, logs/learner.log
        output/           what the learner writes
    runs/latest           a link to the newest run

Everything is private to the user (:data:`PRIVATE`).
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from grpo_launch.compose.config import LaunchConfig
from grpo_launch.errors import PreflightError
from grpo_launch.plan import LaunchPlan
from grpo_launch.supervise.process import Child

STATES = ("starting", "waiting", "serving", "training", "stopping", "done", "failed", "interrupted")
"""The states of a run, in the order in which it may pass them."""

FORMAT = 1
"""The version of ``run.json``."""

PRIVATE = 0o077
"""The umask of a run, the launcher's and the processes': logs hold prompts, metrics, paths."""


class RunRecord:
    """Writes the record of one run.

    Attributes:
        directory: the run directory, absolute.
    """

    def __init__(
        self, plan: LaunchPlan, cwd: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self.directory = cwd / plan.run_dir
        self._plan = plan
        self._cwd = cwd
        self._clock = clock
        self._state: dict[str, Any] = {
            "format": FORMAT,
            "experiment": plan.experiment,
            "role": plan.role,
            "state": STATES[0],
            "reason": None,
            "status": None,
            "started": clock(),
            "ended": None,
            "launcher": {"pid": os.getpid()},
            "processes": {},
        }

    def create(self, config: LaunchConfig, provenance: dict[str, Any]) -> None:
        """Make the directory and write everything that is known before the start.

        Raises:
            PreflightError: the directory exists with a run in it, or cannot be made.
        """
        try:
            (self.directory / "logs").mkdir(parents=True, exist_ok=False)
            self._text("plan.json", self._plan.to_json())
            self._text("config.yaml", _yaml(config.as_dict()))
            self._text("overrides.yaml", _yaml(list(config.overrides)))
            self._text("provenance.json", _json(provenance))
            for file in self._plan.files:
                path = self._cwd / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, file.text)
            self._write()
            self._point_latest()
        except FileExistsError:
            raise PreflightError(
                str(self.directory), "already holds a run", "choose another run.dir"
            ) from None
        except OSError as error:
            raise PreflightError(
                str(self.directory),
                f"cannot be written ({error.strerror})",
                "choose another run.dir",
            ) from None

    def started(self, child: Child) -> None:
        """Note that a process was started."""
        self._state["processes"][child.spec.name] = {
            "argv": list(child.spec.argv),
            "pid": child.pid,
            "start_time": child.start_time,
            "exit": None,
        }
        self._write()

    def exited(self, child: Child) -> None:
        """Note the exit status of a process."""
        self._state["processes"][child.spec.name]["exit"] = child.poll()
        self._write()

    def state(self, state: str, reason: str | None = None) -> None:
        """Note a new state."""
        self._state.update(state=state, reason=reason)
        self._write()

    def finish(self, state: str, status: int, reason: str) -> None:
        """Note the end."""
        self._state.update(state=state, status=status, reason=reason, ended=self._clock())
        self._write()

    def _write(self) -> None:
        self._text("run.json", _json(self._state))

    def _text(self, name: str, text: str) -> None:
        write_atomically(self.directory / name, text)

    def _point_latest(self) -> None:
        """Point ``runs/latest`` at this run, where the layout is the usual one."""
        root = self.directory.parent.parent
        if self.directory.parent.name != self._plan.experiment:
            return
        link, fresh = root / "latest", root / f".latest-{os.getpid()}"
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        fresh.symlink_to(self.directory.relative_to(root))
        os.replace(fresh, link)


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` so that a reader sees the old content or the new, never a part."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n"


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
