"""Compiled steps on a real GPU: that they agree, in every precision, and what they cost."""

import warnings
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.conftest import gpu_backend
from xpmlp import MLP, OptimizerConfig, Split, TrainConfig
from xpmlp.backends import Backend, select_backend
from xpmlp.backends.cupy import graph
from xpmlp.backends.cupy.cublas import Cublas, EagerNamespace, arithmetic, gemm_of, place_of
from xpmlp.backends.cupy.graph import CapturedProgram
from xpmlp.compiler import record
from xpmlp.training import train
from xpmlp.training.batches import EpochPlan
from xpmlp.training.engine import TOLERANCES
from xpmlp.training.loaders import StreamingLoader, make_loader
from xpmlp.training.state import first_state
from xpmlp.training.step import TrainingData, make_step

pytestmark = pytest.mark.gpu

MODEL, BATCH, ROWS = MLP((784, 64, 32, 10)), 64, 4096
STEPS = 2 * graph.GRAPH_STEPS + 6


@pytest.fixture
def gpu() -> Iterator[Backend]:
    backend = gpu_backend()
    with backend.activate():
        yield backend


class Problem:
    """The lecture's network on random images, on the GPU."""

    def __init__(self, gpu: Backend, *, precision: str = "float32", members: int | None = None):
        from xpmlp.compiler.emit import kernel_plan

        random, optimizer_config = np.random.default_rng(0), OptimizerConfig()
        seed = 0 if members is None else list(range(members))
        dtype = "float64" if precision == "float64" else "float32"
        parameters = MODEL.initialize(seed, backend=gpu, dtype=dtype)
        self.state = first_state(
            MODEL, TrainConfig(optimizer_config=optimizer_config), parameters, gpu
        )
        self.split = Split(
            random.integers(0, 256, (ROWS, MODEL.layer_sizes[0]), dtype=np.uint8),
            random.integers(0, MODEL.layer_sizes[-1], ROWS, dtype=np.uint8),
        )
        self.data = TrainingData(
            gpu.asarray(self.split.X),
            gpu.asarray(self.split.labels),
            gpu.asarray(np.tile(random.permutation(ROWS), 3)),
            gpu.asarray(np.arange(BATCH)),
            gpu.asarray(np.arange(MODEL.layer_sizes[-1])),
        )
        self.make_step = lambda *, xp: make_step(MODEL, optimizer_config=optimizer_config, xp=xp)
        program = record(self.make_step, self.state, self.data, precision=precision)
        self.captured = CapturedProgram(kernel_plan(program), precision=precision)


def host(found: tuple[Any, Any]) -> list[np.ndarray]:
    state, metrics = found
    return [array.get() for array in (state.parameters, state.offset, *metrics)]


