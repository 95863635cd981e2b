"""``role=explain``: where a value comes from."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from typing import Any

from grpo_launch.base import redaction
from grpo_launch.base.host import Host
from grpo_launch.checks import gather
from grpo_launch.checks.explain import Explanation, explain
from grpo_launch.config import kinds
from grpo_launch.config.launch_config import LaunchConfig
from grpo_launch.config.schema import OutputFormat
from grpo_launch.errors import ConfigError, InvalidConfigError
from grpo_launch.roles._launch import say


def run(config: LaunchConfig, host: Host) -> int:
    """Print the chain of places that set ``key``, the weakest first, and the value.

    A short key that names several nodes gets a chain for each.

    Raises:
        InvalidConfigError: the experiment has keys that could not be read.
        ConfigError: ``key=`` is missing, or nothing sets that key.
    """
    if config.mistakes:
        raise InvalidConfigError(str(mistake.error) for mistake in config.mistakes)
    if not config.key:
        raise ConfigError("command line", "key= is missing", "say key=rlhf.num_generations")
    key, config = config.key, gather.placed(config, host)
    found = explain(config, key, gather.gather(config, host, say))
    first, *others = map(_without_secrets, found)
    if config.output is OutputFormat.json:
        body = {**asdict(first), "others": [asdict(other) for other in others]}
        sys.stdout.write(json.dumps(body, indent=2, default=str) + "\n")
        return 0
    print("\n\n".join(map(_lines, (first, *others))))
    return 0


def _lines(found: Explanation) -> str:
    width = max(len(saying.place) for saying in found.chain)
    said = [f"{saying.place:{width}}  {_text(saying.value)}" for saying in found.chain]
    return "\n".join([*said, f"{_shown(found)} = {_text(found.value)}"])


def _shown(found: Explanation) -> str:
    """The key as it was asked for, or whole where only its end was said."""
    whole = found.node if found.node.endswith(f".{found.key}") else found.key
    return found.key if whole == f"train.{found.key}" else whole


def _without_secrets(found: Explanation) -> Explanation:
    """With stars for what stands under a secret name, wherever it was said."""
    name = found.key.rpartition(".")[2]
    chain = (
        replace(saying, value=redaction.without_named(saying.value, name)) for saying in found.chain
    )
    value = redaction.without_named(found.value, name)
    return replace(found, chain=tuple(chain), value=value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else kinds.said(value)
