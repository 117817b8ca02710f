"""Activations `A = g(Z)` and their Jacobians, elementwise.

Most Jacobians are written from the output A, which the next layer keeps anyway, so that Z can be
forgotten as soon as A is known. Those of gelu, silu and mish need Z, for these functions fall
before they rise: two inputs may have one output. `Activation.keeps` says which of the two it is.

Nothing overflows on the way to a finite A, and no finite Z gives a NaN.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

from xpmlp.algebra.erf import normal
from xpmlp.algebra.formulas import Expression, Formulas, node
from xpmlp.typing import Array, Namespace

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "elu",
    "elu_backward",
    "gelu",
    "gelu_backward",
    "gelu_tanh",
    "gelu_tanh_backward",
    "hard_swish",
    "hard_swish_backward",
    "identity",
    "identity_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "mish",
    "mish_backward",
    "relu",
    "relu_backward",
    "scaled_tanh",
    "scaled_tanh_backward",
    "selu",
    "selu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softplus",
    "softplus_backward",
    "tanh",
    "tanh_backward",
]


class ActivationForward(Protocol):
    """`g`: (N,l) -> (N,l), elementwise, any leading axes."""

    def __call__(self, Z: Array, /, *, xp: Namespace) -> Array: ...


class ActivationBackward(Protocol):
    """`dZ` from `dA` and what is kept, the output A or the input Z; all (N,l), any leading axes."""

    def __call__(self, dA: Array, kept: Array, /, *, xp: Namespace) -> Array: ...


class Activation(NamedTuple):
    """An activation: all that the package knows of it.

    `keeps` says which array `backward` needs beside dA; `formulas` are those of the docstrings, as
    they are shown, and `symbols` what their letters stand for; `onnx` is A as operations of ONNX
    on Z.
    """

    forward: ActivationForward
    backward: ActivationBackward
    formulas: Formulas
    onnx: Expression
    keeps: Literal["A", "Z"] = "A"
    symbols: Mapping[str, str] = MappingProxyType({})


def identity(Z: Array, *, xp: Namespace) -> Array:
    """A = Z."""
    return Z


def identity_backward(dA: Array, A: Array, *, xp: Namespace) -> Array:
    """dZ = dA."""
    return dA


def sigmoid(Z: Array, *, xp: Namespace) -> Array:
    """A = 1 / (1 + exp(-Z)), in (0, 1).

    Where exp(-Z) would overflow, -Z is held at the largest exponent whose result is a normal
    number (for Z below -87.3 in float32, -708 in float64). A is then about that smallest number in
    place of a still smaller one, and everywhere else it is the lecture's expression to the bit.

    Source: lecture 11, "A1 = 1/(1 + np.exp(-Z1))".
    """
    return 1.0 / (1.0 + xp.exp(xp.minimum(-Z, _largest_exponent(Z, xp=xp))))


def sigmoid_backward(dA: Array, A: Array, *, xp: Namespace) -> Array:
    """dZ = dA * A * (1 - A).

    Source: lecture 11, "Expanded Jacobians".
    """
    return dA * A * (1.0 - A)


def tanh(Z: Array, *, xp: Namespace) -> Array:
    """A = tanh(Z), in [-1, 1]."""
    return xp.tanh(Z)


def tanh_backward(dA: Array, A: Array, *, xp: Namespace) -> Array:
    """dZ = dA * (1 - A²), from d tanh/dZ = 1 - tanh²."""
    return dA * (1.0 - A * A)


SCALED_TANH_LIMIT = 1.7159
SCALED_TANH_SLOPE = 2.0 / 3.0


def scaled_tanh(Z: Array, *, xp: Namespace) -> Array:
    """A = 1.7159 tanh(2/3 Z), which maps -1 and 1 to themselves and bends most there.

    Source: LeCun et al. 1998, "Efficient BackProp", section 4.4.
    """
    return SCALED_TANH_LIMIT * xp.tanh(SCALED_TANH_SLOPE * Z)


def scaled_tanh_backward(dA: Array, A: Array, *, xp: Namespace) -> Array:
    """dZ = dA * (2/3)/1.7159 * (1.7159 - A)(1.7159 + A), 0 to the bit where A is at its limit."""
    falls_off = (SCALED_TANH_LIMIT - A) * (SCALED_TANH_LIMIT + A)
    return dA * (SCALED_TANH_SLOPE / SCALED_TANH_LIMIT * falls_off)


def relu(Z: Array, *, xp: Namespace) -> Array:
    """A = max(Z, 0). A NaN stays one."""
    return xp.maximum(Z, 0.0)


def relu_backward(dA: Array, A: Array, *, xp: Namespace) -> Array:
    """dZ = dA where A > 0, else 0; at Z = 0 the derivative is taken to be 0."""
    return xp.where(A > 0.0, dA, 0.0)


LEAKY_SLOPE = 0.01


def leaky_relu(Z: Array, *, xp: Namespace) -> Array:
    """A = max(Z, 0.01 Z).

    Source: Maas et al. 2013, "Rectifier nonlinearities improve neural network acoustic models".
    """
    return xp.maximum(Z, LEAKY_SLOPE * Z)


def leaky_relu_backward(dA: Array, A: Array, *, xp: Namespace) -> Array:
    """dZ = dA where A > 0, else 0.01 dA."""
    return xp.where(A > 0.0, dA, LEAKY_SLOPE * dA)


def elu(Z: Array, *, xp: Namespace) -> Array:
    """A = Z where Z > 0, else exp(Z) - 1.

    Source: Clevert et al. 2016, "Fast and accurate deep network learning by exponential linear
    units (ELUs)", equation 15 with α = 1.
    """
    return xp.maximum(Z, 0.0) + xp.expm1(xp.minimum(Z, 0.0))


def elu_backward(dA: Array, A: Array, *, xp: Namespace) -> Array:
    """dZ = dA where A > 0, else dA * (A + 1), for exp(Z) = A + 1."""
    return dA * xp.where(A > 0.0, 1.0, A + 1.0)


SELU_SCALE = 1.0507009873554805
SELU_LIMIT = SELU_SCALE * 1.6732632423543772
"""The λ and the λα of SELU, for which mean 0 and variance 1 are kept from layer to layer."""


def selu(Z: Array, *, xp: Namespace) -> Array:
    """A = λ Z where Z > 0, else λα (exp(Z) - 1).

    Source: Klambauer et al. 2017, "Self-normalizing neural networks", equation 2.
    """
    return SELU_SCALE * xp.maximum(Z, 0.0) + SELU_LIMIT * xp.expm1(xp.minimum(Z, 0.0))


def selu_backward(dA: Array, A: Array, *, xp: Namespace) -> Array:
    """dZ = λ dA where A > 0, else dA * (A + λα), for λα exp(Z) = A + λα."""
    return dA * xp.where(A > 0.0, SELU_SCALE, A + SELU_LIMIT)


def gelu(Z: Array, *, xp: Namespace) -> Array:
    """A = Z Φ(Z), Φ the normal distribution; computed as max(Z, 0) - |Z| (1 - Φ(|Z|)).

    Source: Hendrycks & Gimpel 2016, "Gaussian error linear units (GELUs)", section 2.
    """
    distance, _, tail = normal(Z, xp=xp)
    return xp.maximum(Z, 0.0) - distance * tail


def gelu_backward(dA: Array, Z: Array, *, xp: Namespace) -> Array:
    """dZ = dA * (Φ(Z) + Z φ(Z)), φ the normal density.

    For Z < 0 the derivative is the tail 1 - Φ(|Z|) less |Z| φ(Z); for Z > 0 it is 1 less that.
    """
    distance, density, tail = normal(Z, xp=xp)
    below = tail - distance * density
    return dA * xp.where(Z > 0.0, 1.0 - below, below)


GELU_TANH_SLOPE = 2.0 * math.sqrt(2.0 / math.pi)
GELU_TANH_CUBIC = GELU_TANH_SLOPE * 0.044715


def gelu_tanh(Z: Array, *, xp: Namespace) -> Array:
    """A = Z (1 + tanh(U)) / 2 with U = sqrt(2/π) (Z + 0.044715 Z³), within 0.0005 of `gelu`.

    Computed as Z / (1 + exp(-2U)), the same, which keeps its digits where tanh is near -1.

    Source: Hendrycks & Gimpel 2016, "Gaussian error linear units (GELUs)", section 2.
    """
    return xp.maximum(Z, -10.0) / (1.0 + _gelu_tanh_exponential(_held_at_10(Z, xp=xp), xp=xp))


def gelu_tanh_backward(dA: Array, Z: Array, *, xp: Namespace) -> Array:
    """dZ = dA * S (1 + Z (1 - S) 2 dU/dZ), S = 1 / (1 + E) with E = exp(-2U), so that 1 - S = E S.

    2 dU/dZ = 2 sqrt(2/π) (1 + 3 * 0.044715 Z²).
    """
    Z = _held_at_10(Z, xp=xp)
    E = _gelu_tanh_exponential(Z, xp=xp)
    S = 1.0 / (1.0 + E)
    slope = Z * (GELU_TANH_SLOPE + 3.0 * GELU_TANH_CUBIC * (Z * Z))
    return dA * (S * (1.0 + slope * (E * S)))


def _held_at_10(Z: Array, *, xp: Namespace) -> Array:
    """Z between -10 and 10. There exp(-2U) is 1e38 and 1e-38, just inside float32; beyond, A is 0
    or Z for every purpose, and Z³ would overflow in the end."""
    return xp.minimum(xp.maximum(Z, -10.0), 10.0)


def _gelu_tanh_exponential(Z: Array, *, xp: Namespace) -> Array:
    """exp(-2U), U = sqrt(2/π) (Z + 0.044715 Z³)."""
    return xp.exp(Z * (-GELU_TANH_SLOPE - GELU_TANH_CUBIC * (Z * Z)))


def silu(Z: Array, *, xp: Namespace) -> Array:
    """A = Z / (1 + exp(-Z)), that is Z sigmoid(Z), with Z held from below as `sigmoid` holds it.

    Source: Elfwing et al. 2018, "Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning".
    """
    Z = xp.maximum(Z, -_largest_exponent(Z, xp=xp))
    return Z / (1.0 + xp.exp(-Z))


def silu_backward(dA: Array, Z: Array, *, xp: Namespace) -> Array:
    """dZ = dA * S (1 + Z (1 - S)), S = 1 / (1 + E) with E = exp(-Z), so that 1 - S = E S."""
    Z = xp.maximum(Z, -_largest_exponent(Z, xp=xp))
    E = xp.exp(-Z)
    S = 1.0 / (1.0 + E)
    return dA * (S * (1.0 + Z * (E * S)))


def hard_swish(Z: Array, *, xp: Namespace) -> Array:
    """A = Z * H with H = min(max(Z + 3, 0), 6) / 6, a `silu` made of straight lines and a parabola.

    Source: Howard et al. 2019, "Searching for MobileNetV3", section 5.2.
    """
    return Z * _hard_sigmoid(Z, xp=xp)


def hard_swish_backward(dA: Array, Z: Array, *, xp: Namespace) -> Array:
    """dZ = dA * D with D = H where Z² >= 9, else H + Z / 6, and H = min(max(Z + 3, 0), 6) / 6."""
    H = _hard_sigmoid(Z, xp=xp)
    return dA * xp.where(xp.abs(Z) >= 3.0, H, H + Z / 6.0)


def _hard_sigmoid(Z: Array, *, xp: Namespace) -> Array:
    return xp.minimum(xp.maximum(Z + 3.0, 0.0), 6.0) / 6.0


MISH_IS_LINEAR = 20.0
"""From here on tanh(softplus(Z)) is 1 to the bit."""


def mish(Z: Array, *, xp: Namespace) -> Array:
    """A = Z tanh(softplus(Z)) = Z n / (n + 2) with n = E² + 2E, E = exp(Z).

    Source: Misra 2019, "Mish: a self regularized non-monotonic activation function".
    """
    E = xp.exp(xp.minimum(Z, MISH_IS_LINEAR))
    n = E * (E + 2.0)
    return Z * (n / (n + 2.0))


def mish_backward(dA: Array, Z: Array, *, xp: Namespace) -> Array:
    """dZ = dA * (n + 4 Z (n - E) / (n + 2)) / (n + 2), n and E as in `mish`; n - E = E² + E."""
    Z = xp.minimum(Z, MISH_IS_LINEAR)
    E = xp.exp(Z)
    n = E * (E + 2.0)
    below = n + 2.0
    return dA * ((n + Z * (4.0 * (n - E) / below)) / below)


def softplus(Z: Array, *, xp: Namespace) -> Array:
    """A = log(1 + exp(Z)), computed as max(Z, 0) + log(1 + exp(-|Z|)).

    Source: Dugas et al. 2000, "Incorporating second-order functional knowledge for better option
    pricing".
    """
    return xp.maximum(Z, 0.0) + xp.log1p(xp.exp(-xp.abs(Z)))


def softplus_backward(dA: Array, A: Array, *, xp: Namespace) -> Array:
    """dZ = dA * (1 - exp(-A)), which is dA * sigmoid(Z)."""
    return dA * -xp.expm1(-A)


def _largest_exponent(Z: Array, *, xp: Namespace) -> float:
    """The largest x for which exp(-x) is a normal number of Z's dtype; exp(x) is finite, too."""
    return -math.log(xp.finfo(Z.dtype).smallest_normal)


