"""Whether a run can be recorded in a directory: what is there could bear the name of our files."""

from __future__ import annotations

import os
from pathlib import Path

BY_A_RUN = "already holds a run"
FIX = "choose a new or an empty directory as run.dir"

_NAMED = 3
"""How many of the files in the way a message names."""


def by(directory: Path) -> str | None:
    """What is in the way in a directory, for a message; None: it is not there yet, or empty."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot be used ({error.strerror})"
    if not names:
        return None
    if "logs" in names and (len(names) == 1 or "run.json" in names):
        return BY_A_RUN
    more = ", ..." if len(names) > _NAMED else ""
    return f"is not empty ({', '.join(names[:_NAMED])}{more})"
