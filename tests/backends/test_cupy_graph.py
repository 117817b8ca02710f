"""Compiled steps on a pretended GPU: memory, order of work, graphs, and what goes wrong."""

import gc
from typing import Any

import numpy as np
import pytest
from pretended_cupy import Machine, Pretended, PretendedCuPy, naive_plan

from xpmlp import MLP, OptimizerConfig, TrainConfig, select_backend
from xpmlp.backends.cupy import CuPyBackend, graph
from xpmlp.backends.cupy.cublas import CublasError
from xpmlp.backends.cupy.graph import CapturedProgram, CaptureFailed, count_nodes
from xpmlp.compiler import Interpreter, record
from xpmlp.compiler.kernel_plan import Launch, Product
from xpmlp.training.engine import Engine
from xpmlp.training.state import first_state
from xpmlp.training.step import TrainingData, make_step

pytestmark = pytest.mark.extended(keep=8)

MODEL = MLP((6, 5, 3))
BATCH, ROWS = 8, 64


class Problem:
    """A small training run, on the pretended GPU and on the host."""

    def __init__(self, cupy: PretendedCuPy, members: int | None = None) -> None:
        self.cupy, self.machine = cupy, cupy.machine
        random = np.random.default_rng(3)
        seeds = 0 if members is None else list(range(members))
        parameters = np.asarray(MODEL.initialize(seeds, dtype="float32"))
        optimizer_config = OptimizerConfig(learning_rate=0.1)
        self.host_state = first_state(
            MODEL,
            TrainConfig(optimizer_config=optimizer_config),
            parameters,
            select_backend("numpy"),
        )
        self.host_data = TrainingData(
            random.integers(0, 255, (ROWS, 6), dtype=np.uint8),
            random.integers(0, 3, ROWS),
            random.permutation(ROWS),
            np.arange(BATCH),
            np.arange(3),
        )
        self.make_step = lambda *, xp: make_step(MODEL, optimizer_config=optimizer_config, xp=xp)
        self.program = record(self.make_step, self.host_state, self.host_data)
        self.kernel_plan = naive_plan(self.program, self.machine)
        self.state, self.data = self.on_device(self.host_state), self.on_device(self.host_data)

    def on_device(self, nest: Any) -> Any:
        if nest is None:
            return None
        if isinstance(nest, tuple):
            return type(nest)(*map(self.on_device, nest))
        return self.cupy.asarray(nest, copy=True)

    def captured(self, *, unroll: int = 4, **options: Any) -> CapturedProgram:
        return CapturedProgram(self.kernel_plan, unroll=unroll, **options)

    def expected(self, count: int, data: Any = None) -> tuple[np.ndarray, list[np.ndarray]]:
        state, series = Interpreter(self.program).run(
            self.host_state, data or self.host_data, count
        )
        return state.parameters, series


@pytest.fixture(params=[False, True], ids=["lazy", "eager"])
def problem(request: pytest.FixtureRequest, cupy: PretendedCuPy) -> Problem:
    cupy.machine.is_eager = request.param
    return Problem(cupy)


def same(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found.get(), expected, rtol=2e-6, atol=2e-6)


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_steps_are_those_of_the_program(problem: Problem, count: int) -> None:
    program = problem.captured()
    program.prepare(problem.state, problem.data)
    state, metrics = program.run(problem.state, problem.data, count)
    parameters, (losses, correct) = problem.expected(count)
    same(state.parameters, parameters)
    same(metrics.loss, losses)
    np.testing.assert_array_equal(metrics.metric_sum.get(), correct)
    assert state.offset.get() == count * BATCH
    np.testing.assert_array_equal(problem.state.parameters.get(), problem.host_state.parameters)


def test_captured_and_uncaptured_steps_have_the_same_bits(problem: Problem) -> None:
    one, other = problem.captured(), problem.captured()
    one_state, one_metrics = one.run_uncaptured(problem.state, problem.data, 7)
    other.prepare(problem.state, problem.data)
    other_state, other_metrics = other.run(problem.state, problem.data, 7)
    for found, expected in zip(
        (*other_state, *other_metrics), (*one_state, *one_metrics), strict=True
    ):
        if found is not None and not isinstance(found, tuple):
            np.testing.assert_array_equal(found.get(), expected.get())


