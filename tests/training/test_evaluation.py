"""Evaluation and prediction, whatever the number of rows."""

import numpy as np
import pytest

from xpmlp import MLP, InputError, Split, evaluate, predict
from xpmlp.backends import Backend
from xpmlp.training import evaluation

MODEL = MLP((6, 5, 3))


def rows(count: int = 25) -> Split:
    random = np.random.default_rng(0)
    return Split(random.uniform(size=(count, 6)), random.integers(0, 3, count))


@pytest.mark.parametrize("block", [1, 7, 25, 1000])
def test_loss_and_accuracy_do_not_depend_on_the_blocks(
    backend: Backend, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "ROWS_AT_ONCE", block)
    split = rows()
    parameters = MODEL.initialize(0, dtype="float64")
    Y_hat = MODEL.probabilities(parameters, split.X)
    found = evaluate(MODEL, parameters, split, backend=backend)
    expected = np.mean(-np.log(Y_hat[np.arange(25), split.labels]))
    np.testing.assert_allclose(found.loss, expected, rtol=1e-12)
    assert found.accuracy == np.mean(Y_hat.argmax(axis=1) == split.labels)
    assert found.committee is None
    np.testing.assert_allclose(predict(MODEL, parameters, split.X, backend=backend), Y_hat)


def test_members_are_evaluated_each_and_together(backend: Backend) -> None:
    split = rows()
    parameters = MODEL.initialize([0, 1, 2], dtype="float64")
    found = evaluate(MODEL, parameters, split, backend=backend)
    for e in range(3):
        alone = evaluate(MODEL, parameters[e], split)
        np.testing.assert_allclose(found.loss[e], alone.loss, rtol=1e-12)
        assert found.accuracy[e] == alone.accuracy
    averaged = MODEL.probabilities(parameters, split.X).mean(axis=0)
    assert found.committee == np.mean(averaged.argmax(axis=1) == split.labels)
    np.testing.assert_allclose(
        predict(MODEL, parameters, split.X, backend=backend), averaged, rtol=1e-12
    )


def test_rows_that_do_not_fit_are_refused() -> None:
    parameters, split = MODEL.initialize(0), rows()
    with pytest.raises(InputError, match="5 values, the network takes 6"):
        evaluate(MODEL, parameters, Split(split.X[:, :5], split.labels))
    with pytest.raises(InputError, match="5 values, the network takes 6"):
        predict(MODEL, parameters, split.X[:, :5])
    with pytest.raises(InputError, match="label 3"):
        evaluate(MODEL, parameters, Split(split.X, split.labels + 1))


def test_parameters_of_another_library_need_its_backend(backend: Backend) -> None:
    if backend.name != "numpy":
        with pytest.raises(InputError, match=r"say backend=run\.backend"):
            evaluate(MODEL, MODEL.initialize(0, backend=backend), rows())
    found = evaluate(MODEL, MODEL.initialize(0, backend=backend), rows(), backend=backend)
    assert found.loss > 0.0