# Runtimes that take log(1 + exp(Z)) literally overflow for large Z, so theirs is that of -|Z|.
_SOFTPLUS = node("Add", node("Relu", "Z"), node("Softplus", node("Neg", node("Abs", "Z"))))
_GELU_TANH_2U = node(
    "Mul", "Z", node("Add", node("Mul", node("Mul", "Z", "Z"), GELU_TANH_CUBIC), GELU_TANH_SLOPE)
)

ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(
        identity,
        identity_backward,
        Formulas(("A = Z",), ("dZ = dA",)),
        "Z",
    ),
    "sigmoid": Activation(
        sigmoid,
        sigmoid_backward,
        Formulas(("A = 1 / (1 + exp(-Z))",), ("dZ = dA * A * (1 - A)",)),
        node("Sigmoid", "Z"),
    ),
    "tanh": Activation(
        tanh,
        tanh_backward,
        Formulas(("A = tanh(Z)",), ("dZ = dA * (1 - A²)",)),
        node("Tanh", "Z"),
    ),
    "scaled_tanh": Activation(
        scaled_tanh,
        scaled_tanh_backward,
        Formulas(
            ("A = 1.7159 tanh(2/3 Z)",), ("dZ = dA * (2/3)/1.7159 * (1.7159 - A)(1.7159 + A)",)
        ),
        node("Mul", node("Tanh", node("Mul", "Z", SCALED_TANH_SLOPE)), SCALED_TANH_LIMIT),
    ),
    "relu": Activation(
        relu,
        relu_backward,
        Formulas(("A = max(Z, 0)",), ("dZ = dA where A > 0, else 0",)),
        node("Relu", "Z"),
    ),
    "leaky_relu": Activation(
        leaky_relu,
        leaky_relu_backward,
        Formulas(("A = max(Z, 0.01 Z)",), ("dZ = dA where A > 0, else 0.01 dA",)),
        node("LeakyRelu", "Z", alpha=LEAKY_SLOPE),
    ),
    "selu": Activation(
        selu,
        selu_backward,
        Formulas(
            ("A = λ Z where Z > 0, else λα (exp(Z) - 1)",),
            ("dZ = λ dA where A > 0, else dA * (A + λα)",),
        ),
        node("Selu", "Z", alpha=SELU_LIMIT / SELU_SCALE, gamma=SELU_SCALE),
        symbols={"λ": f"{SELU_SCALE:.4f}", "λα": f"{SELU_LIMIT:.4f}"},
    ),
    "elu": Activation(
        elu,
        elu_backward,
        Formulas(
            ("A = Z where Z > 0, else exp(Z) - 1",), ("dZ = dA where A > 0, else dA * (A + 1)",)
        ),
        node("Elu", "Z", alpha=1.0),
    ),
    "gelu": Activation(
        gelu,
        gelu_backward,
        Formulas(("A = Z Φ(Z)",), ("dZ = dA * (Φ(Z) + Z φ(Z))",)),
        node(
            "Mul",
            node("Mul", "Z", 0.5),
            node("Add", node("Erf", node("Mul", "Z", math.sqrt(0.5))), 1.0),
        ),
        keeps="Z",
        symbols={"Φ": "normal distribution function", "φ": "normal density"},
    ),
    "gelu_tanh": Activation(
        gelu_tanh,
        gelu_tanh_backward,
        Formulas(
            ("A = Z (1 + tanh(U)) / 2", "U = sqrt(2/π) (Z + 0.044715 Z³)"),
            (
                "dZ = dA * S (1 + Z (1 - S) 2 dU/dZ)",
                "S = 1 / (1 + E)",
                "E = exp(-2U)",
                "2 dU/dZ = 2 sqrt(2/π) (1 + 3 * 0.044715 Z²)",
                "U = sqrt(2/π) (Z + 0.044715 Z³)",
            ),
        ),
        node("Mul", "Z", node("Sigmoid", _GELU_TANH_2U)),
        keeps="Z",
    ),
    "silu": Activation(
        silu,
        silu_backward,
        Formulas(
            ("A = Z / (1 + exp(-Z))",),
            ("dZ = dA * S (1 + Z (1 - S))", "S = 1 / (1 + E)", "E = exp(-Z)"),
        ),
        node("Mul", "Z", node("Sigmoid", "Z")),
        keeps="Z",
    ),
    "hard_swish": Activation(
        hard_swish,
        hard_swish_backward,
        Formulas(
            ("A = Z * H", "H = min(max(Z + 3, 0), 6) / 6"),
            ("dZ = dA * D", "D = H where Z² >= 9, else H + Z / 6", "H = min(max(Z + 3, 0), 6) / 6"),
        ),
        node("HardSwish", "Z"),
        keeps="Z",
    ),
    "mish": Activation(
        mish,
        mish_backward,
        Formulas(
            ("A = Z tanh(softplus(Z))",),
            ("dZ = dA * (n + 4 Z (n - E) / (n + 2)) / (n + 2)", "n = E² + 2E", "E = exp(Z)"),
        ),
        node("Mul", "Z", node("Tanh", _SOFTPLUS)),
        keeps="Z",
    ),
    "softplus": Activation(
        softplus,
        softplus_backward,
        Formulas(("A = log(1 + exp(Z))",), ("dZ = dA * (1 - exp(-A))",)),
        _SOFTPLUS,
    ),
}
"""The activations by name, as recipes and `MLP(hidden=...)` give them."""
