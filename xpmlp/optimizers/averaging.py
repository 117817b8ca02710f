"""The mean of the parameters over steps, and the weights that make it a running or a plain one."""

import numpy as np

from xpmlp.checks import check_fraction
from xpmlp.errors import InputError
from xpmlp.typing import Array, Namespace


def average(mean: Array, parameters: Array, weight: Array, *, xp: Namespace) -> Array:
    """Update a mean of the parameters in place: mean <- mean + weight (p - mean).

    Parameters
    ----------
    mean : array of shape (P,) or (E, P)
        The mean so far; overwritten.
    parameters : array of shape (P,) or (E, P)
        The parameters p after a step.
    weight : array
        Their weight, which broadcasts; 1 restarts the mean, 0 leaves it unchanged.
    xp : namespace
        The Array API library of the arrays.

    Returns
    -------
    array of shape (P,) or (E, P)
        The new mean.

    References
    ----------
    Polyak and Juditsky 1992, Acceleration of stochastic approximation by averaging.

    Examples
    --------
    >>> from xpmlp.optimizers import average
    >>> average(np.array([1.0]), np.array([3.0]), np.array(0.5), xp=np)
    array([2.])
    """
    mean += weight * (parameters - mean)
    return mean


def ema_weights(steps: int, decay: float) -> np.ndarray:
    """Return the weights of an exponential mean: max(1 - decay, 1/(t+1)) in step t.

    Parameters
    ----------
    steps : int
        The number of steps.
    decay : float
        Decay of the mean in each step, 0 or more and less than 1.

    Returns
    -------
    ndarray of shape (steps,), float64
        The weight of the parameters after each step, for `average`.

    Notes
    -----
    The first 1/(1-decay) steps have a plain mean, so the initial parameters have no weight.

    References
    ----------
    Polyak and Juditsky 1992, Acceleration of stochastic approximation by averaging, for the plain
    mean.

    Examples
    --------
    >>> from xpmlp.optimizers import ema_weights
    >>> ema_weights(4, decay=0.5)
    array([1. , 0.5, 0.5, 0.5])
    """
    [decay] = check_fraction(decay=decay)
    return np.maximum(1.0 - decay, 1.0 / np.arange(1, steps + 1))


def swa_weights(steps: int, start: int, every: int) -> np.ndarray:
    """Return the weights of a plain mean over the steps start, start + every, ...

    Parameters
    ----------
    steps : int
        The number of steps.
    start : int
        The first step of the mean, 0 or more.
    every : int
        The interval in steps, 1 or more.

    Returns
    -------
    ndarray of shape (steps,), float64
        1/(k+1) at the k-th step of the mean, counted from 0; 0 at all other steps.

    Raises
    ------
    InputError
        For a negative `start`, and for an `every` below 1.

    References
    ----------
    Izmailov et al. 2018, Averaging weights leads to wider optima and better generalization,
    algorithm 1.

    Examples
    --------
    >>> from xpmlp.optimizers import swa_weights
    >>> swa_weights(6, start=1, every=2)
    array([0.        , 1.        , 0.        , 0.5       , 0.        ,
           0.33333333])
    """
    if start < 0 or every < 1:
        raise InputError(f"start={start}, every={every}: give at least 0 and at least 1")
    weights = np.zeros(steps)
    ours = weights[start::every]
    ours[:] = 1.0 / np.arange(1, len(ours) + 1)
    return weights
