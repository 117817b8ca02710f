"""The profile of a step: its phases, its layers, its sums, and that the run knows nothing of it."""

import functools
import itertools
import math
from typing import Any

import numpy as np
import pytest

from tests.training import small_runs
from xpmlp import MLP, OptimizerConfig, Split, TrainConfig, Trainer
from xpmlp.algebra import ACTIVATIONS
from xpmlp.backends import Backend
from xpmlp.backends.numpy import NumPyBackend
from xpmlp.compiler import Program, record
from xpmlp.compiler.scopes import Phase
from xpmlp.training import profile as profile_module
from xpmlp.training.profile import BETWEEN, profile
from xpmlp.training.recovery import MemoryPlan
from xpmlp.training.state import first_state
from xpmlp.training.step import TrainingData, TrainingState, make_step

TICK = 2.0**-10
BATCH = 8


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is timed says nothing here."""
    for name, value in (("SIDE", 16), ("SIDE_ON_GPU", 16), ("SECONDS", 0.0)):
        monkeypatch.setattr(profile_module, name, value)


def begin(model: MLP, backend: Backend | None = None, **changes: Any) -> Trainer:
    random = np.random.default_rng(0)
    X = random.integers(0, 256, (100, model.layer_sizes[0]), dtype=np.uint8)
    settings = {
        "parameters": model.initialize(0),
        "optimizer_config": OptimizerConfig(learning_rate=0.5),
    }
    settings |= {"backend": backend or NumPyBackend(), "epochs": 2, "seed": 3, **changes}
    split = Split(X, random.integers(0, model.layer_sizes[-1], 100))
    return small_runs.begin(model, split, **settings)


def traced(model: MLP, members: int = 0) -> Program:
    parameters = model.initialize(range(members) if members else 0)
    state = first_state(
        model,
        TrainConfig(optimizer_config=OptimizerConfig(learning_rate=0.5)),
        parameters,
        NumPyBackend(),
    )
    X, labels = np.zeros((20, model.layer_sizes[0]), np.uint8), np.zeros(20, np.int64)
    classes = np.arange(model.layer_sizes[-1])
    data = TrainingData(X, labels, np.arange(20), np.arange(BATCH), classes)
    return record(functools.partial(make_step, model), state, data)


def phases_of(program: Program) -> list[Phase]:
    return [operation.phase for operation in program.operations]


def expected_phases(layers: int, hidden: str) -> list[tuple[int | None, str]]:
    """The step of the lecture, in words."""
    forward: list[tuple[int | None, str]] = []
    backward: list[tuple[int | None, str]] = []
    for layer in range(1, layers):
        forward += [(layer, "forward product + bias"), (layer, hidden)]
        backward[:0] = [(layer + 1, "backward dW, db, dA"), (layer, f"backward {hidden}")]
    if hidden == "identity":  # which does nothing
        forward, backward = forward[::2], backward[::2]
    return [
        (None, "rows: take, scale, one-hot"),
        (None, "W, b as views of one vector"),
        *forward,
        (layers, "forward product + bias"),
        (None, "softmax, cross-entropy"),
        (None, "backward dL"),
        *backward,
        (1, "backward dW, db"),
        (None, "gradients as one vector"),
        (None, "count right answers"),
        (None, "update"),
    ]


@pytest.mark.parametrize("hidden", ACTIVATIONS)
@pytest.mark.parametrize("members", [0, 3])
@pytest.mark.parametrize("widths", [(6, 3), (6, 5, 3), (6, 5, 5, 3), (5, 5, 5, 5, 5)])
def test_phases_and_layers_are_those_of_the_textbook(
    widths: tuple[int, ...], members: int, hidden: str
) -> None:
    program = traced(MLP(widths, activation=hidden), members)
    phases = phases_of(program)
    assert len(phases) == len(program.operations)
    assert list(dict.fromkeys(phases)) == expected_phases(len(widths) - 1, hidden)


def test_an_operation_is_in_the_phase_of_what_it_computes() -> None:
    program = traced(MLP((6, 5, 4, 3)))
    found = {phase: list[str]() for phase in phases_of(program)}
    for operation, phase in zip(program.operations, phases_of(program), strict=True):
        found[phase].append(operation.function)
    assert found[Phase(2, "forward product + bias")] == ["matmul", "getitem", "add"]
    assert found[Phase(1, "backward dW, db")] == ["matrix_transpose", "matmul", "sum"]
    assert found[Phase(None, "update")] == ["multiply", "subtract", "add"]
    assert found[Phase(None, "rows: take, scale, one-hot")] == [
        "add", "take", "take", "astype", "divide", "take", "getitem", "equal", "astype"
    ]  # fmt: skip


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("widths", [(6, 3), (6, 5, 3), (6, 5, 4, 3)])
def test_products_of_each_phase_are_counted(widths: tuple[int, ...], members: int) -> None:
    model = MLP(widths)
    parameters = model.initialize(range(members) if members > 1 else 0)
    found = profile(begin(model, parameters=parameters))
    products = model.products(BATCH)
    assert found.flops == 2 * members * sum(map(math.prod, products))
    pairs = enumerate(itertools.pairwise(widths), start=1)
    one_product = {layer: 2 * members * BATCH * l_in * l_out for layer, (l_in, l_out) in pairs}
    counts = {"forward product + bias": 1, "backward dW, db": 1, "backward dW, db, dA": 2}
    for (layer, name), _, flops in found.timings:
        assert flops == (one_product[layer] * counts.get(name, 0) if layer else 0)


def test_run_after_it_is_the_run_without_it(backend: Backend) -> None:
    model = MLP((6, 5, 4))
    expected = begin(model, backend).run()
    trainer = begin(model, backend)
    before = trainer.snapshot()
    found = profile(trainer)
    after = trainer.snapshot()
    np.testing.assert_array_equal(before.parameters, after.parameters)
    assert (after.epoch, after.step, after.history.losses) == (0, 0, [])
    trainer.run()
    to_numpy = backend.to_numpy
    np.testing.assert_array_equal(to_numpy(trainer.parameters), to_numpy(expected.parameters))
    np.testing.assert_array_equal(trainer.history.loss, expected.history.loss)
    np.testing.assert_array_equal(trainer.history.accuracy, expected.history.accuracy)
    assert found.how == trainer.engine.how
    assert found.is_apart == (trainer.engine.is_compiled and backend.name != "numpy")


def test_a_run_that_has_begun_can_be_profiled() -> None:
    model = MLP((6, 5, 4))
    expected = begin(model, epochs=3).run()
    trainer = begin(model, epochs=3)
    trainer.restore(begin(model, epochs=1).run().snapshot())
    profile(trainer)
    np.testing.assert_array_equal(trainer.run().parameters, expected.parameters)


def test_phases_timed_apart_make_the_same_steps(backend: Backend) -> None:
    """What is timed is the step, whatever the parts that it is cut into."""
    model = MLP((6, 5, 4))
    trainer = begin(model, backend, parameters=model.initialize(0, dtype="float64"))
    program, heard = traced_for(trainer), list[int]()
    count = len(program.operations)
    data = data_of(trainer)
    to_numpy = backend.to_numpy
    for starts in ([0], list(range(count)), [0, count // 2]):
        heard.clear()
        runner = backend.timed(program, starts, heard.append, precision="float64")
        state, metrics = runner(copied(trainer), data, 3)
        assert heard == [*range(len(starts) + 1)] * 3
        maker = functools.partial(make_step, model)
        eager = backend.eager(maker, precision="float64")
        expected, expected_metrics = eager(copied(trainer), data, 3)
        # JAX compiles a part as a whole, and rounds differently in it.
        tolerance = 1e-12 if backend.name == "jax" else 0.0
        np.testing.assert_allclose(
            to_numpy(state.parameters), to_numpy(expected.parameters), tolerance, tolerance
        )
        np.testing.assert_allclose(
            to_numpy(metrics.loss), to_numpy(expected_metrics.loss), tolerance
        )
        assert int(state.offset) == int(expected.offset) == 3 * BATCH


def copied(trainer: Trainer) -> TrainingState:
    state, xp = trainer.state, trainer.backend.xp
    return state._replace(
        parameters=xp.asarray(state.parameters, copy=True),
        offset=xp.asarray(state.offset, copy=True),
    )


def data_of(trainer: Trainer) -> TrainingData:
    asarray, (X, labels) = trainer.backend.asarray, trainer.split
    rows, classes = np.arange(len(labels)), np.arange(trainer.model.layer_sizes[-1])
    return TrainingData(*map(asarray, (X, labels, rows, np.arange(BATCH), classes)))


def traced_for(trainer: Trainer) -> Program:
    maker = functools.partial(make_step, trainer.model)
    return record(maker, trainer.state, data_of(trainer))


class Clock:
    """One tick later whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += TICK
        return self.now


