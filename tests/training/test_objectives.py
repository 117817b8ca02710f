"""What a run minimises: weights of rows, mixtures, dropout, normalisation, all kinds of answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import mean_poisson_deviance

from tests.callbacks import Recorder
from tests.training.small_runs import STAND, compiled_if_possible, separable
from xpmlp import (
    MLP,
    InputError,
    Objective,
    OptimizerConfig,
    Split,
    Trainer,
    ValidationConfig,
    evaluate,
    predict,
)
from xpmlp.backends import Backend
from xpmlp.data import order
from xpmlp.optimizers import OPTIMIZERS
from xpmlp.randomness import MIXUP, generator
from xpmlp.recipes import load_recipe
from xpmlp.runs import RunDirectory
from xpmlp.training import train

pytestmark = pytest.mark.extended(keep=21)

MODEL = MLP((6, 5, 3))


def rows(count: int = 96, seed: int = 0) -> Split:
    return separable(count, seed, by=2.0)


def fit(model: MLP = MODEL, split: Split | None = None, **changes: Any) -> Trainer:
    settings = {"epochs": 3, "batch_size": 8, "seed": 0, "shuffle": True, "dtype": "float64"}
    settings |= {"threads": 1, **compiled_if_possible(changes)}
    if "optimizer_config" not in changes:  # whose place it would take
        settings.setdefault("learning_rate", 0.3)
    return train(model, split or rows(), **settings)


STILL = OptimizerConfig(STAND)
"""Nothing is learned: every loss is that of the initial parameters."""


# Weights of rows


@pytest.mark.parametrize("given", ["rows", "classes", "both"])
def test_a_weight_is_as_many_rows_alike(given: str, backend: Backend) -> None:
    """J is the mean over rows, however they weigh, so a rate is as much smaller as they are fewer
    than their copies."""
    split = rows(40)
    by_class = np.array([0, 1, 3] if given != "rows" else [1, 1, 1])
    by_row = np.arange(40) % 3 if given != "classes" else np.ones(40, int)
    copies = by_class[split.labels] * by_row
    repeated = Split(*(np.repeat(part, copies, axis=0) for part in split))
    share = len(repeated.labels) / 40
    weighted = fit(
        split=split,
        batch_size=40,
        objective=Objective(class_weights=tuple(by_class.tolist()) if given != "rows" else ()),
        sample_weights=None if given == "classes" else by_row,
        learning_rate=0.5,
        epochs=10,
        backend=backend,
    )
    expected = fit(
        split=repeated, batch_size=len(repeated.labels), learning_rate=0.5 * share, epochs=10
    )
    np.testing.assert_allclose(
        weighted.history.loss, expected.history.loss * share, rtol=1e-10, atol=1e-12
    )
    np.testing.assert_allclose(
        backend.to_numpy(weighted.parameters), expected.parameters, rtol=0.0, atol=1e-10
    )


def test_weights_go_with_their_rows_through_every_order() -> None:
    split, weights = rows(), np.random.default_rng(1).uniform(0.0, 2.0, 96)
    run = fit(split=split, sample_weights=weights)
    p = MODEL.initialize(0, dtype="float64")
    for epoch in range(3):
        for batch in order(96, seed=0, epoch=epoch, shuffle=True).reshape(-1, 8):
            _, gradients = MODEL.loss_and_gradients(
                p, split.X[batch], split.labels[batch], weights=weights[batch]
            )
            p -= 0.3 * gradients
    np.testing.assert_allclose(run.parameters, p, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(95), r"sample weights of shape \(95,\) for 96 rows"),
        (np.ones((96, 1)), r"sample weights of shape \(96, 1\)"),
        (-np.ones(96), "give one for each, 0 or more"),
        (np.full(96, np.nan), "sample weights"),
        (np.full(96, np.inf), "some are NaN or infinite"),
    ],
)
def test_weights_that_are_none_are_refused(weights: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit(sample_weights=weights)


def test_weights_and_mixup_are_refused_together() -> None:
    with pytest.raises(InputError, match="sample weights and mixup"):
        fit(sample_weights=np.ones(96), objective=Objective(mixup=0.2))
    with pytest.raises(InputError, match="class_weights and mixup"):
        Objective(class_weights=(1.0, 1.0, 1.0), mixup=0.2)


@pytest.mark.parametrize("columns", [0, 1])
def test_two_classes_of_one_answer_have_weights(columns: int) -> None:
    """Whether it is given as labels (n,) or as targets (n, 1)."""
    split, model = rows(), MLP((6, 5, 1), output="sigmoid")
    labels = (split.labels == 1).astype(int)
    given = labels[:, None].astype(float) if columns else labels
    objective = Objective(class_weights=(0.25, 4.0))
    run = fit(model, Split(split.X, given), objective=objective)
    expected = fit(model, Split(split.X, labels), sample_weights=np.where(labels == 1, 4.0, 0.25))
    np.testing.assert_array_equal(run.parameters, expected.parameters)


def test_many_answers_at_once_have_no_class_to_weigh() -> None:
    split, model = rows(), MLP((6, 5, 3), output="sigmoid")
    targets = (np.random.default_rng(0).uniform(size=(96, 3)) < 0.5).astype(float)
    with pytest.raises(InputError, match="class_weights"):
        fit(model, Split(split.X, targets), objective=Objective(class_weights=(1.0, 2.0, 3.0)))


# Mixup


def mixed(split: Split, batch: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each row with the next, the last with the first, inputs and one-hot targets alike."""
    following = np.roll(batch, -1)
    Y = np.eye(3)[split.labels]
    return tuple(
        share[:, None] * Q[batch] + (1.0 - share[:, None]) * Q[following] for Q in (split.X, Y)
    )  # type: ignore[return-value]


