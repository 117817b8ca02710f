"""NumPy: the CPU."""

import contextlib
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from xpmlp.backends.base import (
    Backend,
    DeviceInfo,
    Function,
    FunctionMaker,
    Lap,
    Products,
    Runner,
    StepMaker,
    StepMetrics,
    Threads,
    gpu_index,
    host_memory,
)
from xpmlp.backends.threads import calibrate, idle_threads, limits
from xpmlp.compiler import Interpreter, Program, TracedFunction, record
from xpmlp.errors import InputError, option
from xpmlp.typing import Array

SMALL_PRODUCT = 30_000_000
"""Multiply-adds of a product for which one thread is enough."""


class NumPyBackend(Backend):
    """NumPy on the CPU. NumPy 2 is its own Array API namespace."""

    rows_at_once = 512  # as many as stay in a core's cache from one layer to the next

    def __init__(self) -> None:
        super().__init__("numpy", np, "cpu", device_name="cpu")

    def activate(self) -> contextlib.AbstractContextManager[object]:
        """A loss that overflows is reported by the training loop, once, not by NumPy's warnings."""
        return np.errstate(all="ignore")

    def choose_threads(self, products: Products, dtype: str) -> Threads:
        """As many as these products are fastest with, found out in a few milliseconds."""
        return calibrate(products, dtype)

    def threads(self, count: int) -> contextlib.AbstractContextManager[object]:
        """BLAS computes with `count` threads inside the context, and as before after it.

        The number is the process's: of runs in several threads, the last to begin decides.
        """
        if count == 0:
            return contextlib.nullcontext()
        return limits.of(count)

    def spare_threads(self, products: Products) -> int:
        """One for small products, whose bits then repeat; else as there are idle cores."""
        largest = max(map(math.prod, products))
        return 1 if largest < SMALL_PRODUCT else idle_threads()

    def function(self, make: FunctionMaker) -> Function:
        """The function traced for every shape it meets, and run on memory allocated once."""
        return TracedFunction(make)

    def compile(self, make_step: StepMaker, state: Any, data: Any, *, precision: str) -> Runner:
        """The step traced, and its very operations run on memory that is allocated once."""
        return _runner(Interpreter(record(make_step, state, data)))

    def timed(self, program: Program, starts: Sequence[int], lap: Lap, *, precision: str) -> Runner:
        """The calls of a compiled run, with a lap between those of two parts."""
        ends = (*starts, len(program.operations))
        marks = {end: functools.partial(lap, number) for number, end in enumerate(ends)}
        return _runner(Interpreter(program, marks=marks))

    def asarray(self, host: np.ndarray, dtype: str | None = None) -> Array:
        """The array itself, or of another dtype."""
        return np.asarray(host, dtype=dtype)

    def to_numpy(self, array: Array) -> np.ndarray:
        """A copy of the array."""
        return np.array(array)


def _runner(interpreter: Interpreter) -> Runner:
    def run(state: Any, data: Any, count: int) -> tuple[Any, StepMetrics]:
        state, series = interpreter.run(state, data, count)
        return state, StepMetrics(*series)

    return run


def open_backend(device: str | None) -> Backend:
    """NumPy's backend; any device but the CPU raises `InputError`."""
    if device is not None and gpu_index(device) is not None:
        raise InputError(
            f"device {device!r}: numpy computes on the cpu; use {option('backend', 'cupy')}"
        )
    return NumPyBackend()


def devices() -> list[DeviceInfo]:
    """The CPU."""
    return [DeviceInfo("cpu", "host", host_memory())]
