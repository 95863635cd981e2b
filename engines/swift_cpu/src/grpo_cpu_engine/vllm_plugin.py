"""The ``vllm.general_plugins`` entry point: patches the processes that vLLM starts itself.

vLLM loads it in every process of an engine, several times over; see ``vllm/plugins/__init__.py``.
"""

import logging

from grpo_cpu_engine.patches import patch_vllm_process, visible_gpus

__all__ = ["NAME", "register"]

NAME = "grpo_cpu_engine"
"""Name of the entry point, as ``VLLM_PLUGINS`` lists it."""

_logger = logging.getLogger(__name__)


def register() -> None:
    """Patch this process, or do nothing where torch sees a GPU.

    Raises:
        EngineMismatchError: the installed engines are not those the patches were written for; the
            engine then does not start, rather than fail at the first weight update.
    """
    if visible_gpus():
        _logger.info("torch sees a GPU: the CPU patches are not applied")
        return
    patch_vllm_process()
