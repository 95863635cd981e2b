"""How LLaMA-Factory is started: ``llamafactory-cli train FILE``, which starts torchrun itself."""

from __future__ import annotations

from pathlib import Path, PurePath

import yaml

from grpo_launch.learners.base import TrainRequest
from grpo_launch.learners.llamafactory import arguments, datasets
from grpo_launch.plan import PlannedFile

PROGRAM = "train"
_NAME = "learner_arguments.yaml"


class _Dumper(yaml.SafeDumper):
    """Quotes texts as ``1e-5``, which LLaMA-Factory would read as numbers."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", arguments.EXPONENT, [*"-+0123456789."])


def files(request: TrainRequest) -> tuple[PlannedFile, ...]:
    """The training file, and the list of data sets where the experiment names files."""
    said, info = arguments.of(request)
    text = yaml.dump(said, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    training = PlannedFile(_path(request), text)
    if info is None:
        return (training,)
    return (training, PlannedFile(f"{request.run_dir}/data/{datasets.INFO}", info))


def argv(request: TrainRequest) -> list[str]:
    """The command; the file's name ends in ``.yaml``, as ``read_args`` of LLaMA-Factory demands."""
    return [*request.config.learner.entry, PROGRAM, _path(request)]


def env(request: TrainRequest) -> dict[str, str]:
    """The variables that ``llamafactory/launcher.py`` reads, where it starts torchrun.

    One device needs none: the launcher hides all others.
    """
    if not arguments.uses_torchrun(request):
        return {}
    learner = request.config.learner
    variables = {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": str(len(request.devices))}
    if request.nodes > 1:
        variables["NNODES"] = str(request.nodes)
    if learner.master_port is not None:
        variables["MASTER_PORT"] = str(learner.master_port)
    return variables


def rehearsal(request: TrainRequest) -> list[str]:
    """``rehearse.py``, by the interpreter of the entry."""
    words = request.config.learner.entry
    python = words[0] if PurePath(words[0]).name.startswith("python") else "python"
    script = str(Path(__file__).with_name("rehearse.py"))
    info = f"{request.run_dir}/data/{datasets.INFO}"
    listed = info if datasets.files(request.config.train) else ""
    return [python, script, _path(request), str(len(request.devices)), listed, *words]


def _path(request: TrainRequest) -> str:
    return f"{request.run_dir}/{_NAME}"