def test_a_known_clock_gives_known_times_and_shares() -> None:
    found = profile(begin(MLP((6, 5, 4))), clock=Clock())
    times = {timing.phase: timing.seconds / TICK for timing in found.timings}
    assert times.pop(Phase(None, "rows: take, scale, one-hot")) == 1
    assert set(times.values()) == {1}
    assert list(times)[-1] == BETWEEN
    assert found.seconds == (len(times) + 1) * TICK
    assert found.step == TICK / (100 // BATCH)  # 12 steps between two looks at the clock
    assert found.ceiling == 2 * 16**3 / TICK
    assert found.slowdown == 1.0


def test_ceiling_is_the_fastest_phase_where_the_product_is_slower(monkeypatch) -> None:
    """As when the machine is busy during the product alone."""
    monkeypatch.setattr(profile_module, "SIDE", 2)
    found = profile(begin(MLP((6, 5, 4))), clock=Clock())
    assert found.ceiling == max(one.flops / one.seconds for one in found.timings) > 2 * 2**3 / TICK


def test_phase_in_several_parts_of_a_step_has_their_sum() -> None:
    trainer = begin(MLP((6, 5, 4)))
    trainer.memory = MemoryPlan(
        parts=2
    )  # each batch in two halves: forward and backward, and again
    found = profile(trainer, clock=Clock())
    times = {timing.phase: timing.seconds / TICK for timing in found.timings}
    assert times[Phase(1, "forward product + bias")] == 2
    assert times[Phase(1, "backward dW, db")] == 2
    assert times[Phase(None, "rows: take, scale, one-hot")] == 1


def test_time_between_steps_is_zero_for_single_step() -> None:
    """After the last step of a run, nothing that a run does is left to time."""
    found = profile(begin(MLP((6, 5, 4)), batch_size=100), clock=Clock())
    assert found.timings[-1] == (BETWEEN, 0.0, 0)
    assert {timing.seconds for timing in found.timings[:-1]} == {TICK}


def test_seconds_of_a_phase_are_the_median_over_steps() -> None:
    """Each part of a step has some slow laps, and its median is not moved by them."""
    laps = [phase for phase, _ in itertools.groupby(phases_of(traced_for(begin(MLP((6, 5, 4))))))]
    assert (len(laps) + 1) % 11  # so that no part has all of them

    class Stuttering(Clock):
        looks = 0

        def __call__(self) -> float:
            self.looks += 1
            self.now += 1000 * TICK * (self.looks % 11 == 0)
            return super().__call__()

    found = profile(begin(MLP((6, 5, 4))), clock=Stuttering())
    assert {timing.seconds for timing in found.timings} == {TICK}


def test_profile_says_where_the_run_is_compiled_differently() -> None:
    assert not profile(begin(MLP((6, 5, 4)), compile="require")).is_apart
    eagerly = profile(begin(MLP((6, 5, 4)), compile="off"))
    assert eagerly.is_apart
    assert eagerly.how == "step by step, as asked for"
