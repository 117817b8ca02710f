"""Cross-validation of an estimator, every fold with every seed a member of one run."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state

from xpmlp.backends.interchange import to_host
from xpmlp.errors import InputError
from xpmlp.estimators.base import BaseMLP, taken


def cross_validate_members(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    cv: Any = None,
    seeds: Sequence[int] | None = None,
    sample_weight: Any = None,
    return_estimator: bool = False,
) -> dict[str, Any]:
    """Train an estimator on all folds at once, and score each fold.

    All networks are members of one run, so on a GPU they cost about as much as one. Each network is
    what it would be alone; only the mixing weights of `mixup` are those of the first seed.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        The estimator, which is not changed.
    X : array-like of shape (n, features)
        Rows.
    y : array-like of shape (n,) or (n, K)
        Labels or targets.
    cv : int, splitter or iterable, optional
        The folds, as for scikit-learn's `cross_validate`.
    seeds : sequence of int, optional
        The random states that each fold is trained with; by default the estimator's own alone.
    sample_weight : array-like of shape (n,), optional
        A weight for each row, in training and in scores.
    return_estimator : bool, default False
        Whether to return the fitted estimators.

    Returns
    -------
    dict
        `test_score` (folds, seeds), `fit_time` of the whole run in seconds, and, if wanted,
        `estimator`: a list of estimators, one for each seed, for each fold.

    Raises
    ------
    InputError
        For another estimator, a solver without mini-batches, early stopping or several members, and
        for folds whose numbers of training rows differ by more than one. (Members train on the same
        number of rows, so a fold with one more row drops its last.)

    Examples
    --------
    >>> from xpmlp import MLPClassifier
    >>> from xpmlp.model_selection import cross_validate_members
    >>> X, y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2
    >>> estimator = MLPClassifier((4,), max_iter=2, schedule="cosine", random_state=0)
    >>> cross_validate_members(estimator, X, y, cv=2, seeds=[0, 1])["test_score"].shape
    (2, 2)
    """
    _check_estimator(estimator)
    chosen = [estimator.random_state] if seeds is None else list(seeds)
    if not chosen:
        raise InputError("seeds=[]: give one at least, or leave it out")
    targets, weights = to_host(y), to_host(sample_weight)
    folds = _folds(estimator, cv, targets)
    if len(folds) == len(chosen) == 1:
        raise InputError("one fold and one seed are no members; call fit, or give more of either")

    length = min(len(train) for train, _ in folds)
    rows = np.stack([train[:length] for train, _ in folds])
    together = clone(estimator).set_params(n_members=len(folds) * len(chosen))
    began = time.perf_counter()
    together._fit(
        X,
        y,
        weights,
        rows=np.repeat(rows, len(chosen), axis=0),
        seeds=[*chosen] * len(folds),
    )
    seconds = time.perf_counter() - began
    apart = [
        [
            _alone(together, estimator, fold * len(chosen) + number, seed)
            for number, seed in enumerate(chosen)
        ]
        for fold in range(len(folds))
    ]
    scores = []
    for row, (_, test) in zip(apart, folds, strict=True):
        held = [taken(part, test) for part in (X, targets, weights)]
        scores.append([one.score(*held) for one in row])
    found: dict[str, Any] = {"test_score": np.array(scores), "fit_time": seconds}
    return {**found, "estimator": apart} if return_estimator else found


def _check_estimator(estimator: Any) -> None:
    if not isinstance(estimator, BaseMLP):
        raise InputError(f"{type(estimator).__name__}: give an MLPClassifier or an MLPRegressor")
    for name, wrong in (("early_stopping", True), ("warm_start", True)):
        if getattr(estimator, name) == wrong:
            raise InputError(f"{name}={wrong}: members share one run; leave it out")
    if estimator.n_members != 1:
        raise InputError(f"n_members={estimator.n_members}: folds and seeds are the members")
    if estimator.solver == "lbfgs" and estimator.optimizer is None:
        raise InputError("solver=lbfgs: has no mini-batches to share; use sgd or adam")


def _folds(estimator: Any, cv: Any, targets: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the numbers of each fold's training and test rows."""
    count = targets.shape[0] if hasattr(targets, "shape") else len(targets)
    splitter = check_cv(cv, targets, classifier=is_classifier(estimator))
    numbers = np.arange(count)
    folds = [
        (numbers[train], numbers[test])  # of masks, too
        for train, test in splitter.split(np.empty((count, 0)), targets)
    ]
    lengths = {len(train) for train, _ in folds}
    if max(lengths) - min(lengths) > 1:
        raise InputError(
            f"folds that train on {min(lengths):,} to {max(lengths):,} rows: members train on "
            "equally many; give a cv whose folds are alike, such as KFold"
        )
    if is_classifier(estimator) and np.ndim(targets) == 1:
        rows = [train[: min(lengths)] for train, _ in folds]
        known = [len(np.unique(np.asarray(targets)[train])) for train in (numbers, *rows)]
        if min(known) < known[0]:
            raise InputError(
                f"a fold that trains on {min(known)} of {known[0]} classes: members share their "
                "outputs; give a cv that stratifies"
            )
    return folds


def _alone(together: Any, estimator: Any, member: int, seed: Any) -> Any:
    """One of the members as an estimator of its own."""
    one = clone(estimator).set_params(random_state=seed)
    for name, value in vars(together).items():
        if name not in one.get_params(deep=False) and name not in ("coefs_", "intercepts_"):
            setattr(one, name, value)
    learned = together._learned
    one._learned = dataclasses.replace(
        learned,
        parameters=np.ascontiguousarray(learned.parameters[member]),
        best_parameters=learned.best_parameters[member],
        rate=learned.rate[member],
        no_improvement_count=learned.no_improvement_count[member],
        best_losses=learned.best_losses[member],
        best_scores=learned.best_scores[member],
        optimizer=None,
    )
    one.coefs_, one.intercepts_ = one._learned.show()
    one._random_state = check_random_state(seed)
    one.n_iter_ = int(learned.member_epochs[member])
    one.loss_curve_ = [float(loss) for loss in learned.member_losses[: one.n_iter_, member]]
    one.loss_ = one.loss_curve_[-1]
    one.best_loss_ = min(one.loss_curve_)
    return one
