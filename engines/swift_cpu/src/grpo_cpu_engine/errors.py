"""Errors of the CPU engine.

CpuEngineError
├── ArgumentsFileError     the file of arguments cannot be used
├── EngineMismatchError    a patched symbol is not what the patch was written for
├── GpuPresentError        torch sees a GPU, where the patches would do harm
└── PluginFilterError      VLLM_PLUGINS keeps the patches out of vLLM's processes
"""

__all__ = [
    "ArgumentsFileError",
    "CpuEngineError",
    "EngineMismatchError",
    "GpuPresentError",
    "PluginFilterError",
]


class CpuEngineError(RuntimeError):
    """The CPU engine cannot run here; the message is one line."""


class ArgumentsFileError(CpuEngineError):
    """The file of arguments is absent, or is not a YAML or JSON mapping.

    Attributes:
        path: the file, as it was given.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"cannot read the arguments in {path}: {reason}")
        self.path = path


class EngineMismatchError(CpuEngineError):
    """A patched symbol is missing or has other parameters.

    Attributes:
        symbol: dotted name of the symbol.
        found: what is there instead.
    """

    def __init__(self, symbol: str, found: str, versions: str, written_for: str) -> None:
        super().__init__(
            f"cannot patch {symbol}: {found} (installed: {versions}; "
            f"grpo-cpu-engine was written for {written_for})"
        )
        self.symbol = symbol
        self.found = found


class GpuPresentError(CpuEngineError):
    """torch sees a GPU.

    Attributes:
        device_count: number of GPUs that torch sees.
    """

    def __init__(self, device_count: int) -> None:
        super().__init__(
            f"torch sees {device_count} GPU(s), and this engine is for machines without one: "
            "use `swift`, or hide the GPUs with CUDA_VISIBLE_DEVICES="
        )
        self.device_count = device_count


class PluginFilterError(CpuEngineError):
    """``VLLM_PLUGINS`` is set and does not name this package's plugin.

    Attributes:
        value: the variable's value.
    """

    def __init__(self, value: str, plugin: str) -> None:
        super().__init__(
            f"VLLM_PLUGINS={value!r} leaves out {plugin!r}, without which vLLM's processes "
            f"cannot receive weights on a CPU: add it, or unset the variable"
        )
        self.value = value
