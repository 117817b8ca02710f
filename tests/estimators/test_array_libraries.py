"""Arrays of any library in, arrays of the same library and device out."""

import importlib

import array_api_compat
import array_api_strict
import numpy as np
import pytest
from sklearn.datasets import load_iris, make_multilabel_classification

from tests.conftest import gpu_backend
from xpmlp import MLPClassifier, MLPRegressor
from xpmlp.backends import Backend
from xpmlp.model_selection import cross_validate_members

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)

LIBRARIES = [
    "strict",
    "strict on device1",
    pytest.param("torch", marks=pytest.mark.oracle),
    pytest.param("jax", marks=pytest.mark.oracle),
    pytest.param("cupy", marks=pytest.mark.gpu),
]


@pytest.fixture(params=LIBRARIES)
def to_library(request):
    """What makes an array of a library out of NumPy's."""
    name = request.param
    if name.startswith("strict"):
        device = array_api_strict.Device("device1") if name.endswith("device1") else None
        return lambda array: array_api_strict.asarray(array, device=device)
    if name == "torch":
        return request.getfixturevalue("torch").asarray
    if name == "jax":
        request.getfixturevalue("jax")
        import jax.numpy as jnp

        return jnp.asarray
    gpu_backend()
    import cupy

    return cupy.asarray


def to_numpy(array):
    return np.from_dlpack(array) if not hasattr(array, "get") else array.get()


def assert_alike(found, X_of_library):
    assert type(found) is type(X_of_library)
    assert array_api_compat.device(found) == array_api_compat.device(X_of_library)


SETTINGS = {
    "max_iter": 8,
    "random_state": 0,
    "hidden_layer_sizes": (7,),
    "learning_rate_init": 0.01,
}


