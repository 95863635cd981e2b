"""``grpo-runs``: find, show, follow, stop and remove runs, from any terminal."""
