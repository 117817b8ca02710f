"""What the estimators have beyond scikit-learn's."""

import contextlib
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold, cross_validate
from sklearn.utils import compute_sample_weight

from tests.callbacks import hearing
from xpmlp import InputError, MLPClassifier, MLPRegressor, StopTraining
from xpmlp.backends.base import Threads
from xpmlp.model_selection import cross_validate_members
from xpmlp.optimizers import OPTIMIZERS
from xpmlp.schedules import SCHEDULES

pytestmark = [
    pytest.mark.extended(keep=13),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

X, Y = load_iris(return_X_y=True)
SETTINGS = {"hidden_layer_sizes": (6,), "max_iter": 6, "random_state": 0}


def test_eval_set_gives_a_curve_and_changes_nothing():
    plain = MLPClassifier(**SETTINGS).fit(X[::2], Y[::2])
    watched = MLPClassifier(**SETTINGS).fit(X[::2], Y[::2], eval_set=(X[1::2], Y[1::2]))
    np.testing.assert_array_equal(watched.coefs_[0], plain.coefs_[0])
    assert plain.validation_loss_curve_ is None
    probability = watched.predict_proba(X[1::2])[np.arange(75), Y[1::2]]
    assert len(watched.validation_loss_curve_) == 6
    assert watched.validation_loss_curve_[-1] == pytest.approx(-np.log(probability).mean())
    assert watched.validation_scores_[-1] == watched.score(X[1::2], Y[1::2])


def test_eval_set_is_what_early_stopping_looks_at():
    settings = {**SETTINGS, "max_iter": 300, "early_stopping": True, "n_iter_no_change": 2}
    found = MLPClassifier(**settings).fit(X, Y, eval_set=(X[:10], Y[:10]))
    assert found.n_iter_ < 300
    assert found.score(X[:10], Y[:10]) == found.best_validation_score_
    assert found.t_ == found.n_iter_ * 150  # without a validation set of its own


def test_callbacks_hear_of_every_epoch_and_may_end_the_fit():
    heard = []

    def callback(estimator):
        heard.append((estimator.n_iter_, estimator.loss_, len(estimator.loss_curve_)))
        if estimator.n_iter_ == 3:
            raise StopTraining

    epochs = []
    both = [callback, hearing(on_epoch=epochs.append)]
    found = MLPClassifier(**SETTINGS, callbacks=both).fit(X, Y)
    assert [number for number, *_ in heard] == [1, 2, 3] == [length for *_, length in heard]
    assert found.n_iter_ == len(epochs) == 3
    assert MLPClassifier(**SETTINGS, callbacks=callback).fit(X, Y).n_iter_ == 3


def test_a_callback_predicts_with_what_is_learned_so_far():
    seen = []
    fitted = MLPClassifier(**SETTINGS, callbacks=lambda one: seen.append(one.predict_proba(X)))
    fitted.fit(X, Y)
    np.testing.assert_array_equal(seen[-1], fitted.predict_proba(X))
    assert not np.array_equal(seen[0], seen[1])


def test_a_time_limit_ends_a_fit():
    found = MLPClassifier(hidden_layer_sizes=(6,), max_iter=10**6, tol=0.0, time_limit=0.2)
    found.set_params(n_iter_no_change=10**6).fit(X, Y)
    assert 1 < found.n_iter_ < 10**6


def test_a_stop_in_the_last_epoch_is_no_failure_to_converge(recwarn):
    def stop(estimator):
        if estimator.n_iter_ == 3:
            raise StopTraining

    MLPClassifier((6,), max_iter=3, callbacks=stop).fit(X, Y)
    assert not recwarn.list


@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 5.0, 2: 0.5}])
def test_class_weights_are_weights_of_rows(class_weight):
    rows = np.r_[0:50, 50:70, 100:140]
    by_row = compute_sample_weight(class_weight, Y[rows])
    expected = MLPClassifier(**SETTINGS).fit(X[rows], Y[rows], sample_weight=by_row)
    found = MLPClassifier(**SETTINGS, class_weight=class_weight).fit(X[rows], Y[rows])
    np.testing.assert_array_equal(found.coefs_[0], expected.coefs_[0])


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns(optimizer):
    settings = {"hidden_layer_sizes": (8,), "max_iter": 60, "random_state": 1, "batch_size": 16}
    rate = {"sgd": 0.1, "momentum": 0.02, "nesterov": 0.02}.get(optimizer, 0.005)
    found = MLPClassifier(optimizer=optimizer, learning_rate_init=rate, **settings).fit(X, Y)
    assert found.score(X, Y) > 0.9


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_is_laid_out_over_the_epochs(schedule, recwarn):
    found = MLPClassifier(**SETTINGS, schedule=schedule, batch_size=50).fit(X, Y)
    assert found.n_iter_ == 6
    unfinished = [one for one in recwarn if "hasn't converged" in str(one.message)]
    assert bool(unfinished) == (schedule in ("constant", "plateau"))


