"""Settings drawn at random, and one call after another: numbers are scikit-learn's throughout."""

import warnings

import numpy as np
import pytest
import sklearn.neural_network

import xpmlp
from tests.estimators.test_same_numbers import (
    CLASSES,
    DATA,
    SOLVERS,
    assert_same,
    binary,
    counts,
    fit_both,
    multiclass,
    multilabel,
    pair,
    quietly,
    regression,
)

pytestmark = pytest.mark.extended(keep=8)

RANGES = {
    "hidden_layer_sizes": [(), (3,), 5, (4, 6), (7, 3, 5)],
    "activation": ["identity", "logistic", "tanh", "relu"],
    "solver": ["sgd", "sgd", "adam", "lbfgs"],
    "alpha": [0.0, 1e-4, 0.1, 1.0],
    "batch_size": ["auto", 5, 33, 64],
    "learning_rate": ["constant", "invscaling", "adaptive"],
    "learning_rate_init": [1e-3, 5e-3],
    "power_t": [0.2, 0.5, 1.0],
    "max_iter": [1, 5, 20],
    "shuffle": [True, False],
    "tol": [0.0, 1e-4, 0.3],
    "warm_start": [True, False],
    "momentum": [0.0, 0.5, 0.9],
    "nesterovs_momentum": [True, False],
    "n_iter_no_change": [1, 2, 10],
    "beta_1": [0.0, 0.5, 0.9],
    "beta_2": [0.9, 0.999],
    "epsilon": [1e-8, 1e-3],
}
"""No rates at which rounding errors grow: such runs differ from themselves with X one ulp off."""


def drawn(random: np.random.Generator) -> dict:
    return {name: values[random.integers(len(values))] for name, values in RANGES.items()}


def edit(estimator):
    estimator.coefs_[0] = estimator.coefs_[0] * 0.7
    estimator.intercepts_[-1][...] = 0.1


@pytest.mark.extended(keep=3)
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("seed", range(12))
def test_any_settings_and_calls(data, seed):
    random = np.random.default_rng([seed, DATA.index(data)])
    settings = {**drawn(random), "random_state": seed}
    X, y = data()
    weights = random.uniform(0.1, 3.0, len(X)) if random.integers(2) else None
    calls = [str(random.choice(["fit", "partial_fit", "edit"])) for _ in range(3)]
    both = pair(data, **settings)
    for estimator in both:
        for call in ["fit", *calls]:
            if call == "edit":
                edit(estimator)
            elif call == "fit" or settings["solver"] != "lbfgs":
                quietly(getattr(estimator, call), X, y, sample_weight=weights)
    assert_same(*both, X)


@pytest.mark.parametrize("form", ["Fortran", "strided", "reversed", "read-only", "int", "bool"])
def test_rows_of_every_form(form):
    X, y = multiclass()
    X = {
        "Fortran": np.asfortranarray(X),
        "strided": np.repeat(X, 2, axis=1)[:, ::2],
        "reversed": X[::-1],
        "read-only": X.copy(),
        "int": np.round(3 * X).astype(int),
        "bool": X > 0,
    }[form]
    X.flags.writeable = form != "read-only"
    assert_same(*fit_both(multiclass, (X, y), max_iter=4), X)


LABELS = {
    "objects": np.array(["no", "yes"], dtype=object),
    "booleans": np.array([False, True]),
    "numbers with a point": np.array([0.5, 2.0]) * 2,
    "below 0": np.array([-1, 1]),
    "int8": np.array([3, 7], np.int8),
}


@pytest.mark.parametrize("labels", LABELS)
def test_labels_of_every_type(labels):
    X, numbers = binary()
    y = LABELS[labels][numbers]
    theirs, ours = fit_both(binary, (X, y), max_iter=4, early_stopping=True)
    assert_same(theirs, ours, X)
    assert ours.classes_.dtype == theirs.classes_.dtype
    assert ours.predict(X).dtype == theirs.predict(X).dtype
    assert ours.score(X, y) == theirs.score(X, y)


@pytest.mark.parametrize("source", ["RandomState", "global"])
def test_random_numbers_go_on_from_one_fit_to_the_next(source):
    losses = []
    for module in (sklearn.neural_network, xpmlp):
        np.random.seed(4)
        state = np.random.RandomState(3) if source == "RandomState" else None
        settings = {"hidden_layer_sizes": (5,), "max_iter": 2, "early_stopping": True}
        estimator = module.MLPClassifier(random_state=state, **settings)
        losses.append([quietly(estimator.fit, *binary()).loss_ for _ in range(3)])
    assert len(set(losses[1])) == 3
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-9)


