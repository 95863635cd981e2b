"""The node ``tracking``: where a run's metrics and its last checkpoint go.

Part of the schema, see ``config/schema.py``; the annotations are no text for the same reason.
"""

from dataclasses import dataclass, field

from grpo_launch.config.choices import WandbMode


@dataclass
class Wandb:
    """Weights & Biases.

    An unset key leaves the caller's variable alone (`WANDB_PROJECT`, `WANDB_MODE`, ...); the
    defaults named here apply where that is not set either.
    """

    enabled: bool = False
    """Report to it; set by `tracking=wandb`."""
    project: str | None = None
    """The project, `WANDB_PROJECT`; unset: the name of the learner's product."""
    entity: str | None = None
    """The user or team, `WANDB_ENTITY`; unset: the account's own."""
    name: str | None = None
    """The run's name; unset: `training.run_name`, `WANDB_NAME`, else the experiment's name."""
    group: str | None = None
    """What the runs of one training share, `WANDB_RUN_GROUP`; unset: the run's name."""
    id: str | None = None
    """The W&B run to write into, `WANDB_RUN_ID`; unset: one for each run; `resume=` keeps it."""
    mode: WandbMode | None = None
    """`WANDB_MODE`; unset: `online`. `offline`: kept in the run directory for `wandb sync`."""
    log_model: str | None = None
    """What the learner uploads itself, `WANDB_LOG_MODEL`: `checkpoint` (unset), `end`, `false`."""
    watch: str | None = None
    """`WANDB_WATCH`: `false` (unset), `gradients`, `parameters`, `all`."""
    upload_checkpoint: bool = True
    """After training ended well, the newest checkpoint becomes an artifact of type `model`."""
    artifact_name: str | None = None
    """Its name; unset: the run's name with `-ckpt` behind it."""
    artifact_aliases: list[str] = field(default_factory=lambda: ["latest", "end"])
    """Its aliases."""
    upload_timeout_s: float = 1800.0
    """Seconds that the upload may take; then it is given up with a warning."""


@dataclass
class Tensorboard:
    """TensorBoard files."""

    enabled: bool = False
    """Write them; set by `tracking=tensorboard`."""
    logging_dir: str | None = None
    """Where; unset: `tensorboard/` in the run directory."""


@dataclass
class Trackio:
    """Trackio: a dashboard on this machine, or a Space of the Hugging Face hub."""

    enabled: bool = False
    """Report to it; set by `tracking=trackio`."""
    project: str | None = None
    """The project, `TRACKIO_PROJECT`; unset: the caller's, else `huggingface`."""
    space_id: str | None = None
    """The Space that shows it, `TRACKIO_SPACE_ID`; unset: none, files in the run directory."""


@dataclass
class Tracking:
    """Where metrics go (group ``tracking``, several at once: `tracking=[wandb,tensorboard]`).

    Where no tracker is chosen, `training.report_to` of the experiment says it; what is set
    below `tracking.wandb` holds for that as well.
    """

    none: bool = False
    """Report to nobody; set by `tracking=none`."""
    wandb: Wandb = field(default_factory=Wandb)
    tensorboard: Tensorboard = field(default_factory=Tensorboard)
    trackio: Trackio = field(default_factory=Trackio)
