"""NumPy: the CPU."""

import contextlib
from typing import Any

import numpy as np

from xpmlp.backends.base import (
    Backend,
    DeviceInfo,
    Products,
    Runner,
    StepMaker,
    StepMetrics,
    Threads,
    gpu_index,
    host_memory,
)
from xpmlp.backends.threads import blas, calibrate
from xpmlp.compiler import Interpreter, record
from xpmlp.errors import InputError
from xpmlp.typing import Array


class NumPyBackend(Backend):
    """NumPy on the CPU. NumPy 2 is its own Array API namespace."""

    def __init__(self) -> None:
        super().__init__("numpy", np, "cpu", device_name="cpu")

    def activate(self) -> contextlib.AbstractContextManager[object]:
        """A loss that overflows is reported by the training loop, once, not by NumPy's warnings."""
        return np.errstate(all="ignore")

    def choose_threads(self, products: Products, dtype: str) -> Threads:
        """As many as these products are fastest with, found out in a few milliseconds."""
        return calibrate(products, dtype)

    def threads(self, count: int) -> contextlib.AbstractContextManager[object]:
        """BLAS computes with `count` threads inside the context, and as before after it."""
        if count == 0:
            return contextlib.nullcontext()
        limited: contextlib.AbstractContextManager[object] = blas().limit(limits=count)
        return limited

    def compile(self, make_step: StepMaker, state: Any, data: Any, *, precision: str) -> Runner:
        """The step traced, and its very operations run on memory that is allocated once."""
        interpreter = Interpreter(record(make_step, state, data))

        def run(state: Any, data: Any, count: int) -> tuple[Any, StepMetrics]:
            state, series = interpreter.run(state, data, count)
            return state, StepMetrics(*series)

        return run

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