@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("precision", ["float32", "float64", "tf32", "float16"])
def test_captured_uncaptured_and_eager_steps_agree(
    gpu: Backend, precision: str, members: int | None
) -> None:
    problem = Problem(gpu, precision=precision, members=members)
    problem.captured.prepare(problem.state, problem.data)
    captured = host(problem.captured.run(problem.state, problem.data, STEPS))
    uncaptured = host(problem.captured.run_uncaptured(problem.state, problem.data, STEPS))
    for one, other in zip(captured, uncaptured, strict=True):
        np.testing.assert_array_equal(one, other)
    copy = problem.state._replace(parameters=problem.state.parameters.copy())
    run = gpu.eager(problem.make_step, precision=precision)
    eager = host(run(copy, problem.data, STEPS))
    tolerance = 10 * TOLERANCES[precision]
    np.testing.assert_allclose(captured[0], eager[0], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(captured[2], eager[2], rtol=tolerance)
    np.testing.assert_allclose(captured[3], eager[3], atol=2)
    assert captured[1] == STEPS * BATCH


def test_a_step_has_few_nodes(gpu: Backend, capsys: pytest.CaptureFixture[str]) -> None:
    problem = Problem(gpu)
    problem.captured.prepare(problem.state, problem.data)
    nodes = problem.captured.nodes_per_step
    with capsys.disabled():
        scheduled = len(problem.captured.kernel_plan.nodes)
        print(f"\n{scheduled} launches and products a step, {nodes} nodes")  # noqa: T201
    assert nodes is not None
    assert nodes <= 22


def test_a_replay_allocates_its_series_alone_and_waits_for_nothing(gpu: Backend) -> None:
    import cupy
    import cupyx

    class Count(cupy.cuda.MemoryHook):  # type: ignore[misc]
        name = "count"

        def __init__(self) -> None:
            self.pooled = 0

        def malloc_preprocess(self, **_: Any) -> None:
            self.pooled += 1

    problem = Problem(gpu)
    problem.captured.prepare(problem.state, problem.data)
    state, _ = problem.captured.run(problem.state, problem.data, STEPS)
    used, count = problem.captured.used_bytes, Count()
    busy = cupy.ones((8192, 8192), cupy.float32)
    cupy.cuda.get_current_stream().synchronize()
    for _ in range(20):  # what keeps the GPU from being done before it is asked
        busy = cupy.matmul(busy, busy) * 1e-4
    before, done = cupy.cuda.Event(), cupy.cuda.Event()
    before.record()
    is_busy = not before.done  # not on a device that works while it is being asked
    with count, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy warns that it does not see every wait
        with cupyx.allow_synchronize(False):
            for _ in range(5):
                state, metrics = problem.captured.run(state, problem.data, STEPS)
        done.record()
    assert not (is_busy and done.done)
    assert count.pooled <= 5 * 2
    assert problem.captured.used_bytes == used
    assert np.isfinite(metrics.loss.get()).all()


def test_a_run_follows_the_stream_of_its_caller(gpu: Backend) -> None:
    import cupy

    problem = Problem(gpu)
    expected = host(problem.captured.run_uncaptured(problem.state, problem.data, 40))
    for stream in (cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream.null):
        with stream:
            parameters = cupy.full_like(problem.state.parameters, cupy.nan)
            busy = cupy.ones((4096, 4096), cupy.float32)
            for _ in range(10):
                busy = cupy.matmul(busy, busy) * 1e-4
            parameters[...] = problem.state.parameters
            state = problem.state._replace(parameters=parameters)
            found = problem.captured.run(state, problem.data, 40)
            parameters[...] = cupy.nan
            for one, other in zip(host(found), expected, strict=True):
                np.testing.assert_array_equal(one, other)


def test_data_read_where_it_lies_can_be_other_data(gpu, monkeypatch) -> None:
    monkeypatch.setattr(graph, "LARGE_DATA_BYTES", 2**20)
    problem = Problem(gpu)
    other = problem.data._replace(X=gpu.asarray(255 - problem.split.X))
    expected = [
        host(problem.captured.run_uncaptured(problem.state, data, 40))
        for data in (problem.data, other)
    ]
    for number in (0, 1, 0, 1):
        found = host(problem.captured.run(problem.state, (problem.data, other)[number], 40))
        for one, two in zip(found, expected[number], strict=True):
            np.testing.assert_array_equal(one, two)
    assert not np.array_equal(expected[0][2], expected[1][2])


@pytest.mark.parametrize(
    ("dtype", "stored", "result", "tolerance"),
    [
        ("float32", "float32", "float32", 1e-5),
        ("tf32", "float32", "float32", 2e-2),
        ("float16", "float16", "float32", 2e-2),
        ("float64", "float64", "float64", 1e-13),
    ],
)
def test_products_of_all_layouts(
    gpu: Backend, dtype: str, stored: str, result: str, tolerance: float
) -> None:
    import cupy

    handle = Cublas(cupy.cuda.get_current_stream(), cupy)
    random = np.random.default_rng(2)

    def array(*shape: int) -> Any:
        return cupy.asarray(random.standard_normal(shape), dtype=stored)

    flat = array(3, 5000)
    W = flat[:, 7 : 7 + 70 * 33].reshape(3, 70, 33)
    for A, B in [
        (array(65, 70), array(70, 33)),
        (array(70, 65).T, array(33, 70).T),
        (array(65, 70), W),
        (array(3, 65, 33), W.swapaxes(-1, -2)),
        (array(3, 70, 65).swapaxes(-1, -2), W),
        (array(1, 70), array(70, 1)),
        (array(65, 1), array(1, 33)),
        (array(65, 140)[:, 10:80], W),
    ]:
        members = np.broadcast_shapes(A.shape[:-2], B.shape[:-2])
        C = cupy.full((*members, A.shape[-2], B.shape[-1]), cupy.nan, dtype=result)
        arrays = (A, B, C)
        gemm = gemm_of(*(place_of(one, number) for number, one in enumerate(arrays)))
        handle.multiply(gemm, arrays, arithmetic(dtype, result))
        expected = np.matmul(A.get().astype("float64"), B.get().astype("float64"))
        scale = np.linalg.norm(expected)
        assert np.linalg.norm(C.get() - expected) <= tolerance * scale


@pytest.mark.parametrize("precision", ["float32", "float64", "tf32", "float16"])
def test_eager_products_on_any_stream_and_without_elements(gpu: Backend, precision: str) -> None:
    import cupy

    xp = EagerNamespace(gpu.xp, cupy, precision=precision)
    dtype = "float64" if precision == "float64" else "float32"
    A = cupy.asarray(np.random.default_rng(0).standard_normal((70, 70)), dtype)
    expected = xp.matmul(A, A).get()
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(3)]
    found = []
    for stream in streams * 4:
        with stream:
            found.append(xp.matmul(A, A))
    cupy.cuda.Device().synchronize()
    for one in found:
        np.testing.assert_array_equal(one.get(), expected)
    for M, K, N in [(0, 3, 2), (2, 0, 3), (3, 2, 0)]:
        empty = xp.matmul(cupy.ones((M, K), dtype), cupy.ones((K, N), dtype))
        assert (empty.dtype, empty.shape) == (dtype, (M, N))
        assert not empty.get().any()


