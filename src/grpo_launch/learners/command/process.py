"""What is started for a declared command: words, variables, files, and how they change later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from grpo_launch.config import placeholders
from grpo_launch.config.endpoint import endpoints
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.learners.base import Member, TrainRequest
from grpo_launch.learners.command.declared import Declared, read
from grpo_launch.learners.command.places import SERVER
from grpo_launch.plan import PlannedFile, Resuming
from grpo_launch.signs import ARGUMENT, CONFIG_KEY

FILE = "learner_config"
"""The name of the file with ``config``, without its ending."""

MARK = "CHECKPOINT-GOES-HERE"


def needs_server(config: LaunchConfig) -> bool:
    """Whether it trains against a server: as said, else whether it asks for a server's address."""
    declared = read(config.train)
    if declared.needs_server is not None:
        return declared.needs_server
    texts = (*declared.argv, *(declared.variables or {}).values(), *(declared.fill or {}).values())
    members = (text for own in declared.members for text in own.values())
    asked = {name for text in (*texts, *members) for name in placeholders.names(text)}
    return not asked.isdisjoint(SERVER[1:])


def members(request: TrainRequest) -> tuple[Member, ...]:
    """The processes of the learner, each with its share of the devices."""
    declared = read(request.config.train)
    count = len(declared.members)
    return tuple(_member(declared, request, rank, count) for rank in range(count))


def _member(declared: Declared, request: TrainRequest, rank: int, count: int) -> Member:
    share = len(request.devices) // count
    # On a CPU the devices only count processes, and members are counted already.
    devices = request.devices[rank * share : (rank + 1) * share] if share else request.devices
    own = {"rank": str(rank), "members": str(count), "devices": ",".join(devices)}
    values = {**_values(declared, request), **own}
    words = [word for word in declared.argv if word != "{resume}"]
    at = _place(declared)
    argv = [placeholders.fill(word, values) for word in words]
    if declared.resume_by == ARGUMENT and declared.checkpoint is not None:
        argv[at:at] = _resume_words(declared, request, declared.checkpoint)
    variables = {**(declared.variables or {}), **declared.members[rank]}
    return Member(
        argv=(*request.config.learner.entry, *argv),
        env={name: placeholders.fill(text, values) for name, text in variables.items()},
        devices=devices,
        cwd=declared.cwd or "",
    )


def files(request: TrainRequest) -> tuple[PlannedFile, ...]:
    """The file with ``config``, where there is one."""
    declared = read(request.config.train)
    if declared.config is None:
        return ()
    text = _written(declared, request, declared.checkpoint)
    return (PlannedFile(_path(declared, request), text),)


def resuming(request: TrainRequest) -> Resuming:
    """How a restart goes on from a checkpoint."""
    declared = read(request.config.train)
    by = declared.resume_by
    words = _resume_words(declared, request, MARK) if by == ARGUMENT else []
    text = _written(declared, request, MARK) if by == CONFIG_KEY else ""
    mark = json.dumps(MARK) if by == CONFIG_KEY and declared.config_format == "json" else MARK
    present = words if declared.checkpoint is not None else []
    length = sum(word != "{resume}" for word in declared.argv)
    return Resuming(
        by=by,
        words=tuple(words),
        behind=length - _place(declared),
        present=len(present),
        file=_path(declared, request) if text else "",
        text=text,
        mark=mark,
    )


def _resume_words(declared: Declared, request: TrainRequest, checkpoint: str) -> list[str]:
    values = {**_values(declared, request), "checkpoint": checkpoint}
    return [placeholders.fill(word, values) for word in declared.resume_words]


def _place(declared: Declared) -> int:
    """Where in its words those of ``resume_by`` stand."""
    argv = declared.argv
    return argv.index("{resume}") if "{resume}" in argv else len(argv)


def _values(declared: Declared, request: TrainRequest) -> dict[str, str]:
    config = request.config
    file = str(request.cwd / _path(declared, request))
    values = {
        "config": file,
        "arguments_file": file,
        "output_dir": str(request.cwd / request.output_dir),
        "run_dir": str(request.cwd / request.run_dir),
        "model": str(config.get("model", "")),
    }
    if needs_server(config):
        addresses = endpoints(config)
        values |= {
            "url": ",".join(address.url for address in addresses),
            "host": ",".join(address.host for address in addresses),
            "port": ",".join(str(address.port) for address in addresses),
        }
    return values


def _path(declared: Declared, request: TrainRequest) -> str:
    return f"{request.run_dir}/{FILE}.{declared.config_format}"


def _written(declared: Declared, request: TrainRequest, checkpoint: str | None) -> str:
    """The text of the file: ``config``, what is filled in, and the checkpoint."""
    tree: dict[str, Any] = declared.config or {}
    values = _values(declared, request)
    for dotted, text in (declared.fill or {}).items():
        tree = _with(tree, dotted.split("."), placeholders.fill(text, values))
    if declared.resume_by == CONFIG_KEY and checkpoint is not None:
        tree = _with(tree, declared.resume_key.split("."), checkpoint)
    if declared.config_format == "json":
        return json.dumps(tree, indent=2, ensure_ascii=False, default=str) + "\n"
    import yaml

    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=1 << 20)


def _with(node: Mapping[str, Any], keys: list[str], value: Any) -> dict[str, Any]:
    first, *rest = keys
    below = node.get(first)
    if rest:
        mapping = cast("dict[str, Any]", below) if isinstance(below, dict) else {}
        value = _with(mapping, rest, value)
    return {**node, first: value}