def test_mixup_mixes_rows_and_targets_by_shares_of_the_seed(backend: Backend) -> None:
    split = rows()
    run = fit(split=split, objective=Objective(mixup=0.4), backend=backend)
    p, losses = MODEL.initialize(0, dtype="float64"), []
    for epoch in range(3):
        shares = generator(0, MIXUP, epoch).beta(0.4, 0.4, 96)
        assert ((shares > 0.1) & (shares < 0.9)).any()
        numbers = order(96, seed=0, epoch=epoch, shuffle=True)
        for batch, share in zip(numbers.reshape(-1, 8), shares.reshape(-1, 8), strict=True):
            X, Y = mixed(split, batch, share)
            loss, gradients = MODEL.loss_and_gradients(p, X, Y)
            p -= 0.3 * gradients
            losses.append(loss)
    np.testing.assert_allclose(run.history.loss, losses, rtol=1e-11)
    np.testing.assert_allclose(backend.to_numpy(run.parameters), p, rtol=0.0, atol=1e-11)


def test_another_seed_mixes_by_other_shares() -> None:
    start = MODEL.initialize(0, dtype="float64")
    settings: dict[str, Any] = {
        "parameters": start, "shuffle": False, "objective": Objective(mixup=0.4), "epochs": 1,
    }  # fmt: skip
    one, again, other = (fit(seed=seed, **settings) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.history.loss, again.history.loss)
    assert (one.history.loss != other.history.loss).all()


# Answers of every kind


def regression(columns: int = 2) -> Split:
    random = np.random.default_rng(3)
    X = random.normal(size=(200, 6))
    Y = np.stack([X[:, 0] + 0.5 * X[:, 1], 10.0 * X[:, 2] - 3.0], axis=1)[:, :columns]
    return Split(X, Y + 0.1 * random.normal(size=Y.shape))


def r_squared(Y: np.ndarray, L: np.ndarray) -> float:
    """As scikit-learn has it: 1 - the squares left over / the squares there were, on average."""
    left, total = ((Y - L) ** 2).sum(axis=0), ((Y - Y.mean(axis=0)) ** 2).sum(axis=0)
    return float(np.mean(1.0 - left / total))


