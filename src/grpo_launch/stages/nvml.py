"""The memory of GPUs, as NVML knows it (``pynvml`` of nvidia-ml-py, the extra ``nvml``)."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from grpo_launch.errors import ConfigError, LaunchError, PreflightError

_MIG = "MIG-"
_INSTALL = "pip install 'grpo_launch[nvml]', or give server and learner devices of their own"


@dataclass(frozen=True)
class Use:
    """What a device holds at one moment.

    Attributes:
        device: as it was named.
        used: bytes of memory; None: NVML did not tell.
        holders: the processes that have some of it, as NVML tells: ``pid 17 (python)``. In a
            container the numbers may be those of the host.
        problem: why it did not tell.
        is_unknowable: whether it never will, as where CPU and GPU have one memory.
    """

    device: str
    used: int | None
    holders: tuple[str, ...] = ()
    problem: str = ""
    is_unknowable: bool = False


class Devices:
    """Devices of this machine; made by :func:`opened`."""

    def __init__(self, nvml: Any, names: Sequence[str]) -> None:
        self._nvml = nvml
        self._handles = {name: self._handle(name) for name in names}

    def uses(self) -> list[Use]:
        """What each holds now.

        Raises:
            PreflightError: one of them is lost.
        """
        return [self._use(name, handle) for name, handle in self._handles.items()]

    def _use(self, name: str, handle: Any) -> Use:
        nvml = self._nvml
        try:
            used = int(nvml.nvmlDeviceGetMemoryInfo(handle).used)
        except nvml.NVMLError as error:
            if _is(error, nvml, "NVML_ERROR_GPU_IS_LOST", "NVML_ERROR_RESET_REQUIRED"):
                fix = "reset it, or restart the machine"
                raise PreflightError(f"GPU {name}", f"is lost ({error})", fix) from None
            never = _is(error, nvml, "NVML_ERROR_NOT_SUPPORTED")
            return Use(name, None, problem=str(error), is_unknowable=never)
        return Use(name, used, tuple(self._holders(handle)))

    def _holders(self, handle: Any) -> list[str]:
        nvml = self._nvml
        found: dict[int, str] = {}
        for ask in (
            "nvmlDeviceGetComputeRunningProcesses",
            "nvmlDeviceGetGraphicsRunningProcesses",
        ):
            with contextlib.suppress(nvml.NVMLError, AttributeError):
                for process in getattr(nvml, ask)(handle):
                    found[int(process.pid)] = self._called(int(process.pid))
        return [found[pid] for pid in sorted(found)]

    def _called(self, pid: int) -> str:
        with contextlib.suppress(self._nvml.NVMLError, AttributeError):
            name = self._nvml.nvmlSystemGetProcessName(pid)
            text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
            return f"pid {pid} ({text.rpartition('/')[2] or text})"
        return f"pid {pid}"

    def _handle(self, name: str) -> Any:
        """NVML's own name of a device.

        Raises:
            ConfigError: there is none of this name.
        """
        nvml = self._nvml
        try:
            if name.isdecimal():
                return nvml.nvmlDeviceGetHandleByIndex(int(name))
            return self._by_uuid(name)
        except nvml.NVMLError as error:
            fix = "name devices that nvidia-smi -L lists"
            raise ConfigError(f"GPU {name}", f"NVML knows none ({error})", fix) from None

    def _by_uuid(self, name: str) -> Any:
        """By a UUID, of which CUDA takes the beginning alone."""
        nvml = self._nvml
        try:
            return nvml.nvmlDeviceGetHandleByUUID(name)
        except nvml.NVMLError:
            matching = [handle for handle in self._every(name) if self._is_called(handle, name)]
            if len(matching) != 1:
                raise
            return matching[0]

    def _every(self, name: str) -> list[Any]:
        nvml = self._nvml
        whole = [nvml.nvmlDeviceGetHandleByIndex(k) for k in range(nvml.nvmlDeviceGetCount())]
        if not name.startswith(_MIG):
            return whole
        parts: list[Any] = []
        for handle in whole:
            with contextlib.suppress(nvml.NVMLError):  # one that cannot be divided
                count = nvml.nvmlDeviceGetMaxMigDeviceCount(handle)
                for number in range(count):
                    with contextlib.suppress(nvml.NVMLError):  # a place that is free
                        parts.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number))
        return parts

    def _is_called(self, handle: Any, name: str) -> bool:
        with contextlib.suppress(self._nvml.NVMLError):
            uuid = self._nvml.nvmlDeviceGetUUID(handle)
            text = uuid.decode() if isinstance(uuid, bytes) else str(uuid)
            return text.startswith(name)
        return False


@contextlib.contextmanager
def opened(names: Sequence[str]) -> Generator[Devices]:
    """Devices by index, in NVML's order, or by UUID, also of a MIG device.

    Raises:
        ConfigError: there is none of a name.
        PreflightError: NVML is not installed, or does not answer.
    """
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        raise PreflightError("NVML", "the memory of GPUs is not known", _INSTALL) from None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        fix = "look at nvidia-smi"
        raise PreflightError("NVML", f"does not answer ({error})", fix) from None
    try:
        yield Devices(nvml, names)
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def problem(names: Sequence[str]) -> LaunchError | None:
    """What keeps the memory of these devices from being known, for a look before a run."""
    try:
        with opened(names):
            return None
    except LaunchError as error:
        return error


def _is(error: Any, nvml: Any, *codes: str) -> bool:
    value = getattr(error, "value", None)
    return value is not None and any(value == getattr(nvml, code, None) for code in codes)