def test_a_run_goes_on_from_its_own_state_and_from_any_other(problem: Problem) -> None:
    program = problem.captured()
    state, first = program.run(problem.state, problem.data, 2)
    first_losses = first.loss.get()
    state, second = program.run(state, problem.data, 4)
    parameters, (losses, _) = problem.expected(6)
    same(state.parameters, parameters)
    same(first.loss, losses[:2])
    np.testing.assert_array_equal(first.loss.get(), first_losses)  # fresh arrays for each run
    same(second.loss, losses[2:])
    again = state._replace(offset=problem.cupy.asarray(np.array(0)))
    _, metrics = program.run(again, problem.data, 1)
    state, metrics = program.run(problem.state, problem.data, 6)
    same(metrics.loss, losses)
    same(state.parameters, parameters)


def test_a_run_comes_after_what_its_caller_has_queued(problem: Problem) -> None:
    program = problem.captured()
    program.prepare(problem.state, problem.data)
    parameters = problem.cupy.empty(problem.host_state.parameters.shape, np.float32)
    parameters[...] = problem.host_state.parameters
    order = problem.cupy.empty(ROWS, np.int64)
    order[...] = problem.host_data.order
    state = problem.state._replace(parameters=parameters)
    state, metrics = program.run(state, problem.data._replace(order=order), 4)
    parameters[...] = 0.0
    order[...] = 0
    same(metrics.loss, problem.expected(4)[1][0])