@pytest.mark.parametrize(
    "settings",
    [
        {"dropout": 0.2, "input_dropout": 0.1}, {"normalization": "batch", "batch_size": 40},
        {"normalization": "layer"}, {"hidden_layer_sizes": (6, 6), "residual": True},
        {"mixup": 0.2}, {"label_smoothing": 0.1}, {"average": "ema"}, {"average": "swa"},
        {"clip_norm": 0.1}, {"warm_up": 2.0}, {"optimizer": "adamw", "weight_decay": 0.1},
        {"activation": "gelu"}, {"dtype": "float32"}, {"threads": 1}, {"recipe": {"l1": 0.01}},
    ],
)  # fmt: skip
def test_every_setting_has_its_effect_and_repeats(settings):
    plain = MLPClassifier(**SETTINGS).fit(X, Y)
    one, other = (MLPClassifier(**{**SETTINGS, **settings}).fit(X, Y) for _ in range(2))
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
    is_same = np.array_equal(one.predict_proba(X), plain.predict_proba(X))
    assert is_same == (settings == {"threads": 1})
    assert np.isfinite(one.loss_)


def test_repeated_partial_fits_drop_other_units():
    fitted = MLPClassifier((40,), random_state=0, dropout=0.5, learning_rate_init=1e-12)
    for _ in range(4):
        fitted.partial_fit(X, Y, classes=[0, 1, 2])
    assert len(set(np.round(fitted.loss_curve_, 6))) == 4  # the weights hardly change


def test_members_are_an_ensemble():
    alone = MLPClassifier(**SETTINGS).fit(X, Y)
    found = MLPClassifier(**SETTINGS, n_members=3).fit(X, Y)
    assert found.coefs_[0].shape == (3, 4, 6)
    members = [
        [W[number] for W in found.coefs_] + [b[number] for b in found.intercepts_]
        for number in range(3)
    ]
    probabilities = []
    for member in members:
        alone.coefs_, alone.intercepts_ = member[:2], member[2:]
        probabilities.append(alone.predict_proba(X))
    np.testing.assert_allclose(found.predict_proba(X), np.mean(probabilities, axis=0), rtol=1e-9)
    assert found.loss_curve_ == pytest.approx(found._learned.member_losses.mean(axis=1))


@pytest.mark.extended
def test_a_shipped_recipe_is_where_to_start():
    digits, labels = load_digits(return_X_y=True)
    digits = (digits / 16.0).astype(np.float32)
    found = MLPClassifier(recipe="modern", max_iter=8, random_state=0).fit(digits, labels)
    assert found.n_iter_ == 8
    assert found._learned.model.normalization == "batch"
    assert found.score(digits, labels) > 0.95
    smaller = MLPClassifier(recipe="modern", max_iter=2, hidden_layer_sizes=(9,))
    assert smaller.fit(digits, labels).coefs_[0].shape == (64, 9)


def test_verbose_says_what_scikit_learn_says(capsys):
    MLPClassifier(**{**SETTINGS, "max_iter": 300}, verbose=True, tol=1.0).fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Iteration 1, loss = ")
    assert lines[-1].startswith("Training loss did not improve more than tol=1.000000")


STOPPED = {"solver": "sgd", "max_iter": 30, "n_iter_no_change": 2, "tol": 0.05}


