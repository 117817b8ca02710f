"""Cross-validation: every fold is a member of one run, trained on the rows that it does not hold.

Each row is held by one fold, so that each is predicted once by a network that never saw it.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from xpmlp.backends import Backend, select_backend
from xpmlp.data import Split, check_split
from xpmlp.display import short_repr
from xpmlp.errors import InputError
from xpmlp.network import MLP
from xpmlp.randomness import HOLD_OUT, generator
from xpmlp.training.trainer import Trainer, train


class Folds(NamedTuple):
    """Loss and accuracy of each fold's network on the rows that it did not train on, (E,).

    `run` is the run that trained them all, each a member.
    """

    losses: np.ndarray
    accuracies: np.ndarray
    run: Trainer

    def __repr__(self) -> str:
        return short_repr(self)


def fold_rows(labels: np.ndarray, folds: int, *, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """The rows (E, n) that each fold trains on and the rows that each holds, by number, rising.

    Every row is held by one fold. Each class has its part in every fold, to a row; targets that
    are no class labels are dealt at random.
    Members train on equally many rows: where the folds' sizes differ, by one, the smaller folds
    leave one row out of training, drawn from the seed as all else is. Raises `InputError` for
    fewer than 2 folds and for more than there are rows.
    """
    count = len(labels)
    if type(folds) is not int or not 2 <= folds <= count:
        raise InputError(f"folds={folds}: give 2 to {count:,}, the rows there are")
    random = generator(seed, HOLD_OUT)
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
    """Train a network on all rows but one fold's, for each fold, and evaluate it on that fold.

    The folds are members of one run of `train`, which takes the other settings. Each begins with
    weights of its own, from seeds counted up: their differences show what chance does by its
    choice of rows and of weights. The order of rows comes from `seed`. Raises what `train` does.

        found = cross_validate(model, mnist.train, folds=5, epochs=3, learning_rate=0.1)
        found.accuracies.mean(), found.accuracies.std(ddof=1)
    """
    for name in ("rows", "parameters"):
        if name in settings:
            raise InputError(f"{name}: each fold has its own; leave it out, or call train")
    if isinstance(seed, Iterable):
        raise InputError(f"seed={seed}: give one; the folds' are counted up from it")
    backend = backend or select_backend()
    split = check_split(
        *split, where="training data", layer_sizes=model.layer_sizes, output=model.output
    )
    rows, held = fold_rows(split.labels, folds, seed=seed)
    seeds = [seed + fold for fold in range(folds)]
    run = train(model, split, seed=seeds, rows=rows, backend=backend, **settings)
    found = [
        run.evaluate(Split(split.X[numbers], split.labels[numbers]), run.parameters[fold])
        for fold, numbers in enumerate(held)
    ]
    losses, accuracies, _ = zip(*found, strict=True)
    return Folds(np.array(losses, np.float64), np.array(accuracies, np.float64), run)
