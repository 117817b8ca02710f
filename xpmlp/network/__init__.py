"""Networks: the algebra's layers composed, what they start from, and what training minimises.

layers.py        Dense, Normalize, Activate, Dropout and the chain of them, forward and backward
parameters.py    one flat vector, and its parts by name and kind
mlp.py           the multilayer perceptron: its chain, its loss and its gradient
initializers.py  what its weights are before the first step
objective.py     a loss with its regularisation
"""

from xpmlp.algebra import OUTPUTS
from xpmlp.network.initializers import INITIALIZERS
from xpmlp.network.layers import (
    INFERENCE,
    TRAINING,
    Activate,
    Chain,
    Dense,
    Dropout,
    DropoutKeys,
    Layer,
    Mode,
    Normalize,
)
from xpmlp.network.mlp import (
    MLP,
    NORMALIZATIONS,
    LossAndGradients,
    check_layer_sizes,
    member_seeds,
)
from xpmlp.network.objective import Objective
from xpmlp.network.parameters import Parameters, Part

__all__ = [
    "INFERENCE",
    "INITIALIZERS",
    "MLP",
    "NORMALIZATIONS",
    "OUTPUTS",
    "TRAINING",
    "Activate",
    "Chain",
    "Dense",
    "Dropout",
    "DropoutKeys",
    "Layer",
    "LossAndGradients",
    "Mode",
    "Normalize",
    "Objective",
    "Parameters",
    "Part",
    "check_layer_sizes",
    "member_seeds",
]