@pytest.mark.extended(keep=1)
@pytest.mark.parametrize(
    "settings",
    [
        {**STOPPED, "learning_rate": "adaptive", "learning_rate_init": 0.05},
        {"dropout": 0.2, "batch_size": 16},
        {"alpha": 0.5, "batch_size": 32, "optimizer": "adamw"},
    ],
)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_folds_and_seeds_as_members_are_what_each_is_alone(kind, settings):
    estimator = kind(**{**SETTINGS, **settings})
    cv = KFold(5, shuffle=True, random_state=0)
    found = cross_validate_members(estimator, X, Y, cv=cv, seeds=[0, 7], return_estimator=True)
    for place, seed in enumerate([0, 7]):
        alone = cross_validate(
            estimator.set_params(random_state=seed), X, Y, cv=cv, return_estimator=True
        )
        np.testing.assert_allclose(found["test_score"][:, place], alone["test_score"], rtol=1e-9)
        for row, expected in zip(found["estimator"], alone["estimator"], strict=True):
            assert row[place].n_iter_ == expected.n_iter_
            np.testing.assert_allclose(row[place].coefs_[0], expected.coefs_[0], rtol=1e-6)
            np.testing.assert_allclose(row[place].loss_curve_, expected.loss_curve_, rtol=1e-9)


def test_weights_in_folds_are_those_of_each_folds_rows():
    rows, weights = np.r_[0:50, 50:70, 100:140], np.linspace(0.0, 2.0, 110)
    estimator = MLPClassifier(**SETTINGS, class_weight="balanced", batch_size=16)
    cv = KFold(5, shuffle=True, random_state=1)
    found = cross_validate_members(
        estimator, X[rows], Y[rows], cv=cv, sample_weight=weights, return_estimator=True
    )
    for (train, test), [fold], [score] in zip(
        cv.split(rows), found["estimator"], found["test_score"], strict=True
    ):
        alone = clone(estimator).fit(X[rows][train], Y[rows][train], weights[train])
        np.testing.assert_allclose(fold.coefs_[0], alone.coefs_[0], rtol=1e-6)
        assert score == alone.score(X[rows][test], Y[rows][test], weights[test])


@pytest.mark.parametrize(
    "settings", [{"early_stopping": True}, {"solver": "lbfgs"}, {"n_members": 2}]
)
def test_setting_that_folds_cannot_share_is_refused(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        cross_validate_members(MLPClassifier(**settings), X, Y)


def test_folds_need_a_seed():
    with pytest.raises(InputError, match=r"seeds=\[\]: give one at least"):
        cross_validate_members(MLPClassifier(), X, Y, seeds=[])


class Small(MLPClassifier):
    """A subclass with a constructor of its own, as scikit-learn's users write them."""

    def __init__(self, width=6, random_state=0, extra=1):
        super().__init__((width,), random_state=random_state, max_iter=7, alpha=0.5)
        self.width, self.extra = width, extra


def test_a_subclass_has_the_settings_that_it_set():
    expected = MLPClassifier((6,), random_state=0, max_iter=7, alpha=0.5).fit(X, Y)
    found = clone(Small()).fit(X, Y)
    assert found.n_iter_ == 7
    np.testing.assert_array_equal(found.coefs_[0], expected.coefs_[0])


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_members_are_networks_of_their_own(solver):
    found = MLPClassifier(**SETTINGS, solver=solver, n_members=3).fit(X, Y)
    W = found.coefs_[0]
    assert not np.array_equal(W[0], W[1])
    assert not np.array_equal(W[1], W[2])


def test_folds_of_masks_are_folds_of_rows():
    even = np.arange(150) % 2 == 0
    masks, rows = ([(even, ~even), (~even, even)], [(np.flatnonzero(even), np.flatnonzero(~even))])
    estimator = MLPClassifier(**SETTINGS)
    found = cross_validate_members(estimator, X, Y, cv=masks)["test_score"]
    alone = cross_validate(estimator, X, Y, cv=[*rows, tuple(reversed(rows[0]))])["test_score"]
    np.testing.assert_array_equal(found[:, 0], alone)


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        ([(np.arange(100), np.arange(100, 150)), (np.arange(50, 150), np.arange(50))], "2 of 3"),
        ([(np.arange(0, 150, 2), np.arange(1, 150, 2))], "one fold and one seed"),
    ],
)
def test_folds_that_are_no_members(cv, message):
    with pytest.raises(InputError, match=message):
        cross_validate_members(MLPClassifier(**SETTINGS), X, Y, cv=cv)


