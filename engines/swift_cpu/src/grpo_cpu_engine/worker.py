"""The engine process itself: patches first, then ms-swift's own entry point.

Started by :mod:`grpo_cpu_engine.__main__`, once or through torchrun; its arguments are flags only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from grpo_cpu_engine.errors import CpuEngineError
from grpo_cpu_engine.patches import patch_learner, patch_server, refuse_gpu

__all__ = ["main"]


def main() -> int:
    """Run the subcommand in ``sys.argv[1]`` with the flags after it.

    ms-swift reads ``sys.argv``, so the subcommand is taken out of it.
    """
    method = sys.argv.pop(1)
    try:
        refuse_gpu()
        run = _rollout() if method == "rollout" else _learner(method)
    except CpuEngineError as error:
        print(f"grpo_cpu_engine: {error}", file=sys.stderr)
        return 1
    run()
    return 0


def _rollout() -> Callable[[], object]:
    """Follow ``swift/cli/rollout.py``."""
    patch_server()
    from swift.pipelines import rollout_main

    return rollout_main


def _learner(method: str) -> Callable[[], object]:
    """Follow ``swift/cli/rlhf.py``, ``sft.py`` or ``pt.py``; only the first talks to a server."""
    from swift.cli.utils import try_use_single_device_mode

    try_use_single_device_mode()
    if method == "rlhf":
        patch_learner()
    from swift import pipelines

    return {
        "rlhf": pipelines.rlhf_main,
        "sft": pipelines.sft_main,
        "pt": pipelines.pretrain_main,
    }[method]


if __name__ == "__main__":
    sys.exit(main())
