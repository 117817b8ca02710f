"""Small runs that the tests of training share, on rows that can be learned in a moment."""

from typing import Any

import numpy as np

from xpmlp import MLP, Split, Trainer
from xpmlp.backends.numpy import NumPyBackend
from xpmlp.optimizers import Optimizer, sgd


def separable(count: int = 96, seed: int = 0, *, by: float = 1.0) -> Split:
    """Return rows of 6 normal numbers, of which that of the row's class, of 3, is larger."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    X = random.normal(size=(count, 6))
    X[np.arange(count), labels] += by
    return Split(X, labels)


def bright(count: int) -> Split:
    """Return rows of 12 bytes, of which that of the row's class, of 4, is bright."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, count)
    X = random.integers(0, 128, (count, 12), dtype=np.uint8)
    X[np.arange(count), labels] += 127
    return Split(X, labels)


def begin(model: MLP, split: Split, **settings: Any) -> Trainer:
    """Return a run that has not started: by default 3 epochs of batches of 8, on NumPy."""
    defaults = {"backend": NumPyBackend(), "epochs": 3, "batch_size": 8, "seed": 0, "threads": 1}
    chosen = {**defaults, "shuffle": True, **settings}
    if "parameters" not in chosen:
        initial = {name: chosen[name] for name in ("backend", "seed")}
        chosen["parameters"] = model.initialize(**initial, dtype="float64")
    return Trainer(model, split, **chosen)


def compiled_if_possible(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a run that must be compiled wherever its backend can compile."""
    backend = settings.get("backend") or NumPyBackend()
    return {"backend": backend, "compile": "require" if backend.compiles else "off", **settings}


WALK = Optimizer(
    sgd().init, lambda p, g, state, rate, /, *, xp: (p - rate * (0.0 * g + 1.0), state)
)
"""Every parameter moves down by the learning rate, whatever the gradients are."""

STAND = Optimizer(sgd().init, lambda p, g, state, rate, /, *, xp: (p, state))
"""Nothing moves."""
