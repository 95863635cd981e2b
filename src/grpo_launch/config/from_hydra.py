"""From Hydra's composed configuration to plain Python."""

from __future__ import annotations

from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, cast, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ValidationError

from grpo_launch.config import kinds, rollout, schema, services, usual
from grpo_launch.config.formats import document, experiment, leaves, lift
from grpo_launch.config.formats.written_back import write_back
from grpo_launch.config.hydra import source
from grpo_launch.config.launch_config import TYPED, LaunchConfig
from grpo_launch.errors import ConfigError


def from_hydra(cfg: DictConfig, overrides: tuple[str, ...]) -> LaunchConfig:
    """Turn Hydra's composed configuration into plain Python.

    Args:
        cfg: the composed configuration, with or without the node ``hydra``.
        overrides: the command line's overrides, as typed.

    Raises:
        ConfigError: ``train`` is not a mapping; ``custom.extra.rollout_server`` of a native
            file is wrong; there is no such engine or learner.
        omegaconf.errors.OmegaConfBaseException: an interpolation does not resolve.
    """
    path = Path(cfg.experiment.path)
    node = cfg.train
    train = leaves.decode(OmegaConf.to_container(node, resolve=True) if _is_node(node) else node)
    if not isinstance(train, dict):
        where = f"{document.shown(path)}: train"
        raise ConfigError(where, f"{train!r} is not a mapping", "write keys below it")
    said = cast("dict[str, Any]", OmegaConf.to_container(cfg.rollout_server, resolve=True))
    flags = leaves.decode(said)
    lora_policy = flags.pop("lora_policy", None)
    above = f"{document.shown(path)}: train."
    tree = cast("dict[Any, Any]", train)
    with rollout.choosing(cfg.engine.name if rollout.is_known(cfg.engine.name) else None):
        wrong = write_back(tree, flags, lambda *k: above + ".".join(map(str, k)))
    if wrong and source.is_native(path):  # nothing checked the block before
        raise experiment.as_one([mistake.error for mistake in wrong])
    typed = {
        name: _typed(name, OmegaConf.to_object(cfg[name])) for name in (*schema.GROUPS, *TYPED)
    }
    config = LaunchConfig(
        experiment=cfg.experiment.name,
        path=path,
        role=cfg.role.name,
        callback=cfg.role._target_,
        rollout_server={key: value for key, value in flags.items() if value is not None},
        lora_policy=lora_policy and schema.LoraPolicy(lora_policy),
        on_failure=cfg.on_failure,
        resume=cfg.resume,
        ports=cfg.ports,
        compat=cfg.compat,
        rehearse=cfg.rehearse,
        preflight=cfg.preflight,
        dry_run=cfg.dry_run,
        key=cfg.key,
        output=cfg.output,
        part=cfg.part,
        verbose=cfg.verbose,
        train=cast("dict[Any, Any]", train),
        overrides=overrides,
        accelerated=cfg.experiment.accelerated,
        **typed,
    )
    return usual.filled(_with_services(config, cfg.services))


def _with_services(config: LaunchConfig, node: Any) -> LaunchConfig:
    plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    # Whatever form says them, their keys are those of the launcher's block (see ``legacy_keys``).
    above = len(lift.LAUNCH_BLOCK)
    found, mistakes = services.read(
        leaves.decode(plain), lambda *keys: config.where(".".join(map(str, keys[above:])))
    )
    return replace(config, services=found, mistakes=mistakes)


def _typed(name: str, node: Any) -> Any:
    """``node`` with its lists and mappings of strings checked; OmegaConf lets them nest.

    Raises:
        omegaconf.errors.ValidationError: a list or a mapping stands where a string should.
    """
    for key, hint in get_type_hints(type(node)).items():
        value = getattr(node, key)
        if is_dataclass(value):
            _typed(f"{name}.{key}", value)
        if hint is not Any and kinds.nests(value):
            what = f"{kinds.said_at(key, value)} is not {kinds.describe(hint)} of plain values"
            error = ValidationError(what)
            error.full_key = f"{name}.{key}"
            raise error
    return node


def _is_node(value: Any) -> bool:
    return isinstance(value, DictConfig)  # a tree with null or date keys at its top is opaque