@pytest.mark.extended(keep=3)
@pytest.mark.parametrize(("loss", "columns"), [("squared_error", 2), ("huber", 1), ("quantile", 2)])
def test_numbers_are_learned_and_scored_by_r_squared(loss: str, columns: int, backend) -> None:
    split = regression(columns)
    model = MLP((6, 8, columns), activation="tanh", output="identity")
    given = split if columns == 2 else Split(split.X, split.labels[:, 0])  # (n,) will do
    objective = Objective(loss, huber_delta=2.0)
    optimizer_config = OptimizerConfig(OPTIMIZERS["adam"](), 0.03)
    run = fit(
        model,
        given,
        objective=objective,
        optimizer_config=optimizer_config,
        epochs=10,
        backend=backend,
    )
    found = evaluate(model, run.parameters, given, objective=objective, backend=backend)
    L = predict(model, run.parameters, split.X, backend=backend)
    assert L.shape == (200, columns)
    np.testing.assert_allclose(found.r2, r_squared(split.labels, L), rtol=1e-10)
    assert found.r2 > 0.8
    D = L - split.labels
    by_hand = {
        "squared_error": 0.5 * D**2,
        "huber": np.where(abs(D) < 2.0, 0.5 * D**2, 2.0 * (abs(D) - 1.0)),
        "quantile": 0.5 * abs(D),
    }
    np.testing.assert_allclose(found.loss, by_hand[loss].sum(axis=1).mean(), rtol=1e-10)
    assert run.history.r2[-1] > 0.5


def counts() -> Split:
    random = np.random.default_rng(4)
    X = random.normal(size=(200, 6))
    means = np.exp(np.stack([0.5 + X[:, 0], 1.0 + 0.5 * X[:, 1] - X[:, 2]], axis=1))
    return Split(X, random.poisson(means))


def test_counts_are_learned_and_scored_by_r_squared(backend: Backend) -> None:
    split, model = counts(), MLP((6, 8, 2), activation="tanh", output="exp")
    optimizer_config = OptimizerConfig(OPTIMIZERS["adam"](), 0.03)
    given = Split(split.X, split.labels.astype(float))
    run = fit(model, given, optimizer_config=optimizer_config, epochs=40, backend=backend)
    found = evaluate(model, run.parameters, given, backend=backend)
    Y_hat = predict(model, run.parameters, split.X, backend=backend)
    assert (Y_hat > 0.0).all()
    np.testing.assert_allclose(found.r2, r_squared(split.labels, Y_hat), rtol=1e-10)
    assert found.r2 > 0.8
    deviances = [mean_poisson_deviance(split.labels[:, k], Y_hat[:, k]) for k in range(2)]
    np.testing.assert_allclose(found.loss, sum(deviances) / 2, rtol=1e-10)
    assert run.history.r2[-1] > 0.5
    assert run.history.loss[-25:].mean() < run.history.loss[:25].mean() / 2


@pytest.mark.parametrize("labels", [[0.0, -1.0], [np.nan, 1.0], [1.0, np.inf]])
def test_target_that_is_no_count_is_refused(labels: list[float]) -> None:
    split = Split(np.ones((2, 6)), np.array(labels)[:, None])
    row = int(np.isinf(labels[1]) or labels[0] == 0.0)
    message = f"targets {labels[row]:g} in row {row}, expected finite numbers of 0 or more; fix"
    with pytest.raises(InputError, match=message):
        fit(MLP((6, 1), output="exp"), split)


@pytest.mark.parametrize("output", ["identity", "exp"])
def test_training_score_of_numbers_is_r_squared_too(output: str) -> None:
    split, model = counts(), MLP((6, 5, 2), output=output)
    split = Split(split.X, split.labels.astype(float))
    run = fit(model, split, epochs=1, batch_size=200, shuffle=False)
    Y_hat = model.predictions(model.initialize(0, dtype="float64"), split.X)
    np.testing.assert_allclose(run.history.r2, [r_squared(split.labels, Y_hat)], rtol=1e-12)


@pytest.mark.parametrize("output", ["identity", "exp"])
def test_a_committee_of_numbers_is_their_mean(output: str) -> None:
    split, model = counts(), MLP((6, 5, 2), output=output)
    split = Split(split.X, split.labels.astype(float))
    parameters = model.initialize([0, 1, 2], dtype="float64")
    found = evaluate(model, parameters, split)
    Y_hat = model.predictions(parameters, split.X)
    assert found.ensemble is not None
    np.testing.assert_allclose(found.ensemble, r_squared(split.labels, Y_hat.mean(axis=0)))
    np.testing.assert_allclose(found.r2, [r_squared(split.labels, one) for one in Y_hat])
    np.testing.assert_array_equal(predict(model, parameters, split.X), Y_hat.mean(axis=0))


