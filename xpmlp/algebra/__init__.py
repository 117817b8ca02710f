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

dense.py          Z = A W + b
activations.py    A = g(Z), elementwise (erf.py: the error function, which the standard lacks)
losses.py         J from targets and the last layer's L
outputs.py        predictions from the last layer's L
normalization.py  Z freed of its mean and deviation, over a batch or a layer, or of its size
dropout.py        units left out at random
regularisers.py   penalties and limits on W
formulas.py       the formulas of all these as text, for those who show them

Source: lecture 11, "MNIST classifier" and "Expanded Jacobians"; what the lecture does not have
names its paper.
"""

from xpmlp.algebra.activations import *  # noqa: F403 (what a module gives stands there alone)
from xpmlp.algebra.dense import *  # noqa: F403
from xpmlp.algebra.dropout import *  # noqa: F403
from xpmlp.algebra.erf import *  # noqa: F403
from xpmlp.algebra.losses import *  # noqa: F403
from xpmlp.algebra.normalization import *  # noqa: F403
from xpmlp.algebra.outputs import *  # noqa: F403
from xpmlp.algebra.regularisers import *  # noqa: F403
