"""The typed nodes of the configuration, registered in Hydra's ConfigStore.

A ``None`` default means "not said": the engine's own default applies, or the
launcher derives the value. Docstrings of fields are the reference
(``docs/training/REFERENCE.md`` is generated from them).

The classes are mutable because OmegaConf turns a frozen dataclass into a
read-only node, which nothing could be merged into; once composed, nothing
writes to them. The annotations are no text (``from __future__``): OmegaConf would
compile each of them again whenever it makes a node.
"""

from dataclasses import dataclass, field
from typing import Any

from grpo_launch.config.choices import (
    AcceleratorKind as AcceleratorKind,
    AlarmPolicy as AlarmPolicy,
    CgroupUse as CgroupUse,
    Compat as Compat,
    ConsoleMode as ConsoleMode,
    FailurePolicy as FailurePolicy,
    HealthProbe as HealthProbe,
    LoraPolicy as LoraPolicy,
    OutputFormat as OutputFormat,
    Part as Part,
    PortPolicy as PortPolicy,
    RuntimeKind as RuntimeKind,
    StallPolicy as StallPolicy,
)
from grpo_launch.config.schema_programs import (
    ENGINE as ENGINE,
    LEARNER as LEARNER,
    NO_PLUGIN as NO_PLUGIN,
    Engine as Engine,
    HalfRuntime as HalfRuntime,
    Learner as Learner,
    Runtime as Runtime,
)
from grpo_launch.config.schema_loop import (
    Collector as Collector,
    DataFormat as DataFormat,
    GpuWait as GpuWait,
    History as History,
    Loop as Loop,
    Publish as Publish,
    PublishMode as PublishMode,
    Selection as Selection,
    Split as Split,
    Swap as Swap,
    Update as Update,
)
from grpo_launch.config.schema_tracking import Tracking as Tracking

PRIMARY = "config"
"""The name of the primary configuration file in ``conf/``."""

SCHEMA_NAME = "launch_schema"
"""The name of the root schema in the ConfigStore."""


@dataclass
class Role:
    """What this invocation does (group ``role``)."""

    _target_: str = ""
    """The callback that runs: `function(config, host) -> exit status`."""
    name: str = ""
    """The role's name."""


@dataclass
class Accelerator:
    """What the two halves compute on (group ``accelerator``)."""

    kind: AcceleratorKind = AcceleratorKind.cuda
    """`cuda` or `gpu`: `gpus.*` become CUDA_VISIBLE_DEVICES; `cpu`: ids only count processes."""
    cpu_entry: bool = False
    """Use the commands that engine and learner have for a CPU; set by `accelerator=cpu`."""
    memory_gib: float | None = None
    """Memory of one device in GiB, for the memory estimate; unset: nvidia-smi's."""


@dataclass
class Gpus:
    """Who gets which devices: CUDA indices or UUIDs."""

    server: list[str] | None = None
    """Devices of the rollout server; unset: the first TP x DP visible ones."""
    learner: list[str] | None = None
    """Devices of the learner, one process each; unset: the visible ones that are left."""


@dataclass
class Health:
    """The gate: when the rollout server counts as ready."""

    path: str | None = None
    """The path of the health check, which must answer 200; unset: the engine's own."""
    timeout_s: float = 300.0
    """Seconds until the gate gives up."""
    probe: HealthProbe = HealthProbe.http
    """`http`: health and world size; `generate`: and one token comes back."""


@dataclass
class Shutdown:
    """The deadlines of a teardown."""

    term_s: float = 20.0
    """Seconds that a process gets after SIGTERM before SIGKILL."""
    kill_s: float = 5.0
    """Seconds that the kernel gets after SIGKILL before the launcher reports survivors."""
    cgroup: CgroupUse = CgroupUse.auto
    """`auto`: where a cgroup v2 subtree is delegated to the user, each half gets a group."""


