"""What every backend does, written for any library that follows the Array API standard."""

import contextlib
import gc
import itertools
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np

from xpmlp.compiler.partial import ProgramPart, cut
from xpmlp.compiler.program import Program, leaves, rebuild
from xpmlp.errors import InputError, NotCompiled
from xpmlp.typing import DTYPES, Array, Namespace

PRECISIONS = {
    "float32": "float32",
    "float64": "float64",
    "tf32": "float32",
    "float16": "float32",
}
"""What a run can be asked to compute in, and the type its parameters then have.

`tf32` and `float16` say how matrix products are made, from operands rounded to 10 bits of
mantissa, with sums in float32; all else is float32.
"""


class StepMetrics(NamedTuple):
    """What a training step reports: arrays on the device, scalars or one value per member."""

    loss: Array
    metric_sum: Array


class DeviceInfo(NamedTuple):
    """A device that a backend can use: its name for `--device`, what it is, its memory in bytes."""

    name: str
    description: str
    memory: int | None


Step = Callable[[Any, Any], tuple[Any, StepMetrics]]
"""A pure training step: (state, data) -> (state, metrics)."""

Runner = Callable[[Any, Any, int], tuple[Any, StepMetrics]]
"""A run of steps: (state, data, count) -> (state, metrics stacked along a first axis).

It may write over the state it is given.
"""


Lap = Callable[[int], object]
"""Hears the number of the part of a step that begins, or how many there are when all are done."""


class StepMaker(Protocol):
    """What makes a step out of a namespace: a backend's own, or one that records."""

    def __call__(self, *, xp: Namespace) -> Step: ...


Gatherer = Callable[[Iterable[np.ndarray]], Generator[tuple[Array, ...], None, None]]
"""For blocks of row numbers: those rows of some arrays of the host, on the device."""

Function = Callable[[tuple[Array, ...], tuple[Array, ...]], tuple[Array, ...]]
"""A pure function of what stays (parameters) and what changes from call to call (rows)."""


class FunctionMaker(Protocol):
    """What makes a function out of a namespace."""

    def __call__(self, *, xp: Namespace) -> Function: ...


Products = Sequence[tuple[int, int, int]]
"""The matrix products of a step: (rows, inner, columns) of each."""


class Threads(NamedTuple):
    """The number of CPU threads that compute, 0 where the library decides, and whether another
    would give the same bits, so that it may be changed in mid-run."""

    number: int
    may_change: bool


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

    def choose_threads(self, products: Products, dtype: str) -> Threads:
        """How many CPU threads to compute these products with, as things stand now."""
        return Threads(0, may_change=False)

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

    def free_memory(self) -> int | None:
        """Bytes that rows may fill on the device; None where they lie in the host's memory."""
        return None

    def reclaim(self) -> None:
        """Give back what memory nobody uses any more."""
        gc.collect()

    def gatherer(self, sources: Sequence[Any], *, rows: int) -> Gatherer:
        """What sends blocks of rows to the device; here, each in new memory.

        A block has `rows` rows, however few are wanted: what is compiled for one serves all. A
        thread gathers the next one from the host's arrays, or from a file, while one is used.
        """

        def gathered(block: np.ndarray) -> list[np.ndarray]:
            whole = []
            for source in sources:
                host = np.zeros((rows, *source.shape[1:]), source.dtype)
                source.take(block, axis=0, out=host[: len(block)], mode="clip")
                whole.append(host)
            return whole

        def gather(blocks: Iterable[np.ndarray]) -> Generator[tuple[Array, ...], None, None]:
            with ThreadPoolExecutor(1, "xpmlp-blocks") as thread:
                todo = iter(blocks)
                pending = [thread.submit(gathered, block) for block in itertools.islice(todo, 1)]
                while pending:
                    whole = pending.pop().result()
                    pending += [
                        thread.submit(gathered, block) for block in itertools.islice(todo, 1)
                    ]
                    yield tuple([self.asarray(host) for host in whole])

        return gather

    def spare_threads(self, products: Products) -> int:
        """How many threads to compute these with where they are not worth measuring first."""
        return 0

    @property
    def rows_at_once(self) -> int:
        """Rows that are best computed together where there are many; it bounds the memory, too."""
        return 10_000

    def function(self, make: FunctionMaker) -> Function:
        """The function as quick as this backend can make it; any number of threads may call it."""
        return make(xp=self.xp)

    @property
    def precisions(self) -> tuple[str, ...]:
        """What it can be asked to compute in, of `PRECISIONS`."""
        return DTYPES

    @property
    def compiles(self) -> bool:
        """Whether `compile` can succeed at all; if not, running step by step is no failure."""
        return type(self).compile is not Backend.compile

    @property
    def proves(self) -> bool:
        """Whether what it compiles is our own work, and so to be compared with eager steps."""
        return True

    @property
    def overwrites(self) -> bool:
        """Whether what it compiles writes over the state it is given."""
        return True

    def eager(self, make_step: StepMaker, *, precision: str) -> Runner:
        """What runs steps as they are, one after another, and stacks their metrics."""
        xp = self.xp
        step = make_step(xp=xp)

        def run(state: Any, data: Any, count: int) -> tuple[Any, StepMetrics]:
            losses, metric_sum = [], []
            for _ in range(count):
                state, metrics = step(state, data)
                losses.append(metrics.loss)
                metric_sum.append(metrics.metric_sum)
            return state, StepMetrics(xp.stack(losses), xp.stack(metric_sum))

        return run

    def compile(self, make_step: StepMaker, state: Any, data: Any, *, precision: str) -> Runner:
        """What runs the same steps faster, for a state and data like these.

        Raises any exception where that cannot be.
        """
        raise NotCompiled(f"{self.name} runs steps as they are: it has nothing to compile with")

    def synchronize(self, arrays: Any) -> None:
        """Wait until these arrays are computed."""

    def timed(self, program: Program, starts: Sequence[int], lap: Lap, *, precision: str) -> Runner:
        """What runs a program's steps in parts that begin with the operations of these numbers,
        one after another, each waited for, and says to `lap` which part begins."""

        def make_step(*, xp: Namespace) -> Step:
            def compute(part: ProgramPart) -> Function:
                return self.function(lambda **_: lambda given, _: part.run(given, xp=xp))

            parts = [(part, compute(part)) for part in cut(program, starts)]

            def step(state: Any, data: Any) -> tuple[Any, StepMetrics]:
                given = (*leaves(state), *leaves(data))
                arrays = dict(zip(program.inputs, given, strict=True))
                for number, (part, function) in enumerate(parts):
                    lap(number)
                    made = function(tuple([arrays[value] for value in part.given]), ())
                    self.synchronize(made)
                    arrays.update(zip(part.wanted, made, strict=True))
                lap(len(parts))
                state = rebuild(state, iter([arrays[value] for value in program.new_state]))
                return state, StepMetrics(*[arrays[value] for value in program.metrics])

            return step

        return self.eager(make_step, precision=precision)


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
