"""The plan: what would be started, as data.

It goes to JSON and back unchanged. Backends execute or render it, in processes that
import nothing but the standard library, so only ``http_check.py``, ``policies.py``,
``signs.py`` and ``transfer.py``, which do the same, are imported here besides it; ``planner.py``
builds it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from grpo_launch.http_check import HttpCheck as HttpCheck
from grpo_launch.policies import Deadlines as Deadlines
from grpo_launch.policies import Recovery as Recovery
from grpo_launch.policies import Watchdog as Watchdog
from grpo_launch.signs import CheckpointLayout as CheckpointLayout
from grpo_launch.signs import Counters as Counters
from grpo_launch.signs import Metrics as Metrics
from grpo_launch.signs import Resuming as Resuming
from grpo_launch.signs import Signs as Signs
from grpo_launch.transfer import Probe as Probe
from grpo_launch.transfer import Reload as Reload
from grpo_launch.transfer import ReloadStep as ReloadStep

SERVER = "server"
LEARNER = "learner"
UPLOAD = "upload"
REHEARSAL = "rehearsal"
SERVICE = "service"

FORMAT = 4
"""The version of the JSON form. An older one is read as well (``runs/plans.py``)."""


@dataclass(frozen=True)
class ProcessSpec:
    """One process to start.

    Attributes:
        name: ``learner``; ``server`` where there is one, else ``server_0``, ``server_1``, ...;
            ``rehearsal``, ``upload``; of a side process the user's own.
        part: ``server`` or ``learner``; ``service``, ``rehearsal`` or ``upload`` for what is
            neither.
        argv: the whole command; never a shell string.
        cwd: the working directory, absolute.
        log: the file for standard output and error.
        env: variables that are set whatever the caller's environment says.
        env_defaults: variables that yield to the caller's environment.
        path: directories to put before the caller's PATH.
        devices: the device ids that it gets.
        signs: what tells how it is.
        timeout_s: seconds that it may take; None: as long as it needs.
        host: where it runs; empty: where the launcher does.
        direct_hosts: hosts that it reaches without a proxy, whatever its environment says.
        done: a file, absolute, that its guard makes once it has ended with status 0, so that this
            is known whatever becomes of the launcher; empty: none.
    """

    name: str
    part: str
    argv: tuple[str, ...]
    cwd: str
    log: str
    env: Mapping[str, str] = field(default_factory=dict)
    env_defaults: Mapping[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    signs: Signs = field(default_factory=Signs)
    timeout_s: float | None = None
    host: str = ""
    direct_hosts: tuple[str, ...] = ()
    done: str = ""


@dataclass(frozen=True)
class Rehearsal:
    """What tries the job's arguments while the services come up.

    Attributes:
        process: prints a verdict, see ``runs/rehearsals.py``; ``timeout_s`` counts from its start.
        keys: by the name of an argument, where the experiment says it, for messages.
        arguments_file: where those arguments stand.
    """

    process: ProcessSpec
    keys: Mapping[str, str]
    arguments_file: str


@dataclass(frozen=True)
class Gate:
    """When one server counts as ready.

    Attributes:
        server: the server's name, that of its process where it is started here.
        url: the server's base URL.
        checks: asked in this order, from the first again until all have passed. Between
            the first and the others, the gate looks whether the answer is the server's own.
        generation: asks for one token while the training makes no progress; None: nothing does.
        timeout_s: seconds until the gate gives up.
        advice: what to do when it never becomes healthy.
        elsewhere: how to choose another address: ``change rlhf.vllm_server_port``.
        model: the model that it must serve, where it tells.
        counters: that it keeps of its work, or None.
        reload: how it takes new weights while it runs; None: it does not.
    """

    server: str
    url: str
    checks: tuple[HttpCheck, ...]
    generation: HttpCheck | None
    timeout_s: float
    advice: str
    elsewhere: str
    model: str
    counters: Counters | None = None
    reload: Reload | None = None


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
class PortUse:
    """A place of the plan where the number of a port stands.

    Attributes:
        path: names and indices from the plan to a text: ``processes``, ``0``, ``argv``, ``7``.
        at: which of the numbers in that text it is, from 0.
    """

    path: tuple[str, ...]
    at: int


@dataclass(frozen=True)
class ChosenPort:
    """A port that the launcher chose, so that a restart may choose another.

    Attributes:
        number: the port, or the first of several in a row.
        start: where the search for a free one begins.
        count: how many in a row.
        uses: every place of the plan that says ``number``.
    """

    number: int
    start: int
    count: int
    uses: tuple[PortUse, ...]


@dataclass(frozen=True)
class LaunchPlan:
    """All that one invocation would start: services, and perhaps a job.

    Attributes:
        experiment: the experiment's name.
        role: the role's name.
        run_dir: the run directory.
        output_dir: where the learner writes.
        processes: in the order of their start: the services, then the job.
        job: the name of the process whose end ends all; None: a service's end does.
        members: names of processes that are one job together with it: all must end well, and
            the first that fails ends all.
        gates: what the job waits for, one for each server.
        files: what is written first.
        deadlines: of the teardown.
        groups: whether each process may get a control group.
        ports: that its processes will listen on.
        recovery: what follows a failure.
        watchdog: what watches the training.
        console: what the person sees of the learner: ``auto``, ``progress`` or ``log``.
        metrics: where the learner logs its steps; None: nobody knows.
        checkpoints: how its checkpoints lie; None: it makes none.
        afterwards: what is run, one after the other, once the job has ended with
            status 0; its failure is no failure of the run.
        sides: services that nothing waits for and whose end ends nothing.
        rehearsal: what tries the job's arguments in the first attempt, or None.
        downgraded: names of the rules whose errors were taken as warnings.
        chosen: the ports that a restart may change; none where nothing restarts.
        loop: what is done again and again; None: nothing is. The processes are its servers then.
    """

    experiment: str
    role: str
    run_dir: str
    output_dir: str
    processes: tuple[ProcessSpec, ...]
    job: str | None
    gates: tuple[Gate, ...]
    files: tuple[PlannedFile, ...]
    deadlines: Deadlines
    groups: bool
    ports: tuple[int, ...]
    recovery: Recovery
    watchdog: Watchdog
    console: str
    metrics: Metrics | None = None
    checkpoints: CheckpointLayout | None = None
    afterwards: tuple[ProcessSpec, ...] = ()
    sides: tuple[ProcessSpec, ...] = ()
    rehearsal: Rehearsal | None = None
    downgraded: tuple[str, ...] = ()
    chosen: tuple[ChosenPort, ...] = ()
    members: tuple[str, ...] = ()
    loop: Loop | None = None

    def process(self, name: str) -> ProcessSpec | None:
        """The process called ``name``, or None where the plan does not have it."""
        rehearsed = (self.rehearsal.process,) if self.rehearsal else ()
        jobs = [spec for stage in self.stages for spec in stage.plan.team]
        every = (*self.of_attempt, *rehearsed, *self.afterwards, *jobs)
        return next((spec for spec in every if spec.name == name), None)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages of its loop; none where it has none."""
        return self.loop.every if self.loop else ()

    @property
    def of_attempt(self) -> tuple[ProcessSpec, ...]:
        """What each attempt starts, in this order: services, sides, the job."""
        return (*self.services, *self.sides, *self.team)

    @property
    def services(self) -> tuple[ProcessSpec, ...]:
        """The servers that the plan starts."""
        return tuple(s for s in self.processes if s.name not in (self.job, *self.members))

    @property
    def team(self) -> tuple[ProcessSpec, ...]:
        """The process of the job, and the members that are one job with it."""
        return tuple(s for s in self.processes if s.name in (self.job, *self.members))

    @property
    def main(self) -> ProcessSpec | None:
        """The process of the job, or None where the plan starts services alone."""
        return next((spec for spec in self.processes if spec.name == self.job), None)

    @property
    def server_urls(self) -> list[str]:
        """The base URLs of the rollout servers, started here or elsewhere."""
        beside = {spec.name for spec in self.services if spec.part == SERVICE}
        return [gate.url for gate in self.gates if gate.server not in beside]

    def to_json(self) -> str:
        """The plan as JSON, indented, with a newline at the end; see ``runs/plans.py``."""
        body = {"format": FORMAT, **dataclasses.asdict(self)}
        return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Stage:
    """A part of an iteration: an ordinary plan, whose job ends it.

    Attributes:
        name: of its job.
        plan: its texts hold the marks below, which each iteration replaces.
        serves: whether the job needs the servers, which its plan has then.
        figures: a file that the job leaves, JSON: an object with numbers; empty: none.
    """

    name: str
    plan: LaunchPlan
    serves: bool = False
    figures: str = ""