def test_a_quantile_is_found() -> None:
    """Without inputs that say anything, the best bias is the quantile itself."""
    random = np.random.default_rng(0)
    Y = random.exponential(size=(500, 1))
    run = fit(
        MLP((1, 1), output="identity"),
        Split(np.zeros((500, 1)), Y),
        objective=Objective("quantile", quantile=0.9),
        batch_size=500,
        learning_rate=0.5,
        epochs=300,
    )
    np.testing.assert_allclose(run.parameters[-1], np.quantile(Y, 0.9), atol=0.1)


def test_many_answers_are_right_if_all_are(backend: Backend) -> None:
    split = rows()
    targets = (split.X[:, :3] > 0.5).astype(float)
    model = MLP((6, 12, 3), activation="tanh", output="sigmoid")
    given = Split(split.X, targets)
    optimizer_config = OptimizerConfig(OPTIMIZERS["adam"](), 0.05)
    run = fit(model, given, optimizer_config=optimizer_config, epochs=10, backend=backend)
    found = evaluate(model, run.parameters, given, backend=backend)
    answers = predict(model, run.parameters, split.X, backend=backend) > 0.5
    assert found.accuracy == (answers == (targets > 0.5)).all(axis=1).mean()
    assert found.accuracy < (answers == (targets > 0.5)).mean()
    assert found.accuracy > 0.7
    assert run.history.accuracy[-1] > run.history.accuracy[0]


def test_one_answer_takes_labels_0_and_1(backend: Backend) -> None:
    split = rows()
    labels = (split.labels > 0).astype(np.int64)
    model = MLP((6, 5, 1), output="sigmoid")
    run = fit(model, Split(split.X, labels), epochs=10, learning_rate=1.0, backend=backend)
    same = fit(model, Split(split.X, labels[:, None] * 1.0), epochs=10, learning_rate=1.0)
    np.testing.assert_allclose(run.history.loss, same.history.loss, rtol=1e-10)
    found = evaluate(model, run.parameters, Split(split.X, labels), backend=backend)
    yes = predict(model, run.parameters, split.X, backend=backend)
    assert yes.shape == (96, 1)
    assert found.accuracy == ((yes[:, 0] > 0.5) == labels).mean()
    assert found.accuracy > 0.85
    by_hand = -np.log(np.where(labels == 1, yes[:, 0], 1.0 - yes[:, 0])).mean()
    np.testing.assert_allclose(found.loss, by_hand, rtol=1e-10)
    with pytest.raises(InputError, match="label 2"):
        fit(model, split)


def test_classes_for_several_answers_are_one_hot() -> None:
    split, model = rows(), MLP((6, 5, 3), output="sigmoid")
    run, same = (
        fit(model, Split(split.X, labels)) for labels in (split.labels, np.eye(3)[split.labels])
    )
    np.testing.assert_array_equal(run.parameters, same.parameters)
    np.testing.assert_array_equal(run.history.accuracy, same.history.accuracy)


def test_distributions_over_classes_are_targets(backend: Backend) -> None:
    """One-hot ones are the labels; others have the loss written down for them."""
    split = rows()
    run = fit(split=Split(split.X, np.eye(3)[split.labels]), backend=backend)
    same = fit(split=split)
    np.testing.assert_allclose(run.history.loss, same.history.loss, rtol=1e-11)
    np.testing.assert_array_equal(run.history.accuracy, same.history.accuracy)

    soft = np.random.default_rng(0).dirichlet([1.0, 1.0, 1.0], 96)
    found = evaluate(MODEL, run.parameters, Split(split.X, soft), backend=backend)
    Y_hat = predict(MODEL, run.parameters, split.X, backend=backend)
    np.testing.assert_allclose(found.loss, -(soft * np.log(Y_hat)).sum(axis=1).mean(), rtol=1e-10)
    assert found.accuracy == (Y_hat.argmax(axis=1) == soft.argmax(axis=1)).mean()
    learned = fit(split=Split(split.X, soft), epochs=20, backend=backend)
    assert learned.history.loss[-12:].mean() < learned.history.loss[:12].mean()


# What is measured, and what is trained


