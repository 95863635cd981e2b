"""The NVIDIA GPU of this machine, and what tests of it have in common."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from grpo_launch.base.host import nvidia_smi

INDICES = nvidia_smi("index")
MARKS = [
    pytest.mark.gpu,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not INDICES, reason="there is no NVIDIA GPU"),
]

GIB = 1 << 30
HELD_GIB = 6
"""What a process of a test holds of the card."""


def environment(path: str) -> dict[str, str]:
    """What torch and the NVIDIA tools need of this machine's environment.

    Args:
        path: the directories of ``PATH`` that come before those of the NVIDIA tools.
    """
    kept = ("LD_LIBRARY_PATH", "PYTHONPATH")
    own = {name: os.environ[name] for name in kept if name in os.environ}
    tools = str(Path(shutil.which("nvidia-smi") or "").parent)
    return {**own, "PATH": os.pathsep.join([path, tools])}
