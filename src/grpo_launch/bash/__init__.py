"""Shell scripts that are read, never run: what they would call, as far as that can be known."""

from grpo_launch.bash.reading import read

__all__ = ["read"]
