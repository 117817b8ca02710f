"""PyTorch through array-api-compat, run eagerly, on the CPU or an NVIDIA GPU."""

from typing import Any

import numpy as np

from xpmlp.backends.base import Backend, DeviceInfo, gpu_index, host_memory
from xpmlp.errors import BackendUnavailable, option
from xpmlp.typing import Array

INSTALL = "pip install 'xpmlp[torch]'"


class TorchBackend(Backend):
    """PyTorch on one device; gradients are xpmlp's own, so autograd has nothing to record."""

    def asarray(self, host: np.ndarray, dtype: str | None = None) -> Array:
        """A copy on the device: torch can neither share read-only memory nor promise a copy."""
        return self.xp.tensor(np.asarray(host, dtype=dtype), device=self.device)

    def to_numpy(self, array: Array) -> np.ndarray:
        """A copy on the host."""
        return np.array(array.cpu().numpy())

    def synchronize(self, arrays: Any) -> None:
        """Wait for all that the GPU has been given."""
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def open_backend(device: str | None) -> Backend:
    """PyTorch's backend, on the GPU if it has one and no device is named."""
    try:
        import array_api_compat.torch as xp
        import torch
    except Exception as error:  # a broken installation fails in any way it likes
        raise BackendUnavailable("torch", f"torch cannot be imported ({error})", INSTALL) from error
    index = gpu_index(device)
    if device is None and not torch.cuda.is_available():
        index = None
    if index is None:
        return TorchBackend("torch", xp, torch.device("cpu"), device_name="cpu")
    if index >= torch.cuda.device_count():
        cause = f"device {device!r} asked for, but torch sees {torch.cuda.device_count()} GPUs"
        raise BackendUnavailable(
            "torch", cause, f"use {option('device', 'cpu')}, or install a CUDA build of torch"
        )
    return TorchBackend("torch", xp, torch.device("cuda", index), device_name=f"cuda:{index}")


def devices() -> list[DeviceInfo]:
    """The GPUs that torch sees, then the CPU."""
    import torch

    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(DeviceInfo(f"cuda:{index}", properties.name, properties.total_memory))
    return [*found, DeviceInfo("cpu", "host", host_memory())]
