"""The lecture's program is matched, loss by loss, from the same weights and batches.

It is run once, in float64; every backend then trains an epoch of real MNIST beside it.
"""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from benchmarks.lecture import train_lecture
from xpmlp import MLP, Dataset, Split, load_mnist
from xpmlp.training import train

MODEL = MLP((784, 64, 32, 10))


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return load_mnist()


@pytest.fixture(scope="module")
def lecture(mnist: Dataset):
    """The first epoch of the lecture's program: 937 losses and the epoch's accuracy."""
    parts = MODEL.unflatten(MODEL.initialize(0, dtype="float64"), xp=np)
    weights = {name.upper(): part for name, part in parts.items()}
    with threadpool_limits(1):  # two BLAS threads crawl on a busy machine
        return train_lecture(weights, mnist.train.X, mnist.train.labels)


@pytest.mark.extended(keep=1)
def test_every_loss_of_the_first_epoch_equals_the_lectures(backend, mnist, lecture) -> None:
    """PyTorch and array-api-strict take ten times as long: they train 150 of the 937 steps."""
    steps = 150 if backend.name in ("torch", "strict") else 937
    count = steps * 64 + 32  # the last 32 rows of MNIST are dropped
    rows = Split(mnist.train.X[:count], mnist.train.labels[:count])
    run = train(MODEL, rows, epochs=1, seed=0, backend=backend, dtype="float64")
    assert run.history.loss.shape == (steps,)
    tolerance = 1e-12 if backend.name == "numpy" else 1e-10
    np.testing.assert_allclose(run.history.loss, lecture.losses[:steps], rtol=tolerance, atol=0)
    if steps == 937:
        assert run.history.accuracy[0] == lecture.accuracies[0]


def test_float32_follows_to_its_own_precision(mnist: Dataset, lecture) -> None:
    run = train(MODEL, mnist.train, epochs=1, seed=0)
    assert run.history.loss.dtype == np.float32
    np.testing.assert_allclose(run.history.loss, lecture.losses, rtol=2e-3)
    assert abs(run.history.accuracy[0] - lecture.accuracies[0]) < 1e-3


@pytest.mark.extended
def test_lectures_run_ends_in_the_lectures_band(mnist: Dataset) -> None:
    """20 epochs of the default recipe; see benchmarks/records.md for the spread over seeds."""
    from xpmlp import evaluate
    from xpmlp.recipes import load_recipe

    recipe = load_recipe("lecture")
    run = train(
        recipe.model,
        mnist.train,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        seed=recipe.seed,
        shuffle=recipe.shuffle,
    )
    assert 0.86 <= run.history.accuracy[-1] <= 0.875
    test = evaluate(recipe.model, run.parameters, mnist.test, backend=run.backend)
    assert 0.865 <= test.accuracy <= 0.88
