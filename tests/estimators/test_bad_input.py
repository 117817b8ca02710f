"""Bad input is refused as scikit-learn refuses it: the same kind of error, the same substance."""

import re
import warnings

import numpy as np
import pytest
import sklearn.neural_network
from sklearn.datasets import load_iris

import xpmlp

X, Y = load_iris(return_X_y=True)
BAD = X.copy()
BAD[3, 1] = np.nan


def refusal(module, action, kind="MLPClassifier", **settings):
    """What an action on an estimator raises."""
    estimator = getattr(module, kind)(**{"max_iter": 2, **settings})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Exception) as caught:  # noqa: PT011 (which one is compared)
            action(estimator)
    return caught.value


def refusals(action, kind="MLPClassifier", **settings):
    """What scikit-learn's estimator raises, and ours."""
    modules = sklearn.neural_network, xpmlp
    return tuple(refusal(module, action, kind, **settings) for module in modules)


def fitted(estimator):
    return estimator.fit(X, Y)


ACTIONS = {
    "NaN": lambda one: one.fit(BAD, Y),
    "half a unit": lambda one: one.set_params(hidden_layer_sizes=(4.5,)).fit(X, Y),
    "infinity": lambda one: one.fit(np.where(np.isnan(BAD), np.inf, BAD), Y),
    "NaN to predict": lambda one: fitted(one).predict(BAD),
    "too few features": lambda one: fitted(one).predict(X[:, :3]),
    "not fitted": lambda one: one.predict(X),
    "lengths that differ": lambda one: one.fit(X, Y[:-1]),
    "one dimension": lambda one: one.fit(X[:, 0], Y),
    "no rows": lambda one: one.fit(X[:0], Y[:0]),
    "complex numbers": lambda one: one.fit(X + 1j, Y),
    "text": lambda one: one.fit(np.array([["a", "b"]] * 150), Y),
    "no y": lambda one: one.fit(X, None),
    "weights of another length": lambda one: one.fit(X, Y, sample_weight=np.ones(3)),
    "partial_fit with early stopping": lambda one: one.set_params(early_stopping=True).partial_fit(
        X, Y, classes=[0, 1, 2]
    ),
    "partial_fit with L-BFGS": lambda one: one.set_params(solver="lbfgs").partial_fit(X, Y),
    "partial_fit without classes": lambda one: one.partial_fit(X, Y),
    "a new class": lambda one: one.partial_fit(X, Y, classes=[0, 1, 2]).partial_fit(X, Y + 1),
    "other classes for a warm start": lambda one: fitted(one.set_params(warm_start=True)).fit(
        X, Y + 1
    ),
    "numbers for classes": lambda one: one.fit(X, X[:, 0] + 0.123),
    "no units": lambda one: one.set_params(hidden_layer_sizes=(4, 0)).fit(X, Y),
    "too few to validate": lambda one: one.set_params(early_stopping=True).fit(X[:4], Y[-4:]),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_refusals_of_scikit_learn_have_its_words(action):
    theirs, ours = refusals(ACTIONS[action])
    assert isinstance(ours, type(theirs))
    assert str(ours) == str(theirs) or set(words(theirs)) <= set(words(ours)), str(ours)


def words(error):
    return re.findall(r"\w{3,}", str(error))


PARAMETERS = {
    "alpha": -1.0, "solver": "newton", "activation": "step", "learning_rate_init": 0.0,
    "momentum": 1.5, "max_iter": 0, "batch_size": 0, "tol": -1.0, "validation_fraction": 1.0,
    "learning_rate": "fast", "beta_1": 1.0, "epsilon": 0.0, "n_iter_no_change": 0,
    "shuffle": "yes", "hidden_layer_sizes": "wide", "power_t": -0.5, "random_state": "seed",
}  # fmt: skip


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_parameters_out_of_range(name, kind):
    theirs, ours = refusals(fitted, kind, **{name: PARAMETERS[name]})
    assert type(ours) is type(theirs)
    if name not in ("activation", "solver"):  # more are allowed here
        assert sorted(words(ours)) == sorted(words(theirs))  # sets of options have no order
    assert f"'{name}' parameter of {kind}" in str(ours)
    assert str(PARAMETERS[name]) in str(ours)


def test_a_run_that_explodes():
    def explode(one):
        with np.errstate(all="ignore"):
            one.fit(X * 1e200, X[:, :2] * 1e200)

    theirs, ours = refusals(explode, "MLPRegressor", solver="sgd", learning_rate_init=1e10)
    assert type(theirs) is type(ours) is ValueError
    assert str(ours).startswith(str(theirs).removesuffix("."))
    assert "learning rate" in str(ours)


def test_one_class_is_no_error():
    ours, theirs = (
        module.MLPClassifier(max_iter=300, tol=1.0, random_state=0).fit(X, np.full(150, "one"))
        for module in (xpmlp, sklearn.neural_network)
    )
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X))


def test_warnings_are_scikit_learns():
    for module in (sklearn.neural_network, xpmlp):
        with pytest.warns(UserWarning, match="A column-vector y was passed"):
            module.MLPClassifier(max_iter=300, tol=1.0).fit(X, Y[:, None])
        with pytest.warns(UserWarning, match="`batch_size` less than 1 or larger than"):
            module.MLPClassifier(max_iter=300, tol=1.0, batch_size=151).fit(X, Y)


