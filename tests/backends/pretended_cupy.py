"""A CuPy that is NumPy, and a GPU that does nothing until it must.

What is queued on a stream runs when something waits for it, as late as can be; or, if the machine
is said to be eager, at once on all streams but the default one. So work that lacks an event to
wait for finds numbers that are not there yet, or are gone. Memory is made with numbers that show.
"""

import contextlib
import ctypes
import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import xpmlp.backends.cupy as cupy_module
from xpmlp.backends.cupy import cublas
from xpmlp.compiler.interpret import Interpreter, at
from xpmlp.compiler.kernel_plan import KernelPlan, Launch, Product
from xpmlp.compiler.layout import lay_out
from xpmlp.compiler.program import VIEWS, Program

Work = Callable[[], object]


class Machine:
    """The pretended GPU: its streams, and what has been asked of it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.local = threading.local()
        self.streams: dict[int, PretendedStream] = {}
        self.null = PretendedStream(self)
        self.kernels: dict[str, Callable[..., object]] = {}
        self.launched: list[str] = []
        self.modules: weakref.WeakSet[PretendedModule] = weakref.WeakSet()
        self.owned: dict[int, np.ndarray] = {}
        self.allocations = 0
        self.waits = 0
        self.is_eager = False
        self.broken_kernel = ""
        self.library = PretendedCublas(self)

    @property
    def current(self) -> list["PretendedStream"]:
        if not hasattr(self.local, "current"):
            self.local.current = [self.null]
        return self.local.current

    @property
    def allocators(self) -> list["PretendedPool | None"]:
        if not hasattr(self.local, "allocators"):
            self.local.allocators = [None]
        return self.local.allocators

    def put(self, work: Work, stream: "PretendedStream | None" = None) -> None:
        with self.lock:
            (stream or self.current[-1]).put(work)

    def settle(self) -> None:
        """What is computed at once, and not queued, first waits for the stream."""
        stream = self.current[-1]
        if stream.captured is None:
            with self.lock:
                stream.finish()

    def memory(self, shape: Any, dtype: Any) -> "Pretended":
        self.allocations += 1
        array = np.empty(shape, dtype)
        array.view(np.uint8).fill(0xC7) if array.ndim else array.fill(77)
        self.owned[id(array)] = array
        if pool := self.allocators[-1]:
            pool.used += array.nbytes
        return array.view(Pretended)


class PretendedStream:
    def __init__(self, machine: Machine, non_blocking: bool = False) -> None:
        self.machine = machine
        self.ptr = len(machine.streams)
        machine.streams[self.ptr] = self
        self.queue: list[Work] = []
        self.finished = 0
        self.captured: list[Work] | None = None

    def __enter__(self) -> "PretendedStream":
        self.machine.current.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.machine.current.pop()

    def put(self, work: Work) -> None:
        if self.captured is not None:
            self.captured.append(work)
            return
        self.queue.append(work)
        if self.machine.is_eager and self.ptr != 0:
            self.finish()

    def finish(self, upto: int | None = None) -> None:
        wanted = len(self.queue) if upto is None else upto
        while self.finished < wanted:
            self.finished += 1
            self.queue[self.finished - 1]()

    def synchronize(self) -> None:
        assert self.captured is None, "the host waits for a stream that is capturing"
        with self.machine.lock:
            self.machine.waits += 1
            self.finish()

    def wait_event(self, event: "PretendedEvent") -> None:
        assert self.captured is None
        mark = event.mark  # as it stands now, also if the event is recorded again
        if mark is not None:
            stream, position = mark
            self.machine.put(lambda: stream.finish(position), self)

    def begin_capture(self, mode: int) -> None:
        assert self.ptr != 0, "the default stream cannot capture"
        assert mode == 2, "not relaxed"
        assert not gc.isenabled(), "garbage may be collected in the capture"
        assert self.machine.allocators[-1] is not None, "CuPy's own pool may be used in the capture"
        self.captured = []

    def end_capture(self) -> "PretendedGraph":
        captured, self.captured = self.captured, None
        assert captured is not None
        return PretendedGraph(self.machine, captured)


class PretendedGraph:
    graph = 0

    def __init__(self, machine: Machine, works: list[Work]) -> None:
        self.machine, self.works, self.is_uploaded = machine, works, False

    def upload(self, stream: PretendedStream) -> None:
        self.is_uploaded = True

    def launch(self, stream: PretendedStream) -> None:
        self.machine.put(lambda: [work() for work in self.works], stream)


class PretendedEvent:
    def __init__(self, machine: Machine, disable_timing: bool = False) -> None:
        self.machine = machine
        self.mark: tuple[PretendedStream, int] | None = None

    def record(self, stream: PretendedStream) -> None:
        assert stream.captured is None
        self.mark = stream, len(stream.queue)

    def synchronize(self) -> None:
        if self.mark is not None:
            with self.machine.lock:
                self.mark[0].finish(self.mark[1])


class PretendedPool:
    def __init__(self) -> None:
        self.used = 0

    def malloc(self, size: int) -> None:
        raise AssertionError("only handed on")

    def used_bytes(self) -> int:
        return self.used

    def free_bytes(self) -> int:
        return 1000

    def free_all_blocks(self) -> None:
        pass


class Pretended(np.ndarray):
    """An array on the pretended GPU."""

    machine: Machine

    @property
    def data(self) -> Any:  # type: ignore[override]
        return SimpleNamespace(ptr=self.ctypes.data)

    def get(self) -> np.ndarray:
        assert self.machine.current[-1].captured is None, "a copy to the host in a capture"
        self.machine.waits += 1
        self.machine.settle()
        return np.array(self.view(np.ndarray))

    def copy(self, order: Any = "C") -> "Pretended":
        made = self.machine.memory(self.shape, self.dtype)
        made[...] = self
        return made

    def astype(self, *arguments: Any, **options: Any) -> "Pretended":
        self.machine.settle()
        return super().astype(*arguments, **options)

    def __setitem__(self, index: Any, value: Any) -> None:
        target = np.ndarray.__getitem__(self, index)
        if not isinstance(target, np.ndarray):  # one element
            target = np.ndarray.__getitem__(self, (..., index))
        target, value = target.view(np.ndarray), np.asarray(value).view(np.ndarray)
        self.machine.put(lambda: np.copyto(target, value))

    def __array_ufunc__(self, ufunc: Any, method: str, *given: Any, **options: Any) -> Any:
        self.machine.settle()
        given = tuple(_plain(one) for one in given)
        if "out" in options:
            options["out"] = tuple(_plain(one) for one in options["out"])
        return _pretended(getattr(ufunc, method)(*given, **options))

    def __array_function__(self, function: Any, types: Any, given: Any, options: Any) -> Any:
        self.machine.settle()
        return _pretended(function(*_plain(given), **{k: _plain(v) for k, v in options.items()}))


def _plain(found: Any) -> Any:
    if isinstance(found, Pretended):
        return found.view(np.ndarray)
    return type(found)(map(_plain, found)) if type(found) in (list, tuple) else found


def _pretended(found: Any) -> Any:
    return (
        np.asarray(found).view(Pretended) if isinstance(found, np.ndarray | np.generic) else found
    )


class PretendedDevice:
    """A device that is current inside its context."""

    current: list[int] = [0]  # noqa: RUF012

    def __init__(self, index: int | None = None) -> None:
        self.id = self.current[-1] if index is None else index

    def __enter__(self) -> "PretendedDevice":
        self.current.append(self.id)
        return self

    def __exit__(self, *_: object) -> None:
        self.current.pop()


class PretendedCuPy(ModuleType):
    """NumPy under CuPy's name."""

    def __init__(self, product_error: float = 0.0) -> None:
        super().__init__("cupy")
        machine = Pretended.machine = self.machine = Machine()
        runtime = SimpleNamespace(
            getDeviceCount=lambda: 2,
            getDeviceProperties=lambda _: {"name": b"Pretended", "totalGlobalMem": 2**30},
            memGetInfo=lambda: (500, 2**30),
            memcpyAsync=self._memcpy,
            streamCaptureModeRelaxed=2,
        )
        self.cuda = SimpleNamespace(
            Device=PretendedDevice,
            Stream=lambda **options: PretendedStream(machine, **options),
            Event=lambda **options: PretendedEvent(machine, **options),
            MemoryPool=PretendedPool,
            using_allocator=self._using_allocator,
            get_current_stream=lambda: machine.current[-1],
            alloc_pinned_memory=lambda size: np.empty(size + 256, np.uint8),
            runtime=runtime,
        )
        self._core = SimpleNamespace(core=SimpleNamespace(compile_with_cache=self._module))
        tricks = SimpleNamespace(as_strided=self._as_strided)
        self.lib = SimpleNamespace(stride_tricks=tricks)
        self.product_error = product_error

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(np, name)

    def _memcpy(self, to: int, source: int, size: int, kind: int, stream: int) -> None:
        assert kind == 1
        self.machine.put(lambda: ctypes.memmove(to, source, size), self.machine.streams[stream])

    @contextlib.contextmanager
    def _using_allocator(self, malloc: Any) -> Iterator[None]:
        self.machine.allocators.append(malloc.__self__)
        try:
            yield
        finally:
            self.machine.allocators.pop()

    def _as_strided(self, x: Any, shape: Any, strides: Any) -> Any:
        found = np.lib.stride_tricks.as_strided(x.view(np.ndarray), shape, strides)
        return found.view(Pretended)

    def _module(
        self, source: str, options: tuple[str, ...], *, prepend_cupy_headers: bool
    ) -> "PretendedModule":
        assert options == ("-std=c++17",)
        assert not prepend_cupy_headers
        return PretendedModule(self, source)

    def kernel(self, module: "PretendedModule", name: str) -> Callable[..., None]:
        if name not in module.source:
            raise RuntimeError(f"named symbol not found: {name}")
        machine = self.machine

        def launch(grid: tuple[int], block: tuple[int], arguments: Sequence[Pretended]) -> None:
            capturing = machine.current[-1].captured is not None
            if capturing and name == machine.broken_kernel:
                raise RuntimeError("cudaErrorStreamCaptureUnsupported")
            assert module in machine.modules, "the module is unloaded"
            given = [array.view(np.ndarray) for array in arguments]
            machine.launched.append(name)
            machine.put(lambda: machine.kernels[name](*given))

        return launch

    def get_default_memory_pool(self) -> PretendedPool:
        return PretendedPool()

    def empty(self, shape: Any, dtype: Any = float) -> Pretended:
        return self.machine.memory(shape, dtype)

    def asarray(self, host: Any, dtype: Any = None, *, copy: Any = None, **_: Any) -> Pretended:
        if isinstance(host, Pretended):
            return host.copy() if copy else host
        if id(getattr(host, "base", None)) in self.machine.owned:
            self.machine.settle()  # it is on the GPU, though NumPy cannot know
        made = self.machine.memory(np.shape(host), dtype or np.asarray(host).dtype)
        made[...] = np.array(host)  # read at once, written in its turn
        return made

    def ascontiguousarray(self, array: Any) -> np.ndarray:
        self.machine.settle()
        return np.ascontiguousarray(array.view(np.ndarray)).view(Pretended)

    def arange(self, *arguments: Any, **options: Any) -> np.ndarray:
        return np.arange(*arguments, **options).view(Pretended)

    def matmul(self, A: Any, B: Any) -> Any:
        return np.matmul(A, B) + self.product_error

    def isdtype(self, dtype: Any, kind: Any) -> bool:
        return np.isdtype(dtype, kind)