@pytest.mark.extended
def test_other_data_is_taken_over(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small arrays are copied into the same graphs, large ones are read where they lie."""
    other = problem.host_data._replace(
        X=problem.host_data.X[::-1].copy(), order=problem.host_data.order[::-1].copy()
    )
    for bound in [graph.LARGE_DATA_BYTES, problem.host_data.X.nbytes]:
        monkeypatch.setattr(graph, "LARGE_DATA_BYTES", bound)
        program = problem.captured()
        program.run(problem.state, problem.data, 4)
        before = len(problem.machine.launched)
        data = problem.on_device(other)
        state, metrics = program.run(problem.state, data, 4)
        parameters, (losses, _) = problem.expected(4, other)
        same(metrics.loss, losses)
        same(state.parameters, parameters)
        was_captured_again = len(problem.machine.launched) > before
        assert was_captured_again == (bound < graph.LARGE_DATA_BYTES or bound == data.X.nbytes)
        before = len(problem.machine.launched)
        # Streamed blocks come and go in two places; their graphs are kept.
        for back in (problem.data, data._replace(X=data.X[...]), problem.data):
            _, metrics = program.run(problem.state, back, 4)
        same(metrics.loss, problem.expected(4)[1][0])
        assert len(problem.machine.launched) == before


def test_few_sets_of_large_data_are_kept(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "LARGE_DATA_BYTES", 1)
    program = problem.captured()
    for _ in range(graph.MOST_BINDINGS + 3):
        fresh = problem.on_device(problem.host_data)
        _, metrics = program.run(problem.state, fresh, 1)
        same(metrics.loss, problem.expected(1)[1][0])
    assert len(program._bindings) == graph.MOST_BINDINGS


def test_leaves_of_its_own_state_can_change_places(problem: Problem) -> None:
    """As nothing in training does; but a copy must not read what was just overwritten."""
    cupy = problem.cupy

    def make(*, xp: Any) -> Any:
        def step(state: Any, data: Any) -> Any:
            first, second = state[0] + 1.0, state[1] + 10.0
            return (first, second), (xp.sum(first), xp.sum(second))

        return step

    state = (cupy.asarray(np.zeros(3)), cupy.asarray(np.ones(3)))
    program = CapturedProgram(naive_plan(record(make, state, ()), problem.machine), unroll=2)
    (first, second), _ = program.run(state, (), 2)
    (first, second), _ = program.run((second, first), (), 1)
    assert (first.get().tolist(), second.get().tolist()) == ([22.0] * 3, [12.0] * 3)


def test_members_train_at_once(cupy: PretendedCuPy) -> None:
    problem = Problem(cupy, members=3)
    program = problem.captured()
    state, metrics = program.run(problem.state, problem.data, 5)
    parameters, (losses, correct) = problem.expected(5)
    assert metrics.loss.shape == (5, 3)
    same(metrics.loss, losses)
    same(state.parameters, parameters)
    np.testing.assert_array_equal(metrics.metric_sum.get(), correct)


def test_a_replay_allocates_its_series_alone_and_waits_for_nothing(problem: Problem) -> None:
    program = problem.captured()
    program.prepare(problem.state, problem.data)
    state, _ = program.run(problem.state, problem.data, 7)  # graphs of 4, 2 and 1
    used, machine = program.used_bytes, problem.machine
    allocations, waits, launched = machine.allocations, machine.waits, len(machine.launched)
    queued = len(program._stream.queue)
    for _ in range(3):
        state, _ = program.run(state, problem.data, 7)
        # The wait, graphs, series, and parameters and offset after the graph of one step.
        assert len(program._stream.queue) - queued == 1 + 3 + 2 * 3 + 2
        queued = len(program._stream.queue)
    assert machine.allocations - allocations == 3 * 2
    assert program.used_bytes == used
    assert machine.waits == waits
    assert len(machine.launched) == launched
    assert all(made.is_uploaded for made in program._graphs.values())


def test_nodes_are_captured_in_their_order(problem: Problem) -> None:
    program = problem.captured(unroll=2)
    program.prepare(problem.state, problem.data)
    wanted = [node.kernel for node in problem.kernel_plan.nodes if isinstance(node, Launch)]
    assert problem.machine.launched == wanted * 3  # once to warm up, two steps in the graph
    products = sum(isinstance(node, Product) for node in problem.kernel_plan.nodes)
    works = program._graphs[2].works
    assert len(works) == 2 * (len(wanted) + products)  # metrics cost no node


def test_a_capture_that_fails_says_why_and_changes_nothing(problem: Problem) -> None:
    program = problem.captured()
    problem.machine.broken_kernel = next(
        node.kernel for node in problem.kernel_plan.nodes if isinstance(node, Launch)
    )
    with pytest.raises(CaptureFailed, match="StreamCaptureUnsupported") as raised:
        program.prepare(problem.state, problem.data)
    assert isinstance(raised.value.__cause__, RuntimeError)
    assert gc.isenabled()
    assert program._stream.captured is None
    np.testing.assert_array_equal(problem.state.parameters.get(), problem.host_state.parameters)
    problem.machine.broken_kernel = ""
    state, _ = program.run(problem.state, problem.data, 3)
    problem.machine.broken_kernel = problem.machine.launched[0]
    with pytest.raises(CaptureFailed):
        program.run(state, problem.data, 7)  # there is no graph of 4 yet
    same(state.parameters, problem.expected(3)[0])


def test_a_product_that_fails_is_told(problem: Problem) -> None:
    program = problem.captured()
    problem.machine.library.status = 13
    with pytest.raises(CublasError, match="EXECUTION_FAILED"):
        program.prepare(problem.state, problem.data)


def test_arrays_of_other_shapes_are_refused(problem: Problem) -> None:
    program = problem.captured()
    wrong = problem.state._replace(parameters=problem.cupy.asarray(np.zeros(3, np.float32)))
    with pytest.raises(ValueError, match=r"the state is .*\(3,\).* the program was made for"):
        program.run(wrong, problem.data, 1)


def test_precisions_change_products_alone(problem: Problem) -> None:
    for precision, compute in (("tf32", 77), ("float32", 68)):
        problem.machine.library.computed.clear()
        problem.captured(precision=precision).run_uncaptured(problem.state, problem.data, 1)
        assert set(problem.machine.library.computed) == {compute}


def test_states_that_are_read_after_their_successors(problem: Problem) -> None:
    """Each has two buffers: a step reads one and writes the other, in any order."""

    def make(*, xp: Any) -> Any:
        def step(state: Any, _: Any) -> Any:
            first, second = state
            return (second * 2.0, first + 1.0), (xp.sum(second), xp.max(first))

        return step

    state = (problem.cupy.asarray(np.zeros(2)), problem.cupy.asarray(np.ones(2)))
    program = record(make, state, ())
    captured = CapturedProgram(naive_plan(program, problem.machine), unroll=4)
    for count in (1, 2, 4, 7):
        new_state, metrics = captured.run(state, (), count)
        wanted, series = Interpreter(program).run((np.zeros(2), np.ones(2)), (), count)
        for one, other in zip((*new_state, *metrics), (*wanted, *series), strict=True):
            np.testing.assert_array_equal(one.get(), other)


def test_memory_goes_with_the_program(problem: Problem) -> None:
    program = problem.captured()
    state, _ = program.run(problem.state, problem.data, 1)
    del program
    gc.collect()
    assert problem.machine.library.destroyed == 1
    same(state.parameters, problem.expected(1)[0])  # what it returned is still there


@pytest.mark.extended
def test_kernels_are_unloaded_with_their_program(problem: Problem) -> None:
    modules, kept = problem.machine.modules, problem.captured()
    for _ in range(40):
        program = problem.captured()
        program.prepare(problem.state, problem.data)
        state, metrics = program.run(problem.state, problem.data, 1)
        assert len(modules) == 2
        del program
        assert len(modules) == 1
        same(metrics.loss, problem.expected(1)[1][0])  # queued before
    kept.run(state, problem.data, 1)


@pytest.mark.parametrize("small", [0, graph.SMALL_DATA_BYTES])
def test_rows_that_stay_are_not_copied(problem, monkeypatch, small: int) -> None:
    monkeypatch.setattr(graph, "SMALL_DATA_BYTES", small)
    number = problem.kernel_plan.layout.places[problem.program.data[0]].buffer
    program = problem.captured()
    program.prepare(problem.state, problem.data)
    used = program.used_bytes
    is_copied = program._buffers[number].ctypes.data != problem.data.X.ctypes.data
    assert is_copied == bool(small)
    # Another array is copied, as the next one is: into the same graphs.
    other = problem.host_data._replace(X=problem.host_data.X[::-1].copy())
    for host in (other, problem.host_data, other):
        _, metrics = program.run(problem.state, problem.on_device(host), 4)
        same(metrics.loss, problem.expected(4, host)[1][0])
    assert len(program._bindings) == 1  # what was read where it lay is not kept
    copies = sum(array.nbytes for array in problem.host_data if array is not None)
    assert program.used_bytes == used + (0 if small else copies)


def test_nodes_are_counted_only_where_the_driver_does(monkeypatch: pytest.MonkeyPatch) -> None:
    class Graph:
        graph = 5

    class Driver:
        class cuGraphGetNodes:  # noqa: N801
            def __new__(cls, *given: Any) -> int:
                assert given[:2] == (5, None)
                given[2]._obj.value = 44
                return 0

    monkeypatch.setattr(graph, "load_driver", Driver)
    assert count_nodes(Graph()) == 44
    Graph.graph = 0
    assert count_nodes(Graph()) is None

    def none() -> None:
        raise OSError("no driver")

    monkeypatch.setattr(graph, "load_driver", none)
    assert count_nodes(Graph()) is None


@pytest.mark.parametrize("compile", ["require", "off"])
def test_a_run_holds_one_workspace(cupy, monkeypatch, compile: str) -> None:
    library, problem = cupy.machine.library, Problem(cupy)
    handles = list[int]()
    create = library.cublasCreate_v2

    def count(handle: Any) -> int:
        handles.append(len(library.streams) - library.destroyed)
        return create(handle)

    monkeypatch.setattr(library, "cublasCreate_v2", count)
    monkeypatch.setattr("xpmlp.compiler.emit.kernel_plan", lambda _: problem.kernel_plan)
    backend = CuPyBackend("cupy", cupy, cupy.cuda.Device(0), device_name="cuda:0")
    engine = Engine(backend, problem.make_step, MODEL, precision="float32", compile=compile)
    engine.start(problem.state, problem.data, steps=8)
    engine.run(problem.state, problem.data, 8)
    assert engine.is_compiled == (compile == "require")
    # The proof's eager steps have given theirs back before the graph's is made.
    assert handles == ([0, 0] if compile == "require" else [0])


def test_backend_says_what_it_can(cupy: PretendedCuPy) -> None:
    backend = CuPyBackend("cupy", cupy, cupy.cuda.Device(0), device_name="cuda:0")
    assert backend.precisions == ("float32", "float64", "tf32", "float16")
    assert backend.free_memory() == 1500
    assert backend.compiles
    assert backend.overwrites  # so a failure in mid-run starts over from a copy
    assert isinstance(cupy.machine, Machine)
    problem = Problem(cupy)
    for precision, compute in (("tf32", 77), ("float16", 68)):
        cupy.machine.library.computed.clear()
        run = backend.eager(problem.make_step, precision=precision)
        state, metrics = run(problem.state, problem.data, 2)
        assert isinstance(state.parameters, Pretended)
        np.testing.assert_allclose(metrics.loss.get(), problem.expected(2)[1][0], rtol=1e-2)
        assert set(cupy.machine.library.computed) == {compute}
        problem = Problem(cupy)