def test_kernels_are_unloaded_with_their_program(gpu, monkeypatch) -> None:
    """CuPy's `RawModule` keeps each for good, which a long sweep fills the GPU with."""
    from cupy.cuda import function

    modules = weakref.WeakSet[Any]()

    class Counted(function.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            modules.add(self)

    monkeypatch.setattr(function, "Module", Counted)
    monkeypatch.setitem(globals(), "BATCH", 8)
    alive = []
    for hidden in range(3, 11):
        monkeypatch.setitem(globals(), "MODEL", MLP((7, hidden, 4)))
        problem = Problem(gpu)
        problem.captured.prepare(problem.state, problem.data)
        problem.captured.run(problem.state, problem.data, 3)
        loaded = len(modules)
        del problem
        alive.append(len(modules))
        assert loaded == alive[-1] + 1
    kernels_of_cupy = alive[0]  # of its own operations, each once
    assert alive == [kernels_of_cupy] * len(alive)


def test_streamed_rows_give_the_bits_of_resident_ones(gpu: Backend) -> None:
    problem = Problem(gpu)
    size = problem.split.X.nbytes
    found = []
    for limit in (None, size // 2):
        rows = make_loader(
            problem.split, batch_size=BATCH, fixed=problem.data, backend=gpu, limit=limit
        )
        assert isinstance(rows, StreamingLoader) == (limit is not None)
        state: Any = problem.state
        state = state._replace(parameters=state.parameters.copy())
        run, losses = None, []
        for epoch in range(3):
            order = np.random.default_rng(epoch).permutation(ROWS)
            for data, steps, offset in rows.epoch(EpochPlan(order)):
                state = state._replace(offset=offset)
                if run is None:
                    run = gpu.compile(problem.make_step, state, data, precision="float32")
                state, metrics = run(state, data, steps)
                losses.append(metrics.loss)  # not waited for
        found.append([state.parameters.get(), np.concatenate([loss.get() for loss in losses])])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("precision", ["float32", "float64", "tf32", "float16"])
def test_training_is_compiled_and_agrees_with_numpy(gpu: Backend, precision: str) -> None:
    random = np.random.default_rng(0)
    split = Split(
        random.integers(0, 256, (ROWS, MODEL.layer_sizes[0]), dtype=np.uint8),
        random.integers(0, MODEL.layer_sizes[-1], ROWS),
    )
    found = train(MODEL, split, epochs=2, backend=gpu, dtype=precision, compile="require")
    exact = "float64" if precision == "float64" else "float32"
    expected = train(MODEL, split, epochs=2, backend=select_backend("numpy"), dtype=exact)
    tolerance = 10 * TOLERANCES[precision]
    np.testing.assert_allclose(found.history.loss, expected.history.loss, rtol=tolerance)
