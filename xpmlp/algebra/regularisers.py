"""Penalties on weights, each beside its gradient, and a limit on them.

Forward    J += penalty(W, strength)     (l_in,l_out) -> ()
Backward   dW += penalty_gradient(W, strength)     -> (l_in,l_out)
Scale      No 1/N: a penalty is the same for any batch.
Members    Leading axes broadcast; a strength of each member's own is (E,1,1), and J is (E,).
"""

from xpmlp.typing import Array, Namespace

__all__ = ["l1_penalty", "l1_penalty_gradient", "l2_penalty", "l2_penalty_gradient", "max_norm"]


def l2_penalty(W: Array, strength: float | Array, *, xp: Namespace) -> Array:
    """(λ/2) ΣW², the logarithm of a normal prior on W.

    Source: Krogh & Hertz 1991, "A simple weight decay can improve generalization", equation 1.
    """
    squares = xp.sum(W * W, axis=(-2, -1), keepdims=True)
    return (0.5 * strength * squares)[..., 0, 0]


def l2_penalty_gradient(W: Array, strength: float | Array, *, xp: Namespace) -> Array:
    """dW = λ W."""
    return strength * W


def l1_penalty(W: Array, strength: float | Array, *, xp: Namespace) -> Array:
    """λ Σ|W|, which many weights are least for at 0 exactly.

    Source: Tibshirani 1996, "Regression shrinkage and selection via the lasso".
    """
    magnitudes = xp.sum(xp.abs(W), axis=(-2, -1), keepdims=True)
    return (strength * magnitudes)[..., 0, 0]


def l1_penalty_gradient(W: Array, strength: float | Array, *, xp: Namespace) -> Array:
    """dW = λ sign(W), 0 where W = 0."""
    return strength * xp.sign(W)


def max_norm(W: Array, limit: float | Array, *, xp: Namespace) -> Array:
    """Scale the weights into each unit (column) down to a norm of at most `limit`.

    A column within the limit is the same to the bit; `limit` is above 0.

    Source: Srivastava et al. 2014, "Dropout", section 5.1.
    """
    norm = xp.sqrt(xp.sum(W * W, axis=-2, keepdims=True))
    return W * (limit / xp.maximum(norm, limit))