@dataclass
class Restart:
    """What `on_failure: restart` may do."""

    budget: int = 3
    """Restarts of one run before it fails."""
    backoff_s: float = 5.0
    """Seconds before the first restart; each further one waits twice as long."""
    max_backoff_s: float = 300.0
    """The longest such wait, in seconds."""


@dataclass
class Watchdog:
    """What watches a run while the learner trains."""

    health_s: float = 30.0
    """Seconds between two cheap health checks of the server; 0: none."""
    probe_s: float = 300.0
    """Seconds without progress until one token is asked of the server; 0: never."""
    stall_s: float = 1800.0
    """Seconds without progress (learner's log, served requests) until a run stalls; 0: never."""
    on_stall: StallPolicy = StallPolicy.warn
    """What follows after the stacks of all processes were written into the run directory."""
    on_alarm: AlarmPolicy = AlarmPolicy.stop
    """What follows when a log tells that the rollouts are stale: `stop` (status 7) or `warn`."""


@dataclass
class LaunchBackend:
    """How a run is started (group ``launch``)."""

    backend: str = "foreground"
    """`foreground`; `detached` returns at once; `nohup` with `logs/nohup_*`; `tmux`; a plug-in."""
    tag: str | None = None
    """`nohup`: stands in the names of its files; unset: the experiment's name."""


@dataclass
class HalfEnv:
    """Environment variables of one half, which win over those of both."""

    defaults: dict[str, str] = field(default_factory=dict)
    """Set unless the caller's environment already has them."""
    set: dict[str, str] = field(default_factory=dict)
    """Set whatever the caller's environment says."""


@dataclass
class Env:
    """Environment variables of both halves (group ``env``). Secrets belong in the caller's own."""

    defaults: dict[str, str] = field(default_factory=dict)
    """Set unless the caller's environment already has them."""
    set: dict[str, str] = field(default_factory=dict)
    """Set whatever the caller's environment says."""
    file: str | None = None
    """A file of `NAME=VALUE` lines for variables that the caller has not set; for secrets."""
    server: HalfEnv = field(default_factory=HalfEnv)
    """Those of the rollout servers alone."""
    learner: HalfEnv = field(default_factory=HalfEnv)
    """Those of the learner alone."""


@dataclass
class Run:
    """Where a run is recorded."""

    dir: str | None = None
    """The run directory, new or empty; unset: `runs/<experiment>/<YYYYmmdd-HHMMSS>-<hex>`."""


@dataclass
class Sweep:
    """The members of a `--multirun`, one after the other."""

    on_error: str = "continue"
    """What follows after a member that failed: `continue` with the next, or `stop`."""


@dataclass
class Console:
    """What the launcher prints while a run goes on."""

    learner: ConsoleMode = ConsoleMode.auto
    """`progress`: a bar; `log`: the learner's own output; `auto`: bar on a terminal, lines else."""


@dataclass
class Checks:
    """How the rules of `role=check` and of every launch are taken."""

    warn: list[str] = field(default_factory=list)
    """Rules whose errors (`[checks.warn: NAME]` at the end) are warnings; the run records which."""


@dataclass
class Experiment:
    """The experiment that `config=` named; filled when it is loaded."""

    name: str = ""
    """The file's name without `.yaml`."""
    path: str = ""
    """The file, absolute."""
    accelerated: str = ""
    """The accelerator whose block of the file was merged; empty: none."""


