"""What is worth knowing of a data set before a network is trained on it."""

import numpy as np

from xpmlp.data.schema import Schema, class_count

FEWEST_ROWS = 30
"""The fewest rows that hints are given for."""

IMBALANCE = 10
"""How many times as many rows as the smallest the largest class has, for a hint."""

FEW_NUMBERS = 10
"""The most different targets that may be meant as classes."""

LINEAR = 0.9999
"""The correlation from which a column gives the target away."""


def hints(labels: np.ndarray, schema: Schema, X: np.ndarray, rows: np.ndarray) -> list[str]:
    """Return one line for each thing that is unusual.

    Parameters
    ----------
    labels
        Labels (n,) or targets (n, K) of all training rows, in their order.
    schema
        The columns and the classes.
    X, rows
        Some encoded rows (m, l0), and their numbers (m,) among the labels.
    """
    if len(labels) < FEWEST_ROWS:
        return []
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if (labels == labels[0]).all():
        return ["all targets are the same, so there is nothing to learn"]
    K = class_count(labels, schema)
    found = _of_numbers(labels) if K is None else _of_classes(labels, schema)
    if schema.columns and len(rows) >= FEWEST_ROWS and labels.ndim == 1:
        gives_away = _correlates if K is None else _separates
        found += [
            f"column {name!r} alone gives the target away: leave it out (--drop) if it is not "
            "known beforehand"
            for name, column in zip(schema.encoded_names, X.T, strict=True)
            if np.ptp(column) and gives_away(column, labels[rows])
        ]
    return found


def _of_numbers(targets: np.ndarray) -> list[str]:
    different = np.unique(targets)
    if targets.ndim == 1 and len(different) <= FEW_NUMBERS:
        said = ", ".join(f"{one:g}" for one in different)
        return [
            f"the target is a number, one of {said}: if these are classes, write them as text, or "
            "as integers from 0"
        ]
    is_one_hot = targets.ndim == 2 and targets.shape[1] > 1 and different.tolist() == [0, 1]
    if is_one_hot and (targets.sum(axis=1) == 1).all():
        return ["each row has one target of 1: if these are classes, give the number of the column"]
    return []


def _of_classes(labels: np.ndarray, schema: Schema) -> list[str]:
    found = []
    classes, counts = np.unique(labels, return_counts=True)
    if np.count_nonzero(np.diff(labels)) == len(classes) - 1:
        found.append("rows are sorted by class: train with --shuffle")
    names = [str(schema.class_name(int(one))) for one in classes]
    alike = {name.casefold(): name for name in names}
    found += [
        f"classes {one!r} and {other!r} differ in case alone: if they are one, spell them alike"
        for one in names
        if (other := alike[one.casefold()]) != one
    ]
    least, most = counts.argmin(), counts.argmax()
    if counts[most] >= IMBALANCE * counts[least]:
        rare, frequent = (schema.class_name(int(classes[one])) for one in (least, most))
        found.append(
            f"class {frequent!r} has {counts[most]:,} rows, class {rare!r} {counts[least]:,}: to "
            "weight them alike, --set objective.class_weights=balanced"
        )
    return found


def _separates(column: np.ndarray, labels: np.ndarray) -> bool:
    """Whether the classes are intervals of a column."""
    order = np.argsort(column, kind="stable")
    ends = np.flatnonzero(np.diff(labels[order]))
    steps = np.flatnonzero(np.diff(column[order]))
    return len(ends) == len(np.unique(labels)) - 1 and bool(np.isin(ends, steps).all())


def _correlates(column: np.ndarray, targets: np.ndarray) -> bool:
    """Whether the target is a linear function of a column."""
    with np.errstate(all="ignore"):  # of infinite targets
        return abs(float(np.corrcoef(column, targets)[0, 1])) >= LINEAR
