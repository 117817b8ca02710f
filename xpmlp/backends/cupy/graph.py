"""A kernel plan on a GPU: static buffers, kernels, products, and CUDA graphs of many steps.

A step of a small network is a score of kernels of a few microseconds each; launched from Python,
each costs as much again. Captured in a graph, all launches of many steps are one call.
"""

import contextlib
import ctypes
import functools
import gc
import math
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from xpmlp.backends.base import StepMetrics
from xpmlp.backends.cupy.cublas import Cublas, arithmetic, gemm_of
from xpmlp.backends.cupy.diagnosis import load_driver
from xpmlp.compiler.kernel_plan import KernelPlan, Launch
from xpmlp.compiler.program import Value, leaves, rebuild
from xpmlp.typing import Array

GRAPH_STEPS = 32
"""Steps in the longest graph; what is left of a run goes in graphs of 16, 8, 4, 2 and 1."""

LARGE_DATA_BYTES = 64 * 2**20
"""Bytes from which data is always read where it lies; smaller data is copied whenever it is another
array, which takes a GPU microseconds, and so needs no graph of its own."""

SMALL_DATA_BYTES = 2**20
"""Bytes from which data is read where it lies until another array takes its place: rows that stay
on the device for the whole run need no second copy there."""

MOST_BINDINGS = 4
"""How many sets of large data keep their graphs; streamed data goes round in two."""

METRICS_ALIGNMENT_BYTES = 256
"""Bytes: where a step's metrics begin is a multiple, so that any access to them is aligned."""


class CaptureFailed(RuntimeError):
    """A step that runs, but cannot be captured in a graph; the cause says why."""


