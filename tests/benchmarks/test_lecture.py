"""The lecture's program, as far as the parity tests of training do not use it already."""

import numpy as np
import pytest

from benchmarks.competitors import Problem, lecture_problem
from benchmarks.lecture import train_lecture
from xpmlp import MLP, Split, train


@pytest.fixture(scope="module")
def problem() -> Problem:
    return lecture_problem()


def test_its_first_losses_equal_xpmlps(problem: Problem) -> None:
    lecture = train_lecture(problem.weights, problem.images, problem.labels, steps=50)
    model = MLP(problem.layer_sizes)
    run = train(
        model,
        Split(problem.images[: 50 * 64], problem.labels[: 50 * 64]),
        epochs=1,
        parameters=model.initialize(11, dtype="float64"),
    )
    np.testing.assert_allclose(run.history.loss, lecture.losses, rtol=1e-12, atol=0)
    parts = model.unflatten(run.parameters, xp=np)
    for name, part in parts.items():
        np.testing.assert_allclose(part, lecture.weights[name.upper()], rtol=1e-9, atol=1e-15)


def test_it_goes_on_after_an_epoch_and_in_float32(problem: Problem) -> None:
    images, labels = problem.images[:1000].reshape(-1, 28, 28), problem.labels[:1000]
    double = train_lecture(problem.weights, images, labels, steps=40)
    single = train_lecture(problem.weights, images, labels, steps=40, dtype="float32")
    assert double.accuracies.shape == (2,)  # 15 full batches in 1,000 rows
    assert single.losses.dtype == single.weights["W1"].dtype == np.float32
    np.testing.assert_allclose(single.losses, double.losses, rtol=1e-4)