@dataclass
class Launch:
    """The whole configuration."""

    experiment: Experiment = field(default_factory=Experiment)
    role: Role = field(default_factory=Role)
    engine: Engine = field(default_factory=Engine)
    learner: Learner = field(default_factory=Learner)
    runtime: Runtime = field(default_factory=Runtime)
    accelerator: Accelerator = field(default_factory=Accelerator)
    rollout_server: Any = field(default_factory=dict)
    """The settings of the chosen engine's server; its schema is the engine's own."""
    gpus: Gpus = field(default_factory=Gpus)
    services: Any = field(default_factory=dict)
    """Processes beside the two halves, each under a name of yours; see `services.NAME`."""
    health: Health = field(default_factory=Health)
    shutdown: Shutdown = field(default_factory=Shutdown)
    env: Env = field(default_factory=Env)
    tracking: Tracking = field(default_factory=Tracking)
    launch: LaunchBackend = field(default_factory=LaunchBackend)
    loop: Loop = field(default_factory=Loop)
    collector: Collector = field(default_factory=Collector)
    update: Update = field(default_factory=Update)
    publish: Publish = field(default_factory=Publish)
    gpu_wait: GpuWait = field(default_factory=GpuWait)
    on_failure: FailurePolicy = FailurePolicy.stop
    """`stop`: one failure ends the run; `restart`: both halves again, from a checkpoint."""
    restart: Restart = field(default_factory=Restart)
    watchdog: Watchdog = field(default_factory=Watchdog)
    resume: str | None = None
    """Train on from a checkpoint: `latest` (of this experiment), a run, or a checkpoint's path."""
    ports: PortPolicy = PortPolicy.fixed
    """`fixed`: what is said, and for `role=both` free ones for the rest; `auto`: all free ones."""
    compat: Compat = Compat.none
    """`env`: variables of the old scripts count, below the command line (group `compat`)."""
    run: Run = field(default_factory=Run)
    sweep: Sweep = field(default_factory=Sweep)
    console: Console = field(default_factory=Console)
    checks: Checks = field(default_factory=Checks)
    rehearse: bool | None = None
    """Let the learner's environment parse its arguments, import its plugins and read its first rows
    while the server loads, and stop where it refuses; unset: yes, but not for `role=check`."""
    preflight: bool = True
    """Check the port and the engine's environment before anything starts."""
    dry_run: Any = False
    """`true`: print the plan as shell commands; `json`: print it as JSON. Nothing starts."""
    key: str | None = None
    """`role=explain`: the key to explain, for example `rlhf.num_generations`."""
    output: OutputFormat = OutputFormat.text
    """`role=check`, `role=explain`: for people, or as JSON."""
    part: Part = Part.both
    """`role=check`: judge what `role=server` or `role=learner` would start alone."""
    verbose: bool = False
    """`role=check`: name the rules that passed, and everything that an accelerator replaced."""
    train: Any = field(default_factory=dict)
    """The experiment: the merged legacy tree, or the `train` node of a native file."""


SECTIONS = ("model", "template", "data", "tuner", "training", "rlhf", "deepspeed")
"""The sections of an experiment whose keys are the learner's arguments."""

BESIDE_SECTIONS = ("global_max_length", "custom")
"""What an experiment may hold beside its sections."""

LAUNCHER_FLAGS = ("effective_batch_size",)
"""Keys of a section that the launcher turns into the learner's arguments."""

OF_LOOP = ("loop", "collector", "update", "publish", "gpu_wait")
"""Typed nodes that say how a loop goes."""

LIFTED = (
    *("gpus", "health", "shutdown", "run", "console", "preflight", "dry_run", "on_failure"),
    *("rehearse", "restart", "watchdog", "resume", "ports", "checks", "sweep", "services"),
    *OF_LOOP,
)
"""Typed nodes that a legacy experiment sets under `custom.extra.launch`."""

GROUPS = ("engine", "learner", "runtime", "accelerator", "env", "tracking", "launch")
"""Nodes that are groups too: there a legacy experiment gives an option's name or values."""

PRESET = "rollout_server/preset"
"""The group with the settings that a kind of use has; only the command line chooses in it."""

TOPOLOGY = "rollout_server/topology"
"""The group that says how many servers there are; only the command line chooses in it."""

SERVER_GROUPS = (PRESET, TOPOLOGY)
"""In the order in which they are merged: a topology wins over a preset."""

NO_OPTIONS = ("hanabi_env", "run_sh")
"""Files beside the options of a group that are data: the tables of the old scripts."""

SEVERAL = ("tracking",)
"""Groups of which several options may be chosen at once, `tracking=[wandb,tensorboard]`."""
