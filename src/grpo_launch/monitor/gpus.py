"""Memory and use of GPUs, from NVML (extra ``nvml``)."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

HOW_TO_GET = "memory and use of GPUs: pip install 'grpo_launch[nvml]'"


@dataclass(frozen=True)
class Gpu:
    """One GPU at one moment.

    Attributes:
        id: as the plan names it: an index or a UUID.
        used, total: bytes of memory.
        use: percent of the last moment in which it computed, or None.
    """

    id: str
    used: int
    total: int
    use: int | None


class Gpus:
    """Asks NVML, for as long as it is open.

    Attributes:
        problem: why nothing can be asked, or None.
    """

    def __init__(self) -> None:
        self.problem: str | None = None
        self._nvml: Any = None
        try:
            self._nvml = importlib.import_module("pynvml")
        except ImportError:
            self.problem = HOW_TO_GET
            return
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError as error:
            self.problem = f"memory and use of GPUs: NVML does not answer ({error})"
            self._nvml = None

    def read(self, ids: Iterable[str]) -> list[Gpu]:
        """The GPUs of these ids that NVML knows."""
        if self._nvml is None:
            return []
        found = (self._one(name) for name in ids)
        return [gpu for gpu in found if gpu is not None]

    def close(self) -> None:
        """Let go of NVML."""
        if self._nvml is not None:
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()

    def _one(self, name: str) -> Gpu | None:
        nvml = self._nvml
        try:
            handle = (
                nvml.nvmlDeviceGetHandleByIndex(int(name))
                if name.isdecimal()
                else nvml.nvmlDeviceGetHandleByUUID(name)
            )
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        except nvml.NVMLError:
            return None
        use: int | None = None
        with contextlib.suppress(nvml.NVMLError):  # some cannot tell, as parts of a GPU
            use = int(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        return Gpu(name, int(memory.used), int(memory.total), use)
