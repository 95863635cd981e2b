"""How ms-swift's learner is started: an arguments file, and the script that starts torchrun."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

import yaml

from grpo_launch.base import resources
from grpo_launch.base.shipped_files import located, relative
from grpo_launch.learners.base import TrainRequest
from grpo_launch.learners.swift import stages, timing
from grpo_launch.plan import PlannedFile

SCRIPT = "scripts/train.sh"
_NAME = "learner_arguments.yaml"


def arguments_file(request: TrainRequest, arguments: dict[str, Any]) -> PlannedFile:
    """The file of arguments, a flat block mapping; shipped files are found."""
    found = {key: located(key, value, request.cwd) for key, value in arguments.items()}
    if request.config.learner.timing and stages.of(request.config).needs_servers:
        plugins = found.get("external_plugins")
        found["external_plugins"] = timing.with_plugin(plugins, request.cwd)
    text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=10_000)
    return PlannedFile(_path(request), text)


def argv(request: TrainRequest) -> list[str]:
    """The script, and behind it what stands before ``rlhf``."""
    script = relative(resources.path(SCRIPT), request.cwd)
    return ["bash", script, *request.config.learner.entry]


def rehearsal(request: TrainRequest, max_model_len: int | None) -> list[str]:
    """``rehearse.py``; on a CPU the script above starts one process, however many ids there are."""
    words = request.config.learner.entry
    python = words[0] if PurePath(words[0]).name.startswith("python") else "python"
    script = str(Path(__file__).with_name("rehearse.py"))
    processes = len(request.devices) if request.cuda else 1
    program = stages.of(request.config).program
    limits = [str(processes), str(max_model_len or 0)]
    return [python, script, program, _path(request), *limits, *words]


def env(request: TrainRequest) -> dict[str, str]:
    """The variables of the script."""
    learner = request.config.learner
    variables = {"config": _path(request), "gpus": request.visible}
    if (program := stages.of(request.config).program) != "rlhf":
        variables["program"] = program
    if request.nodes > 1:
        variables["NNODES"] = str(request.nodes)
    if learner.debug:
        variables["debug"] = "true"
    if learner.master_port is not None:
        variables["MASTER_PORT"] = str(learner.master_port)
    return variables


def _path(request: TrainRequest) -> str:
    return f"{request.run_dir}/{_NAME}"