REFUSED = {
    "recipe": ({"recipe": "no-such"}, "recipe 'no-such' is unknown"),
    "recipe's widths": ({"recipe": {"layer_sizes": [4, 3]}}, "layer_sizes is the estimator's own"),
    "recipe's setting": ({"recipe": {"epohcs": 3}}, "did you mean epochs"),
    "setting of another": ({"recipe": {"rho": 0.5}, "optimizer": "adamw"}, "rho=0.5"),
    "two schedules": (
        {"solver": "sgd", "learning_rate": "adaptive", "schedule": "cosine"},
        "learning_rate=adaptive and schedule=cosine: choose one",
    ),
    "adaptive rates of another optimizer": (
        {"learning_rate": "adaptive", "optimizer": "adamw"},
        "learning_rate=adaptive: is of solver",
    ),
    "momentum of one that has none": (
        {"optimizer": "sgd", "momentum": 0.8},
        "momentum=0.8: optimizer=sgd has no such setting",
    ),
    "recipe's backend": ({"recipe": {"backend": "jax"}}, "backend is the estimator's own"),
    "recipe's dtype": ({"recipe": {"dtype": "float32"}}, "dtype is the estimator's own"),
    "a negative class weight": ({"class_weight": {0: -1}}, "class_weight={0: -1}: give 0 or more"),
    "eval_set": ({}, "eval_set: give a pair"),
}


@pytest.mark.parametrize(("name", "value"), [("warm_up", 3.0), ("average", "ema")])
def test_setting_that_begins_anew_cannot_be_resumed(name, value):
    message = f"{name}={value}: begins anew in every call"
    estimator = xpmlp.MLPClassifier(max_iter=300, tol=1.0, warm_start=True, **{name: value})
    with pytest.raises(ValueError, match=message):
        estimator.partial_fit(X, Y, classes=[0, 1, 2])
    estimator.fit(X, Y)
    with pytest.raises(ValueError, match=message):
        estimator.fit(X, Y)


def test_balanced_weights_need_all_rows():
    with pytest.raises(ValueError, match="class_weight='balanced' needs all rows at once"):
        xpmlp.MLPClassifier(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])


def test_callbacks_that_nobody_can_call():
    with pytest.raises(TypeError, match=r"callbacks=\[3\]: give functions"):
        xpmlp.MLPClassifier(callbacks=[3]).fit(X, Y)


OF_STEPS = {
    "dropout": 0.5, "mixup": 0.5, "schedule": "cosine", "warm_up": 3.0, "clip_norm": 0.01,
    "average": "ema", "weight_decay": 0.5, "normalization": "batch", "time_limit": 3.0,
    "recipe": "modern",
}  # fmt: skip
"""What only runs that take steps can do."""


@pytest.mark.parametrize("name", OF_STEPS)
def test_l_bfgs_refuses_what_needs_steps(name):
    estimator = xpmlp.MLPClassifier((4,), solver="lbfgs", **{name: OF_STEPS[name]})
    with pytest.raises(ValueError, match="solver='lbfgs'") as caught:
        estimator.fit(X, Y)
    assert name == "recipe" or name in str(caught.value)
    assert not hasattr(estimator, "loss_")


def test_l_bfgs_refuses_an_eval_set():
    with pytest.raises(ValueError, match="eval_set: solver='lbfgs'"):
        xpmlp.MLPClassifier(solver="lbfgs").fit(X, Y, eval_set=(X, Y))


WRONG_WEIGHTS = {
    "one row": (np.ones((1, 5)), r"coefs_\[0\] of shape \(1, 5\): the layer's is \(4, 5\)"),
    "a number": (3.0, r"coefs_\[0\] of shape \(\): the layer's is"),
}


@pytest.mark.parametrize("case", WRONG_WEIGHTS)
def test_weights_put_in_by_hand_have_the_layers_shape(case):
    wrong, message = WRONG_WEIGHTS[case]
    estimator = xpmlp.MLPClassifier((5,), max_iter=300, tol=1.0).fit(X, Y)
    estimator.coefs_[0] = wrong
    with pytest.raises(ValueError, match=message):
        estimator.predict(X)
    estimator.coefs_ = []
    with pytest.raises(ValueError, match="coefs_ has 0 arrays: give 2"):
        estimator.predict(X)


OTHER_NETWORKS = {
    "n_members": ({"n_members": 2}, Y, "n_members=2: the fitted network has 1"),
    "widths": ({"hidden_layer_sizes": (4,)}, Y, r"hidden_layer_sizes=\(4,\): .* has \(5,\)"),
    "outputs": ({}, np.c_[Y, Y], "outputs of y=2: the fitted network has 1"),
}


@pytest.mark.parametrize("case", OTHER_NETWORKS)
def test_a_warm_start_goes_on_with_the_same_network(case):
    settings, y, message = OTHER_NETWORKS[case]
    estimator = xpmlp.MLPRegressor(
        hidden_layer_sizes=(5,), max_iter=300, tol=1.0, warm_start=True
    ).fit(X, Y)
    with pytest.raises(ValueError, match=message):
        estimator.set_params(**settings).fit(X, y)


def test_a_schedule_needs_an_end():
    with pytest.raises(ValueError, match="the number of epochs is unknown"):
        xpmlp.MLPClassifier(schedule="cosine").partial_fit(X, Y, classes=[0, 1, 2])


@pytest.mark.parametrize("case", REFUSED)
def test_settings_of_ours_alone_are_refused_in_one_line(case):
    settings, message = REFUSED[case]
    estimator = xpmlp.MLPClassifier(max_iter=2, **settings)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        estimator.fit(X, Y, eval_set=X if case == "eval_set" else None)
    assert "\n" not in str(caught.value)
