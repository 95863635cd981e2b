"""The variables of a program that a shell script of ours starts, read from that script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from grpo_launch.bash.reading import read


def environ(words: Sequence[str], given: Mapping[str, str], cwd: Path) -> Mapping[str, str]:
    """What the program at the end of a command gets.

    Args:
        words: the command; of ``bash SCRIPT WORDS`` the script is read.
        given: the variables of the command.
        cwd: where it runs.
    """
    if words[:1] != ["bash"]:
        return given
    path = cwd / words[1]
    script = read(path.read_bytes(), path.name, arguments=words[2:], settings=given)
    return {
        name: f"what {path.name} computes" if value.known is None else value.known
        for name, value in script.calls[-1].environ.items()
    }
