"""A small data set, and recipes for it."""

import numpy as np

from xpmlp.data import Dataset, dataset_of
from xpmlp.recipes import Recipe


def made(seed: int = 0) -> Dataset:
    random = np.random.default_rng(seed)
    X, labels = random.integers(0, 256, (60, 3, 2), dtype=np.uint8), random.integers(0, 4, 60)
    return dataset_of("made", train=(X[:40], labels[:40]), test=(X[40:], labels[40:]))


def recipe(**changes: object) -> Recipe:
    return Recipe(layer_sizes=[6, 5, 4], batch_size=8, epochs=2, backend="numpy").replace(changes)
