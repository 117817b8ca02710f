"""What every backend does, written for any library that follows the Array API standard."""

import contextlib
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from xpmlp.errors import InputError
from xpmlp.typing import Array, Namespace

DTYPES = ("float32", "float64")
"""The floating-point types that training can be asked to use."""


class StepMetrics(NamedTuple):
    """What a training step reports: arrays on the device, scalars or one value per member."""

    loss: Array
    correct: Array


class DeviceInfo(NamedTuple):
    """A device that a backend can use: its name for `--device`, what it is, its memory in bytes."""

    name: str
    description: str
    memory: int | None


Step = Callable[[Any, Any], tuple[Any, StepMetrics]]
"""A pure training step: (state, data) -> (state, metrics)."""

Runner = Callable[[Any, Any, int], tuple[Any, StepMetrics]]
"""A run of steps: (state, data, count) -> (state, metrics stacked along a first axis)."""


class Backend:
    """An Array API library on one device: arrays, transfer, and how a run of steps is executed.

    This class serves any library of the standard as it is, with arrays that NumPy can read
    through DLPack; the modules beside it say only what their library does otherwise.
    """

    def __init__(self, name: str, xp: Namespace, device: Any, *, device_name: str) -> None:
        self.name = name
        self.xp = xp
        self.device = device
        self.device_name = device_name
        self.reason = f"{name} on {device_name}: asked for by name"

    def __repr__(self) -> str:
        return f"<Backend {self.name} on {self.device_name}>"

    def activate(self) -> contextlib.AbstractContextManager[object]:
        """The context in which this backend's arrays are made and computed with."""
        return contextlib.nullcontext()

    def choose_threads(self, product: int) -> int:
        """How many CPU threads to compute with, given the multiply-adds of the largest product.

        0 where the library decides for itself.
        """
        return 0

    def threads(self, count: int) -> contextlib.AbstractContextManager[object]:
        """The context in which `count` CPU threads compute; 0 leaves that to the library."""
        return contextlib.nullcontext()

    def asarray(self, host: np.ndarray, dtype: str | None = None) -> Array:
        """The host's array on the device, of the named dtype or its own; may share its memory."""
        host = np.asarray(host, dtype=dtype)
        with self.activate():
            return self.xp.asarray(
                host, dtype=getattr(self.xp, host.dtype.name), device=self.device
            )

    def to_numpy(self, array: Array) -> np.ndarray:
        """A copy on the host, which waits for the device."""
        return np.array(np.from_dlpack(array))

    def runner(self, step: Step) -> Runner:
        """What runs a given number of steps and stacks their metrics; here, a plain loop."""

        def run(state: Any, data: Any, count: int) -> tuple[Any, StepMetrics]:
            losses, correct = [], []
            for _ in range(count):
                state, metrics = step(state, data)
                losses.append(metrics.loss)
                correct.append(metrics.correct)
            return state, StepMetrics(self.xp.stack(losses), self.xp.stack(correct))

        return run


def gpu_index(device: str | None) -> int | None:
    """The GPU that a device's name means: `gpu`, `cuda`, `cuda:1`, `gpu:1`, `1`; None for `cpu`.

    No name means the first GPU. Raises `InputError` for any other name.
    """
    if device is None:
        return 0
    kind, _, number = device.rpartition(":") if ":" in device else (device, "", "0")
    if device.isdecimal():
        kind, number = "cuda", device
    if device == "cpu":
        return None
    if kind not in ("gpu", "cuda") or not number.isdecimal():
        raise InputError(f"device {device!r} is unknown: use cpu, cuda, or cuda:1 for the next GPU")
    return int(number)


def host_memory() -> int | None:
    """The machine's memory in bytes, where the system says."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None