class WithCopies(sklearn.neural_network.MLPClassifier):
    """scikit-learn's, whose best weights are copies after a fit: as it is, they are the arrays that
    the next warm start trains, so they are no more the best."""

    def fit(self, X, y):
        super().fit(X, y)
        self._best_coefs = [W.copy() for W in self._best_coefs]
        self._best_intercepts = [b.copy() for b in self._best_intercepts]
        return self


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize("data", [binary, multilabel])
@pytest.mark.parametrize("solver", ["nesterov", "adaptive", "adam"])
def test_a_warm_start_keeps_the_best_weights_of_the_fits_before(data, solver):
    settings = {
        "early_stopping": True, "warm_start": True, "n_iter_no_change": 2,
        **SOLVERS[solver], "max_iter": 5,
    }  # fmt: skip
    theirs, ours = pair(data, **settings)
    theirs = WithCopies(**theirs.get_params())
    for _ in range(3):
        for estimator in (theirs, ours):
            quietly(estimator.fit, *data())
        assert_same(theirs, ours, data()[0])


@pytest.mark.parametrize("solver", ["nesterov", "invscaling", "adam"])
def test_a_warm_fit_after_partial_fits(solver):
    X, y = multiclass()
    settings = {**SOLVERS[solver], "max_iter": 3}
    both = pair(multiclass, warm_start=True, batch_size=50, **settings)
    for estimator in both:
        quietly(estimator.partial_fit, X[:90], y[:90], classes=np.unique(y))
        quietly(estimator.fit, X, y)
        quietly(estimator.partial_fit, X[90:], y[90:])
    assert_same(*both, X)


@pytest.mark.parametrize("data", [multiclass, regression, counts])
def test_an_adaptive_rate_falls_until_the_run_ends_by_tol(data):
    settings = {
        "solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.005, "tol": 0.05,
        "n_iter_no_change": 1, "max_iter": 300,
    }  # fmt: skip
    theirs, ours = fit_both(data, **settings)
    assert_same(theirs, ours, data()[0])
    assert ours.n_iter_ < 300
    falls = np.log(0.005 / theirs._optimizer.learning_rate) / np.log(5.0)
    assert falls > 5  # 0.005 / 5**6 is the first below 1e-6
    np.testing.assert_allclose(ours._learned.rate, theirs._optimizer.learning_rate, rtol=1e-9)


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize("data", [multiclass, regression])
@pytest.mark.parametrize(("tol", "rate"), [(0.0, 1e-4), (0.02, 0.01), (0.1, 0.01)])
def test_a_score_counts_as_better_by_tol(data, tol, rate):
    settings = {
        "early_stopping": True, "tol": tol, "n_iter_no_change": 2, "max_iter": 60,
        "learning_rate_init": rate, "validation_fraction": 0.4,
    }  # fmt: skip
    theirs, ours = fit_both(data, **settings)
    assert_same(theirs, ours, data()[0])
    assert tol < 0.1 or ours.n_iter_ < 60


VERBOSE = {
    "to the end": {"max_iter": 3},
    "by the loss": {"max_iter": 100, "tol": 0.5},
    "by the score": {"max_iter": 60, "early_stopping": True, "n_iter_no_change": 2},
    "more slowly": {
        "solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 2,
        "max_iter": 200,
    },
}  # fmt: skip


@pytest.mark.parametrize("way", VERBOSE)
def test_lines_of_a_fit_are_scikit_learns(way, capsys):
    said = []
    for estimator in pair(multiclass, verbose=True, **VERBOSE[way]):
        quietly(estimator.fit, *multiclass())
        said.append(capsys.readouterr().out)
    assert said[0].count("\n") > 2
    assert said[1] == said[0]


@pytest.mark.parametrize("limits", [{"max_fun": 7}, {"max_iter": 3}, {"tol": 0.05}])
def test_lbfgs_ends_where_scikit_learns_does(limits, recwarn):
    both, said = pair(multiclass, solver="lbfgs", **{"max_iter": 25, **limits}), []
    for estimator in both:
        recwarn.clear()
        warnings.simplefilter("always")
        estimator.fit(*multiclass())
        said.append([(one.category, str(one.message).split(":")[0]) for one in recwarn])
    assert_same(*both, multiclass()[0])
    assert said[0] == said[1]
    assert bool(said[1]) == ("tol" not in limits)


@pytest.mark.parametrize("data", CLASSES)
def test_scores_with_weights(data):
    X, y = data()
    weights = np.random.default_rng(0).random(len(X))
    theirs, ours = fit_both(data, max_iter=5)
    assert ours.score(X, y, weights) == pytest.approx(theirs.score(X, y, weights), rel=1e-12)
    np.testing.assert_allclose(
        ours.predict_log_proba(X), theirs.predict_log_proba(X), rtol=1e-6, atol=1e-6
    )
