"""The settings of a server that were overridden, in the block where the experiment says them.

So both spellings read the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grpo_launch.config import rollout
from grpo_launch.config.formats.lift import SERVER_BLOCK, Where, block, typed
from grpo_launch.config.formats.naming import with_own_names
from grpo_launch.config.mistake import Mistake


def write_back(
    train: dict[Any, Any],
    flags: Mapping[str, Any],
    where: Where = lambda *keys: ".".join(map(str, keys)),
) -> tuple[Mistake, ...]:
    """Write flags that were overridden after the lift into the legacy block.

    Args:
        train: the legacy tree, changed in place.
        flags: the final ``rollout_server`` node; None means "not said".
        where: names the file and key for messages.

    Returns:
        What is wrong with the block: known from the load for a legacy file, news for a
        native one.
    """
    present = block(train, SERVER_BLOCK) or {}
    own, _ = with_own_names(present, SERVER_BLOCK, where)
    lifted = typed(rollout.settings(), own, where, SERVER_BLOCK)
    changed = {key: value for key, value in flags.items() if value != lifted.values.get(key)}
    if not changed:
        return lifted.mistakes
    node = train
    for key in SERVER_BLOCK:
        if not isinstance(node.get(key), dict):
            node[key] = {}
        node = node[key]
    for name in [name for name in node if rollout.own_name(name) in changed]:
        del node[name]
    node.update(changed)
    return lifted.mistakes
