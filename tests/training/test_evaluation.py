"""Evaluation and prediction, whatever the number of rows."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from xpmlp import MLP, InputError, Objective, Split, evaluate, predict
from xpmlp.algebra import LOSSES
from xpmlp.backends import Backend

MODEL = MLP((6, 5, 3))


def rows(count: int = 25) -> Split:
    random = np.random.default_rng(0)
    return Split(random.uniform(size=(count, 6)), random.integers(0, 3, count))


@pytest.mark.parametrize("block", [1, 7, 25, 1000])
def test_loss_and_accuracy_do_not_depend_on_the_blocks(
    backend: Backend, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(backend), "rows_at_once", block)
    split = rows()
    parameters = MODEL.initialize(0, dtype="float64")
    Y_hat = MODEL.predictions(parameters, split.X)
    found = evaluate(MODEL, parameters, split, backend=backend)
    expected = np.mean(-np.log(Y_hat[np.arange(25), split.labels]))
    np.testing.assert_allclose(found.loss, expected, rtol=1e-12)
    assert found.accuracy == np.mean(Y_hat.argmax(axis=1) == split.labels)
    assert found.ensemble is None
    np.testing.assert_allclose(predict(MODEL, parameters, split.X, backend=backend), Y_hat)


def test_members_are_evaluated_each_and_together(backend: Backend) -> None:
    split = rows()
    parameters = MODEL.initialize([0, 1, 2], dtype="float64")
    found = evaluate(MODEL, parameters, split, backend=backend)
    for e in range(3):
        alone = evaluate(MODEL, parameters[e], split)
        np.testing.assert_allclose(found.loss[e], alone.loss, rtol=1e-12)
        assert found.accuracy[e] == alone.accuracy
    averaged = MODEL.predictions(parameters, split.X).mean(axis=0)
    assert found.ensemble == np.mean(averaged.argmax(axis=1) == split.labels)
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
        with pytest.raises(InputError, match=r"give backend=run\.backend"):
            evaluate(MODEL, MODEL.initialize(0, backend=backend), rows())
    found = evaluate(MODEL, MODEL.initialize(0, backend=backend), rows(), backend=backend)
    assert found.loss > 0.0


def test_one_row_and_many_agree_and_no_result_is_written_over(backend: Backend) -> None:
    split, parameters = rows(1100), MODEL.initialize(0, dtype="float64")
    whole = predict(MODEL, parameters, split.X, backend=backend)
    single = [predict(MODEL, parameters, split.X[i : i + 1], backend=backend) for i in range(3)]
    np.testing.assert_allclose(np.concatenate(single), whole[:3], rtol=1e-12)
    again = predict(MODEL, 2.0 * parameters, split.X, backend=backend)
    assert (again != whole).any()
    np.testing.assert_array_equal(predict(MODEL, parameters, split.X, backend=backend), whole)


def test_parameters_changed_in_place_are_seen() -> None:
    X, parameters = rows().X, MODEL.initialize(0, dtype="float64")
    before = predict(MODEL, parameters, X)
    parameters *= 0.5
    np.testing.assert_allclose(
        predict(MODEL, parameters, X), MODEL.predictions(parameters, X), rtol=1e-12
    )
    assert (predict(MODEL, parameters, X) != before).any()


def test_threads_may_predict_at_once() -> None:
    X, parameters = rows(2000).X, MODEL.initialize(0, dtype="float64")
    expected = MODEL.predictions(parameters, X)
    parts = [slice(start, start + 1) for start in range(0, 2000)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda part: predict(MODEL, parameters, X[part]), parts))
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_rows_of_any_kind_and_order(dtype: str) -> None:
    X = np.asfortranarray(np.arange(600 * 6).reshape(600, 6).astype(dtype))
    parameters = MODEL.initialize(0, dtype="float64")
    scaled = X / 255.0 if dtype == "uint8" else X.astype(np.float64)
    np.testing.assert_allclose(
        predict(MODEL, parameters, X[::-1]),
        MODEL.predictions(parameters, scaled[::-1]),
        atol=1e-12,
    )


def test_loss_that_no_program_can_hold_is_evaluated_as_it_is() -> None:
    usual = LOSSES["softmax_cross_entropy"]

    def forward(Y, L, weights=None, *, xp):
        J, kept = usual.forward(Y, L, weights, xp=xp)
        return xp.squeeze(J[None, ...], axis=0), kept  # the tracer has no squeeze

    X, labels = np.eye(6, dtype=np.float32), np.arange(6) % 3
    model, split = MLP((6, 4, 3)), Split(X, labels)
    parameters = model.initialize(seed=0)
    for objective in (Objective(usual._replace(forward=forward)), Objective(usual)):
        found = evaluate(model, parameters, split, objective=objective)
        np.testing.assert_allclose(found.loss, evaluate(model, parameters, split).loss, rtol=1e-6)