class PretendedModule:
    """Code on the GPU, as long as it or a kernel of it is held."""

    def __init__(self, cupy: PretendedCuPy, source: str) -> None:
        self.cupy, self.source = cupy, source
        cupy.machine.modules.add(self)

    def get_function(self, name: str) -> Callable[..., None]:
        return self.cupy.kernel(self, name)


class PretendedCublas:
    """cuBLAS, by what its documentation says: matrices by columns, at addresses."""

    TYPES = {0: np.float32, 1: np.float64, 2: np.float16}  # noqa: RUF012
    COMPUTE = {68: np.float32, 70: np.float64, 77: np.float32}  # noqa: RUF012

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.streams: list[int | None] = []  # of each handle
        self.workspaces: list[int] = []
        self.status = 0
        self.computed: list[int] = []
        self.destroyed = 0

    def cublasCreate_v2(self, handle: Any) -> int:  # noqa: N802
        self.streams.append(None)
        self.workspaces.append(0)
        handle._obj.value = len(self.streams)
        return self.status

    def cublasDestroy_v2(self, handle: Any) -> int:  # noqa: N802
        self.destroyed += 1
        return 0

    def cublasSetMathMode(self, handle: Any, mode: int) -> int:  # noqa: N802
        assert mode == 0
        return self.status

    def cublasSetStream_v2(self, handle: Any, stream: int) -> int:  # noqa: N802
        self.streams[handle.value - 1], self.workspaces[handle.value - 1] = stream, 0
        return self.status

    def cublasSetWorkspace_v2(self, handle: Any, address: int, size: int) -> int:  # noqa: N802
        self.workspaces[handle.value - 1] = size
        return self.status

    def cublasGetStatusName(self, status: int) -> bytes:  # noqa: N802
        return {13: b"CUBLAS_STATUS_EXECUTION_FAILED", 15: b"CUBLAS_STATUS_NOT_SUPPORTED"}[status]

    def cublasGemmEx(self, *given: Any) -> int:  # noqa: N802
        return self._multiply(dict(zip(GEMM, given, strict=True)))

    def cublasGemmStridedBatchedEx(self, *given: Any) -> int:  # noqa: N802
        return self._multiply(dict(zip(BATCHED_GEMM, given, strict=True)))

    def _multiply(self, given: dict[str, Any]) -> int:
        call = SimpleNamespace(**{"sA": 0, "sB": 0, "sC": 0, "members": 1, **given})
        handle, m, n, k, compute = call.handle.value - 1, call.m, call.n, call.k, call.compute
        assert self.workspaces[handle] >= 2**22, "no workspace: a capture would allocate"
        assert (call.alpha._obj.value, call.beta._obj.value, call.algorithm) == (1.0, 0.0, -1)
        assert type(call.alpha._obj) is (ctypes.c_double if compute == 70 else ctypes.c_float)
        assert call.ldA >= max(1, k if call.opA else m)
        assert call.ldB >= max(1, n if call.opB else k)
        assert call.ldC >= max(1, m)
        if self.status:
            return self.status

        def by_columns(name: str, rows: int, columns: int) -> np.ndarray:
            address, ld, stride = (getattr(call, kind + name) for kind in ("at", "ld", "s"))
            kind = np.dtype(self.TYPES[getattr(call, f"type{name}")])
            extent = (call.members - 1) * stride + (columns - 1) * ld + rows
            raw = (ctypes.c_char * (extent * kind.itemsize)).from_address(address)
            steps = (stride * kind.itemsize, kind.itemsize, ld * kind.itemsize)
            return np.ndarray((call.members, rows, columns), kind, raw, strides=steps)

        def multiply() -> None:
            A = by_columns("A", *((k, m) if call.opA else (m, k)))
            B = by_columns("B", *((n, k) if call.opB else (k, n)))
            A, B = (
                np.swapaxes(x, -1, -2) if is_transposed else x
                for x, is_transposed in ((A, call.opA), (B, call.opB))
            )
            exact = np.einsum("eik,ekj->eij", A.astype(np.float64), B.astype(np.float64))
            by_columns("C", m, n)[...] = exact.astype(self.COMPUTE[compute])

        self.computed.append(compute)
        self.machine.put(multiply, self.machine.streams[self.streams[handle]])
        return 0


