"""NVML for tests, as nvidia-ml-py gives it. ``FAKE_NVML`` is a JSON object:

init        a code that nvmlInit fails with
devices     a list of objects:
    uuid        of it
    used        GiB of memory at each question, the last one for ever; a text is an error:
                lost, unknown, unsupported
    processes   names by pid; null: NVML does not know the name
    parts       MIG devices of it, objects as these; null: a place that is free
processes   a code: the processes are not told
"""

import json
import os
from types import SimpleNamespace

NVML_ERROR_INVALID_ARGUMENT = 2
NVML_ERROR_NOT_SUPPORTED = 3
NVML_ERROR_NO_PERMISSION = 4
NVML_ERROR_NOT_FOUND = 6
NVML_ERROR_DRIVER_NOT_LOADED = 9
NVML_ERROR_GPU_IS_LOST = 15
NVML_ERROR_RESET_REQUIRED = 16
NVML_ERROR_UNKNOWN = 999

_TEXTS = {
    2: "Invalid Argument",
    3: "Not Supported",
    4: "Insufficient Permissions",
    6: "Not Found",
    9: "Driver Not Loaded",
    15: "GPU is lost",
    999: "Unknown Error",
}
_FAULTS = {"lost": 15, "unknown": 999, "unsupported": 3}


class NVMLError(Exception):
    def __init__(self, value):
        super().__init__(value)
        self.value = value

    def __str__(self):
        return _TEXTS[self.value]


_STATE = {"open": False}


def _scenario():
    if not _STATE["open"]:
        raise NVMLError(1)
    return _STATE["scenario"]


def nvmlInit():
    scenario = json.loads(os.environ["FAKE_NVML"])
    if "init" in scenario:
        raise NVMLError(scenario["init"])
    _STATE.update(open=True, scenario=scenario)


def nvmlShutdown():
    _scenario()
    _STATE["open"] = False


def nvmlDeviceGetCount():
    return len(_scenario()["devices"])


def nvmlDeviceGetHandleByIndex(index):
    devices = _scenario()["devices"]
    if index >= len(devices):
        raise NVMLError(NVML_ERROR_INVALID_ARGUMENT)
    return devices[index]


def nvmlDeviceGetHandleByUUID(uuid):
    assert isinstance(uuid, str)
    for device in _scenario()["devices"]:
        for each in (device, *filter(None, device.get("parts", ()))):
            if each["uuid"] == uuid:
                return each
    raise NVMLError(NVML_ERROR_NOT_FOUND)


def nvmlDeviceGetUUID(handle):
    return handle["uuid"]


def nvmlDeviceGetMaxMigDeviceCount(handle):
    if "parts" not in handle:
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    return len(handle["parts"])


def nvmlDeviceGetMigDeviceHandleByIndex(handle, index):
    if handle["parts"][index] is None:
        raise NVMLError(NVML_ERROR_NOT_FOUND)
    return handle["parts"][index]


def nvmlDeviceGetMemoryInfo(handle):
    _scenario()
    used = handle["used"]
    now = used.pop(0) if len(used) > 1 else used[0]
    if isinstance(now, str):
        raise NVMLError(_FAULTS[now])
    return SimpleNamespace(used=int(now * 2**30), total=80 * 2**30)


def nvmlDeviceGetComputeRunningProcesses(handle):
    if "processes" in _scenario():
        raise NVMLError(_scenario()["processes"])
    return [
        SimpleNamespace(pid=int(pid), usedGpuMemory=None) for pid in handle.get("processes", ())
    ]


def nvmlDeviceGetGraphicsRunningProcesses(handle):
    raise NVMLError(NVML_ERROR_NOT_SUPPORTED)


def nvmlSystemGetProcessName(pid):
    for device in _scenario()["devices"]:
        name = device.get("processes", {}).get(str(pid))
        if name is not None:
            return name
    raise NVMLError(NVML_ERROR_NOT_FOUND)
