"""Batches of an epoch: the smaller last one, the weights of rows, and what penalties are divided
by, compared with gradients of exactly the rows that are meant."""

import numpy as np
import pytest

from tests.callbacks import resumed
from tests.training.small_runs import begin
from xpmlp import MLP, Objective, OptimizerConfig, Split
from xpmlp.backends import Backend
from xpmlp.data import SparseRows, order
from xpmlp.optimizers import adam
from xpmlp.training import train
from xpmlp.training.loaders import StreamingLoader, make_loader

pytestmark = pytest.mark.extended(keep=14)

MODEL = MLP((5, 4, 3))


def rows(count: int) -> Split:
    random = np.random.default_rng(0)
    return Split(random.normal(size=(count, 5)), random.integers(0, 3, count))


def by_hand(split, *, batch_size, epochs, objective, weights=None, rate=0.1):
    """Losses and parameters of plain descent, each batch with its own rows alone."""
    parameters, losses = MODEL.initialize(0, dtype="float64"), []
    for epoch in range(epochs):
        chosen = order(len(split.labels), seed=0, epoch=epoch, shuffle=True)
        for start in range(0, len(chosen), batch_size):
            batch = chosen[start : start + batch_size]
            own = np.ones(len(batch)) if weights is None else weights[batch]
            if objective.divides_by_weight:
                divisor, own = own.sum(), own * (len(batch) / own.sum())
            else:
                divisor = 1.0
            plain = Objective(l1=objective.l1 / divisor, l2=objective.l2 / divisor)
            loss, gradients = MODEL.loss_and_gradients(
                parameters, split.X[batch], split.labels[batch], objective=plain, weights=own
            )
            losses.append(loss)
            parameters = parameters - rate * gradients
    return np.array(losses), parameters


OBJECTIVES = {
    "plain": Objective(),
    "penalties": Objective(l1=0.01, l2=0.1),
    "penalties by weight": Objective(l1=0.3, l2=2.0, divides_by_weight=True),
}


@pytest.mark.extended(keep=12)
@pytest.mark.parametrize("count", [32, 33])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_row_counts_once_an_epoch(backend: Backend, count, weighted, name):
    split, objective = rows(count), OBJECTIVES[name]
    weights = np.random.default_rng(1).random(count) if weighted else None
    run = train(
        MODEL, split, epochs=3, batch_size=16, learning_rate=0.1, shuffle=True, drop_last=False,
        objective=objective, sample_weights=weights, dtype="float64", backend=backend,
    )  # fmt: skip
    losses, parameters = by_hand(
        split, batch_size=16, epochs=3, objective=objective, weights=weights
    )
    np.testing.assert_allclose(run.history.loss, losses, rtol=1e-9)
    np.testing.assert_allclose(backend.to_numpy(run.parameters), parameters, rtol=1e-8, atol=1e-11)
    assert len(run.history.accuracy) == 3
    assert run.history.accuracy.max() <= 1.0
    assert run.history.accuracy * count == pytest.approx(np.round(run.history.accuracy * count))


def test_rows_that_are_left_over_wait_unless_they_are_kept():
    split = rows(40)
    assert train(MODEL, split, epochs=2, batch_size=16).iteration == 4
    assert train(MODEL, split, epochs=2, batch_size=16, drop_last=False).iteration == 6


def test_a_smaller_last_batch_for_members():
    alone = train(MODEL, rows(40), epochs=2, batch_size=16, drop_last=False, dtype="float64")
    both = train(
        MODEL, rows(40), epochs=2, batch_size=16, drop_last=False, dtype="float64", seed=[0, 1]
    )
    np.testing.assert_allclose(both.history.loss[:, 0], alone.history.loss, rtol=1e-12)


@pytest.mark.parametrize("place", range(1, 6))
def test_run_resumes_from_any_step(place):
    """Bit for bit, with weights, penalties and a schedule that look their steps up."""
    settings = {
        "parameters": MODEL.initialize(0), "batch_size": 16, "epochs": 2, "seed": 3,
        "drop_last": False, "sample_weights": np.linspace(0.0, 2.0, 40),
        "objective": Objective(l2=0.5, divides_by_weight=True),
        "optimizer_config": OptimizerConfig(adam()),
    }  # fmt: skip
    whole = begin(MODEL, rows(40), **settings).run()
    second = resumed(lambda: begin(MODEL, rows(40), **settings), place)
    np.testing.assert_array_equal(second.parameters, whole.parameters)
    np.testing.assert_array_equal(second.history.loss, whole.history.loss)


def test_streamed_blocks_have_the_same_smaller_batch(backend: Backend):
    settings = {"objective": Objective(l2=0.5, divides_by_weight=True), "drop_last": False}
    settings |= {"batch_size": 16, "epochs": 2, "backend": backend}
    resident = begin(MODEL, rows(75), **settings).run().history.loss
    again = begin(MODEL, rows(75), **settings)
    blocks = make_loader(
        again.split, batch_size=16, fixed=again.fixed, backend=backend, limit=2 * 2 * 16 * 48
    )
    assert isinstance(blocks, StreamingLoader)
    again.loader = lambda: blocks
    np.testing.assert_allclose(again.run().history.loss, resident, rtol=1e-12)


def test_sparse_rows_are_dense_when_they_are_read():
    import scipy.sparse

    dense = np.where(rows(30).X > 0.5, rows(30).X, 0.0)
    sparse = SparseRows(scipy.sparse.csr_array(dense))
    assert sparse.nbytes == dense.nbytes
    out = np.empty((3, 5))
    sparse.take(np.array([4, 1, 4]), out=out)
    np.testing.assert_array_equal(out, dense[[4, 1, 4]])
    found, expected = (
        train(MODEL, Split(X, rows(30).labels), epochs=2, batch_size=8) for X in (sparse, dense)
    )
    np.testing.assert_array_equal(found.history.loss, expected.history.loss)
