"""The mean of the parameters over steps, and the weights that make it a running or a plain one."""

import numpy as np

from xpmlp.checks import check_fraction
from xpmlp.errors import InputError
from xpmlp.typing import Array, Namespace


def average(mean: Array, parameters: Array, weight: Array, *, xp: Namespace) -> Array:
    """The mean with the parameters of one more step in it: mean <- mean + weight (p - mean).

    In place. `weight` is an array that broadcasts; 1 starts the mean anew, 0 leaves it as it is.

    Source: Polyak and Juditsky 1992, one term at a time.
    """
    mean += weight * (parameters - mean)
    return mean


def ema_weights(steps: int, decay: float) -> np.ndarray:
    """The weights (steps,) of an exponential mean: max(1 - decay, 1/(t+1)) at t = 0, 1, ...

    So the first 1/(1-decay) steps have a plain mean, and nothing is left of the initial weights.
    """
    [decay] = check_fraction(decay=decay)
    return np.maximum(1.0 - decay, 1.0 / np.arange(1, steps + 1))


def swa_weights(steps: int, start: int, every: int) -> np.ndarray:
    """The weights (steps,) of a plain mean over the steps start, start + every, ...

    1/(k+1) at the k-th of them, counting from 0, and 0 at all other steps.

    Source: Izmailov et al. 2018, Averaging weights leads to wider optima, algorithm 1.
    """
    if start < 0 or every < 1:
        raise InputError(f"start={start}, every={every}: give at least 0 and at least 1")
    weights = np.zeros(steps)
    ours = weights[start::every]
    ours[:] = 1.0 / np.arange(1, len(ours) + 1)
    return weights
