"""The estimators among scikit-learn's tools, and its own checks of them."""

import inspect
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import sklearn
import sklearn.neural_network
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from xpmlp import MLPClassifier, MLPRegressor

pytestmark = [
    pytest.mark.extended(keep=3),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

IRIS = load_iris(return_X_y=True)


def its_checks() -> Iterator[pytest.ParameterSet]:
    """All but those that scikit-learn would skip: of arrays of other libraries, which the next test
    runs, and of `decision_function`, which its own network does not have either."""
    for estimator in (MLPClassifier(max_iter=100), MLPRegressor(max_iter=100)):
        for one, check in estimator_checks_generator(estimator, mark=None):
            if "array_api" not in str(check) and "decision_function" not in str(check):
                name = f"{type(one).__name__}-{getattr(check, 'func', check).__name__}"
                yield pytest.param(one, check, id=name)


@pytest.mark.extended(keep=6)
@pytest.mark.filterwarnings("ignore")  # scikit-learn's checks warn of what they do themselves
@pytest.mark.parametrize(("estimator", "check"), list(its_checks()))
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


ARRAY_CHECKS = """
import sys, warnings
from importlib.util import find_spec
warnings.simplefilter("ignore")
from sklearn.utils.estimator_checks import estimator_checks_generator
from xpmlp import MLPClassifier, MLPRegressor
done = []
for estimator in (MLPClassifier(max_iter=20), MLPRegressor(max_iter=20)):
    for one, check in estimator_checks_generator(estimator, mark=None):
        lacking = ["cupy", "dpnp", "cuda", "xpu", "mps"] + ["torch"] * (find_spec("torch") is None)
        if "array_api" in str(check) and not any(name in str(check) for name in lacking):
            check(one)
            done.append(check)
print(len(done))
"""


@pytest.mark.extended
@pytest.mark.skipif(
    not hasattr(sklearn.utils.estimator_checks, "check_array_api_same_namespace"),
    reason="this scikit-learn has no such checks",
)
def test_scikit_learns_checks_of_arrays_of_other_libraries():
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    command = [sys.executable, "-c", ARRAY_CHECKS]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr[-2000:]
    assert int(found.stdout) >= 6


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_every_parameter_of_the_original_is_there_with_its_default(name):
    theirs = inspect.signature(getattr(sklearn.neural_network, name)).parameters
    ours = inspect.signature({"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}[name])
    expected = {key: (one.default, one.kind) for key, one in theirs.items()}
    found = {key: (one.default, one.kind) for key, one in ours.parameters.items()}
    assert {key: found[key] for key in expected} == expected
    assert list(found)[: len(expected)] == list(expected)


def test_importing_xpmlp_does_not_import_scikit_learn():
    code = "import sys, xpmlp; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_pipeline_whose_steps_give_data_frames():
    X, y = load_iris(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(max_iter=300, random_state=0))
    pipeline.set_output(transform="pandas").fit(X, y)
    assert pipeline.score(X, y) > 0.95
    assert list(pipeline[-1].feature_names_in_) == list(X.columns)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_names_of_features_are_remembered(frame):
    X, y = IRIS
    columns = {name: X[:, number] for number, name in enumerate("abcd")}
    fitted = MLPClassifier(max_iter=2).fit(frame(columns), y)
    np.testing.assert_array_equal(fitted.feature_names_in_, list("abcd"))
    swapped = frame({name: columns[name] for name in "badc"})
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(swapped)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        fitted.predict(X)


@pytest.mark.extended
def test_grid_search_finds_what_it_finds_with_scikit_learns_own():
    X, y = load_digits(return_X_y=True)
    X = X[:600] / 16.0
    grid = {
        "alpha": [1e-4, 1.0], "hidden_layer_sizes": [(8,), (16,)],
        "learning_rate_init": [1e-3, 1e-2],
    }  # fmt: skip
    found = [
        GridSearchCV(kind(max_iter=15, random_state=0), grid, cv=3).fit(X, y[:600])
        for kind in (sklearn.neural_network.MLPClassifier, MLPClassifier)
    ]
    assert found[0].best_params_ == found[1].best_params_
    np.testing.assert_array_equal(*(one.cv_results_["mean_test_score"] for one in found))


@pytest.mark.extended
def test_two_processes():
    X, y = IRIS
    estimator = MLPClassifier(max_iter=20, random_state=0)
    expected = cross_val_score(estimator, X, y, cv=3)
    np.testing.assert_allclose(cross_val_score(estimator, X, y, cv=3, n_jobs=2), expected)


@pytest.mark.extended
def test_calibration_and_importance():
    X, y = IRIS
    estimator = MLPClassifier(max_iter=100, random_state=0)
    calibrated = CalibratedClassifierCV(estimator, cv=3).fit(X, y)
    assert calibrated.score(X, y) > 0.8
    importance = permutation_importance(estimator.fit(X, y), X, y, n_repeats=3, random_state=0)
    assert importance.importances_mean[2:].min() > importance.importances_mean[:2].max()


def test_metadata_is_routed():
    X, y = IRIS
    weights = np.where(y == 0, 0.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = MLPClassifier(max_iter=100, random_state=0).set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, estimator).fit(X, y, sample_weight=weights)
    assert (pipeline.predict(X) != 0).mean() > 0.95


@pytest.mark.extended(keep=4)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("form", ["csr_matrix", "csc_array"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("dense", [0, 2**28])
def test_sparse_rows_give_what_dense_ones_do(kind, form, solver, dense, monkeypatch):
    monkeypatch.setattr("xpmlp.estimators.base.LARGEST_DENSE", dense)
    X, y = IRIS
    X = np.where(X > 2.0, X, 0.0)
    sparse = getattr(scipy.sparse, form)(X)
    estimator = kind(max_iter=7, random_state=0, solver=solver, early_stopping=solver == "adam")
    expected = clone(estimator).fit(X, y)
    found = estimator.fit(sparse, y)
    np.testing.assert_allclose(found.coefs_[0], expected.coefs_[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.predict(sparse), expected.predict(X), rtol=1e-9)


def test_tags():
    classifier, regressor = (kind().__sklearn_tags__() for kind in (MLPClassifier, MLPRegressor))
    assert is_classifier(MLPClassifier())
    assert classifier.classifier_tags.multi_label
    assert classifier.input_tags.sparse
    assert regressor.input_tags.sparse
    assert classifier.array_api_support


def test_a_run_that_has_not_converged_says_so():
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        MLPClassifier(max_iter=2).fit(*IRIS)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge after 2 iteration"):
        MLPClassifier(max_iter=2, solver="lbfgs").fit(*IRIS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MLPClassifier(max_iter=200, tol=0.5).fit(*IRIS)
