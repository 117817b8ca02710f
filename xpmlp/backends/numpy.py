"""NumPy: the CPU, as it is."""

import contextlib
import functools

import numpy as np
import threadpoolctl

from xpmlp.backends.base import Backend, DeviceInfo, gpu_index, host_memory
from xpmlp.errors import InputError
from xpmlp.typing import Array

SMALL_PRODUCT = 25_000_000
"""Multiply-adds below which one thread computes: a second one gains a tenth on an idle machine and
loses a hundredfold on a busy one, where BLAS threads spin for each other."""


class NumPyBackend(Backend):
    """NumPy on the CPU. NumPy 2 is its own Array API namespace."""

    def __init__(self) -> None:
        super().__init__("numpy", np, "cpu", device_name="cpu")

    def activate(self) -> contextlib.AbstractContextManager[object]:
        """A loss that overflows is reported by the training loop, once, not by NumPy's warnings."""
        return np.errstate(all="ignore")

    def choose_threads(self, product: int) -> int:
        """One for small products, else what BLAS is set to: a function of sizes and settings alone,
        since another count may give other last bits."""
        if product < SMALL_PRODUCT:
            return 1
        return max((library["num_threads"] for library in _blas().info()), default=1)

    def threads(self, count: int) -> contextlib.AbstractContextManager[object]:
        """BLAS computes with `count` threads inside the context, and as before after it."""
        if count == 0:
            return contextlib.nullcontext()
        limited: contextlib.AbstractContextManager[object] = _blas().limit(limits=count)
        return limited

    def to_numpy(self, array: Array) -> np.ndarray:
        """A copy of the array."""
        return np.array(array)


@functools.cache
def _blas() -> threadpoolctl.ThreadpoolController:
    """The BLAS that NumPy has loaded; found once, for that takes a while."""
    return threadpoolctl.ThreadpoolController().select(user_api="blas")


def open_backend(device: str | None) -> Backend:
    """NumPy's backend; any device but the CPU raises `InputError`."""
    if device is not None and gpu_index(device) is not None:
        raise InputError(f"device {device!r}: numpy computes on the cpu; use --backend cupy")
    return NumPyBackend()


def devices() -> list[DeviceInfo]:
    """The CPU."""
    return [DeviceInfo("cpu", "host", host_memory())]
