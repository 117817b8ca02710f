"""The estimators inside scikit-learn's own estimators, in threads, and with frames of all kinds."""

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import sklearn.neural_network
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, VotingClassifier
from sklearn.inspection import partial_dependence
from sklearn.model_selection import KFold, learning_curve
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor

import xpmlp
from xpmlp import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

BOTH = sklearn.neural_network, xpmlp
X, Y = load_iris(return_X_y=True)
SETTINGS = {"hidden_layer_sizes": (6,), "max_iter": 20, "learning_rate_init": 0.02}

AROUND = {
    "voting": lambda one: VotingClassifier(
        [("a", one(random_state=0)), ("b", one(random_state=1))], voting="soft"
    ),
    "bagging": lambda one: BaggingClassifier(one(random_state=0), n_estimators=3, random_state=0),
    "boosting": lambda one: AdaBoostClassifier(one(random_state=0), n_estimators=2, random_state=0),
    "one against the rest": lambda one: OneVsRestClassifier(one(random_state=0)),
}


@pytest.mark.parametrize("around", AROUND)
def test_ensembles_of_ours_are_those_of_scikit_learns(around):
    found = []
    for module in BOTH:
        ensemble = AROUND[around](
            lambda module=module, **rest: module.MLPClassifier(**SETTINGS, **rest)
        )
        found.append(ensemble.fit(X, Y).predict_proba(X))
    assert found[1].std() > 0.05
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("around", [MultiOutputRegressor, TransformedTargetRegressor])
def test_regressors_within_others(around):
    theirs, ours = (
        around(one.MLPRegressor(**SETTINGS, random_state=0)).fit(X[:, :2], X[:, 2:]) for one in BOTH
    )
    np.testing.assert_allclose(ours.predict(X[:, :2]), theirs.predict(X[:, :2]), rtol=1e-6)


def test_a_learning_curve_by_partial_fits_and_a_partial_dependence():
    options = {"exploit_incremental_learning": True, "train_sizes": [0.3, 0.6, 1.0]}
    cv = KFold(3, shuffle=True, random_state=0)
    curves, dependences = [], []
    for module in BOTH:
        estimator = module.MLPClassifier(**SETTINGS, random_state=0)
        curves.append(learning_curve(estimator, X, Y, cv=cv, **options))
        dependences.append(partial_dependence(estimator.fit(X, Y), X, [2])["average"])
    for theirs, ours in zip(*curves, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(dependences[1], dependences[0], rtol=1e-6)


def test_fits_in_threads_do_not_disturb_each_other():
    estimators = [MLPClassifier(**SETTINGS, random_state=seed, threads=1) for seed in range(6)]
    alone = [clone(one).fit(X, Y).coefs_[0] for one in estimators]
    together = joblib.Parallel(3, backend="threading")(
        joblib.delayed(lambda one: one.fit(X, Y).coefs_[0])(one) for one in estimators
    )
    for expected, found in zip(alone, together, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_predictions_in_threads_of_one_estimator():
    fitted = MLPClassifier(**SETTINGS, random_state=0).fit(X, Y)
    expected = fitted.predict_proba(X)
    found = joblib.Parallel(3, backend="threading")(
        joblib.delayed(fitted.predict_proba)(X[start:]) for start in range(60)
    )
    for start, probabilities in enumerate(found):
        np.testing.assert_allclose(probabilities, expected[start:], rtol=1e-12)


NAMES = np.array(["a", "b", "c"])
TARGETS = {
    "list": Y.tolist(),
    "pandas": pd.Series(NAMES[Y]),
    "pandas of strings": pd.Series(NAMES[Y], dtype="string"),
    "pandas of categories": pd.Series(pd.Categorical(NAMES[Y])),
    "pandas of nullable integers": pd.Series(Y, dtype="Int64"),
    "polars": pl.Series(NAMES[Y]),
}


@pytest.mark.parametrize("form", TARGETS)
def test_targets_of_every_form(form):
    theirs, ours = (
        one.MLPClassifier(**SETTINGS, random_state=0).fit(X, TARGETS[form]) for one in BOTH
    )
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    assert ours.classes_.dtype == theirs.classes_.dtype
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


def test_sparse_answers_are_learned_as_dense_ones():
    rows, answers = make_multilabel_classification(60, 5, random_state=0)
    dense = MLPClassifier(**SETTINGS, random_state=0).fit(rows, answers)
    sparse = MLPClassifier(**SETTINGS, random_state=0).fit(rows, scipy.sparse.csr_matrix(answers))
    np.testing.assert_array_equal(sparse.coefs_[0], dense.coefs_[0])


def test_nothing_that_is_given_is_changed():
    rows, labels, weights = X.copy(), Y.copy(), np.linspace(0, 2, 150)
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    MLPClassifier(**SETTINGS, random_state=0, early_stopping=True).fit(rows, labels, weights)
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(labels, Y)
    np.testing.assert_array_equal(weights, np.linspace(0, 2, 150))
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_a_clone_has_learned_nothing():
    fitted = MLPRegressor(**SETTINGS, recipe={"l1": 0.1}).fit(X, Y)
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    learned = {name for name in vars(copy) if name not in copy.get_params()}
    assert not learned
