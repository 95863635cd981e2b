"""The plan: what would be started, as data.

It goes to JSON and back unchanged. Backends execute or render it, in processes that
import nothing but the standard library, so nothing else is imported here;
``planner.py`` builds it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

SERVER = "server"
LEARNER = "learner"
UPLOAD = "upload"

FORMAT = 3
"""The version of the JSON form."""


@dataclass(frozen=True)
class ProcessSpec:
    """One process to start.

    Attributes:
        name: ``learner``; ``server`` where there is one, else ``server_0``, ``server_1``, ...;
            ``upload``.
        half: ``server`` or ``learner``; ``upload`` for what is neither.
        argv: the whole command; never a shell string.
        cwd: the working directory, absolute.
        log: the file for standard output and error.
        env: variables that are set whatever the caller's environment says.
        env_defaults: variables that yield to the caller's environment.
        path: directories to put before the caller's PATH.
        devices: the device ids that it gets.
        alarms: text in its log that means harm, and what it means.
        timeout_s: seconds that it may take; None: as long as it needs.
    """

    name: str
    half: str
    argv: tuple[str, ...]
    cwd: str
    log: str
    env: Mapping[str, str] = field(default_factory=dict)
    env_defaults: Mapping[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    alarms: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float | None = None


@dataclass(frozen=True)
class Probe:
    """How the gate asks whether one rollout server is ready.

    Attributes:
        server: the server's name, that of its process where it is started here.
        url: the server's base URL.
        health_path: must answer 200.
        world_size_path: must answer ``{"world_size": TP x DP}``.
        world_size: TP x DP.
        generate_path: asked for one token when ``generate`` is true.
        generate_request: the body of that request.
        timeout_s: seconds until the gate gives up.
        advice: what to do when it never becomes healthy.
        model: the model that it must serve, where it tells.
    """

    server: str
    url: str
    health_path: str
    world_size_path: str
    world_size: int
    generate: bool
    generate_path: str
    generate_request: Mapping[str, Any]
    timeout_s: float
    advice: str
    model: str


@dataclass(frozen=True)
class PlannedFile:
    """A file that is written before a process starts.

    Attributes:
        path: absolute, or relative to the working directory.
        text: its content.
    """

    path: str
    text: str


@dataclass(frozen=True)
class Deadlines:
    """Seconds of a teardown's two stages (see ``shutdown`` in the schema)."""

    term_s: float
    kill_s: float


@dataclass(frozen=True)
class Recovery:
    """What follows a failure (see ``on_failure`` and ``restart`` in the schema).

    Attributes:
        on_failure: ``stop`` or ``restart``.
        restarts: how many restarts the run may have, those after a stall included.
        backoff_s, max_backoff_s: seconds before the first restart, and at most.
        arguments_file: the learner's arguments; a restart writes the checkpoint into it.
        versioned: whether each start of the learner writes into a directory of its own.
        resumed_from: the checkpoint that the run itself goes on from, or None.
    """

    on_failure: str
    restarts: int
    backoff_s: float
    max_backoff_s: float
    arguments_file: str | None
    versioned: bool
    resumed_from: str | None = None


@dataclass(frozen=True)
class Watchdog:
    """What watches a training run (see ``watchdog`` in the schema).

    Attributes:
        health_s, probe_s, stall_s: seconds; 0 turns a check off.
        on_stall: ``warn``, ``stop`` or ``restart``.
        served: text that the server logs for each batch of rollouts.
        vital: how the titles of the engine's own processes begin; where one of them
            ends, the engine is dead, whatever the server above it answers.
    """

    health_s: float
    probe_s: float
    stall_s: float
    on_stall: str
    served: str
    vital: tuple[str, ...]


@dataclass(frozen=True)
class LaunchPlan:
    """All that one invocation would start.

    Attributes:
        experiment: the experiment's name.
        role: the role's name.
        run_dir: the run directory.
        output_dir: where the learner writes.
        processes: in the order of their start.
        gates: what the learner waits for, one for each server.
        files: what is written first.
        deadlines: of the teardown.
        groups: whether each process may get a control group.
        ports: that its processes will listen on.
        recovery: what follows a failure.
        watchdog: what watches the training.
        console: what the person sees of the learner: ``auto``, ``progress`` or ``log``.
        afterwards: what is run, one after the other, once the learner has ended with
            status 0; its failure is no failure of the run.
    """

    experiment: str
    role: str
    run_dir: str
    output_dir: str
    processes: tuple[ProcessSpec, ...]
    gates: tuple[Probe, ...]
    files: tuple[PlannedFile, ...]
    deadlines: Deadlines
    groups: bool
    ports: tuple[int, ...]
    recovery: Recovery
    watchdog: Watchdog
    console: str
    afterwards: tuple[ProcessSpec, ...] = ()

    def process(self, name: str) -> ProcessSpec | None:
        """The process called ``name``, or None where the plan does not have it."""
        every = (*self.processes, *self.afterwards)
        return next((spec for spec in every if spec.name == name), None)

    @property
    def servers(self) -> tuple[ProcessSpec, ...]:
        """The rollout servers that the plan starts."""
        return tuple(spec for spec in self.processes if spec.half == SERVER)

    @property
    def learner(self) -> ProcessSpec | None:
        """The learner, or None where the plan does not start it."""
        return next((spec for spec in self.processes if spec.half == LEARNER), None)

    def to_json(self) -> str:
        """The plan as JSON, indented, with a newline at the end."""
        body = {"format": FORMAT, **dataclasses.asdict(self)}
        return json.dumps(body, indent=2, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str) -> LaunchPlan:
        """The plan that :meth:`to_json` wrote.

        Raises:
            ValueError: it is not such a text, or of another version.
        """
        body: Any = json.loads(text)
        if not isinstance(body, dict) or cast("dict[str, Any]", body).get("format") != FORMAT:
            raise ValueError(f"not a plan of format {FORMAT}")
        try:
            return LaunchPlan(
                experiment=body["experiment"],
                role=body["role"],
                run_dir=body["run_dir"],
                output_dir=body["output_dir"],
                processes=_processes(body["processes"]),
                gates=tuple(Probe(**gate) for gate in body["gates"]),
                files=tuple(PlannedFile(**f) for f in body["files"]),
                deadlines=Deadlines(**body["deadlines"]),
                groups=body["groups"],
                ports=tuple(body["ports"]),
                recovery=Recovery(**body["recovery"]),
                watchdog=Watchdog(**{k: _tuples(v) for k, v in body["watchdog"].items()}),
                console=body["console"],
                afterwards=_processes(body.get("afterwards", ())),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a plan: {error}") from None


def called(name: str) -> str:
    """A process in a sentence: ``the server``, ``the learner``, ``server_1``."""
    return f"the {name}" if name in (SERVER, LEARNER, UPLOAD) else name


def _processes(found: Any) -> tuple[ProcessSpec, ...]:
    return tuple(ProcessSpec(**{k: _tuples(v) for k, v in each.items()}) for each in found)


def _tuples(value: Any) -> Any:
    return tuple(cast("list[Any]", value)) if isinstance(value, list) else value
