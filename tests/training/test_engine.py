"""The engine: the same bits compiled and not, a proof at the start, and a way on when it fails."""

import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from xpmlp import MLP, InputError, OptimizerConfig, Split, Trainer, select_backend
from xpmlp.backends import Backend, StepMetrics
from xpmlp.backends.base import Runner
from xpmlp.backends.numpy import NumPyBackend
from xpmlp.errors import NotCompiled
from xpmlp.optimizers import OPTIMIZERS, sgd
from xpmlp.training import train
from xpmlp.training.step import TrainingState

pytestmark = pytest.mark.extended(keep=12)

MODEL = MLP((12, 8, 6, 4))
Change = Callable[[TrainingState, StepMetrics, int], tuple[TrainingState, StepMetrics]]


def rows(count: int = 400) -> Split:
    random = np.random.default_rng(0)
    X = random.integers(0, 256, (count, 12), dtype=np.uint8)
    return Split(X, random.integers(0, 4, count))


class Faulty(NumPyBackend):
    """NumPy with a compiler that changes what its runs return, from the given call on."""

    def __init__(self, change: Change, *, since: int = 0) -> None:
        super().__init__()
        self.change, self.since, self.runs = change, since, 0

    def compile(self, *arguments: Any, **options: Any) -> Runner:
        runner = super().compile(*arguments, **options)

        def run(state: Any, data: Any, count: int) -> tuple[Any, StepMetrics]:
            self.runs += 1
            found = runner(state, data, count)
            return self.change(*found, count) if self.runs > self.since else found

        return run


def fit(backend: Backend | None = None, **changes: Any) -> Trainer:
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 8, "learning_rate": 0.5, "threads": 1}
    return train(MODEL, rows(), backend=backend or NumPyBackend(), **{**settings, **changes})


def test_compiled_steps_of_the_lecture_network_have_the_bits_of_eager_ones() -> None:
    random = np.random.default_rng(1)
    split = Split(
        random.integers(0, 256, (2048, 784), dtype=np.uint8), random.integers(0, 10, 2048)
    )
    model = MLP((784, 64, 32, 10))
    compiled, eager = (
        train(model, split, epochs=2, compile=mode, threads=1, backend=NumPyBackend())
        for mode in ("require", "off")
    )
    np.testing.assert_array_equal(compiled.parameters, eager.parameters)
    np.testing.assert_array_equal(compiled.history.loss, eager.history.loss)


def test_every_backend_is_the_same_compiled_and_not(backend: Backend) -> None:
    compiled, eager = (
        train(MODEL, rows(), epochs=1, batch_size=8, dtype="float64", backend=backend, compile=mode)
        for mode in ("auto", "off")
    )
    np.testing.assert_allclose(compiled.history.loss, eager.history.loss, rtol=1e-10)
    np.testing.assert_array_equal(compiled.history.accuracy, eager.history.accuracy)


def test_a_library_without_a_compiler_says_so_only_when_one_is_required(caplog) -> None:
    class Plain(NumPyBackend):
        compile = Backend.compile

    assert fit(Plain()).engine.how == "step by step: numpy has nothing to compile with"
    assert not caplog.records
    with pytest.raises(NotCompiled, match="nothing to compile with"):
        fit(Plain(), compile="require")


def wrong_loss(state: TrainingState, metrics: StepMetrics, count: int) -> Any:
    return state, StepMetrics(metrics.loss * 1.01, metrics.metric_sum)


def wrong_counts(state: TrainingState, metrics: StepMetrics, count: int) -> Any:
    return state, StepMetrics(metrics.loss, metrics.metric_sum + 5)


def wrong_state(change: Callable[[TrainingState], object]) -> Change:
    """A compiled run whose state is changed afterwards."""
    return lambda state, metrics, count: (change(state), (state, metrics))[1]


def dies(state: TrainingState, metrics: StepMetrics, count: int) -> Any:
    state.parameters[:] = 0.0
    raise RuntimeError("the graph could\nnot be launched")


