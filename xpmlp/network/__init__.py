"""Networks: the algebra's layers composed, what they start from, and what training minimises.

layers.py        Dense, Normalize, Activate, Dropout and the chain of them, forward and backward
parameters.py    one flat vector, and its parts by name and kind
mlp.py           the multilayer perceptron: its chain, its loss and its gradient
initializers.py  what its weights are before the first step
objective.py     a loss with its regularisation
"""

from typing import Any

from xpmlp import renamed
from xpmlp.network.initializers import INITIALIZERS
from xpmlp.network.layers import TRAINING, DropoutKeys, Mode
from xpmlp.network.mlp import ARCHITECTURE, MLP, NORMALIZATIONS
from xpmlp.network.objective import PLAIN, Objective, balanced_weights

__all__ = [
    "ARCHITECTURE",
    "INITIALIZERS",
    "MLP",
    "NORMALIZATIONS",
    "PLAIN",
    "TRAINING",
    "DropoutKeys",
    "Mode",
    "Objective",
    "balanced_weights",
]


def __getattr__(name: str) -> Any:
    return globals()[renamed.attribute(__name__, name)]