@dataclass(frozen=True)
class Loop:
    """Stages that are done one after the other, again and again.

    Attributes:
        stages: those of an iteration, in their order.
        iterations: how many in all, or None.
        passes: whether ``iterations`` counts from where the state on disk is.
        eval_interval: the stage :data:`COLLECT_EVAL` is part of every Nth iteration; None: of each
            where it is a stage.
        max_failures: failed trainings that the loop survives.
        model: the model that it begins with, as it is served: a directory, absolute, or the name
            of one that a hub has.
        reload: gives a new model to servers that go on; None: they are restarted.
        free: waits until the devices are free that servers and learner share; None: none are.
    """

    stages: tuple[Stage, ...]
    iterations: int | None
    passes: bool
    eval_interval: int | None
    max_failures: int
    model: str
    reload: Stage | None = None
    free: Stage | None = None

    @property
    def every(self) -> tuple[Stage, ...]:
        """The stages, and those that come between them."""
        return (*self.stages, *(stage for stage in (self.reload, self.free) if stage))


COLLECT = "collect"
"""The stage in which episodes are collected to train on."""

COLLECT_EVAL = "collect_eval"
"""The one in which the model is evaluated."""

SELECT = "select"
PUBLISH = "publish"
RELOAD_STAGE = "reload"
FREE = "free"

SERVING = "serving"
"""Below the directory of a loop: the plan of the servers that run."""

ITERATION_MARK = "@ITERATION@"
"""Stands for the number of the iteration, four digits."""

MODEL_MARK = "/@MODEL@"
"""Stands for the model that is served and trained: a directory, absolute, or a hub's name."""

VERSION_MARK = "@VERSION@"
"""Stands for the number of updates that made that model."""

NEXT_MARK = "@NEXT@"
"""Stands for the number of updates after the next one."""

PYTHON_MARK = "@PYTHON@"
"""Stands for the launcher's own interpreter."""


def called(name: str) -> str:
    """A process in a sentence: ``the server``, ``the learner``, ``server_1``."""
    return f"the {name}" if name in (SERVER, LEARNER, REHEARSAL, UPLOAD) else name
