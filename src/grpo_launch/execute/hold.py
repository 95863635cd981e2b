"""The program that keeps a terminal open after a run that failed, so that it can be read."""

from __future__ import annotations

import contextlib
import sys


def main() -> int:
    """Wait for Enter, the end of the input, or Ctrl-C; returns the status in ``sys.argv[1]``."""
    status = int(sys.argv[1])
    with contextlib.suppress(KeyboardInterrupt, OSError):
        print(f"the run ended with status {status}; Enter closes this session", flush=True)
        sys.stdin.readline()
    return status
