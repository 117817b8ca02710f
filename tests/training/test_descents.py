"""How a run goes down: optimizers, schedules, limits, decay, averages, members of their own."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from xpmlp import (
    MLP,
    Callback,
    Objective,
    OptimizerConfig,
    Plateau,
    Split,
    StopTraining,
    Trainer,
    ValidationConfig,
)
from xpmlp.backends import Backend
from xpmlp.backends.numpy import NumPyBackend
from xpmlp.data import order
from xpmlp.optimizers import OPTIMIZERS, WEIGHT_DECAY, Optimizer
from xpmlp.schedules import SCHEDULES, Schedule, constant, cosine
from xpmlp.training import train

pytestmark = pytest.mark.extended(keep=26)

MODEL = MLP((6, 5, 3))
BATCH, ROWS, STEPS = 8, 96, 12

RATES = {"sgd": 0.3, "momentum": 0.05, "nesterov": 0.05, "rmsprop": 0.01, "adam": 0.02,
         "adamw": 0.02, "lion": 0.01}  # fmt: skip

SHORT: dict[str, Schedule] = {
    name: make(**{"step": {"decay_every": 2, "decay_factor": 0.3}}.get(name, {}))
    for name, make in SCHEDULES.items()
}
"""Every schedule, such that it does something within a few epochs."""


def rows(count: int = ROWS, seed: int = 0) -> Split:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    X = random.normal(size=(count, 6))
    X[np.arange(count), labels] += 1.0  # something to learn
    return Split(X, labels)


def fit(model: MLP = MODEL, split: Split | None = None, **changes: Any) -> Trainer:
    """Three epochs, by default on NumPy; compiled wherever that is to be had."""
    backend = changes.get("backend") or NumPyBackend()
    settings: dict[str, Any] = {
        "epochs": 3, "batch_size": BATCH, "seed": 0, "shuffle": True, "dtype": "float64",
        "threads": 1, "backend": backend, "compile": "require" if backend.compiles else "off",
    }  # fmt: skip
    return train(model, rows() if split is None else split, **{**settings, **changes})


def batches(split: Split, epochs: int) -> list[np.ndarray]:
    """The numbers of the rows of every batch of a run with seed 0."""
    return [
        batch
        for epoch in range(epochs)
        for batch in order(len(split.labels), seed=0, epoch=epoch, shuffle=True).reshape(-1, BATCH)
    ]


class Recorder(Callback):
    """Keeps the parameters after every step."""

    every = 1

    def __init__(self) -> None:
        self.way: list[np.ndarray] = []

    def on_tick(self, training: Trainer, /) -> None:
        self.way.append(training.backend.to_numpy(training.state.parameters))


class StopAt(Callback):
    every = 1

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def on_tick(self, training: Trainer, /) -> None:
        if training.iteration == self.iteration:
            raise StopTraining


def init(parameters: Any, /, *, xp: Any) -> Any:
    return OPTIMIZERS["sgd"]().init(parameters, xp=xp)


def walking(parameters: Any, gradients: Any, state: Any, rate: Any, /, *, xp: Any) -> Any:
    parameters -= rate * (0.0 * gradients + 1.0)
    return parameters, state


def standing(parameters: Any, gradients: Any, state: Any, rate: Any, /, *, xp: Any) -> Any:
    return parameters, state


WALK = Optimizer(init, walking)
"""Every parameter moves down by the learning rate, whatever the gradients are."""

STAND = Optimizer(init, standing)
"""Nothing moves."""


def rates_of(way: Sequence[np.ndarray], start: np.ndarray) -> np.ndarray:
    """The learning rate of each step of a `WALK`; (steps, ..., P)."""
    return -np.diff([start, *way], axis=0)


# The run and a plain loop


@pytest.mark.extended(keep=10)
@pytest.mark.parametrize("schedule", SHORT)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_is_a_plain_loop(name: str, schedule: str) -> None:
    split, rate = rows(), RATES[name]
    wd = WEIGHT_DECAY.get(name, 0.0)
    descent = OptimizerConfig(OPTIMIZERS[name](), rate, SHORT[schedule], weight_decay=wd)
    run = fit(split=split, descent=descent)

    optimizer = OPTIMIZERS[name]()
    p = MODEL.initialize(0, dtype="float64")
    state, losses = optimizer.init(p, xp=np), []
    for t, batch in enumerate(batches(split, epochs=3)):
        loss, gradients = MODEL.loss_and_gradients(p, split.X[batch], split.labels[batch])
        [factor] = SHORT[schedule](np.array([t]), total=36, steps_per_epoch=STEPS)
        p = np.where(MODEL.parts.mask("weight"), p - rate * factor * wd * p, p)
        p, state = optimizer.update(p, gradients, state, np.asarray(rate * factor), xp=np)
        losses.append(loss)
    np.testing.assert_allclose(run.history.loss, losses, rtol=1e-12)
    np.testing.assert_allclose(run.parameters, p, rtol=0.0, atol=1e-12 * abs(p).max())


def of_torch(torch: Any, name: str, parameters: list[Any]) -> Any:
    """PyTorch's optimizer of that name; only the weights decay."""
    optim, rate = torch.optim, RATES[name]
    weights = [p for p in parameters if p.ndim == 2]
    biases = [p for p in parameters if p.ndim == 1]
    groups = [{"params": weights, "weight_decay": 0.3}, {"params": biases, "weight_decay": 0.0}]
    if name == "adamw":
        return optim.AdamW(groups, lr=rate)
    if name == "adam":
        return optim.Adam(parameters, lr=rate)
    if name == "rmsprop":
        return optim.RMSprop(parameters, lr=rate, alpha=0.9, eps=1e-7)
    momentum = 0.0 if name == "sgd" else 0.9
    return optim.SGD(parameters, lr=rate, momentum=momentum, nesterov=name == "nesterov")


