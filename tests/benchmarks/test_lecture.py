"""The two oracles: the lecture's program and the reference for networks that it does not have."""

import dataclasses

import numpy as np
import pytest

from benchmarks.lecture import train_lecture
from benchmarks.problems import NETWORKS, Problem, lecture_problem, make_problem
from benchmarks.reference import reference_losses, reference_probabilities
from xpmlp import MLP, Split
from xpmlp.training import train

pytestmark = pytest.mark.extended


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


def test_lecture_program_continues_after_an_epoch_and_in_float32(problem: Problem) -> None:
    images, labels = problem.images[:1000].reshape(-1, 28, 28), problem.labels[:1000]
    double = train_lecture(problem.weights, images, labels, steps=40)
    single = train_lecture(problem.weights, images, labels, steps=40, dtype="float32")
    assert double.accuracies.shape == (2,)  # 15 full batches in 1,000 rows
    assert single.losses.dtype == single.weights["W1"].dtype == np.float32
    np.testing.assert_allclose(single.losses, double.losses, rtol=1e-4)


def test_reference_is_the_lectures_program(problem: Problem) -> None:
    short = dataclasses.replace(problem, images=problem.images[:640], labels=problem.labels[:640])
    lecture = train_lecture(short.weights, short.images, short.labels, steps=25)
    np.testing.assert_allclose(reference_losses(short, 25), lecture.losses, rtol=1e-12, atol=0)


def test_reference_trains_members_as_each_alone() -> None:
    layer_sizes = (784, 6, 5, 4, 10)
    together = make_problem(layer_sizes, 8, batches=3, warm=3, members=2)
    found = reference_losses(together, 7)
    assert found.shape == (7, 2)
    for member, seed in enumerate((11, 12)):
        alone = make_problem(layer_sizes, 8, batches=3, warm=3, seed=seed)
        np.testing.assert_allclose(found[:, member], reference_losses(alone, 7), rtol=1e-12)


def test_references_first_loss_is_that_of_its_probabilities() -> None:
    problem = make_problem((784, 7, 10), 16, batches=1, warm=1)
    Y_hat = reference_probabilities(problem, problem.images / 255.0)
    np.testing.assert_allclose(Y_hat.sum(axis=1), 1.0, rtol=1e-12)
    loss = -np.log(Y_hat[np.arange(16), problem.labels]).mean()
    np.testing.assert_allclose(reference_losses(problem, 1), loss, rtol=1e-12)


def test_a_problem_counts_what_its_step_multiplies() -> None:
    problem = make_problem((784, 5, 10), 4, batches=2, warm=1, members=3)
    assert (problem.members, problem.batches, problem.layer_sizes) == (3, 2, (784, 5, 10))
    assert problem.multiply_adds == 3 * 4 * (2 * 784 * 5 + 3 * 5 * 10)  # no dA of the first layer
    assert problem.rows(0) == problem.rows(2) == slice(0, 4)
    with pytest.raises(ValueError, match="batches=1 of 60001"):
        make_problem((784, 10), 60_001, batches=1, warm=1)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_can_be_trained_as_long_as_it_says(name: str) -> None:
    network = NETWORKS[name]
    assert network.batches * network.batch_size <= 60_000
    for steps in (network.steps, network.quick_steps):
        total = network.warm + steps
        assert steps % network.warm == 0
        assert total <= network.batches or total % network.batches == 0
