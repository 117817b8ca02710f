"""scikit-learn's own checks with CuPy as the backend, and what a GPU has learned elsewhere."""

import importlib
import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import parametrize_with_checks

from tests.conftest import gpu_backend
from xpmlp import MLPClassifier, MLPRegressor
from xpmlp.model_selection import cross_validate_members

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

SETTINGS = {"hidden_layer_sizes": (16,), "max_iter": 15, "random_state": 0}


@pytest.fixture(autouse=True)
def cupy():
    gpu_backend()
    return importlib.import_module("cupy")


@pytest.mark.filterwarnings("ignore")  # scikit-learn's checks warn of what they do themselves
@parametrize_with_checks(
    [one(max_iter=100, backend="cupy") for one in (MLPClassifier, MLPRegressor)]
)
def test_scikit_learns_own_checks_on_the_gpu(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_gpu_learns_what_the_cpu_learns(kind, solver):
    X, y = load_digits(return_X_y=True)
    X = X / 16.0
    on_cpu, on_gpu = (
        kind(**SETTINGS, solver=solver, backend=name).fit(X, y) for name in ("numpy", "cupy")
    )
    assert on_gpu.backend_.startswith("cupy on cuda")
    np.testing.assert_allclose(on_gpu.coefs_[0], on_cpu.coefs_[0], rtol=1e-6, atol=1e-6)
    assert on_gpu.n_iter_ == on_cpu.n_iter_


def test_arrays_of_cupy_stay_and_weights_and_classes_too(cupy):
    X, y = load_digits(return_X_y=True)
    rows, labels = cupy.asarray(X / 16.0), cupy.asarray(y)
    weights = cupy.linspace(0.0, 2.0, len(y))
    fitted = MLPClassifier(**SETTINGS).fit(rows, labels, weights, eval_set=(rows, labels))
    expected = MLPClassifier(**SETTINGS, backend="numpy").fit(X / 16.0, y, cupy.asnumpy(weights))
    assert isinstance(fitted.predict_proba(rows), cupy.ndarray)
    np.testing.assert_allclose(fitted.coefs_[0], expected.coefs_[0], rtol=1e-6, atol=1e-6)
    fitted.partial_fit(rows, labels)
    assert fitted.n_iter_ == 1


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_eval_set_of_cupy(cupy, kind, dtype, early_stopping):
    X, y = load_digits(return_X_y=True)
    X = (X / 16.0).astype(dtype)
    estimators = [
        kind(**SETTINGS, early_stopping=early_stopping, backend=name) for name in ("numpy", "cupy")
    ]
    expected, found = (
        estimator.fit(
            to_library(X[:1000]), to_library(y[:1000]),
            eval_set=(to_library(X[1000:]), to_library(y[1000:])),
        )
        for estimator, to_library in zip(estimators, (np.asarray, cupy.asarray), strict=True)
    )  # fmt: skip
    np.testing.assert_allclose(
        found.validation_loss_curve_, expected.validation_loss_curve_, rtol=1e-3
    )
    np.testing.assert_allclose(found.validation_scores_, expected.validation_scores_, atol=0.01)


def test_parameters_learned_on_the_gpu_are_numpy_arrays():
    X, y = load_digits(return_X_y=True)
    fitted = MLPClassifier(**SETTINGS, backend="cupy").fit(X, y)
    assert b"cupy." not in pickle.dumps(fitted)
    elsewhere = pickle.loads(pickle.dumps(fitted)).set_params(backend="numpy")  # noqa: S301
    np.testing.assert_allclose(elsewhere.predict_proba(X), fitted.predict_proba(X), atol=1e-6)


def test_folds_and_seeds_on_the_gpu_are_those_on_the_cpu():
    X, y = load_digits(return_X_y=True)
    scores = [
        cross_validate_members(
            MLPClassifier(**SETTINGS, backend=name), X / 16.0, y, cv=3, seeds=[0, 1]
        )["test_score"]
        for name in ("numpy", "cupy")
    ]
    np.testing.assert_allclose(scores[1], scores[0], atol=0.01)
