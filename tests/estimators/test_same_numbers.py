"""From the same random state an estimator is scikit-learn's, number by number, in float64."""

import warnings

import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression

from xpmlp import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.extended(keep=6)

TOLERANCE = {"rtol": 1e-6, "atol": 1e-6}


def binary():
    return make_classification(150, 7, random_state=0)


def multiclass():
    X, y = make_classification(230, 8, n_informative=6, n_classes=4, random_state=1)
    return X, np.array(["ash", "birch", "cedar", "date"])[y]


def multilabel():
    return make_multilabel_classification(110, 6, n_classes=3, random_state=2)


def regression():
    X, y = make_regression(130, 5, noise=1.0, random_state=3)
    return X, y / 50.0


def several_outputs():
    X, Y = make_regression(120, 6, n_targets=3, random_state=4)
    return X, Y / 50.0


def counts():
    X, y = regression()
    return X, np.round(np.exp(y / 2.0))


CLASSES, NUMBERS = [binary, multiclass, multilabel], [regression, several_outputs]
DATA = [*CLASSES, *NUMBERS, counts]

SOLVERS = {
    "plain": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.05},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False, "learning_rate_init": 0.01},
    "nesterov": {"solver": "sgd", "learning_rate_init": 0.01},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.03},
    "adaptive": {
        "solver": "sgd", "learning_rate": "adaptive", "tol": 0.01, "n_iter_no_change": 2,
        "learning_rate_init": 0.02,
    },
    "adam": {"solver": "adam", "learning_rate_init": 0.01},
    "lbfgs": {"solver": "lbfgs", "max_iter": 25},
}  # fmt: skip


def pair(data, **settings):
    """scikit-learn's estimator and ours, not fitted."""
    is_classifier = data in CLASSES
    name = "MLPClassifier" if is_classifier else "MLPRegressor"
    if data is counts:
        settings = {"loss": "poisson", **settings}
    settings = {"hidden_layer_sizes": (9, 5), "max_iter": 30, "random_state": 5, **settings}
    theirs = getattr(sklearn.neural_network, name)(**settings)
    return theirs, (MLPClassifier if is_classifier else MLPRegressor)(**settings)


def quietly(function, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **options)


def fit_both(data, given=None, sample_weight=None, **settings):
    """Return both estimators, fitted to the given rows or to these data."""
    both = pair(data, **settings)
    for estimator in both:
        quietly(estimator.fit, *(given or data()), sample_weight=sample_weight)
    return both


def assert_same(theirs, ours, X, **tolerance):
    tolerance = tolerance or TOLERANCE
    for name in ("coefs_", "intercepts_"):
        for expected, found in zip(getattr(theirs, name), getattr(ours, name), strict=True):
            np.testing.assert_allclose(found, expected, **tolerance)
    for name in (
        "loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_",
    ):  # fmt: skip
        assert hasattr(theirs, name) == hasattr(ours, name), name
        if getattr(theirs, name, None) is not None:
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), **tolerance)
        else:
            assert getattr(ours, name, None) is None, name
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    np.testing.assert_allclose(
        *(est.predict(X).astype(float) for est in (ours, theirs)), **tolerance
    ) if theirs.predict(X).dtype.kind == "f" else np.testing.assert_array_equal(
        ours.predict(X), theirs.predict(X)
    )
    if hasattr(theirs, "predict_proba"):
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), **tolerance)
        np.testing.assert_array_equal(ours.classes_, theirs.classes_)


@pytest.mark.extended(keep=3)
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_on_every_kind_of_target(data, solver):
    theirs, ours = fit_both(data, **SOLVERS[solver])
    assert_same(theirs, ours, data()[0])


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize("data", [multiclass, several_outputs])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_every_strength_of_the_penalty(data, solver, alpha):
    theirs, ours = fit_both(data, **{**SOLVERS[solver], "alpha": alpha})
    assert_same(theirs, ours, data()[0])


@pytest.mark.extended(keep=4)
@pytest.mark.parametrize("solver", ["nesterov", "adam", "lbfgs"])
@pytest.mark.parametrize("data", [binary, multilabel, regression, counts])
def test_weights_of_rows(data, solver):
    X, _ = data()
    weights = np.random.default_rng(0).choice([0.0, 0.5, 3.0], len(X))
    theirs, ours = fit_both(data, sample_weight=weights, batch_size=48, **SOLVERS[solver])
    assert_same(theirs, ours, X)


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize("batch_size", [1, 7, 64, "auto", 10_000])
@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_of_every_size(batch_size, shuffle):
    settings = {"batch_size": batch_size, "shuffle": shuffle, "max_iter": 4}
    theirs, ours = fit_both(multiclass, **settings)
    assert_same(theirs, ours, multiclass()[0])


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize("data", [binary, multiclass, multilabel, regression])
@pytest.mark.parametrize("weighted", [False, True])
def test_early_stopping(data, weighted):
    X, _ = data()
    weights = np.random.default_rng(1).random(len(X)) + 0.1 if weighted else None
    settings = {"early_stopping": True, "tol": 1e-3, "n_iter_no_change": 3, "max_iter": 60}
    theirs, ours = fit_both(data, sample_weight=weights, learning_rate_init=0.02, **settings)
    assert_same(theirs, ours, X)
    assert len(ours.validation_loss_curve_) == ours.n_iter_


