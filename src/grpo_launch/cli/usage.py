"""What ``--help`` prints."""

from __future__ import annotations

import textwrap
from importlib import metadata
from pathlib import Path

from grpo_launch import __version__
from grpo_launch.base import resources
from grpo_launch.config import schema
from grpo_launch.config.hydra import lookup, source
from grpo_launch.plugins import ENGINES, LEARNERS

_WIDTH = 80
"""Columns."""

_TEXT = """\
usage: python -m grpo_launch role=ROLE config=EXPERIMENT [KEY=VALUE] [FLAGS]
       grpo-launch ROLE EXPERIMENT [KEY=VALUE] [FLAGS]      the same, shorter
       grpo-launch runs ...                        the same as grpo-runs ...
       grpo-launch import SERVER.sh [LEARNER.sh]   scripts become an experiment
       grpo-launch help                            this text, as --help

  role=both     the rollout server and the learner, supervised together
  role=server   the rollout server alone, in the foreground
  role=learner  wait for the rollout server, then train
  role=loop     collect episodes, train on the best, publish the model, again
  role=rollout  one collection of a loop; role=update: one update
  role=check    validate and preflight, start nothing; output=json for machines
  role=explain  key=KEY: every place that sets a value, the weakest first
  role=advise   run=RUN, no config: whether its split of the GPUs is balanced

  dry_run=true        print the commands, start nothing; dry_run=json: the plan
  compat=env          variables of the old scripts count, see docs/compat.md
  accelerator=cpu     run a GPU experiment on the CPU: a tiny model, a few steps
  rollout_server.vllm_max_model_len=12000   any key of the configuration
  train.rlhf.max_completion_length=512      any flag of {learner}; + for others

  --cfg job --resolve -p train    show the composed configuration
  --info defaults-tree            show where it comes from
  --multirun                      one launch for each combination of a,b values
  -sc install=bash                shell completion, for eval; also zsh, fish
  --hydra-help                    all flags of Hydra

{experiments}
groups:
{groups}
documentation: docs/README.md, every key: docs/training/REFERENCE.md
"""


def version() -> str:
    """What ``--version`` prints: ours, and those of what composes."""
    hydra, omegaconf = metadata.version("hydra-core"), metadata.version("omegaconf")
    return f"grpo_launch {__version__} (Hydra {hydra}, OmegaConf {omegaconf})"


def text() -> str:
    """The help text, with the experiments and groups that are there."""
    names = {name for base in source.bases() for name in lookup.Base(base, Path.cwd()).names()}
    conf = resources.path("conf")
    groups = {
        str(path.relative_to(conf)): _options(path)
        for path in sorted(conf.rglob("*"))
        if path.is_dir()
    }
    groups |= {"engine": ENGINES.names(), "learner": LEARNERS.names()}
    return _TEXT.format(
        learner=LEARNERS.get(schema.LEARNER).product,
        experiments=_filled(f"experiments: {', '.join(sorted(names))}"),
        groups="\n".join(
            _filled(f"  {name}={'|'.join(options)}")
            for name, options in sorted(groups.items())
            if options
        ),
    ).rstrip()


def _filled(text: str) -> str:
    return textwrap.fill(
        text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _options(group: Path) -> list[str]:
    names = (path.stem for path in group.glob("*.yaml"))
    return sorted(name for name in names if name not in schema.NO_OPTIONS)
