"""The lecture's algebra: pure functions in pairs, a forward step beside its Jacobian.

Notation, the same everywhere in xpmlp:

    N, l0, l1, ...   rows of a batch; widths of the layers (l0 values in, K = the last width)
    X A Z W L Y      rank-2 arrays, capital: inputs, activations, pre-activations,
                     weights, logits, targets; the hat in `Y_hat` marks an estimate
    b                a vector, small; W is (l_in, l_out), b is (l_out,)
    dQ               the derivative of the scalar loss J with respect to Q, shaped like Q
    xp               the Array API namespace of the arrays, always given by the caller

A leading member axis is allowed everywhere: with W (E, l_in, l_out) and b (E, l_out) the same
functions compute E networks at once, and an array without that axis is shared by all members.

The functions keep no state, name no array library, never wait for a device, and use only what
the Array API standard has; products are `xp.matmul`, so that a backend can supply its own.

Source: lecture 11, "MNIST classifier" and "Expanded Jacobians".
"""

from xpmlp.algebra.activations import (
    ACTIVATIONS,
    Activation,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    tanh,
    tanh_backward,
)
from xpmlp.algebra.dense import (
    DenseGradients,
    dense,
    dense_backward,
    dense_backward_parameters,
)
from xpmlp.algebra.losses import (
    one_hot,
    softmax,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "DenseGradients",
    "dense",
    "dense_backward",
    "dense_backward_parameters",
    "one_hot",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "tanh",
    "tanh_backward",
]
