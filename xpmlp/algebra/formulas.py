"""The formulas of the algebra as text, word for word as its docstrings have them.

Whoever shows a formula (`xpmlp explain`) takes it from here; a test finds each in the docstring of
its function, and another computes with them and compares the numbers with the functions'.

    the notation is that of the docstrings: `*` and `/` elementwise, two names side by side their
    product, ᵀ the transpose; a name of two words, such as `dA before`, is one array

The first equation of a tuple is the result, those after it say what stands in it.
"""

from typing import NamedTuple


class Formulas(NamedTuple):
    """A step forward and its Jacobian: equations, each tuple's first the result."""

    forward: tuple[str, ...]
    backward: tuple[str, ...]


DENSE = "Z = A W + b"
DENSE_WEIGHTS = "dW = Aᵀ dZ"
DENSE_BIASES = "db = sum over rows of dZ"
DENSE_INPUTS = "dA = dZ Wᵀ"

ACTIVATION_FORMULAS: dict[str, Formulas] = {
    "identity": Formulas(("A = Z",), ("dZ = dA",)),
    "sigmoid": Formulas(("A = 1 / (1 + exp(-Z))",), ("dZ = dA * A * (1 - A)",)),
    "tanh": Formulas(("A = tanh(Z)",), ("dZ = dA * (1 - A²)",)),
    "scaled_tanh": Formulas(
        ("A = 1.7159 tanh(2/3 Z)",), ("dZ = dA * (2/3)/1.7159 * (1.7159 - A)(1.7159 + A)",)
    ),
    "relu": Formulas(("A = max(Z, 0)",), ("dZ = dA where A > 0, else 0",)),
    "leaky_relu": Formulas(("A = max(Z, 0.01 Z)",), ("dZ = dA where A > 0, else 0.01 dA",)),
    "selu": Formulas(
        ("A = λ Z where Z > 0, else λα (exp(Z) - 1)",),
        ("dZ = λ dA where A > 0, else dA * (A + λα)",),
    ),
    "gelu": Formulas(("A = Z Φ(Z)",), ("dZ = dA * (Φ(Z) + Z φ(Z))",)),
    "gelu_tanh": Formulas(
        ("A = Z (1 + tanh(U)) / 2", "U = sqrt(2/π) (Z + 0.044715 Z³)"),
        (
            "dZ = dA * S (1 + Z (1 - S) 2 dU/dZ)",
            "S = 1 / (1 + E)",
            "E = exp(-2U)",
            "2 dU/dZ = 2 sqrt(2/π) (1 + 3 * 0.044715 Z²)",
            "U = sqrt(2/π) (Z + 0.044715 Z³)",
        ),
    ),
    "silu": Formulas(
        ("A = Z / (1 + exp(-Z))",),
        ("dZ = dA * S (1 + Z (1 - S))", "S = 1 / (1 + E)", "E = exp(-Z)"),
    ),
    "mish": Formulas(
        ("A = Z tanh(softplus(Z))",),
        ("dZ = dA * (n + 4 Z (n - E) / (n + 2)) / (n + 2)", "n = E² + 2E", "E = exp(Z)"),
    ),
    "softplus": Formulas(("A = log(1 + exp(Z))",), ("dZ = dA * (1 - exp(-A))",)),
}
"""By the names of `ACTIVATIONS`."""

LOSS_FORMULAS: dict[str, tuple[Formulas, ...]] = {
    "softmax_cross_entropy": (
        Formulas(("Ŷ = softmax(L)",), ()),
        Formulas(("J = -(1/N) sum(Y * log Ŷ)",), ("dL = -(1/N)(Y - Ŷ)",)),
    ),
    "sigmoid_cross_entropy": (
        Formulas(("Ŷ = 1 / (1 + exp(-L))",), ()),
        Formulas(("J = -(1/N) sum(Y * log Ŷ + (1 - Y) * log(1 - Ŷ))",), ("dL = (1/N)(Ŷ - Y)",)),
    ),
    "squared_error": (Formulas(("J = (1/N) sum(½ D²)", "D = L - Y"), ("dL = (1/N)(L - Y)",)),),
    "huber": (
        Formulas(("S = D held between -δ and δ", "D = L - Y"), ()),
        Formulas(("J = (1/N) sum(S * (D - ½ S))",), ("dL = (1/N) S",)),
    ),
    "quantile": (
        Formulas(("S = 1 - q where L >= Y, else -q",), ()),
        Formulas(("J = (1/N) sum(S * (L - Y))",), ("dL = (1/N) S",)),
    ),
    "poisson": (
        Formulas(("Ŷ = exp(L)",), ()),
        Formulas(("J = (1/N) sum(Y * log(Y / Ŷ) - Y + Ŷ)",), ("dL = (1/N)(Ŷ - Y)",)),
    ),
}
"""By the names of `LOSSES`, in the order in which they are computed."""

NORMALIZED = "X̂ = (Z - μ) / sqrt(variance + ε)"
SCALED = "Y = γ * X̂ + β"
SCALE_GRADIENT = "dγ = sum over rows of dY * X̂"
SHIFT_GRADIENT = "dβ = sum over rows of dY"
NORMALIZATION_FORMULAS: dict[str, tuple[str, ...]] = {
    "batch": ("dZ = (γ/σ)(dY - dβ/N - X̂ * dγ/N)",),
    "layer": ("dZ = (1/σ)(dX̂ - mean(dX̂) - X̂ * mean(dX̂ * X̂))", "dX̂ = γ dY"),
}
"""dZ of each normalisation; the rest is the same for both."""

DROPOUT = Formulas(("A after = A * mask",), ("dA before = dA after * mask",))
DROPOUT_MASK = "0 with probability p, else 1/(1-p)"
SMOOTHED = "(1 - s) Y + s/K"
MIXED = "λ X + (1 - λ) X'"
L2 = Formulas(("(λ/2) ΣW²",), ("dW = λ W",))
L1 = Formulas(("λ Σ|W|",), ("dW = λ sign(W)",))
RESIDUAL = Formulas(("A after = A + A in",), ("dA in = dA after",))
"""What a network adds to a layer's output; the gradient is added to what dA in is already."""
NO_BIAS_GRADIENT = "db = 0"
"""Before a batch normalisation, whose own mean takes b off again."""
