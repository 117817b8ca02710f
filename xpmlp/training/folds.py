"""Cross-validation: every fold is a member of one run, trained on the rows that it does not hold.

Each row is held by one fold, so that each is predicted once by a network that never saw it.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from xpmlp import renamed
from xpmlp.backends import Backend
from xpmlp.checks import as_integer, check_integer, shown
from xpmlp.data import Split
from xpmlp.display import short_repr
from xpmlp.errors import InputError
from xpmlp.network import MLP
from xpmlp.randomness import HOLD_OUT, generator
from xpmlp.training.evaluation import checked
from xpmlp.training.trainer import Trainer, train


class Folds(NamedTuple):
    """The result of `cross_validate`.

    Attributes
    ----------
    losses : ndarray of shape (E,)
        The loss of each fold's network on the rows that it did not train on.
    accuracies : ndarray of shape (E,)
        The accuracy likewise, R² for a regression.
    run : Trainer
        The run that trained all networks as members.

    Examples
    --------
    >>> rows = xpmlp.Split(np.eye(4), np.array([0, 1, 0, 1]))
    >>> settings = {"batch_size": 2, "epochs": 1}
    >>> xpmlp.cross_validate(xpmlp.MLP((4, 2)), rows, folds=2, **settings).run.epoch
    1
    """

    losses: np.ndarray
    accuracies: np.ndarray
    run: Trainer

    def __repr__(self) -> str:
        return short_repr(self)


def fold_rows(labels: np.ndarray, folds: int, *, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the rows that each fold trains on and the rows that it is tested on.

    Each row is in the test part of one fold. Each class is spread evenly over the folds; targets
    that are no classes are dealt at random. Members train on the same number of rows: if the sizes
    of folds differ, by one, some folds leave one row out of training, drawn from the seed.

    Parameters
    ----------
    labels : ndarray of shape (n,) or (n, K)
        The labels.
    folds : int
        The number of folds E, 2 to n.
    seed : int
        The seed.

    Returns
    -------
    rows : ndarray of shape (E, m), int64
        The numbers of the training rows, ascending.
    held : list of E ndarrays, int64
        The numbers of the test rows.

    Raises
    ------
    InputError
        For fewer than 2 folds, and for more folds than rows.

    Examples
    --------
    >>> from xpmlp.training import fold_rows
    >>> rows, held = fold_rows(np.array([0, 0, 1, 1]), folds=2, seed=0)
    >>> rows.shape, [len(part) for part in held]
    ((2, 2), [2, 2])
    """
    count = len(labels)
    given, folds = folds, as_integer(folds, otherwise=0)
    if not 2 <= folds <= count:
        raise InputError(f"folds={given!r:.60}: give 2 to {count:,}, the rows there are")
    random = generator(check_integer("seed", seed, least=0), HOLD_OUT)
    dealt = random.permutation(count)
    if labels.dtype.kind in "ui" and labels.ndim == 1:
        # Sorted by class, rows of a class in random order, they are dealt like cards.
        dealt = dealt[np.argsort(labels[dealt], kind="stable")]
    fold_of = np.empty(count, np.int64)
    fold_of[dealt] = np.arange(count) % folds
    length = count - -(-count // folds)
    rows = np.empty((folds, length), np.int64)
    for fold in range(folds):
        others = np.flatnonzero(fold_of != fold)
        if len(others) > length:
            others = np.delete(others, random.integers(len(others)))
        rows[fold] = others
    return rows, [np.flatnonzero(fold_of == fold) for fold in range(folds)]


def cross_validate(
    model: MLP,
    split: Split,
    *,
    folds: int = 5,
    seed: int = 0,
    backend: Backend | None = None,
    **settings: Any,
) -> Folds:
    """Train a network for each fold on the other rows, and evaluate it on that fold.

    The networks are members of one run. Each starts from weights of its own, from seeds counted up,
    so the spread of the results includes the effect of the initial weights.

    Parameters
    ----------
    model : MLP
        The network.
    split : Split
        Rows and labels.
    folds : int, default 5
        The number of folds E, 2 or more.
    seed : int, default 0
        The seed of the folds, of the order of rows, and of the first network's weights.
    backend : Backend, optional
        By default that of `select_backend()`.
    **settings
        Settings of `TrainConfig`.

    Returns
    -------
    Folds
        Loss and accuracy of each fold, (E,), and the run.

    Raises
    ------
    InputError
        As `xpmlp.train`, and for an invalid number of folds.
    Diverged
        For a loss that became NaN or infinite.

    References
    ----------
    Stone 1974, Cross-validatory choice and assessment of statistical predictions.

    Examples
    --------
    >>> rows = xpmlp.Split(np.eye(4), np.array([0, 1, 0, 1]))
    >>> result = xpmlp.cross_validate(xpmlp.MLP((4, 2)), rows, folds=2, batch_size=2, epochs=1)
    >>> result.accuracies.shape
    (2,)
    """
    for name in ("rows", "parameters"):
        if name in settings:
            raise InputError(f"{name}: each fold has its own; leave it out, or call train")
    if isinstance(seed, Iterable):
        raise InputError(f"seed={shown(seed)}: give one; the folds' are counted up from it")
    settings = renamed.arguments("training.train", settings)
    split = checked(split, model, where="training data")
    rows, held = fold_rows(split.labels, folds, seed=seed)
    seeds = [seed + fold for fold in range(len(held))]
    run = train(model, split, seed=seeds, rows=rows, backend=backend, **settings)
    found = [
        run.evaluate(Split(split.X[numbers], split.labels[numbers]), run.parameters[fold])
        for fold, numbers in enumerate(held)
    ]
    losses, accuracies, *_ = zip(*found, strict=True)
    return Folds(np.array(losses, np.float64), np.array(accuracies, np.float64), run)
