"""Softmax and categorical cross-entropy (the lecture's CCEE), fused.

The softmax and its logarithm are computed together, so nothing overflows and no logarithm of zero
is taken, for logits of any size, without clipping a probability.
"""

from typing import Any, NamedTuple

from xpmlp.typing import Array, Namespace


class CrossEntropy(NamedTuple):
    """What `softmax_cross_entropy` returns."""

    J: Array
    Y_hat: Array


def one_hot(labels: Array, classes: Array, *, dtype: Any, xp: Namespace) -> Array:
    """Y, 1 at the class of each row and 0 elsewhere; labels (N,), classes 0..K-1 (K,) -> (N,K).

    `classes` is given so that no array is made, and no device is named, inside a step.

    Source: lecture 11, "Y[np.arange(b_size), labels] = 1".
    """
    return xp.astype(labels[..., None] == classes, dtype)


def softmax(L: Array, *, xp: Namespace) -> Array:
    """Ŷ = exp(L) / sum(exp(L)) for each row; (N,K) -> (N,K), rows sum to 1.

    Source: lecture 11, "Y_hat = Softmax(L)".
    """
    return _softmax_and_log(L, xp=xp)[0]


def softmax_cross_entropy(Y: Array, L: Array, *, xp: Namespace) -> CrossEntropy:
    """The mean over rows of the cross-entropy between targets and the softmax of logits.

    Forward    Ŷ = softmax(L)     (N,K) -> (N,K)
               J = -(1/N) sum(Y * log Ŷ)     (N,K),(N,K) -> ()
    Keeps      Ŷ, returned beside J for `softmax_cross_entropy_backward`.
    Members    Leading axes broadcast; J has those of L.

    Y holds one distribution a row; for class labels, one-hot rows.
    Source: lecture 11, "J = CCEE(Y, Y_hat)".
    """
    Y_hat, log_Y_hat = _softmax_and_log(L, xp=xp)
    J = -xp.sum(Y * log_Y_hat, axis=(-2, -1)) / L.shape[-2]
    return CrossEntropy(J, Y_hat)


def softmax_cross_entropy_backward(Y: Array, Y_hat: Array, *, xp: Namespace) -> Array:
    """dL = -(1/N)(Y - Ŷ); (N,K),(N,K) -> (N,K).

    Scale      The 1/N of the mean enters the gradients here and nowhere else.

    Source: lecture 11, "Expanded Jacobians".
    """
    return -(Y - Y_hat) / Y.shape[-2]


def _softmax_and_log(L: Array, *, xp: Namespace) -> tuple[Array, Array]:
    """Ŷ = exp(L - m) / s and log Ŷ = (L - m) - log(s), m the largest logit of each row and
    s = sum(exp(L - m)) between 1 and K; (N,K) -> (N,K),(N,K).

    The lecture's exp(L) overflows for logits above 88 in float32; with m taken off it cannot,
    and log Ŷ stays finite where Ŷ itself is too small for a number.
    """
    shifted = L - xp.max(L, axis=-1, keepdims=True)
    exponentials = xp.exp(shifted)
    total = xp.sum(exponentials, axis=-1, keepdims=True)
    return exponentials / total, shifted - xp.log(total)
