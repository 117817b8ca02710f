"""Networks: the algebra's layers composed, what they start from, and what training minimises.

mlp.py           the multilayer perceptron, forward and backward
initializers.py  what its weights are before the first step
objective.py     a loss with its regularisation
noise.py         what dropout draws from
"""

from xpmlp.network.initializers import INITIALIZERS
from xpmlp.network.mlp import (
    MLP,
    NORMALIZATIONS,
    OUTPUTS,
    Layer,
    LossAndGradients,
    Tape,
    check_layer_sizes,
    member_seeds,
)
from xpmlp.network.noise import Noise
from xpmlp.network.objective import USUAL_LOSS, Objective

__all__ = [
    "INITIALIZERS",
    "MLP",
    "NORMALIZATIONS",
    "OUTPUTS",
    "USUAL_LOSS",
    "Layer",
    "LossAndGradients",
    "Noise",
    "Objective",
    "Tape",
    "check_layer_sizes",
    "member_seeds",
]