def schedule_of_torch(torch: Any, name: str, optimizer: Any, rate: float, epochs: int) -> Any:
    """PyTorch's schedule of that name, and after how many steps it is to be told of one."""
    of = torch.optim.lr_scheduler
    total = epochs * STEPS
    if name == "one_cycle":
        return of.OneCycleLR(optimizer, rate, total_steps=total, cycle_momentum=False), 1
    if name == "cosine":
        return of.CosineAnnealingLR(optimizer, total), 1
    if name == "step":
        return of.StepLR(optimizer, 2, gamma=0.3), STEPS
    if name == "exponential":
        return of.ExponentialLR(optimizer, gamma=0.95), STEPS
    return of.ConstantLR(optimizer, factor=1.0), 1


@pytest.fixture
def quiet_torch(torch: Any) -> Iterator[Any]:
    """PyTorch on one thread: two of them crawl on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(before)


@pytest.mark.oracle
@pytest.mark.parametrize("schedule", ["constant", "step", "exponential", "cosine", "one_cycle"])
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "lion"])
def test_a_run_is_pytorchs(name: str, schedule: str, quiet_torch: Any) -> None:
    """108 steps: network, autograd, optimizer and schedule all PyTorch's."""
    torch, split, epochs = quiet_torch, rows(), 9
    descent = OptimizerConfig(
        OPTIMIZERS[name](),
        RATES[name],
        SHORT[schedule],
        weight_decay=0.3 if name == "adamw" else 0.0,
    )
    run = fit(split=split, descent=descent, epochs=epochs)

    parts = MODEL.unflatten(MODEL.initialize(0, dtype="float64"))
    W1, b1, W2, b2 = parameters = [
        torch.nn.Parameter(torch.asarray(part.copy())) for part in parts.values()
    ]
    X, labels = torch.asarray(split.X), torch.asarray(split.labels)
    optimizer = of_torch(torch, name, parameters)
    rates, every = schedule_of_torch(torch, schedule, optimizer, RATES[name], epochs)
    losses = []
    for t, batch in enumerate(batches(split, epochs), start=1):
        optimizer.zero_grad()
        L = torch.sigmoid(X[batch] @ W1 + b1) @ W2 + b2
        J = torch.nn.functional.cross_entropy(L, labels[batch])
        J.backward()
        optimizer.step()
        if t % every == 0 and t < STEPS * epochs:
            rates.step()
        losses.append(J.item())
    expected = np.concatenate([part.detach().numpy().ravel() for part in parameters])
    np.testing.assert_allclose(run.history.loss, losses, rtol=1e-6)
    np.testing.assert_allclose(run.parameters, expected, rtol=0.0, atol=1e-6 * abs(expected).max())


