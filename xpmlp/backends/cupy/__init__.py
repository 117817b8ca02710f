"""CuPy: an NVIDIA GPU, where a run of steps is a CUDA graph.

diagnosis.py   why CuPy does not work, and how to fix it
cublas.py      matrix products, eagerly and in a graph
graph.py       a compiled step: its memory, its kernels, and graphs of many steps
blocks.py      rows that come from the host in blocks, copied while others are computed with
"""

import importlib.util
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from xpmlp.backends.base import (
    PRECISIONS,
    Backend,
    DeviceInfo,
    Runner,
    Step,
    StepMaker,
    gpu_index,
)
from xpmlp.backends.cupy.diagnosis import (
    CUDA13_DRIVER,
    Findings,
    ask_driver,
    diagnose,
    installed_wheels,
)
from xpmlp.errors import BackendUnavailable, option
from xpmlp.typing import Array, Namespace

__all__ = [
    "CUDA13_DRIVER",
    "CuPyBackend",
    "Findings",
    "ask_driver",
    "devices",
    "diagnose",
    "installed_wheels",
    "open_backend",
    "prove",
]


class CuPyBackend(Backend):
    """CuPy on one GPU."""

    def activate(self) -> AbstractContextManager[object]:
        """CuPy computes on the current device of the thread; this makes it ours for a while."""
        context: AbstractContextManager[object] = self.device
        return context

    def asarray(self, host: np.ndarray, dtype: str | None = None) -> Array:
        """A copy on the GPU."""
        with self.activate():
            return self.xp.asarray(np.asarray(host, dtype=dtype))

    def to_numpy(self, array: Array) -> np.ndarray:
        """A copy on the host, which waits for the GPU."""
        host: np.ndarray = array.get()
        return host

    @property
    def precisions(self) -> tuple[str, ...]:
        """All there are: tensor cores multiply TF32 and float16 where they are asked to."""
        return tuple(PRECISIONS)

    def eager(self, make_step: StepMaker, *, precision: str) -> Runner:
        """Steps kernel by kernel, with the matrix products of a compiled step."""
        import cupy

        from xpmlp.backends.cupy.cublas import EagerNamespace

        with self.activate():
            namespace = EagerNamespace(self.xp, cupy, precision=precision)

        def with_our_products(*, xp: Namespace) -> Step:
            return make_step(xp=namespace)

        return super().eager(with_our_products, precision=precision)

    def compile(self, make_step: StepMaker, state: Any, data: Any, *, precision: str) -> Runner:
        """The step traced, its operations grouped into a few kernels, and many steps captured in
        a CUDA graph. Everything that can fail fails here, and changes nothing."""
        from xpmlp.backends.cupy.graph import CapturedProgram
        from xpmlp.compiler import record
        from xpmlp.compiler.emit import kernel_plan
        from xpmlp.compiler.precision import with_precision

        program = with_precision(record(make_step, state, data), precision)
        with self.activate():
            # A graph has a pool of its own, which cannot use what CuPy's keeps.
            self.xp.get_default_memory_pool().free_all_blocks()
            captured = CapturedProgram(kernel_plan(program), precision=precision)
            captured.prepare(state, data)
        return captured.run

    def synchronize(self, arrays: Any) -> None:
        """Wait for all that the GPU has been given."""
        import cupy

        with self.activate():
            cupy.cuda.get_current_stream().synchronize()

    def reclaim(self) -> None:
        """Give back to the GPU what CuPy keeps for what comes."""
        super().reclaim()
        with self.activate():
            self.xp.get_default_memory_pool().free_all_blocks()

    def free_memory(self) -> int:
        """The bytes of the GPU's memory that are free, or that CuPy keeps for what comes."""
        import cupy

        with self.activate():
            free, _ = cupy.cuda.runtime.memGetInfo()
            kept = cupy.get_default_memory_pool().free_bytes()
        return int(free + kept)

    def gatherer(
        self, sources: Sequence[Any], *, rows: int
    ) -> Callable[[Iterable[np.ndarray]], Generator[tuple[Array, ...], None, None]]:
        """What sends rows of the host's arrays in blocks, the next while one is in use."""
        from xpmlp.backends.cupy.blocks import Gatherer

        return Gatherer(sources, rows=rows, device=self.device)


def open_backend(device: str | None) -> Backend:
    """CuPy's backend, after a kernel and a product have really run on the GPU.

    Raises `BackendUnavailable` with the cause and the command that would fix it.
    """
    index = gpu_index(device)
    if index is None:
        other = f"use {option('backend', 'numpy')}"
        raise BackendUnavailable("cupy", "it computes on a GPU only", other)
    driver, gpus = ask_driver()
    if not driver:
        # Every start without a GPU comes here, and asking whose cupy is takes a tenth of a second.
        some = ("cupy",) if importlib.util.find_spec("cupy") else ()
        raise BackendUnavailable("cupy", *diagnose(Findings(some, driver)))
    wheels = installed_wheels()
    if gpus == 0 or len(wheels) != 1:
        raise BackendUnavailable("cupy", *diagnose(Findings(wheels, driver, gpus)))
    if gpus is not None and index >= gpus:
        cause = f"device {device!r} asked for, but the driver shows {gpus} GPUs"
        raise BackendUnavailable("cupy", cause, f"use {option('device', 'cuda:0')}")
    try:
        import array_api_compat.cupy as xp
        import cupy

        with cupy.cuda.Device(index) as chosen:
            prove(cupy)
    except Exception as error:  # whatever is broken in a driver or toolkit, it is not our end
        findings = Findings(wheels, driver, gpus, error)
        raise BackendUnavailable("cupy", *diagnose(findings)) from error
    return CuPyBackend("cupy", xp, chosen, device_name=f"cuda:{index}")


def prove(cupy: Any) -> None:
    """Run a compiled kernel and a matrix product: a missing NVRTC or cuBLAS shows only there."""
    A = cupy.arange(6, dtype=cupy.float32).reshape(2, 3)
    found = cupy.matmul(A, (A + 1).T).get()
    if found.tolist() != [[8.0, 17.0], [26.0, 62.0]]:
        raise ArithmeticError(f"a 2 x 3 product came out as {found.tolist()}")


def devices() -> list[DeviceInfo]:
    """The GPUs that CuPy sees."""
    import cupy

    found = []
    for index in range(cupy.cuda.runtime.getDeviceCount()):
        properties = cupy.cuda.runtime.getDeviceProperties(index)
        name, memory = properties["name"].decode(), properties["totalGlobalMem"]
        found.append(DeviceInfo(f"cuda:{index}", name, memory))
    return found