@pytest.mark.parametrize(
    "objective",
    [
        Objective(label_smoothing=0.2), Objective(l1=0.1), Objective(l2=0.1),
        Objective(dropout=0.5, input_dropout=0.2), Objective(mixup=1.0),
        Objective(class_weights=(1.0, 2.0, 3.0)),
    ],
    ids=lambda objective: next(name for name, value in vars(objective).items() if value),
)  # fmt: skip
def test_validation_measures_the_loss_alone(objective: Objective) -> None:
    validation = rows(30, seed=9)
    run = fit(
        objective=objective,
        optimizer_config=STILL,
        epochs=1,
        validation_config=ValidationConfig(validation=validation),
    )
    plain = fit(optimizer_config=STILL, epochs=1)
    expected = evaluate(MODEL, MODEL.initialize(0, dtype="float64"), validation)
    np.testing.assert_allclose(run.history.validation_losses, [expected.loss], rtol=1e-12)
    assert (run.history.loss != plain.history.loss).any()  # while training has it all


def test_dropout_differs_by_step_and_repeats_itself() -> None:
    """The same rows in every step, and nothing is learned: only dropout changes the loss."""
    settings: dict[str, Any] = {
        "batch_size": 96, "epochs": 20, "shuffle": False, "optimizer_config": STILL,
    }  # fmt: skip
    dropping = Objective(dropout=0.4, input_dropout=0.1)
    run, again = (fit(objective=dropping, **settings) for _ in range(2))
    still = fit(**settings)
    assert len(np.unique(still.history.loss)) == 1
    assert len(np.unique(run.history.loss)) == 20
    np.testing.assert_array_equal(run.history.loss, again.history.loss)
    in_parts = fit(objective=dropping, **{**settings, "epochs": 10})
    np.testing.assert_array_equal(run.history.loss[:10], in_parts.history.loss)


def test_dropout_leaves_the_mean_of_a_linear_layer() -> None:
    """L of a network without activation is linear in each mask, and a mask's mean is 1."""
    split = Split(np.ones((2000, 6)), np.zeros((2000, 1)))
    model = MLP((6, 4, 1), activation="identity", output="identity")
    parameters = model.initialize(0, dtype="float64")
    still, dropped = (
        fit(
            model, split, parameters=parameters, batch_size=2000, epochs=1, optimizer_config=STILL,
            objective=Objective(dropout=rate, input_dropout=rate),
        )
        for rate in (0.0, 0.3)
    )  # fmt: skip
    W1, W2 = (model.unflatten(parameters)[name] for name in ("W1", "W2"))
    # Of independent masks with mean 1 and E(mask²) = 1/0.7: E(L²), by hand.
    inner = (W1.sum(axis=0) ** 2) + (W1**2).sum(axis=0) * (1 / 0.7 - 1)
    across = W1.sum(axis=0)[:, None] * W1.sum(axis=0) + W1.T @ W1 * (1 / 0.7 - 1)
    square = (W2[:, 0] * W2[:, 0, None] * across).sum()
    square += (W2[:, 0] ** 2 * inner).sum() * (1 / 0.7 - 1)
    expected = (W1.sum(axis=0) @ W2[:, 0]) ** 2
    np.testing.assert_allclose(still.history.loss, [0.5 * expected], rtol=1e-12)
    np.testing.assert_allclose(dropped.history.loss, [0.5 * square], rtol=0.1)


# Batch normalisation


BATCH_NORM = MLP((6, 5, 4, 3), activation="tanh", normalization="batch")


def test_running_statistics_are_those_of_the_batches(backend: Backend) -> None:
    """Nothing is learned: a running mean of the batches' means and unbiased variances."""
    model, split = MLP((6, 5, 3), normalization="batch"), rows()
    run = fit(model, split, optimizer_config=STILL, epochs=2, backend=backend)
    W, b, gamma, beta = (
        model.unflatten(model.initialize(0, dtype="float64"))[name]
        for name in ("W1", "b1", "gamma1", "beta1")
    )
    mean, variance = np.zeros(5), np.ones(5)
    for epoch in range(2):
        for batch in order(96, seed=0, epoch=epoch, shuffle=True).reshape(-1, 8):
            Z = split.X[batch] @ W + b
            mean = 0.9 * mean + 0.1 * Z.mean(axis=0)
            variance = 0.9 * variance + 0.1 * Z.var(axis=0, ddof=1)
    parameters = backend.to_numpy(run.parameters)
    parts = model.unflatten(parameters)
    np.testing.assert_allclose(parts["mean1"], mean, rtol=1e-10)
    np.testing.assert_allclose(parts["variance1"], variance, rtol=1e-10)

    Z = (split.X @ W + b - mean) / np.sqrt(variance + 1e-5)
    A = 1.0 / (1.0 + np.exp(-(gamma * Z + beta)))
    L = A @ parts["W2"] + parts["b2"]
    Y_hat = np.exp(L) / np.exp(L).sum(axis=1, keepdims=True)
    found = predict(model, run.parameters, split.X, backend=backend)
    np.testing.assert_allclose(found, Y_hat, rtol=1e-9)
    single = predict(model, run.parameters, split.X[:1], backend=backend)
    np.testing.assert_allclose(single, Y_hat[:1], rtol=1e-9)  # a row alone is normalised as well