@pytest.mark.oracle
def test_clipping_is_pytorchs(quiet_torch: Any) -> None:
    torch, split = quiet_torch, rows()
    run = fit(split=split, descent=OptimizerConfig(learning_rate=0.5, clip_norm=0.05))
    parts = MODEL.unflatten(MODEL.initialize(0, dtype="float64"))
    W1, b1, W2, b2 = parameters = [
        torch.nn.Parameter(torch.asarray(part.copy())) for part in parts.values()
    ]
    X, labels = torch.asarray(split.X), torch.asarray(split.labels)
    optimizer = torch.optim.SGD(parameters, lr=0.5)
    for batch in batches(split, 3):
        optimizer.zero_grad()
        L = torch.sigmoid(X[batch] @ W1 + b1) @ W2 + b2
        torch.nn.functional.cross_entropy(L, labels[batch]).backward()
        assert torch.nn.utils.clip_grad_norm_(parameters, 0.05) > 0.05  # it has something to do
        optimizer.step()
    expected = np.concatenate([part.detach().numpy().ravel() for part in parameters])
    # PyTorch's limit is 1e-6 / |g| lower.
    np.testing.assert_allclose(run.parameters, expected, rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("limit", [0.003, 0.05])
def test_no_step_is_longer_than_the_limits_allow(limit: float) -> None:
    start = MODEL.initialize(0, dtype="float64")
    recorder = Recorder()
    fit(descent=OptimizerConfig(learning_rate=0.5, clip_norm=limit), callbacks=[recorder])
    lengths = np.linalg.norm(rates_of(recorder.way, start), axis=-1)
    np.testing.assert_allclose(lengths, 0.5 * limit, rtol=1e-9)  # gradients are longer throughout
    recorder = Recorder()
    fit(descent=OptimizerConfig(learning_rate=0.5, clip_value=limit), callbacks=[recorder])
    entries = abs(rates_of(recorder.way, start))
    np.testing.assert_allclose(entries.max(), 0.5 * limit, rtol=1e-9)
    assert (entries < 0.4 * limit).any()


def test_max_norm_holds_the_weights_into_hidden_units() -> None:
    model = MLP((6, 5, 4, 3))
    recorder = Recorder()
    fit(model, descent=OptimizerConfig(learning_rate=0.5, max_norm=1.2), callbacks=[recorder])
    free = Recorder()
    fit(model, descent=OptimizerConfig(learning_rate=0.5), callbacks=[free])
    for number, is_held in ((1, True), (2, True), (3, False)):
        norms, free_norms = (
            np.array([np.linalg.norm(model.unflatten(p)[f"W{number}"], axis=0) for p in way])
            for way in (recorder.way, free.way)
        )
        assert free_norms.max() > 1.2
        assert (norms.max() <= 1.2 * (1.0 + 1e-12)) is np.bool_(is_held)


# Compiled and not


COMBINATIONS: dict[str, dict[str, Any]] = {
    **{
        name: {"descent": {"optimizer": make(), "learning_rate": RATES[name]}}
        for name, make in OPTIMIZERS.items()
    },
    **{
        f"after {name}": {"descent": {"schedule": schedule, "warm_up": 0.5}}
        for name, schedule in SHORT.items()
    },
    "ema": {"descent": {"average": "ema", "average_decay": 0.9}},
    "swa": {"descent": {"average": "swa", "average_start": 0.3}},
    "clip_norm": {"descent": {"clip_norm": 0.02}},
    "clip_value": {"descent": {"clip_value": 0.01}},
    "max_norm": {"descent": {"max_norm": 1.0}},
    "weight decay": {"descent": {"weight_decay": 0.1, "bias_rate": 2.0}},
    "decay of all": {"descent": {"weight_decay": 0.1, "bias_decay": True}},
    "plateau": {"descent": {"plateau": Plateau(0, 0.5)}},
    "dropout": {"objective": {"dropout": 0.3}},
    "input dropout": {"objective": {"input_dropout": 0.2}},
    "mixup": {"objective": {"mixup": 0.4}},
    "penalties": {"objective": {"l1": 1e-3, "l2": 1e-2}},
    "smoothing": {"objective": {"label_smoothing": 0.1}},
    "class weights": {"objective": {"class_weights": (1.0, 2.0, 0.5)}},
    "batch norm": {"model": {"normalization": "batch"}},
    "layer norm": {"model": {"normalization": "layer"}},
    "residual": {"model": {"residual": True}},
    "all": {
        "model": {"activation": "relu", "normalization": "batch", "residual": True},
        "objective": {"dropout": 0.3, "input_dropout": 0.1, "mixup": 0.4, "label_smoothing": 0.1,
                      "l1": 1e-4, "l2": 1e-3},
        "descent": {"optimizer": OPTIMIZERS["adam"](), "learning_rate": 0.02,
                    "schedule": SHORT["one_cycle"], "warm_up": 1.0, "bias_rate": 2.0,
                    "weight_decay": 0.05, "clip_norm": 1.0, "clip_value": 0.3, "max_norm": 2.0,
                    "average": "ema", "average_decay": 0.9},
    },
}  # fmt: skip
"""Every part of a step on its own, and all that go together."""


def fit_combination(name: str, **changes: Any) -> Trainer:
    chosen = COMBINATIONS[name]
    return fit(
        MLP((6, 5, 5, 4, 3), **chosen.get("model", {})),
        objective=Objective(**chosen.get("objective", {})),
        descent=OptimizerConfig(**{"learning_rate": 0.3, **chosen.get("descent", {})}),
        **changes,
    )


@pytest.mark.extended(keep=7)
@pytest.mark.parametrize("seed", [0, [3, 4]], ids=["one", "members"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", COMBINATIONS)
def test_on_numpy_compiled_steps_are_the_eager_ones_to_the_bit(
    name: str, dtype: str, seed: int | list[int]
) -> None:
    compiled, eager = (
        fit_combination(name, dtype=dtype, seed=seed, epochs=2, compile=mode)
        for mode in ("require", "off")
    )
    assert compiled.engine.is_compiled
    assert compiled.parameters.dtype == dtype
    np.testing.assert_array_equal(compiled.parameters, eager.parameters)
    np.testing.assert_array_equal(compiled.state.parameters, eager.state.parameters)
    np.testing.assert_array_equal(compiled.history.loss, eager.history.loss)
    np.testing.assert_array_equal(compiled.history.accuracy, eager.history.accuracy)


@pytest.mark.extended(keep=7)
@pytest.mark.parametrize("name", COMBINATIONS)
def test_every_part_does_something(name: str) -> None:
    if name in ("sgd", "plateau"):
        return  # what the others are compared with, and a rate that has no reason to fall
    plain = fit(MLP((6, 5, 5, 4, 3)), descent=OptimizerConfig(learning_rate=0.3))
    found = fit_combination(name).parameters
    assert found.shape != plain.parameters.shape or (found != plain.parameters).any()


@pytest.mark.extended(keep=3)
@pytest.mark.parametrize("name", ["all", "lion", "swa"])
def test_every_backend_goes_the_same_way(name: str, backend: Backend) -> None:
    expected = fit_combination(name, compile="off")
    found = fit_combination(name, backend=backend)
    np.testing.assert_allclose(found.history.loss, expected.history.loss, rtol=1e-8)
    np.testing.assert_array_equal(found.history.accuracy, expected.history.accuracy)
    np.testing.assert_allclose(
        backend.to_numpy(found.parameters), expected.parameters, rtol=0.0, atol=1e-8
    )


# Weights and biases


@pytest.mark.parametrize("normalization", ["none", "layer", "batch"])
def test_biases_learn_at_a_rate_of_their_own(normalization: str) -> None:
    model = MLP((6, 5, 3), normalization=normalization)
    start = model.unflatten(np.zeros(model.parameter_count))
    for rate in (0.0, 2.0):
        run = fit(
            model,
            parameters=np.zeros(model.parameter_count),
            descent=OptimizerConfig(WALK, 0.25, bias_rate=rate),
            epochs=1,
        )
        for name, part in model.unflatten(np.asarray(run.state.parameters)).items():
            moved = 0.25 * STEPS * (1.0 if name.startswith("W") else rate)
            np.testing.assert_allclose(start[name] - part, moved, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("bias_decay", [False, True])
def test_weights_decay_and_biases_only_if_asked_for(bias_decay: bool) -> None:
    model = MLP((6, 5, 3), normalization="layer")
    descent = OptimizerConfig(STAND, 0.5, weight_decay=0.1, bias_decay=bias_decay)
    run = fit(model, parameters=np.ones(model.parameter_count), descent=descent, epochs=1)
    for name, part in model.unflatten(run.parameters).items():
        if name.startswith("W") or bias_decay:
            np.testing.assert_allclose(part, 0.95**STEPS, rtol=1e-12, err_msg=name)
        else:
            np.testing.assert_array_equal(part, 1.0, err_msg=name)


def test_decay_follows_the_rate_of_its_time() -> None:
    """Decoupled, but by rate * weight_decay, as PyTorch does it: a schedule acts on both."""
    descent = OptimizerConfig(STAND, 0.5, SHORT["cosine"], weight_decay=0.1, bias_decay=True)
    run = fit(parameters=np.ones(MODEL.parameter_count), descent=descent, epochs=2)
    factors = 0.5 * (1.0 + np.cos(np.pi * np.arange(24) / 24))
    np.testing.assert_allclose(run.parameters, np.prod(1.0 - 0.05 * factors), rtol=1e-12)


# Rates over time


def walk(split: Split, *, batch_size: int = 1, stop: int = 0, **changes: Any) -> np.ndarray:
    """The learning rate of every step, as the steps themselves had it; perhaps with a break."""
    settings: dict[str, Any] = {
        "parameters": np.zeros(MODEL.parameter_count), "batch_size": batch_size, "epochs": 3,
        "seed": 0, "shuffle": True, "backend": NumPyBackend(), "threads": 1,
    }  # fmt: skip
    control = changes.pop("control", None)
    settings |= {"descent": OptimizerConfig(WALK, 0.5, **changes), "control": control}
    recorder = Recorder()
    run = Trainer.begin(MODEL, split, **settings)
    if stop:
        run.run([recorder, StopAt(stop)])
        run, stopped = Trainer.begin(MODEL, split, **settings), run.snapshot()
        run.restore(stopped)
    run.run([recorder])
    return rates_of(recorder.way, np.zeros(MODEL.parameter_count))[:, 0]


@pytest.mark.parametrize("stop", [0, 1, 64, 70, 96, 97, 200])
def test_a_schedule_sees_the_number_of_the_step_in_the_run(stop: int) -> None:
    """Across ticks (of one and of 64 steps), epochs, and a stop."""
    expected = 0.5 / np.sqrt(np.arange(288) + 1.0)
    found = walk(rows(), schedule=SHORT["inverse_scaling"], stop=stop)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_a_schedule_sees_it_in_long_ticks_too() -> None:
    run = fit(
        parameters=np.zeros(MODEL.parameter_count),
        descent=OptimizerConfig(WALK, 0.5, SHORT["inverse_scaling"]),
        batch_size=1,
    )
    np.testing.assert_allclose(run.parameters, -0.5 * np.sum(np.arange(1, 289) ** -0.5))


@pytest.mark.parametrize("stop", [0, 5, 100])
@pytest.mark.parametrize(("epochs", "steps"), [(0.5, 48), (1.5, 144), (0.001, 1)])
def test_the_rate_warms_up_over_epochs(epochs: float, steps: int, stop: int) -> None:
    found = walk(rows(), warm_up=epochs, stop=stop)
    expected = 0.5 * np.minimum(np.arange(1, 289) / steps, 1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_a_warm_up_goes_before_a_schedule_s_own_time() -> None:
    found = walk(rows(), warm_up=0.5, schedule=SHORT["exponential"])
    t = np.arange(288)
    expected = 0.5 * np.minimum((t + 1) / 48, 1.0) * 0.95 ** (t // 96)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


FLAT = MLP((6, 3))
"""Without a hidden layer: moved all alike, its parameters add the same to all logits of a row, and
so its loss stays what it is."""


@pytest.mark.parametrize("stop", [0, 12, 30, 40])
@pytest.mark.parametrize("validation", [False, True])
def test_the_rate_falls_after_an_epoch_that_brought_nothing_better(
    validation: bool, stop: int
) -> None:
    """Of losses that stay, the first is the best; the second in a row that is no better is more
    than `patience=1`; then counting starts anew."""
    descent = OptimizerConfig(WALK, 0.5, plateau=Plateau(patience=1, factor=0.1))
    settings: dict[str, Any] = {
        "parameters": FLAT.initialize(0, dtype="float64"), "batch_size": 8, "epochs": 7, "seed": 0,
        "shuffle": True, "backend": NumPyBackend(), "threads": 1, "descent": descent,
        "control": ValidationConfig(validation=rows(20, seed=1) if validation else None),
    }  # fmt: skip
    recorder, start = Recorder(), FLAT.initialize(0, dtype="float64")
    run = Trainer.begin(FLAT, rows(), **settings)
    if stop:
        run.run([recorder, StopAt(stop)])
        run, snapshot = Trainer.begin(FLAT, rows(), **settings), run.snapshot()
        run.restore(snapshot)
    run.run([recorder])
    found = rates_of(recorder.way, start)[:, 0].reshape(7, STEPS)
    expected = 0.5 * np.array([1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01])
    np.testing.assert_allclose(found, np.broadcast_to(expected[:, None], found.shape), rtol=1e-9)


def test_a_run_that_gets_better_keeps_its_rate() -> None:
    steady, falling = (
        fit(descent=OptimizerConfig(learning_rate=0.1, plateau=plateau), epochs=4)
        for plateau in (None, Plateau(patience=0, factor=0.1))
    )
    means = steady.history.loss.reshape(4, -1).mean(axis=1)
    assert (np.diff(means) < -1e-4 * means[:-1]).all()
    np.testing.assert_array_equal(falling.parameters, steady.parameters)


@pytest.mark.parametrize("stop", [0, 17, 20, 31])
def test_evaluations_within_an_epoch_lower_the_rate_of_the_next(stop: int) -> None:
    """The rate of an epoch follows from what was known before it, also where a run goes on in
    its middle: evaluations after steps 5, 10, 15, ..., and none is better than the first."""
    descent = OptimizerConfig(WALK, 0.5, plateau=Plateau(patience=0, factor=0.5))
    settings: dict[str, Any] = {
        "parameters": FLAT.initialize(0, dtype="float64"), "batch_size": 8, "epochs": 3, "seed": 0,
        "shuffle": True, "backend": NumPyBackend(), "threads": 1, "descent": descent,
        "control": ValidationConfig(validation=rows(20, seed=1), validate_every=5),
    }  # fmt: skip
    recorder, start = Recorder(), FLAT.initialize(0, dtype="float64")
    run = Trainer.begin(FLAT, rows(), **settings)
    if stop:
        run.run([recorder, StopAt(stop)])
        run, snapshot = Trainer.begin(FLAT, rows(), **settings), run.snapshot()
        run.restore(snapshot)
    run.run([recorder])
    found = rates_of(recorder.way, start)[:, 0].reshape(3, STEPS)
    # Before epoch 2 there were those after 5 and 10; before epoch 3 also 15 and 20.
    expected = 0.5 * np.array([1.0, 0.5, 0.125])
    np.testing.assert_allclose(found, np.broadcast_to(expected[:, None], found.shape), rtol=1e-9)


# Averages


def test_an_exponential_mean_is_that_of_the_steps(backend: Backend) -> None:
    recorder = Recorder()
    descent = OptimizerConfig(learning_rate=0.3, average="ema", average_decay=0.9)
    run = fit(descent=descent, backend=backend, callbacks=[recorder])
    mean = np.mean(recorder.way[:10], axis=0)  # the plain mean of the first 1/(1-0.9) steps
    for parameters in recorder.way[10:]:
        mean = 0.9 * mean + 0.1 * parameters
    np.testing.assert_allclose(backend.to_numpy(run.parameters), mean, rtol=0.0, atol=1e-12)
    assert len(recorder.way) == 36
    plain = fit(descent=OptimizerConfig(learning_rate=0.3), backend=backend)
    np.testing.assert_allclose(recorder.way[-1], backend.to_numpy(plain.parameters), atol=1e-12)


@pytest.mark.parametrize(("start", "first"), [(0.0, 1), (0.5, 2), (0.75, 3), (0.99, 4)])
def test_a_plain_mean_is_that_of_the_ends_of_epochs(start: float, first: int) -> None:
    recorder = Recorder()
    descent = OptimizerConfig(learning_rate=0.3, average="swa", average_start=start)
    run = fit(descent=descent, epochs=4, callbacks=[recorder])
    ends = recorder.way[STEPS - 1 :: STEPS]
    expected = np.mean(ends[first - 1 :], axis=0)
    np.testing.assert_allclose(run.parameters, expected, rtol=0.0, atol=1e-13)


def test_until_a_plain_mean_begins_it_is_the_parameters_themselves() -> None:
    descent = OptimizerConfig(learning_rate=0.3, average="swa", average_start=0.75)
    run = fit(descent=descent, epochs=4, callbacks=[StopAt(20)])
    plain = fit(descent=OptimizerConfig(learning_rate=0.3), epochs=4, callbacks=[StopAt(20)])
    np.testing.assert_allclose(run.parameters, plain.parameters, rtol=0.0, atol=1e-14)


@pytest.mark.parametrize("average", ["ema", "swa"])
def test_running_statistics_are_averaged_like_parameters(average: str) -> None:
    model = MLP((6, 5, 3), normalization="batch")
    kept: list[np.ndarray] = []

    class Statistics(Callback):
        every = 1

        def on_tick(self, training: Trainer, /) -> None:
            kept.append(np.array(training.state.statistics))

    descent = OptimizerConfig(
        learning_rate=0.3, average=average, average_decay=0.5, average_start=0.3
    )
    run = fit(model, descent=descent, callbacks=[Statistics()])
    if average == "swa":
        expected = np.mean(kept[STEPS - 1 :: STEPS], axis=0)
    else:
        expected = (kept[0] + kept[1]) / 2.0
        for one in kept[2:]:
            expected = 0.5 * expected + 0.5 * one
    found = run.parameters[model.parameter_count :]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


# Members


def test_members_with_settings_of_their_own_are_the_single_runs(backend: Backend) -> None:
    """But for the order of rows, which is the first seed's for all."""
    model = MLP((6, 5, 4, 3), activation="relu", normalization="batch")
    seeds, rates, decays = [3, 8], [0.02, 0.05], [0.0, 0.3]
    dropouts, inputs = (0.1, 0.5), (0.3, 0.0)

    def descent(rate: Any, weight_decay: Any) -> OptimizerConfig:
        return OptimizerConfig(
            OPTIMIZERS["adam"](), rate, SHORT["one_cycle"], warm_up=0.5, weight_decay=weight_decay,
            bias_rate=2.0, clip_norm=0.3, max_norm=1.5, average="ema", average_decay=0.8,
        )  # fmt: skip

    together = fit(
        model,
        seed=seeds,
        shuffle=False,
        backend=backend,
        objective=Objective(dropout=dropouts, input_dropout=inputs, l2=1e-3),
        descent=descent(rates, decays),
    )
    found = backend.to_numpy(together.parameters)
    for e, seed in enumerate(seeds):
        alone = fit(
            model,
            seed=seed,
            shuffle=False,
            objective=Objective(dropout=dropouts[e], input_dropout=inputs[e], l2=1e-3),
            descent=descent(rates[e], decays[e]),
        )
        np.testing.assert_allclose(together.history.loss[:, e], alone.history.loss, rtol=1e-9)
        np.testing.assert_array_equal(together.history.accuracy[:, e], alone.history.accuracy)
        np.testing.assert_allclose(found[e], alone.parameters, rtol=0.0, atol=1e-9)


def test_members_draw_dropout_of_their_own() -> None:
    """Also where all begin alike and one seed is given for all."""
    start = np.stack([MODEL.initialize(0, dtype="float64")] * 3)
    run = fit(parameters=start, seed=0, objective=Objective(dropout=0.5))
    assert len(np.unique(run.history.loss[0])) == 3
    first = fit(parameters=start[0], seed=0, objective=Objective(dropout=0.5))
    np.testing.assert_allclose(run.history.loss[:, 0], first.history.loss, rtol=1e-12)


@pytest.mark.parametrize(
    ("kind", "mixup", "has_weights"),
    [("classes", 0.4, False), ("classes", 0.0, True), ("numbers", 0.0, False)],
    ids=["mixed", "weighed", "numbers"],
)
def test_members_on_rows_of_their_own_are_the_single_runs(
    kind: str, mixup: float, has_weights: bool, backend: Backend
) -> None:
    """As the folds of a cross-validation are."""
    split, model = rows(), MODEL
    if kind == "numbers":
        model = MLP((6, 5, 2), output="identity")
        split = Split(split.X, split.X[:, :2] * split.X[:, 2:4])
    folds = np.stack([np.delete(np.arange(ROWS), range(k, ROWS, 3)) for k in range(3)])
    weights = np.random.default_rng(0).uniform(size=ROWS) if has_weights else None
    start = model.initialize([5, 6, 7], dtype="float64")
    settings: dict[str, Any] = {
        "objective": Objective(mixup=mixup), "descent": OptimizerConfig(learning_rate=0.2),
    }  # fmt: skip
    together = fit(
        model,
        split=split,
        parameters=start,
        rows=folds,
        sample_weights=weights,
        backend=backend,
        **settings,
    )
    assert together.steps_per_epoch == 8
    for e, fold in enumerate(folds):
        alone = fit(
            model,
            split=Split(split.X[fold], split.labels[fold]),
            parameters=start[e],
            sample_weights=None if weights is None else weights[fold],
            **settings,
        )
        np.testing.assert_allclose(together.history.loss[:, e], alone.history.loss, rtol=1e-10)
        np.testing.assert_allclose(
            together.history.accuracy[:, e], alone.history.accuracy, rtol=1e-9
        )
        np.testing.assert_allclose(
            backend.to_numpy(together.parameters)[e], alone.parameters, rtol=0.0, atol=1e-10
        )


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize("members", [None, (30.0, 3.0)])
@pytest.mark.parametrize("kind", ["cosine", "plateau", "plateau, validated", "constant"])
def test_learning_rates_are_those_that_the_run_had(
    kind: str, members: tuple[float, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    rows = Split(random.normal(size=(40, 4)), random.integers(0, 3, 40))
    held_out = Split(random.normal(size=(20, 4)), random.integers(0, 3, 20))
    model = MLP((4, 5, 3))
    is_validated = kind.endswith("validated")
    descent = OptimizerConfig(
        learning_rate=members or 30.0,
        schedule=cosine() if kind == "cosine" else constant(),
        plateau=Plateau(patience=0, factor=0.5) if kind.startswith("plateau") else None,
    )
    asked, factors = [], OptimizerConfig.lr_factors

    def recorded(self: OptimizerConfig, first: int, count: int, **options: object) -> np.ndarray:
        found = factors(self, first, count, **options)
        asked.append(found)
        return found

    monkeypatch.setattr(OptimizerConfig, "lr_factors", recorded)
    run = train(
        model,
        rows,
        parameters=model.initialize([0, 1] if members else 0),
        epochs=12,
        batch_size=8,
        descent=descent,
        control=ValidationConfig(held_out, validate_every=7) if is_validated else None,
    )
    had = np.concatenate(asked) if asked else np.ones(60)
    found = descent.learning_rates(
        run.history, epochs=12, steps_per_epoch=5, is_validated=is_validated
    )
    np.testing.assert_allclose(found, np.multiply.outer(had, members or 30.0))
    assert (kind == "constant") == (len(np.unique(found.reshape(60, -1)[:, 0])) == 1)
