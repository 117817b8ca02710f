"""NumPy: the CPU, as it is."""

import contextlib

import numpy as np

from xpmlp.backends.base import Backend, DeviceInfo, gpu_index, host_memory
from xpmlp.errors import InputError
from xpmlp.typing import Array


class NumPyBackend(Backend):
    """NumPy on the CPU. NumPy 2 is its own Array API namespace."""

    def __init__(self) -> None:
        super().__init__("numpy", np, "cpu", device_name="cpu")

    def activate(self) -> contextlib.AbstractContextManager[object]:
        """A loss that overflows is reported by the training loop, once, not by NumPy's warnings."""
        return np.errstate(all="ignore")

    def to_numpy(self, array: Array) -> np.ndarray:
        """A copy of the array."""
        return np.array(array)


def open_backend(device: str | None) -> Backend:
    """NumPy's backend; any device but the CPU raises `InputError`."""
    if device is not None and gpu_index(device) is not None:
        raise InputError(f"device {device!r}: numpy computes on the cpu; use --backend cupy")
    return NumPyBackend()


def devices() -> list[DeviceInfo]:
    """The CPU."""
    return [DeviceInfo("cpu", "host", host_memory())]