# As in cublas_api.h: cublasGemmEx and cublasGemmStridedBatchedEx.
GEMM = [
    "handle", "opA", "opB", "m", "n", "k", "alpha", "atA", "typeA", "ldA", "atB", "typeB", "ldB",
    "beta", "atC", "typeC", "ldC", "compute", "algorithm",
]  # fmt: skip
BATCHED_GEMM = [
    "handle", "opA", "opB", "m", "n", "k", "alpha", "atA", "typeA", "ldA", "sA",
    "atB", "typeB", "ldB", "sB", "beta", "atC", "typeC", "ldC", "sC",
    "members", "compute", "algorithm",
]  # fmt: skip


def pretend(monkeypatch: pytest.MonkeyPatch, cupy: PretendedCuPy) -> None:
    monkeypatch.setattr(cupy_module, "ask_driver", lambda: (13000, 2))
    monkeypatch.setattr(cupy_module, "installed_wheels", lambda: ("cupy-cuda13x",))
    monkeypatch.setattr(cublas, "load_cublas", lambda: cupy.machine.library)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "array_api_compat.cupy", cupy)


def naive_plan(program: Program, machine: Machine) -> KernelPlan:
    """One kernel for each operation, which computes what the interpreter would."""
    layout = lay_out(program)
    everything = tuple(range(len(layout.buffers)))
    nodes: list[Launch | Product] = []
    names = []
    for number, operation in enumerate(program.operations):
        if operation.function in VIEWS:
            continue
        if operation.function == "matmul":
            A, B = (layout.places[value] for value in operation.values)
            C = layout.places[operation.result]
            nodes.append(Product(A, B, C, operation.computes, operation.result.dtype))
            continue

        def kernel(*buffers: np.ndarray, operation: Any = operation) -> None:
            interpreter = Interpreter(program, layout)
            interpreter.buffers = list(buffers)
            interpreter.bound = [at(layout.places[value], list(buffers)) for value in program.data]
            for call in interpreter._calls(operation):
                call()

        name = f"{operation.function}_{number}"
        machine.kernels[name] = kernel
        names.append(name)
        nodes.append(Launch(name, 1, 32, everything))
    return KernelPlan(program, layout, " ".join(names), tuple(nodes))
