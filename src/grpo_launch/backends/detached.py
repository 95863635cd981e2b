"""Execute a run in the background; the caller gets its terminal back at once."""

from __future__ import annotations

import sys

from grpo_launch.backends import background
from grpo_launch.backends.prepared import Prepared


def start(prepared: Prepared) -> int:
    """Start the supervisor in a session of its own; prints the run's name.

    Returns:
        0, once the supervisor has taken over.

    Raises:
        PreflightError: it did not.
    """
    background.supervise(prepared, prepared.run / background.LOG)
    print(prepared.name, flush=True)
    log = f"{prepared.plan.run_dir}/{background.LOG}"
    print(f"follow it: grpo-runs logs -f {prepared.name}, or {log}", file=sys.stderr)
    print(f"stop it:   grpo-runs stop {prepared.name}", file=sys.stderr)
    return 0
