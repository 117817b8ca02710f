"""How a run goes down: optimizers, schedules, limits, decay, averages, members of their own."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from tests.callbacks import Recorder, StopAt, resumed
from tests.training.small_runs import STAND, WALK, begin, compiled_if_possible, separable
from xpmlp import MLP, Objective, OptimizerConfig, Plateau, Split, Trainer, ValidationConfig
from xpmlp.backends import Backend
from xpmlp.data import order
from xpmlp.optimizers import OPTIMIZERS, WEIGHT_DECAY
from xpmlp.schedules import SCHEDULES, Schedule, constant, cosine
from xpmlp.training import History, TrainConfig, train

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


def fit(model: MLP = MODEL, split: Split | None = None, **changes: Any) -> Trainer:
    """Three epochs, by default on NumPy; compiled wherever that is to be had."""
    settings = {"epochs": 3, "batch_size": BATCH, "seed": 0, "shuffle": True, "dtype": "float64"}
    settings |= {"threads": 1, **compiled_if_possible(changes)}
    return train(model, split or separable(), **settings)


def batches(split: Split, epochs: int) -> list[np.ndarray]:
    """The numbers of the rows of every batch of a run with seed 0."""
    return [
        batch
        for epoch in range(epochs)
        for batch in order(len(split.labels), seed=0, epoch=epoch, shuffle=True).reshape(-1, BATCH)
    ]


def rates_of(way: Sequence[np.ndarray], start: np.ndarray) -> np.ndarray:
    """The learning rate of each step of a `WALK`; (steps, ..., P)."""
    return -np.diff([start, *way], axis=0)


# The run and a plain loop


@pytest.mark.extended(keep=10)
@pytest.mark.parametrize("schedule", SHORT)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_is_a_plain_loop(name: str, schedule: str) -> None:
    split, rate = separable(), RATES[name]
    wd = WEIGHT_DECAY.get(name, 0.0)
    optimizer_config = OptimizerConfig(OPTIMIZERS[name](), rate, SHORT[schedule], weight_decay=wd)
    run = fit(split=split, optimizer_config=optimizer_config)

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


def parameters_of_torch(torch: Any) -> list[Any]:
    parts = MODEL.unflatten(MODEL.initialize(0, dtype="float64"))
    return [torch.nn.Parameter(torch.asarray(part.copy())) for part in parts.values()]


def flat(parameters: list[Any]) -> np.ndarray:
    return np.concatenate([part.detach().numpy().ravel() for part in parameters])


def losses_of_torch(
    torch: Any, parameters: list[Any], split: Split, epochs: int
) -> Iterator[float]:
    """The loss of each batch; its gradients are there when it is given."""
    W1, b1, W2, b2 = parameters
    X, labels = torch.asarray(split.X), torch.asarray(split.labels)
    for batch in batches(split, epochs):
        for part in parameters:
            part.grad = None
        L = torch.sigmoid(X[batch] @ W1 + b1) @ W2 + b2
        J = torch.nn.functional.cross_entropy(L, labels[batch])
        J.backward()
        yield J.item()


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
    torch, split, epochs = quiet_torch, separable(), 9
    decay = 0.3 if name == "adamw" else 0.0
    optimizer_config = OptimizerConfig(
        OPTIMIZERS[name](), RATES[name], SHORT[schedule], weight_decay=decay
    )
    run = fit(split=split, optimizer_config=optimizer_config, epochs=epochs)

    optimizer = of_torch(torch, name, parameters := parameters_of_torch(torch))
    rates, every = schedule_of_torch(torch, schedule, optimizer, RATES[name], epochs)
    losses = []
    for t, J in enumerate(losses_of_torch(torch, parameters, split, epochs), start=1):
        optimizer.step()
        if t % every == 0 and t < STEPS * epochs:
            rates.step()
        losses.append(J)
    expected = flat(parameters)
    np.testing.assert_allclose(run.history.loss, losses, rtol=1e-6)
    np.testing.assert_allclose(run.parameters, expected, rtol=0.0, atol=1e-6 * abs(expected).max())


@pytest.mark.oracle
def test_clipping_is_pytorchs(quiet_torch: Any) -> None:
    torch, split = quiet_torch, separable()
    run = fit(split=split, optimizer_config=OptimizerConfig(learning_rate=0.5, clip_norm=0.05))
    optimizer = torch.optim.SGD(parameters := parameters_of_torch(torch), lr=0.5)
    for _ in losses_of_torch(torch, parameters, split, epochs=3):
        assert torch.nn.utils.clip_grad_norm_(parameters, 0.05) > 0.05  # it has something to do
        optimizer.step()
    expected = flat(parameters)
    # PyTorch's limit is 1e-6 / |g| lower.
    np.testing.assert_allclose(run.parameters, expected, rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("limit", [0.003, 0.05])
def test_no_step_is_longer_than_the_limits_allow(limit: float) -> None:
    start = MODEL.initialize(0, dtype="float64")
    recorder = Recorder()
    fit(optimizer_config=OptimizerConfig(learning_rate=0.5, clip_norm=limit), callbacks=[recorder])
    lengths = np.linalg.norm(rates_of(recorder.way, start), axis=-1)
    np.testing.assert_allclose(lengths, 0.5 * limit, rtol=1e-9)  # gradients are longer throughout
    recorder = Recorder()
    fit(optimizer_config=OptimizerConfig(learning_rate=0.5, clip_value=limit), callbacks=[recorder])
    entries = abs(rates_of(recorder.way, start))
    np.testing.assert_allclose(entries.max(), 0.5 * limit, rtol=1e-9)
    assert (entries < 0.4 * limit).any()


def test_max_norm_holds_the_weights_into_hidden_units() -> None:
    model = MLP((6, 5, 4, 3))
    recorder = Recorder()
    fit(
        model,
        optimizer_config=OptimizerConfig(learning_rate=0.5, max_norm=1.2),
        callbacks=[recorder],
    )
    free = Recorder()
    fit(model, optimizer_config=OptimizerConfig(learning_rate=0.5), callbacks=[free])
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
        name: {"optimizer_config": {"optimizer": make(), "learning_rate": RATES[name]}}
        for name, make in OPTIMIZERS.items()
    },
    **{
        f"after {name}": {"optimizer_config": {"schedule": schedule, "warm_up": 0.5}}
        for name, schedule in SHORT.items()
    },
    **{name: {"model": {"activation": name}} for name in ("tanh", "relu")},
    "rows in order": {"shuffle": False},
    "ema": {"optimizer_config": {"average": "ema", "average_decay": 0.9}},
    "swa": {"optimizer_config": {"average": "swa", "average_start": 0.3}},
    "clip_norm": {"optimizer_config": {"clip_norm": 0.02}},
    "clip_value": {"optimizer_config": {"clip_value": 0.01}},
    "max_norm": {"optimizer_config": {"max_norm": 1.0}},
    "weight decay": {"optimizer_config": {"weight_decay": 0.1, "bias_rate": 2.0}},
    "decay of all": {"optimizer_config": {"weight_decay": 0.1, "bias_decay": True}},
    "plateau": {"optimizer_config": {"schedule": Plateau(0, 0.5)}},
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
        "optimizer_config": {"optimizer": OPTIMIZERS["adam"](), "learning_rate": 0.02,
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
        shuffle=chosen.get("shuffle", True),
        objective=Objective(**chosen.get("objective", {})),
        optimizer_config=OptimizerConfig(
            **{"learning_rate": 0.3, **chosen.get("optimizer_config", {})}
        ),
        **changes,
    )


@pytest.mark.extended(keep=7)
@pytest.mark.parametrize("seed", [0, [3, 4]], ids=["one", "members"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", COMBINATIONS)
def test_compiled_steps_on_numpy_have_the_bits_of_eager_ones(
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
    np.testing.assert_array_equal(compiled.history.accuracies, eager.history.accuracies)


@pytest.mark.extended(keep=7)
@pytest.mark.parametrize("name", COMBINATIONS)
def test_every_part_does_something(name: str) -> None:
    if name in ("sgd", "plateau"):
        return  # what the others are compared with, and a rate that has no reason to fall
    plain = fit(MLP((6, 5, 5, 4, 3)), optimizer_config=OptimizerConfig(learning_rate=0.3))
    found = fit_combination(name).parameters
    assert found.shape != plain.parameters.shape or (found != plain.parameters).any()


@pytest.mark.extended(keep=3)
@pytest.mark.parametrize("name", ["all", "lion", "swa"])
def test_every_backend_goes_the_same_way(name: str, backend: Backend) -> None:
    expected = fit_combination(name, compile="off")
    found = fit_combination(name, backend=backend)
    np.testing.assert_allclose(found.history.loss, expected.history.loss, rtol=1e-8)
    np.testing.assert_array_equal(found.history.accuracies, expected.history.accuracies)
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
            optimizer_config=OptimizerConfig(WALK, 0.25, bias_rate=rate),
            epochs=1,
        )
        for name, part in model.unflatten(np.asarray(run.state.parameters)).items():
            moved = 0.25 * STEPS * (1.0 if name.startswith("W") else rate)
            np.testing.assert_allclose(start[name] - part, moved, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("bias_decay", [False, True])
def test_weights_decay_and_biases_only_if_asked_for(bias_decay: bool) -> None:
    model = MLP((6, 5, 3), normalization="layer")
    optimizer_config = OptimizerConfig(STAND, 0.5, weight_decay=0.1, bias_decay=bias_decay)
    run = fit(
        model,
        parameters=np.ones(model.parameter_count),
        optimizer_config=optimizer_config,
        epochs=1,
    )
    for name, part in model.unflatten(run.parameters).items():
        if name.startswith("W") or bias_decay:
            np.testing.assert_allclose(part, 0.95**STEPS, rtol=1e-12, err_msg=name)
        else:
            np.testing.assert_array_equal(part, 1.0, err_msg=name)


def test_decay_follows_the_rate_of_its_time() -> None:
    """Decoupled, but by rate * weight_decay, as PyTorch does it: a schedule acts on both."""
    optimizer_config = OptimizerConfig(
        STAND, 0.5, SHORT["cosine"], weight_decay=0.1, bias_decay=True
    )
    run = fit(
        parameters=np.ones(MODEL.parameter_count), optimizer_config=optimizer_config, epochs=2
    )
    factors = 0.5 * (1.0 + np.cos(np.pi * np.arange(24) / 24))
    np.testing.assert_allclose(run.parameters, np.prod(1.0 - 0.05 * factors), rtol=1e-12)


# Rates over time


def walked(model: MLP, split: Split, stop: int, **settings: Any) -> np.ndarray:
    """The learning rate of every step of a run, which may be stopped and resumed on its way."""
    recorder = Recorder()
    if stop:
        resumed(lambda: begin(model, split, **settings), stop, recorder)
    else:
        begin(model, split, **settings).run([recorder])
    return rates_of(recorder.way, settings["parameters"])[:, 0]


def walk(split: Split, *, stop: int = 0, **changes: Any) -> np.ndarray:
    """The learning rate of every step, as the steps themselves had it; perhaps with a break."""
    optimizer_config, start = OptimizerConfig(WALK, 0.5, **changes), np.zeros(MODEL.parameter_count)
    return walked(
        MODEL, split, stop, parameters=start, batch_size=1, optimizer_config=optimizer_config
    )


@pytest.mark.parametrize("stop", [0, 1, 64, 70, 96, 97, 200])
def test_a_schedule_sees_the_number_of_the_step_in_the_run(stop: int) -> None:
    """Across ticks (of one and of 64 steps), epochs, and a stop."""
    expected = 0.5 / np.sqrt(np.arange(288) + 1.0)
    found = walk(separable(), schedule=SHORT["inverse_scaling"], stop=stop)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_a_schedule_sees_it_in_long_ticks_too() -> None:
    run = fit(
        parameters=np.zeros(MODEL.parameter_count),
        optimizer_config=OptimizerConfig(WALK, 0.5, SHORT["inverse_scaling"]),
        batch_size=1,
    )
    np.testing.assert_allclose(run.parameters, -0.5 * np.sum(np.arange(1, 289) ** -0.5))


@pytest.mark.parametrize("stop", [0, 5, 100])
@pytest.mark.parametrize(("epochs", "steps"), [(0.5, 48), (1.5, 144), (0.001, 1)])
def test_rate_warms_up_over_epochs(epochs: float, steps: int, stop: int) -> None:
    found = walk(separable(), warm_up=epochs, stop=stop)
    expected = 0.5 * np.minimum(np.arange(1, 289) / steps, 1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_a_warm_up_goes_before_a_schedule_s_own_time() -> None:
    found = walk(separable(), warm_up=0.5, schedule=SHORT["exponential"])
    t = np.arange(288)
    expected = 0.5 * np.minimum((t + 1) / 48, 1.0) * 0.95 ** (t // 96)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


FLAT = MLP((6, 3))
"""Without a hidden layer: moved all alike, its parameters add the same to all logits of a row, and
so its loss stays what it is."""


@pytest.mark.parametrize("stop", [0, 12, 30, 40])
@pytest.mark.parametrize("validation", [False, True])
def test_rate_falls_after_an_epoch_that_brought_nothing_better(validation: bool, stop: int) -> None:
    """Of losses that stay, the first is the best; the second in a row that is no better is more
    than `patience=1`; then counting starts anew."""
    optimizer_config = OptimizerConfig(WALK, 0.5, Plateau(patience=1, factor=0.1))
    validation_config = ValidationConfig(validation=separable(20, seed=1) if validation else None)
    settings = {
        "parameters": FLAT.initialize(dtype="float64"),
        "optimizer_config": optimizer_config,
        "epochs": 7,
    }
    found = walked(
        FLAT, separable(), stop, validation_config=validation_config, **settings
    ).reshape(7, STEPS)
    expected = 0.5 * np.array([1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01])
    np.testing.assert_allclose(found, np.broadcast_to(expected[:, None], found.shape), rtol=1e-9)


def test_a_run_that_gets_better_keeps_its_rate() -> None:
    steady, falling = (
        fit(optimizer_config=OptimizerConfig(learning_rate=0.1, schedule=schedule), epochs=4)
        for schedule in (constant(), Plateau(patience=0, factor=0.1))
    )
    means = steady.history.loss.reshape(4, -1).mean(axis=1)
    assert (np.diff(means) < -1e-4 * means[:-1]).all()
    np.testing.assert_array_equal(falling.parameters, steady.parameters)


@pytest.mark.parametrize("stop", [0, 17, 20, 31])
def test_evaluations_within_an_epoch_lower_the_rate_of_the_next(stop: int) -> None:
    """The rate of an epoch follows from what was known before it, also where a run resumes in
    its middle: evaluations after steps 5, 10, 15, ..., and none is better than the first."""
    optimizer_config = OptimizerConfig(WALK, 0.5, Plateau(patience=0, factor=0.5))
    validation_config = ValidationConfig(validation=separable(20, seed=1), validate_every=5)
    settings = {
        "parameters": FLAT.initialize(dtype="float64"),
        "optimizer_config": optimizer_config,
    }
    found = walked(
        FLAT, separable(), stop, validation_config=validation_config, **settings
    ).reshape(3, STEPS)
    # Before epoch 2 there were those after 5 and 10; before epoch 3 also 15 and 20.
    expected = 0.5 * np.array([1.0, 0.5, 0.125])
    np.testing.assert_allclose(found, np.broadcast_to(expected[:, None], found.shape), rtol=1e-9)


# Averages


def test_an_exponential_mean_is_that_of_the_steps(backend: Backend) -> None:
    recorder = Recorder()
    optimizer_config = OptimizerConfig(learning_rate=0.3, average="ema", average_decay=0.9)
    run = fit(optimizer_config=optimizer_config, backend=backend, callbacks=[recorder])
    mean = np.mean(recorder.way[:10], axis=0)  # the plain mean of the first 1/(1-0.9) steps
    for parameters in recorder.way[10:]:
        mean = 0.9 * mean + 0.1 * parameters
    np.testing.assert_allclose(backend.to_numpy(run.parameters), mean, rtol=0.0, atol=1e-12)
    assert len(recorder.way) == 36
    plain = fit(optimizer_config=OptimizerConfig(learning_rate=0.3), backend=backend)
    np.testing.assert_allclose(recorder.way[-1], backend.to_numpy(plain.parameters), atol=1e-12)


@pytest.mark.parametrize(("start", "first"), [(0.0, 1), (0.5, 2), (0.75, 3), (0.99, 4)])
def test_a_plain_mean_is_that_of_the_ends_of_epochs(start: float, first: int) -> None:
    recorder = Recorder()
    optimizer_config = OptimizerConfig(learning_rate=0.3, average="swa", average_start=start)
    run = fit(optimizer_config=optimizer_config, epochs=4, callbacks=[recorder])
    ends = recorder.way[STEPS - 1 :: STEPS]
    expected = np.mean(ends[first - 1 :], axis=0)
    np.testing.assert_allclose(run.parameters, expected, rtol=0.0, atol=1e-13)


def test_parameters_before_a_plain_mean_begins_are_the_plain_ones() -> None:
    optimizer_config = OptimizerConfig(learning_rate=0.3, average="swa", average_start=0.75)
    run = fit(optimizer_config=optimizer_config, epochs=4, callbacks=[StopAt(20)])
    plain = fit(
        optimizer_config=OptimizerConfig(learning_rate=0.3), epochs=4, callbacks=[StopAt(20)]
    )
    np.testing.assert_allclose(run.parameters, plain.parameters, rtol=0.0, atol=1e-14)


@pytest.mark.parametrize("average", ["ema", "swa"])
def test_running_statistics_are_averaged_like_parameters(average: str) -> None:
    model = MLP((6, 5, 3), normalization="batch")
    recorder = Recorder(lambda trainer: trainer.state.statistics)
    optimizer_config = OptimizerConfig(
        learning_rate=0.3, average=average, average_decay=0.5, average_start=0.3
    )
    run = fit(model, optimizer_config=optimizer_config, callbacks=[recorder])
    kept = recorder.way
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

    def optimizer_config(rate: Any, weight_decay: Any) -> OptimizerConfig:
        return OptimizerConfig(
            OPTIMIZERS["adam"](), rate, SHORT["one_cycle"], warm_up=0.5, weight_decay=weight_decay,
            bias_rate=2.0, clip_norm=0.3, max_norm=1.5, average="ema", average_decay=0.8,
        )  # fmt: skip

    def of(backend: Any, seed: Any, rate: Any, decay: Any, dropout: Any, inputs: Any) -> Trainer:
        objective = Objective(dropout=dropout, input_dropout=inputs, l2=1e-3)
        chosen = {
            "seed": seed,
            "objective": objective,
            "optimizer_config": optimizer_config(rate, decay),
        }
        return fit(model, shuffle=False, backend=backend, **chosen)

    each = [3, 8], [0.02, 0.05], [0.0, 0.3], (0.1, 0.5), (0.3, 0.0)
    together = of(backend, *each)
    found = backend.to_numpy(together.parameters)
    for e, own in enumerate(zip(*each, strict=True)):
        alone = of(None, *own)
        np.testing.assert_allclose(together.history.loss[:, e], alone.history.loss, rtol=1e-9)
        np.testing.assert_array_equal(
            np.array(together.history.accuracies)[:, e], alone.history.accuracies
        )
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
    split, model = separable(), MODEL
    if kind == "numbers":
        model = MLP((6, 5, 2), output="identity")
        split = Split(split.X, split.X[:, :2] * split.X[:, 2:4])
    folds = np.stack([np.delete(np.arange(ROWS), range(k, ROWS, 3)) for k in range(3)])
    weights = np.random.default_rng(0).uniform(size=ROWS) if has_weights else None
    start = model.initialize([5, 6, 7], dtype="float64")
    chosen = {
        "objective": Objective(mixup=mixup),
        "optimizer_config": OptimizerConfig(learning_rate=0.2),
    }
    together = fit(
        model, split, parameters=start, rows=folds, sample_weights=weights, backend=backend,
        **chosen,
    )  # fmt: skip
    assert together.steps_per_epoch == 8
    for e, fold in enumerate(folds):
        own = Split(split.X[fold], split.labels[fold])
        weight = None if weights is None else weights[fold]
        alone = fit(model, own, parameters=start[e], sample_weights=weight, **chosen)
        np.testing.assert_allclose(together.history.loss[:, e], alone.history.loss, rtol=1e-10)
        np.testing.assert_allclose(
            np.array(together.history.accuracies)[:, e], alone.history.accuracies, rtol=1e-9
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
    schedules = {"cosine": cosine(), "constant": constant(), "plateau": Plateau(0, 0.5)}
    optimizer_config = OptimizerConfig(
        learning_rate=members or 30.0,
        schedule=schedules[kind.partition(",")[0]],
    )
    asked, factors = [], TrainConfig.lr_factors

    def recorded(self: TrainConfig, epoch: int, history: History, steps: int) -> np.ndarray:
        found = factors(self, epoch, history, steps)
        asked.append(found)
        return found

    monkeypatch.setattr(TrainConfig, "lr_factors", recorded)
    parameters = model.initialize([0, 1] if members else 0)
    validation_config = ValidationConfig(held_out, validate_every=7) if is_validated else None
    settings = {
        "epochs": 12,
        "batch_size": 8,
        "optimizer_config": optimizer_config,
        "validation_config": validation_config,
    }
    run = train(model, rows, parameters=parameters, **settings)
    had = np.concatenate(asked) if asked else np.ones(60)
    monkeypatch.undo()
    found = run.config.learning_rates(run.history, 5)
    np.testing.assert_allclose(found, np.multiply.outer(had, members or 30.0))
    assert (kind == "constant") == (len(np.unique(found.reshape(60, -1)[:, 0])) == 1)
