"""ms-swift plugin: the reward functions ``summary.*`` of ``rewards.py``.

Pass it to the learner as ``--external_plugins plugin.py --reward_funcs summary.format ...``. The
rows of the dataset need the column ``solution``, the reference summary.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from swift.rewards import ORM, orms

__all__: list[str] = []


def _load_beside(file_name: str, module_name: str) -> ModuleType:
    """Import a file of this directory under a name that no other ``rewards`` can have taken.

    ms-swift puts the directory of every plugin in front of ``sys.path``
    (``swift/utils/utils.py``, ``import_external_file``), so a plain ``import rewards`` finds that
    of whichever plugin was imported first.

    Raises:
        ImportError: the file cannot be imported.
    """
    if module_name in sys.modules:
        return sys.modules[module_name]
    path = Path(__file__).resolve().with_name(file_name)
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module


def _reward_model(name: str, score: Callable[[str, str], float]) -> type[ORM]:
    """Make the class that ms-swift registers; it names a metric after it: rewards/<name>/mean."""

    def score_batch(
        self: ORM, completions: Sequence[str], solution: Sequence[str], **columns: object
    ) -> list[float]:
        del self, columns
        return [score(*pair) for pair in zip(completions, solution, strict=True)]

    return type(name, (ORM,), {"__call__": score_batch})


_rewards = _load_beside("rewards.py", "_grpo_launch_example_summary_rewards")
for _name, _score in _rewards.REWARDS.items():
    orms[_name] = _reward_model(_name, _score)
