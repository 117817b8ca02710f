"""The dense layer, `Z = A W + b`, and its expanded Jacobians."""

from typing import NamedTuple

from xpmlp.typing import Array, Namespace

__all__ = ["DenseGradients", "dense", "dense_backward", "dense_backward_parameters"]


class DenseGradients(NamedTuple):
    """What `dense_backward` returns, each shaped like the array it is the gradient of."""

    dW: Array
    db: Array
    dA: Array


def dense(A: Array, W: Array, b: Array, *, xp: Namespace) -> Array:
    """Map the activations of one layer to the pre-activations of the next.

    Forward    Z = A W + b        (N,l_in)(l_in,l_out) + (l_out,) -> (N,l_out)
    Members    Leading axes of any array broadcast.

    Source: lecture 11, "Z = X W + (b)^T".
    """
    return xp.matmul(A, W) + b[..., None, :]


def dense_backward(dZ: Array, A: Array, W: Array, *, xp: Namespace) -> DenseGradients:
    """Carry the gradient at the output of `dense` back to its parameters and its input.

    Forward    Z  = A W + b       (N,l_in)(l_in,l_out) + (l_out,) -> (N,l_out)
    Backward   dW = Aᵀ dZ         (l_in,N)(N,l_out) -> (l_in,l_out)
               db = sum over rows of dZ -> (l_out,)
               dA = dZ Wᵀ         (N,l_out)(l_out,l_in) -> (N,l_in)
    Keeps      A and W. Z itself is never needed again.
    Scale      None: the 1/N of the mean loss is already in dZ.
    Members    Leading axes of any array broadcast; dZ has those of the result.

    Source: lecture 11, "Expanded Jacobians".
    """
    dW, db = dense_backward_parameters(dZ, A, xp=xp)
    return DenseGradients(dW, db, dA=xp.matmul(dZ, xp.matrix_transpose(W)))


def dense_backward_parameters(dZ: Array, A: Array, *, xp: Namespace) -> tuple[Array, Array]:
    """Return dW (l_in,l_out) and db (l_out,) of `dense_backward`, without dA.

    For the first layer, whose input X has no parameters behind it: nothing would read its dA,
    and with 784 columns it would be the largest product of the backward pass.

    Source: lecture 11, "Expanded Jacobians", where dX is left out too.
    """
    return xp.matmul(xp.matrix_transpose(A), dZ), xp.sum(dZ, axis=-2)