@pytest.mark.extended(keep=9)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("labels", ["three classes", "two classes", "several labels"])
def test_a_classifier_gives_what_it_is_given(to_library, solver, labels):
    rows, y = X.astype(np.float32), Y
    if labels == "two classes":
        y = (Y > 1).astype(np.int64) * 3 + 4
    if labels == "several labels":
        rows, y = make_multilabel_classification(120, 4, n_classes=3, random_state=0)
        rows = rows.astype(np.float32)
    expected = MLPClassifier(solver=solver, **SETTINGS).fit(rows, y)
    given = to_library(rows)
    found = MLPClassifier(solver=solver, **SETTINGS).fit(given, to_library(y))
    for method in ("predict", "predict_proba", "predict_log_proba"):
        result = getattr(found, method)(given)
        assert_alike(result, given)
        np.testing.assert_allclose(
            to_numpy(result), getattr(expected, method)(rows), rtol=1e-3, atol=1e-4
        )
    assert found.score(given, to_library(y)) == pytest.approx(expected.score(rows, y), abs=0.01)
    # What was learned elsewhere serves here: the parameters are on the host.
    np.testing.assert_allclose(
        found.predict_proba(rows), expected.predict_proba(rows), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_regressor_gives_what_it_is_given(to_library, outputs):
    rows = X.astype(np.float32)
    y = rows[:, :2].copy() if outputs == 2 else rows[:, 0].copy()
    settings = {**SETTINGS, "early_stopping": True}
    expected = MLPRegressor(**settings).fit(rows[:, 2:], y)
    given = to_library(rows[:, 2:])
    found = MLPRegressor(**settings).fit(given, to_library(y))
    assert_alike(found.predict(given), given)
    assert found.predict(given).shape == y.shape
    np.testing.assert_allclose(
        to_numpy(found.predict(given)), expected.predict(rows[:, 2:]), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(found.validation_scores_, expected.validation_scores_, atol=1e-3)


@pytest.mark.extended(keep=20)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("on_device", ["both", "eval_set", "rows", "labels"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_eval_set_of_any_library(to_library, kind, early_stopping, on_device, dtype):
    settings = {**SETTINGS, "early_stopping": early_stopping}
    rows, eval_rows, y = X[::2].astype(dtype), X[1::2], Y[1::2]
    expected = kind(**settings).fit(rows, Y[::2], eval_set=(eval_rows.astype(dtype), y))
    train = (rows, Y[::2])
    if on_device in ("both", "rows"):
        train = tuple(map(to_library, train))
    move = {"both": (1, 1), "eval_set": (1, 1), "rows": (0, 0), "labels": (0, 1)}[on_device]
    eval_set = tuple(
        to_library(part) if is_moved else part
        for part, is_moved in zip((eval_rows, y), move, strict=True)
    )
    found = kind(**settings).fit(*train, eval_set=eval_set)
    found.fit(*train, eval_set=eval_set)  # also where another fit was before
    np.testing.assert_allclose(
        found.validation_loss_curve_, expected.validation_loss_curve_, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(found.validation_scores_, expected.validation_scores_, atol=0.02)


def test_text_labels_with_rows_on_a_device(to_library):
    names = np.array(["setosa", "versicolor", "virginica"])[Y]
    given = to_library(X.astype(np.float32))
    found = MLPClassifier(**SETTINGS).fit(given, names).predict(given)
    assert isinstance(found, np.ndarray)
    assert set(found) <= set(names)


def test_rows_on_a_device_never_come_to_the_host(monkeypatch):
    device = array_api_strict.Device("device1")
    copied = []
    to_numpy = Backend.to_numpy
    monkeypatch.setattr(
        Backend, "to_numpy", lambda self, one: copied.append(one.shape) or to_numpy(self, one)
    )
    many = np.tile(X, (5, 30)).astype(np.float32)
    rows, y = (array_api_strict.asarray(one, device=device) for one in (many, np.tile(Y, 5)))
    MLPClassifier(max_iter=2, hidden_layer_sizes=(3,), early_stopping=True).fit(rows, y).predict(
        rows
    )
    assert copied
    assert max(map(np.prod, copied)) < many.size / 10


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_weights_of_rows_on_a_device(to_library, kind):
    weights = np.linspace(0.0, 2.0, 150)
    expected = kind(**SETTINGS).fit(X, Y, weights)
    for given in (weights, to_library(weights)):
        found = kind(**SETTINGS).fit(to_library(X), to_library(Y), given)
        np.testing.assert_allclose(found.coefs_[0], expected.coefs_[0], rtol=1e-5, atol=1e-6)


def test_classes_on_a_device(to_library):
    classes, settings = np.arange(3), {**SETTINGS, "class_weight": {0: 1.0, 1: 2.0, 2: 3.0}}
    expected = MLPClassifier(**settings).partial_fit(X, Y, classes=classes)
    found = MLPClassifier(**settings).partial_fit(
        to_library(X), to_library(Y), classes=to_library(classes)
    )
    np.testing.assert_allclose(found.coefs_[0], expected.coefs_[0], rtol=1e-6)


def test_folds_of_rows_on_a_device(to_library):
    estimator = MLPClassifier(**SETTINGS)
    expected = cross_validate_members(estimator, X, Y, cv=3)
    found = cross_validate_members(estimator, to_library(X), to_library(Y), cv=3)
    np.testing.assert_array_equal(found["test_score"], expected["test_score"])


@pytest.mark.oracle
@pytest.mark.parametrize("library", ["torch", "jax"])
def test_numbers_that_numpy_has_no_type_for(library, request):
    request.getfixturevalue(library)
    xp = importlib.import_module({"torch": "torch", "jax": "jax.numpy"}[library])
    found = MLPClassifier(**SETTINGS).fit(xp.asarray(X, dtype=xp.bfloat16), Y)
    rounded = np.asarray(xp.asarray(xp.asarray(X, dtype=xp.bfloat16), dtype=xp.float32))
    expected = MLPClassifier(**SETTINGS).fit(rounded, Y)
    np.testing.assert_array_equal(found.coefs_[0], expected.coefs_[0])


def test_bad_arrays_on_a_device():
    device = array_api_strict.Device("device1")
    rows, y = (array_api_strict.asarray(one, device=device) for one in (X, Y))
    estimator = MLPClassifier(max_iter=2)
    bad = array_api_strict.asarray(np.where(X > 7.0, np.nan, X), device=device)
    with pytest.raises(ValueError, match="Input X contains NaN or infinity"):
        estimator.fit(bad, y)
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
        estimator.fit(y, y)
    estimator.fit(rows, y)
    with pytest.raises(ValueError, match="X has 3 features, but MLPClassifier is expecting 4"):
        estimator.predict(rows[:, :3])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        estimator.fit(rows, y[:149])
    with pytest.raises(ValueError, match="Input y contains numbers below 0"):
        MLPRegressor("poisson").fit(rows, -rows[:, 0])
