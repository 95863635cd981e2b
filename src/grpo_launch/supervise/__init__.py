"""Start processes, wait for events, and leave nothing behind. Linux only (pidfd, /proc)."""