class CapturedProgram:
    """A kernel plan bound to a GPU, the current one when it is made.

    It owns all that its graphs point to: the state, which `run` changes in place, scratch
    memory, kernels, a cuBLAS handle and its workspace, and a stream. Data is taken to be
    unchanged as long as the array is the same object.
    """

    def __init__(
        self, kernel_plan: KernelPlan, *, precision: str = "float32", unroll: int = GRAPH_STEPS
    ) -> None:
        import cupy

        self.kernel_plan = kernel_plan
        self.unroll = unroll
        self._cupy = cupy
        self._device = cupy.cuda.Device()
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._given_event = cupy.cuda.Event(disable_timing=True)
        self._done_event = cupy.cuda.Event(disable_timing=True)
        self._pool = cupy.cuda.MemoryPool()
        program, layout = kernel_plan.program, kernel_plan.layout
        data = set(program.data)
        with self._allocating():
            self._buffers = [
                cupy.empty(0 if buffer.holds in data else buffer.size, buffer.dtype)
                for buffer in layout.buffers
            ]
            self._slots = {buffer: self._new_slots(buffer) for buffer in self._slotted()}
            self._cublas = Cublas(self._stream, cupy)
            self._kernels = self._compile()
        self._products = {
            node: (gemm_of(node.A, node.B, node.C), _arithmetic(node, precision))
            for node in kernel_plan.nodes
            if not isinstance(node, Launch)
        }
        self._moved = [
            (layout.places[new].buffer, layout.places[old].buffer) for new, old in layout.moved
        ]
        self._state = [
            self._buffers[layout.places[value].buffer].reshape(value.shape)
            for value in program.state
        ]
        self._series = [self._metric_series(value) for value in program.metrics]
        self._data: list[Array] = [None] * len(program.data)
        self._copied = set[int]()
        self._bindings: dict[tuple[int, ...], tuple[list[Array], dict[int, Any]]] = {}
        self._graphs: dict[int, Any] = {}
        # Not at the interpreter's end, when CUDA may be gone already and frees everything itself.
        release = weakref.finalize(
            self, _release, self._device, self._stream, self._bindings, self._kernels
        )
        release.atexit = False

    def prepare(self, state: Any, data: Any) -> None:
        """Run a step on copies and capture a graph, so that what can fail fails now.

        The step also loads every kernel, which a capture forbids. Neither state nor data changes.
        Raises `CaptureFailed`, `CublasError` or what CuPy raises.
        """
        self.run_uncaptured(state, data, 1)
        with self._ordered():
            self._graph(self.unroll)
        self._stream.synchronize()

    def run(self, state: Any, data: Any, count: int) -> tuple[Any, StepMetrics]:
        """`count` steps from the state; the new state, and metrics stacked along a first axis.

        The state returned is the program's own: the next run changes it. A state given is only
        read. Nothing waits for the GPU.
        """
        lengths = list[int]()
        while (left := count - sum(lengths)) > 0:
            lengths.append(min(self.unroll, 1 << (left.bit_length() - 1)))

        def graphs() -> list[tuple[int, Callable[[], object]]]:
            # All captured before the first is launched: a failure leaves the state as it was.
            return [(n, functools.partial(self._graph(n).launch, self._stream)) for n in lengths]

        return self._run(state, data, count, graphs)

    def run_uncaptured(self, state: Any, data: Any, count: int) -> tuple[Any, StepMetrics]:
        """As `run`, launch by launch: the same kernels and the same bits, for comparison."""
        return self._run(state, data, count, lambda: [(1, lambda: self._step(0))] * count)

    def _run(
        self,
        state: Any,
        data: Any,
        count: int,
        parts: Callable[[], list[tuple[int, Callable[[], object]]]],
    ) -> tuple[Any, StepMetrics]:
        """Run parts, each some steps and what queues them, and collect their metrics."""
        with self._device:
            series = [
                self._cupy.empty((count, *value.shape), value.dtype)
                for value in self.kernel_plan.program.metrics
            ]
        with self._ordered():
            self._load(state)
            self._bind(data)
            done = 0
            for length, queue in parts():
                queue()
                for whole, part in zip(series, self._series, strict=True):
                    whole[done : done + length] = part[:length]
                done += length
                if length % 2:
                    for new, old in self._moved:
                        self._buffers[old][...] = self._buffers[new]
        return rebuild(state, iter(self._state)), StepMetrics(*series)

    @property
    def used_bytes(self) -> int:
        """The memory that it holds on the GPU, data that is read where it lies apart."""
        found: int = self._pool.used_bytes()
        return found

    @property
    def nodes_per_step(self) -> float | None:
        """The nodes of its longest graph, per step; None where the driver does not say."""
        if not self._graphs:
            return None
        length = max(self._graphs)
        count = count_nodes(self._graphs[length])
        return None if count is None else count / length

    # -- memory ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _allocating(self) -> Iterator[None]:
        """Memory made inside is the program's own, and so is the stream."""
        with self._device, self._stream, self._cupy.cuda.using_allocator(self._pool.malloc):
            yield

    @contextlib.contextmanager
    def _ordered(self) -> Iterator[None]:
        """The program's stream, after what the caller's has queued, and before what it will."""
        with self._device:
            caller = self._cupy.cuda.get_current_stream()
            self._given_event.record(caller)
            self._stream.wait_event(self._given_event)
            try:
                with self._allocating():
                    yield
            finally:
                self._done_event.record(self._stream)
                caller.wait_event(self._done_event)

    def _slotted(self) -> set[int]:
        """The buffers that each step of a graph has its own of, since they hold metrics.

        So metrics outlive their step without being copied, which would cost a node each.
        """
        places = self.kernel_plan.layout.places
        return {places[value].buffer for value in self.kernel_plan.program.metrics}

    def _new_slots(self, number: int) -> Array:
        buffer = self.kernel_plan.layout.buffers[number]
        step = METRICS_ALIGNMENT_BYTES // np.dtype(buffer.dtype).itemsize
        return self._cupy.empty((self.unroll, step * math.ceil(buffer.size / step)), buffer.dtype)

    def _metric_series(self, value: Value) -> Array:
        """A metric of each step of a graph, stacked: a view, since only rows lie apart."""
        slots = self._slots[self.kernel_plan.layout.places[value].buffer]
        return slots[:, : math.prod(value.shape)].reshape(self.unroll, *value.shape)

    # -- inputs ---------------------------------------------------------------------------------

    def _load(self, state: Any) -> None:
        """Copy a state in, leaf by leaf, where it is not the program's own already."""
        given = leaves(state)
        _check("state", given, self.kernel_plan.program.state)
        own = {id(array) for array in self._state}
        copies = [
            # Another leaf of ours would be overwritten before it is read.
            (ours, leaf.copy() if id(leaf) in own else leaf)
            for ours, leaf in zip(self._state, given, strict=True)
            if leaf is not ours
        ]
        for ours, leaf in copies:
            ours[...] = leaf

    def _bind(self, data: Any) -> None:
        """Copy small data in and read other data where it lies, if it is not what it was."""
        given = leaves(data)
        program, layout = self.kernel_plan.program, self.kernel_plan.layout
        _check("data", given, program.data)
        for index, (value, leaf) in enumerate(zip(program.data, given, strict=True)):
            if leaf is self._data[index]:
                continue
            number = layout.places[value].buffer
            is_first = self._data[index] is None
            if leaf.nbytes >= LARGE_DATA_BYTES or (is_first and leaf.nbytes >= SMALL_DATA_BYTES):
                self._buffers[number] = self._cupy.ascontiguousarray(leaf).reshape(-1)
            else:
                if number not in self._copied:
                    self._bindings.clear()  # no graph reads it there
                    self._buffers[number] = self._cupy.empty(leaf.size, leaf.dtype)
                    self._copied.add(number)
                self._buffers[number].reshape(leaf.shape)[...] = leaf
            self._data[index] = leaf
        numbers = [layout.places[value].buffer for value in program.data]
        arrays = [self._buffers[number] for number in numbers]
        key = tuple(array.data.ptr for array in arrays)
        found = self._bindings.pop(key, None) or (arrays, {})
        self._bindings[key] = found  # the latest last
        _, self._graphs = found
        while len(self._bindings) > MOST_BINDINGS:
            del self._bindings[next(iter(self._bindings))]

    # -- steps ----------------------------------------------------------------------------------

    def _compile(self) -> dict[str, Any]:
        names = {node.kernel for node in self.kernel_plan.nodes if isinstance(node, Launch)}
        if not names:
            return {}
        # What RawModule calls, with the same cache on disk. CuPy memoizes RawModule: each module
        # would stay loaded for good, and a long sweep would fill the GPU.
        module = self._cupy._core.core.compile_with_cache(
            self.kernel_plan.source, ("-std=c++17",), prepend_cupy_headers=False
        )
        return {name: module.get_function(name) for name in names}

    def _step(self, slot: int) -> None:
        """Queue one step, which leaves its metrics in a slot.

        State has two buffers, which change roles from each step to the next.
        """
        buffers = list(self._buffers)
        for new, old in self._moved if slot % 2 else ():
            buffers[new], buffers[old] = buffers[old], buffers[new]
        for number, slots in self._slots.items():
            buffers[number] = slots[slot]
        for node in self.kernel_plan.nodes:
            if isinstance(node, Launch):
                arguments = tuple(buffers[number] for number in node.buffers)
                self._kernels[node.kernel]((node.blocks,), (node.threads,), arguments)
            else:
                gemm, numbers = self._products[node]
                self._cublas.multiply(gemm, buffers, numbers)

    def _graph(self, length: int) -> Any:
        """The graph of this many steps on the present data, captured when it is first asked for."""
        if length not in self._graphs:
            self._graphs[length] = self._capture(length)
        return self._graphs[length]

    def _capture(self, length: int) -> Any:
        # Collecting garbage may free memory or destroy a handle, which a capture forbids.
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            self._stream.begin_capture(self._cupy.cuda.runtime.streamCaptureModeRelaxed)
            try:
                for slot in range(length):
                    self._step(slot)
            except BaseException:
                with contextlib.suppress(Exception):  # what broke the capture is what to tell
                    self._stream.end_capture()
                raise
            graph = self._stream.end_capture()
            graph.upload(self._stream)
        except Exception as error:
            raise CaptureFailed(f"{length} steps cannot be captured: {error}") from error
        finally:
            if was_enabled:
                gc.enable()
        return graph