def test_adaptive_rate_falls_and_ends_the_run():
    settings = {**SOLVERS["adaptive"], "max_iter": 400, "n_iter_no_change": 1, "tol": 0.1}
    theirs, ours = fit_both(multiclass, **settings)
    assert ours.n_iter_ < 400
    assert_same(theirs, ours, multiclass()[0])


@pytest.mark.parametrize("solver", ["nesterov", "invscaling", "adaptive", "adam", "lbfgs"])
def test_a_warm_start_goes_on(solver):
    theirs, ours = fit_both(multiclass, warm_start=True, **{**SOLVERS[solver], "max_iter": 8})
    for estimator in (theirs, ours):
        quietly(estimator.fit, *multiclass())
    assert_same(theirs, ours, multiclass()[0])


@pytest.mark.extended(keep=4)
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("solver", ["plain", "nesterov", "invscaling", "adaptive", "adam"])
@pytest.mark.parametrize("is_fitted", [False, True])
def test_partial_fit(data, solver, is_fitted):
    X, y = data()
    both = pair(data, batch_size=16, **{**SOLVERS[solver], "max_iter": 3})
    for estimator in both:
        if is_fitted:
            quietly(estimator.fit, X, y)
        for round_ in range(3):
            for start in (0, 50):
                options = {}
                if data in CLASSES and not is_fitted and round_ == start == 0:
                    options = {"classes": np.arange(3) if data is multilabel else np.unique(y)}
                rows = slice(start, start + 50)
                quietly(estimator.partial_fit, X[rows], y[rows], **options)
    assert_same(*both, X)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_activations(activation):
    theirs, ours = fit_both(multiclass, activation=activation)
    assert_same(theirs, ours, multiclass()[0])


@pytest.mark.parametrize("sizes", [(), 4, (3,), [8, 4, 6, 3], np.array([5, 2])])
def test_architectures(sizes):
    theirs, ours = fit_both(regression, hidden_layer_sizes=sizes)
    assert_same(theirs, ours, regression()[0])


@pytest.mark.parametrize("solver", ["nesterov", "adam", "lbfgs"])
def test_float32(solver):
    X, y = multiclass()
    X = X.astype(np.float32)
    both = fit_both(multiclass, (X, y), **{**SOLVERS[solver], "max_iter": 10})
    assert both[1].coefs_[0].dtype == both[1].intercepts_[0].dtype == np.float32
    assert_same(*both, X, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("warm_start", [False, True])
def test_coefs_that_were_changed_are_those_used(warm_start):
    theirs, ours = fit_both(multiclass, warm_start=warm_start, max_iter=3)
    X, y = multiclass()
    for estimator in (theirs, ours):
        estimator.coefs_[0] = estimator.coefs_[0] * 0.5  # another array
        estimator.intercepts_[-1][...] = 0.25  # the same one
        if warm_start:
            quietly(estimator.fit, X, y)
    assert_same(theirs, ours, X)


def test_lists_and_arrays_that_were_put_in_are_read_again():
    X, found = multiclass()[0], []
    for estimator in fit_both(multiclass, max_iter=3):
        weights, mine = estimator.coefs_, np.ones_like(estimator.coefs_[0])
        weights[0] = mine
        estimator.predict(X)
        mine *= 0.5
        found.append(estimator.predict_proba(X))
        weights[1] = weights[1] * 0.0
        found.append(estimator.predict_proba(X))
    np.testing.assert_allclose(found[2:], found[:2], rtol=1e-9)


def test_sparse_answers_are_predicted_sparse():
    X, y = multilabel()
    both = pair(multilabel, max_iter=3)
    found = [quietly(one.fit, X, scipy.sparse.csr_array(y)).predict(X) for one in both]
    assert type(found[0]) is type(found[1])
    np.testing.assert_array_equal(*(one.toarray() for one in found))
    assert both[0].score(X, y) == both[1].score(X, y)


def test_a_loss_that_is_clipped():
    """Rows that are far off: their probability is held above the rounding error, as there."""
    X = np.linspace(-1.0, 1.0, 40)[:, None] * 3000.0
    y = (X[:, 0] < 0).astype(int)
    y[:3] = 0
    settings = {"hidden_layer_sizes": (), "max_iter": 3, "random_state": 0, "solver": "sgd"}
    theirs = quietly(sklearn.neural_network.MLPClassifier(**settings).fit, X, y)
    ours = quietly(MLPClassifier(**settings).fit, X, y)
    assert theirs.loss_curve_[0] > 2.0
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
