"""What every backend does, written for any library that follows the Array API standard."""

import contextlib
import gc
import itertools
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np

from xpmlp import renamed
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


@renamed.with_old_names
class StepMetrics(NamedTuple):
    """What a training step reports, as arrays on the device.

    Attributes
    ----------
    loss : array of shape () or (E,)
        The loss of the batch.
    metric_sum : array of shape () or (E,)
        The number of correct predictions, or the sum of R² terms of a regression.

    Examples
    --------
    >>> from xpmlp.backends import StepMetrics
    >>> StepMetrics(np.array(0.5), np.array(3)).loss
    array(0.5)
    """

    loss: Array
    metric_sum: Array


class DeviceInfo(NamedTuple):
    """A device that a backend can use.

    Attributes
    ----------
    name : str
        Its name for `device=`, such as `cuda:1`.
    description : str
        What it is, such as the name of the GPU.
    memory : int or None
        Its memory in bytes.

    Examples
    --------
    >>> from xpmlp.backends import DeviceInfo
    >>> DeviceInfo("cpu", "8 cores", None).name
    'cpu'
    """

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
    """An Array API library on one device: arrays, transfer, execution of steps.

    This class serves any library of the standard whose arrays NumPy can read through DLPack. Each
    module beside it changes only what its library does differently. `select_backend` makes one.

    Parameters
    ----------
    name : str
        The name of the backend.
    xp : namespace
        The Array API library.
    device : object
        The library's device.
    device_name : str
        The name of the device, such as `cpu` or `cuda:1`.

    Examples
    --------
    >>> backend = xpmlp.select_backend("numpy")
    >>> backend.to_numpy(backend.asarray(np.arange(3), "float32"))
    array([0., 1., 2.], dtype=float32)
    """

    precisions: tuple[str, ...] = DTYPES
    """What it can be asked to compute in, of `PRECISIONS`."""

    rows_at_once = 10_000
    """Rows that are best computed together where there are many; it bounds the memory, too."""

    proves = True
    """Whether what it compiles is our own work, and so to be compared with eager steps."""

    overwrites = True
    """Whether what it compiles writes over the state it is given."""

    def __init__(self, name: str, xp: Namespace, device: Any, *, device_name: str) -> None:
        self.name = name
        self.xp = xp
        self.device = device
        self.device_name = device_name
        self.reason = f"{name} on {device_name}: asked for by name"

    def __repr__(self) -> str:
        return f"<Backend {self.name} on {self.device_name}>"

    def activate(self) -> contextlib.AbstractContextManager[object]:
        """Return the context in which this backend's arrays are created and used.

        Returns
        -------
        context manager
            It makes the device current; for JAX it also enables float64.
        """
        return contextlib.nullcontext()

    def choose_threads(self, products: Products, dtype: str) -> Threads:
        """Choose how many CPU threads compute a step, at the present load.

        Parameters
        ----------
        products : sequence of (rows, inner, columns)
            The matrix products of a step, as `MLP.products` returns them.
        dtype : str
            The dtype of the products.

        Returns
        -------
        Threads
            The number, 0 where the library decides, and whether it may change during a run.
        """
        return Threads(0, may_change=False)

    def threads(self, count: int) -> contextlib.AbstractContextManager[object]:
        """Return the context in which a number of CPU threads compute.

        Parameters
        ----------
        count : int
            The number; 0 leaves it to the library.

        Returns
        -------
        context manager
            The context.
        """
        return contextlib.nullcontext()

    def asarray(self, host: np.ndarray, dtype: str | None = None) -> Array:
        """Return a host array on the device.

        Parameters
        ----------
        host : ndarray
            The array.
        dtype : str, optional
            The dtype on the device; by default that of the array.

        Returns
        -------
        array
            The array on the device; it may share the host's memory.
        """
        host = np.asarray(host, dtype=dtype)
        with self.activate():
            return self.xp.asarray(
                host, dtype=getattr(self.xp, host.dtype.name), device=self.device
            )

    def to_numpy(self, array: Array) -> np.ndarray:
        """Return a copy on the host; this waits for the device.

        Parameters
        ----------
        array : array
            The array on the device.

        Returns
        -------
        ndarray
            The copy.
        """
        return np.array(np.from_dlpack(array))

    def free_memory(self) -> int | None:
        """Return the bytes that rows may fill on the device.

        Returns
        -------
        int or None
            The bytes; None if rows lie in the host's memory.
        """
        return None

    def reclaim(self) -> None:
        """Release memory that is no longer used."""
        gc.collect()

    def gatherer(self, sources: Sequence[Any], *, rows: int) -> Gatherer:
        """Return a function that sends blocks of rows to the device.

        A block always has `rows` rows, so code compiled for one block serves all. A thread gathers
        the next block from the host's arrays, or from a file, while the present one is used.

        Parameters
        ----------
        sources : sequence of array-like
            Host arrays whose rows are sent.
        rows : int
            The rows of a block.

        Returns
        -------
        callable
            From blocks of row numbers to their rows on the device.
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
        """Return how many threads to use where measuring is not worth the time.

        Parameters
        ----------
        products : sequence of (rows, inner, columns)
            The matrix products of a step, as `MLP.products` returns them.

        Returns
        -------
        int
            The number; 0 leaves it to the library.
        """
        return 0

    def function(self, make: FunctionMaker) -> Function:
        """Return a function as fast as this backend can make it.

        Parameters
        ----------
        make : FunctionMaker
            Makes the function from a namespace.

        Returns
        -------
        Function
            The function; several threads may call it.
        """
        return make(xp=self.xp)

    @property
    def compiles(self) -> bool:
        """Whether `compile` can succeed; if not, running step by step is no failure."""
        return type(self).compile is not Backend.compile

    def eager(self, make_step: StepMaker, *, precision: str) -> Runner:
        """Return a runner of uncompiled steps, which stacks their metrics.

        Parameters
        ----------
        make_step : StepMaker
            Makes the step from a namespace.
        precision : str
            One of `PRECISIONS`.

        Returns
        -------
        Runner
            (state, data, count) -> (state, metrics).
        """
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
        """Return a compiled runner of steps for a state and data like the given ones.

        Parameters
        ----------
        make_step : StepMaker
            Makes the step from a namespace.
        state : TrainingState
            A state with the shapes and dtypes of the run.
        data : TrainingData
            Data with the shapes and dtypes of the run.
        precision : str
            One of `PRECISIONS`.

        Returns
        -------
        Runner
            (state, data, count) -> (state, metrics).

        Raises
        ------
        Exception
            Any, if the steps cannot be compiled.
        """
        raise NotCompiled(f"{self.name} runs steps as they are: it has nothing to compile with")

    def synchronize(self, arrays: Any) -> None:
        """Wait until arrays are computed.

        Parameters
        ----------
        arrays : tree of arrays
            The arrays.
        """

    def timed(self, program: Program, starts: Sequence[int], lap: Lap, *, precision: str) -> Runner:
        """Return a runner of a program's steps in parts, for a profile.

        Parameters
        ----------
        program : Program
            The traced step.
        starts : sequence of int
            The number of the first operation of each part.
        lap : callable
            Called with the number of each part when it begins, and with the number of parts at the
            end.
        precision : str
            One of `PRECISIONS`.

        Returns
        -------
        Runner
            (state, data, count) -> (state, metrics); it waits for each part.
        """

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
    name = device if isinstance(device, str) else ""
    kind, _, number = name.rpartition(":") if ":" in name else (name, "", "0")
    if name.isdecimal():
        kind, number = "cuda", name
    if name == "cpu":
        return None
    if kind not in ("gpu", "cuda") or not number.isdecimal():
        raise InputError(
            f"device {device!r:.60} is unknown: use cpu, cuda, or cuda:1 for the next GPU"
        )
    return int(number)


def host_memory() -> int | None:
    """The machine's memory in bytes, where the system says."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None