@pytest.mark.extended(keep=3)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (wrong_loss, "losses"), (wrong_counts, "counts"),
        (wrong_state(lambda state: np.add.at(state.parameters, 7, 1e-4)), "parameters"),
        (wrong_state(lambda state: np.put(state.parameters, 7, np.nan)), "parameters"),
        (wrong_state(lambda state: np.add.at(state.offset, (), 1)), "parameters"),
        (dies, "the graph could not be launched"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_engine_that_is_wrong_is_found_out_and_left(
    change: Change, said: str, dtype: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = fit(compile="off", dtype=dtype)
    with caplog.at_level(logging.WARNING, logger="xpmlp"):
        run = fit(Faulty(change), dtype=dtype)
    (record,) = caplog.records
    assert said in record.getMessage()
    assert run.engine.how.startswith("step by step")
    np.testing.assert_array_equal(run.parameters, expected.parameters)
    np.testing.assert_array_equal(run.history.loss, expected.history.loss)
    with pytest.raises(NotCompiled, match=said):
        fit(Faulty(change), dtype=dtype, compile="require")


def test_a_replay_that_dies_in_mid_run_goes_on_from_the_same_state(caplog) -> None:
    expected = fit(compile="off", epochs=4)
    with caplog.at_level(logging.WARNING, logger="xpmlp"):
        run = fit(Faulty(dies, since=3), epochs=4)
    assert len(caplog.records) == 1
    np.testing.assert_array_equal(run.parameters, expected.parameters)
    np.testing.assert_array_equal(run.history.loss, expected.history.loss)
    with pytest.raises(NotCompiled, match="the graph could not be launched"):
        fit(Faulty(dies, since=3), epochs=4, compile="require")


def test_step_that_cannot_be_traced_runs_eagerly(caplog: pytest.LogCaptureFixture) -> None:
    def update(parameters: Any, gradients: Any, state: Any, rate: Any, /, *, xp: Any) -> Any:
        rate = 0.1 if float(gradients[0]) > 0 else 0.2  # waits for a number
        parameters -= rate * gradients
        return parameters, state

    backend = NumPyBackend()
    settings: dict[str, Any] = {
        "parameters": MODEL.initialize(0),
        "optimizer_config": OptimizerConfig(sgd()._replace(update=update)),
        "backend": backend, "epochs": 1, "batch_size": 8, "seed": 0, "shuffle": False,
    }  # fmt: skip
    run = Trainer.begin(MODEL, rows(), **settings).run()
    (record,) = caplog.records
    assert "waits for a number" in record.getMessage()
    assert run.iteration == 50


def test_a_run_shorter_than_the_proof_is_proved_by_what_there_is(caplog) -> None:
    run = train(MODEL, rows(12), epochs=2, batch_size=8, backend=NumPyBackend())
    assert run.iteration == 2
    assert run.engine.how == "compiled for numpy"
    assert not caplog.records


def test_unknown_words_are_refused() -> None:
    with pytest.raises(InputError, match="compile='yes': use auto, require, off"):
        fit(compile="yes")
    with pytest.raises(InputError, match="dtype=tf32: numpy computes in float32 or float64"):
        fit(dtype="tf32")
    with pytest.raises(InputError, match="dtype='half': use float32"):
        fit(dtype="half")


def test_proof_of_the_lecture_s_network_is_quick() -> None:
    """Under 100 ms of CPU time, training included; of a few the quickest counts."""
    random = np.random.default_rng(1)
    split = Split(random.integers(0, 256, (640, 784), dtype=np.uint8), random.integers(0, 10, 640))
    backend = select_backend("numpy")
    taken = []
    for _ in range(5):
        started = time.process_time()
        train(MLP((784, 64, 32, 10)), split, epochs=1, threads=1, backend=backend)
        taken.append(time.process_time() - started)
    assert min(taken) < 0.1


@pytest.mark.parametrize("learning_rate", [0.03, 1e-3, 1e-5])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_layer_that_does_not_learn_is_noticed_at_any_rate(
    learning_rate: float, optimizer: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = 12 * 8

    initial = fit(epochs=0).parameters[:first]

    def forget(state: TrainingState) -> None:
        """What compiled steps do to the first layer's weights is lost."""
        state.parameters[:first] = initial

    optimizer_config = OptimizerConfig(OPTIMIZERS[optimizer](), learning_rate=learning_rate)
    run = fit(
        Faulty(wrong_state(forget)), optimizer_config=optimizer_config, learning_rate=1.0, epochs=1
    )
    assert "parameters differ" in run.engine.how
    assert len(caplog.records) == 1


def test_a_rounding_that_turns_a_sign_is_no_disagreement() -> None:
    """Lion steps by the sign of what may be rounding: one weight's step may be another."""

    turned = wrong_state(lambda state: np.add.at(state.parameters, 7, 2e-2))
    optimizer_config = OptimizerConfig(OPTIMIZERS["lion"](), learning_rate=0.01)
    run = fit(Faulty(turned), optimizer_config=optimizer_config, epochs=1)
    assert run.engine.how == "compiled for numpy"


def test_required_compilation_that_fails_is_refused_before_anything_runs() -> None:
    class Plain(NumPyBackend):
        compile = Backend.compile

    with pytest.raises(NotCompiled, match="nothing to compile with"):
        Trainer.begin(
            MODEL, rows(), parameters=MODEL.initialize(0), backend=Plain(), epochs=1, batch_size=8,
            seed=0, shuffle=False, compile="require",
        )  # fmt: skip