def test_settings_of_an_optimizer_reach_it():
    settings = {**SETTINGS, "optimizer": "adamw"}
    found = [MLPClassifier(**settings, beta_1=beta).fit(X, Y).loss_ for beta in (0.5, 0.9)]
    assert found[0] != found[1]


def test_weights_begin_as_the_recipes_activation_wants():
    recipe = MLPClassifier(**SETTINGS, recipe={"hidden": "sigmoid"}).fit(X, Y)
    named = MLPClassifier(**SETTINGS, activation="logistic").fit(X, Y)
    np.testing.assert_array_equal(recipe.coefs_[0], named.coefs_[0])


def test_a_refused_fit_loses_nothing():
    estimator = MLPClassifier(**SETTINGS)
    with pytest.raises(ValueError, match="eval_set"):
        estimator.fit(X, Y, eval_set=X)
    with pytest.raises(NotFittedError):
        estimator.predict(X)
    before = estimator.fit(X, Y).predict_proba(X)
    for change in ({}, {"solver": "lbfgs", "dropout": 0.5}):
        with pytest.raises(ValueError, match="eval_set"):
            estimator.set_params(**change).fit(X, Y, eval_set=X if not change else (X, Y))
        np.testing.assert_array_equal(estimator.predict_proba(X), before)


def on_terminal(monkeypatch):
    """Let rich see a terminal that can redraw a line, whatever the tests run in."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_bar_is_stopped_whatever_ends_the_fit(monkeypatch, error):
    stopped = []
    on_terminal(monkeypatch)
    monkeypatch.setattr("rich.progress.Progress.stop", lambda self: stopped.append(self))

    def fail(_):
        raise error

    with contextlib.suppress(RuntimeError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        MLPClassifier(**SETTINGS, verbose=True, callbacks=fail).fit(X, Y)
    assert stopped


def test_a_bar_moves_on_a_terminal_and_says_no_lines(monkeypatch, capsys):
    on_terminal(monkeypatch)
    MLPClassifier(**SETTINGS, verbose=True).fit(X, Y)
    shown = capsys.readouterr().out
    assert "epoch 6/6" in shown
    assert "accuracy" in shown
    assert "Iteration" not in shown
    MLPClassifier(**SETTINGS, verbose=2).fit(X, Y)
    assert capsys.readouterr().out.count("Iteration") == 6


def test_a_short_fit_of_a_small_network_measures_no_threads(monkeypatch):
    chosen = []
    monkeypatch.setattr(
        "xpmlp.backends.numpy.calibrate",
        lambda products, dtype: chosen.append(products) or Threads(1, may_change=False),
    )
    settings = {"random_state": 0, "backend": "numpy", "tol": 0.0, "n_iter_no_change": 10**6}
    MLPClassifier((20,), **settings, max_iter=300).fit(X, Y)
    MLPClassifier((20,), **settings).partial_fit(X, Y, classes=[0, 1, 2])
    assert not chosen
    MLPClassifier((900, 900), **settings, max_iter=60, batch_size=50, time_limit=1e-6).fit(X, Y)
    assert len(chosen) == 1


def test_targets_below_0_are_no_counts():
    with pytest.raises(ValueError, match="numbers below 0: loss='poisson' is of counts"):
        MLPRegressor("poisson").fit(X, -X[:, 0])


def test_an_observer_alone_is_a_callback():
    epochs = []
    MLPClassifier(**SETTINGS, callbacks=hearing(on_epoch=epochs.append)).fit(X, Y)
    assert len(epochs) == 6


def test_rows_in_blocks_for_l_bfgs(monkeypatch):
    settings = {**SETTINGS, "solver": "lbfgs", "alpha": 50.0}
    expected = MLPClassifier(**settings).fit(X, Y)
    monkeypatch.setattr("xpmlp.estimators.lbfgs.ROWS_AT_ONCE", 40)
    found = MLPClassifier(**settings).fit(X, Y)
    np.testing.assert_allclose(found.coefs_[0], expected.coefs_[0], rtol=1e-6, atol=1e-9)
