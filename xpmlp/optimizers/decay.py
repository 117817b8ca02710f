"""Weight decay that no rule rescales."""

from xpmlp.typing import Array, Namespace


def decay(parameters: Array, rate: Array, weight_decay: Array, *, xp: Namespace) -> Array:
    """Apply decoupled weight decay in place: p <- p - (rate weight_decay) p.

    Parameters
    ----------
    parameters : array of shape (P,) or (E, P)
        The flat parameters; overwritten.
    rate : array
        The learning rate, of shape (), (E, 1), (P,) or (E, P).
    weight_decay : array
        The weight decay, of the same shapes; where it is 0 a parameter keeps its bits.
    xp : namespace
        The Array API library of the arrays.

    Returns
    -------
    array of shape (P,) or (E, P)
        The decayed parameters, for the update rule.

    Notes
    -----
    It is a subtraction since in float32 the factor 1 - rate weight_decay, with rate weight_decay =
    1e-5, would decay by up to 0.3 % too much or too little.

    References
    ----------
    Loshchilov and Hutter 2019, Decoupled weight decay regularization, algorithm 2, line 12, with
    PyTorch's rate in it.

    Examples
    --------
    >>> from xpmlp.optimizers import decay
    >>> decay(np.array([1.0]), np.array(0.1), np.array(0.5), xp=np)
    array([0.95])
    """
    parameters -= (rate * weight_decay) * parameters
    return parameters