def _release(device: Any, stream: Any, bindings: dict[Any, Any], kernels: dict[str, Any]) -> None:
    """Destroy a program's graphs and unload its kernels, once they have run."""
    with contextlib.suppress(Exception), device:  # a GPU may be lost
        stream.synchronize()
        for _, graphs in bindings.values():
            graphs.clear()
        kernels.clear()


def _arithmetic(node: Any, precision: str) -> Any:
    rounded = precision == "tf32" and node.dtype == "float32"
    return arithmetic("tf32" if rounded else node.dtype, node.result_dtype)


def _check(what: str, given: list[Array], wanted: tuple[Value, ...]) -> None:
    found = [(tuple(leaf.shape), leaf.dtype.name) for leaf in given]
    expected = [(value.shape, value.dtype) for value in wanted]
    if found != expected:
        raise ValueError(f"the {what} is {found}, and the program was made for {expected}")


def count_nodes(graph: Any) -> int | None:
    """How many nodes a CUDA graph has; None where the driver does not say."""
    count = ctypes.c_size_t(0)
    try:
        ask = load_driver().cuGraphGetNodes
        ask.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t))
        failed = not graph.graph or ask(graph.graph, None, ctypes.byref(count)) != 0
    except (OSError, AttributeError):
        return None
    return None if failed else count.value
