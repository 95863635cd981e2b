"""What ``--help`` prints."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from grpo_launch import __version__
from grpo_launch.base import resources
from grpo_launch.config import schema
from grpo_launch.config.hydra import lookup, source
from grpo_launch.plugins import LEARNERS

_TEXT = """\
usage: python -m grpo_launch role=ROLE config=EXPERIMENT [KEY=VALUE ...] [HYDRA FLAGS]
       grpo-launch ROLE EXPERIMENT [KEY=VALUE ...] [HYDRA FLAGS]     the same, shorter
       grpo-launch runs ...                                          the same as grpo-runs ...

  role=both     the rollout server and the learner, supervised together
  role=server   the rollout server alone, in the foreground
  role=learner  wait for the rollout server, then train
  role=check    validate and preflight, start nothing; output=json for machines
  role=explain  key=KEY: every place that sets a value, the weakest first
  role=advise   run=RUN, no config: what its seconds say about its split of GPUs; output=json

  dry_run=true        print the commands and start nothing; dry_run=json: the plan
  compat=env          variables of the old Hanabi scripts count, see docs/compat.md
  accelerator=cpu     run a GPU experiment on the CPU, with a tiny model, for a few steps
  rollout_server.vllm_max_model_len=12000   any key of the configuration
  train.rlhf.max_completion_length=512      any flag of {learner}; + for other keys

  --cfg job --resolve -p train    show the composed configuration
  --info defaults-tree            show where it comes from
  --multirun                      one launch for each combination of a,b values
  -sc install=bash                shell completion, as text for eval; also zsh and fish
  --hydra-help                    all flags of Hydra

experiments: {experiments}
groups: {groups}
documentation: docs/README.md, every key: docs/training/REFERENCE.md
"""


def version() -> str:
    """What ``--version`` prints: ours, and those of what composes."""
    hydra, omegaconf = metadata.version("hydra-core"), metadata.version("omegaconf")
    return f"grpo_launch {__version__} (Hydra {hydra}, OmegaConf {omegaconf})"


def text() -> str:
    """The help text, with the experiments and groups that are there."""
    names = {name for base in source.bases() for name in lookup.Base(base, Path.cwd()).names()}
    groups = [
        f"{path.name}={'|'.join(_options(path))}"
        for path in sorted(resources.path("conf").iterdir())
        if path.is_dir() and path.name != "overlay"
    ]
    return _TEXT.format(
        learner=LEARNERS.get(schema.LEARNER).product,
        experiments=", ".join(sorted(names)),
        groups="  ".join(groups),
    ).rstrip()


def _options(group: Path) -> list[str]:
    names = (path.stem for path in group.glob("*.yaml"))
    return sorted(name for name in names if name not in schema.NO_OPTIONS)