def test_a_run_may_begin_with_statistics_or_without() -> None:
    with_them = BATCH_NORM.initialize(0, dtype="float64")
    without = with_them[: BATCH_NORM.parameter_count]
    run, same = (fit(BATCH_NORM, parameters=start) for start in (with_them, without))
    np.testing.assert_array_equal(run.parameters, same.parameters)
    again = fit(BATCH_NORM, parameters=run.parameters, optimizer_config=STILL, epochs=0)
    np.testing.assert_array_equal(again.parameters, run.parameters)
    with pytest.raises(InputError, match="parameters, but"):
        fit(BATCH_NORM, parameters=with_them[:-1])


@pytest.mark.parametrize("seed", [0, [1, 2]], ids=["one", "members"])
@pytest.mark.parametrize("average", ["none", "ema"])
def test_a_normalised_network_predicts_the_same_after_a_while_on_disk(
    average: str, seed: int | list[int], tmp_path: Path
) -> None:
    split = rows()
    run = fit(
        BATCH_NORM,
        split,
        seed=seed,
        optimizer_config=OptimizerConfig(learning_rate=0.3, average=average),
    )
    members = 1 if seed == 0 else 2
    recipe = load_recipe("lecture", ["dtype=float64", f"members={members}"])
    directory = RunDirectory.create(tmp_path / "run", recipe)
    found = evaluate(BATCH_NORM, run.parameters, split)
    directory.save_results(run, found, image_shape=(6,))
    loaded = directory.load_model()
    assert loaded.model == BATCH_NORM
    np.testing.assert_array_equal(loaded.parameters, run.parameters)
    np.testing.assert_array_equal(
        predict(loaded.model, loaded.parameters, split.X),
        predict(BATCH_NORM, run.parameters, split.X),
    )
    assert np.mean(found.accuracy) > 0.6


def test_evaluation_needs_the_statistics() -> None:
    with pytest.raises(InputError, match="statistics"):
        evaluate(BATCH_NORM, np.zeros(BATCH_NORM.parameter_count), rows())


def test_looking_at_a_normalised_network_changes_nothing() -> None:
    watcher = Recorder(lambda trainer: trainer.parameters)
    watched, alone = fit(BATCH_NORM, callbacks=[watcher]), fit(BATCH_NORM)
    np.testing.assert_array_equal(watched.parameters, alone.parameters)
    np.testing.assert_array_equal(watcher.way[-1], alone.parameters)
    assert watcher.way[0].shape == (BATCH_NORM.size,)


def test_a_constant_target_is_no_perfect_score() -> None:
    """R² of a constant is not defined; a network that misses it must not look perfect."""
    model = MLP((3, 4, 1), output="identity")
    X = np.random.default_rng(0).random((8, 3), np.float32)
    found = evaluate(model, model.initialize(0), Split(X, np.full(8, 3.0)))
    assert found.loss > 0.01
    assert found.r2 < 0.0


def test_a_batch_of_one_row_is_no_batch_to_normalise() -> None:
    model = MLP((3, 4, 2), normalization="batch")
    split = Split(np.ones((4, 3), np.float32), np.array([0, 1, 0, 1]))
    with pytest.raises(InputError, match="batch_size=1: a row is its own batch's mean"):
        train(model, split, epochs=1, batch_size=1, backend="numpy")


def test_rates_may_be_given_as_a_list() -> None:
    assert Objective(dropout=[0.1, 0.2]).dropout == (0.1, 0.2)
    assert Objective(class_weights=np.array([1.0, 2.0])).class_weights == (1.0, 2.0)
    with pytest.raises(InputError, match="class_weights: all are 0"):
        Objective(class_weights=(0.0, 0.0))
