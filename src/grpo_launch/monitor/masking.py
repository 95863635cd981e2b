"""What a run's logs must not show: a run that goes on may have printed its environment.

When its processes have ended, their logs are scrubbed (``launch/supervisor.py``). Until then
the secrets are those of its supervisor's environment, which its owner may read.
"""

from __future__ import annotations

import os
from pathlib import Path

from grpo_launch import redaction
from grpo_launch.runs import record
from grpo_launch.supervise import proc


def hidden(directory: Path) -> tuple[str, ...]:
    """The texts to mask in the logs of the run in ``directory``: its own and this process's."""
    environ = dict(os.environ)
    found = [*redaction.secrets(environ)]
    try:
        state = record.read(directory)
        supervised = record.is_supervised(state)
    except (OSError, ValueError, KeyError, TypeError):
        return tuple(found)
    if supervised:
        pairs = (
            os.fsdecode(item).partition("=") for item in proc.environ(state["supervisor"]["pid"])
        )
        found += redaction.secrets({name: value for name, _, value in pairs})
    return tuple(sorted(set(found), key=len, reverse=True))
