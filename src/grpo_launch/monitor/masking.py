"""What a run's logs must not show: a run that goes on may have printed its environment.

When its processes have ended, their logs are scrubbed (``execute/supervisor.py``). Until then
the secrets are those in the environment of its supervisor and of its guards, which its owner
may read; of a sweep only the guards have what ``env.file`` says.
"""

from __future__ import annotations

import os
from pathlib import Path

from grpo_launch.base import redaction
from grpo_launch.runs import reading
from grpo_launch.supervise import proc


def hidden(directory: Path) -> tuple[str, ...]:
    """The texts to mask in the logs of the run in ``directory``: its own and this process's."""
    found = [*redaction.secrets(dict(os.environ))]
    try:
        known, _ = reading.read(directory)
    except (OSError, ValueError):
        return tuple(found)
    pids = [known.supervisor.pid] if known.is_supervised else []
    guards = [process.guard for process in known.processes.values()]
    pids += [g.pid for g in guards if pids and proc.is_running(g.pid, g.start_time)]
    for pid in pids:
        pairs = (os.fsdecode(item).partition("=") for item in proc.environ(pid))
        found += redaction.secrets({name: value for name, _, value in pairs})
    return tuple(sorted(set(found), key=len, reverse=True))
