"""Limits on the gradients."""

from xpmlp.typing import Array, Namespace


def clip_by_norm(gradients: Array, limit: float, *, xp: Namespace) -> Array:
    """Scale gradients down to a norm, in place: g <- g limit / max(|g|, limit).

    Parameters
    ----------
    gradients : array of shape (P,) or (E, P)
        The flat gradients; overwritten.
    limit : float
        The largest Euclidean norm over the last axis, of each member, more than 0.
    xp : namespace
        The Array API library of the arrays.

    Returns
    -------
    array of shape (P,) or (E, P)
        The clipped gradients.

    Notes
    -----
    Gradients within the limit keep their bits. A NaN or infinite entry leaves a NaN, so that the
    loss shows it. PyTorch's `clip_grad_norm_` divides by |g| + 1e-6, and so ends that much below
    the limit.

    References
    ----------
    Pascanu, Mikolov and Bengio 2013, On the difficulty of training recurrent neural networks,
    algorithm 1.

    Examples
    --------
    >>> from xpmlp.optimizers import clip_by_norm
    >>> clip_by_norm(np.array([3.0, 4.0]), 1.0, xp=np)
    array([0.6, 0.8])
    """
    norm = xp.sqrt(xp.sum(gradients * gradients, axis=-1, keepdims=True))
    gradients *= limit / xp.maximum(norm, limit)
    return gradients


def clip_by_value(gradients: Array, limit: float, *, xp: Namespace) -> Array:
    """Clip each entry of the gradients: g <- min(max(g, -limit), limit).

    Parameters
    ----------
    gradients : array of shape (P,) or (E, P)
        The flat gradients.
    limit : float
        The largest absolute value of an entry, more than 0.
    xp : namespace
        The Array API library of the arrays.

    Returns
    -------
    array of shape (P,) or (E, P)
        The clipped gradients.

    Notes
    -----
    A NaN stays NaN.

    References
    ----------
    Mikolov 2012, Statistical language models based on neural networks.

    Examples
    --------
    >>> from xpmlp.optimizers import clip_by_value
    >>> clip_by_value(np.array([3.0, -0.5]), 1.0, xp=np)
    array([ 1. , -0.5])
    """
    return xp.minimum(xp.maximum(gradients, -limit), limit)
