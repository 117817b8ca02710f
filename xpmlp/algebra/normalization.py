"""Normalisation: Z freed of its mean and deviation, over a batch or a layer, or of its size.

    X̂ = (Z - μ) / σ      Y = γ * X̂ + β      σ = sqrt(variance + ε)

with γ and β, (l,), to be learned. In batch normalisation μ and σ are those of a column, over the
N rows of a batch; in layer normalisation those of a row, over its l units.

The Jacobian is the same for both. Of the n numbers that are normalised together, let z be one,
x̂ what becomes of it, and dx̂ = γ dy. As Σ x̂ = 0, the mean's own part is -(1/σ)(1/n) Σ dx̂, and
dσ/dz = x̂/n, so that

    dz = (1/σ)(dx̂ - mean(dx̂) - x̂ mean(dx̂ x̂)),     the means over those n numbers:

what is left of dx̂ without its parts along 1 and along x̂, in which x̂ can hardly change.

RMS normalisation leaves the mean where it is: σ² is the mean of z², there is no β, and in the
Jacobian no mean(dx̂).

Inverse deviations are kept as (1,l) or (N,1), so that they broadcast against Z as they are.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from xpmlp.algebra.formulas import Expression, node
from xpmlp.typing import Array, Namespace

__all__ = [
    "NORMALIZATIONS",
    "Normalization",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "batch_norm_inference_backward",
    "layer_norm",
    "layer_norm_backward",
    "rms_norm",
    "rms_norm_backward",
    "running",
    "unbiased",
]

EPSILON = 1e-5
"""ε, which bounds 1/σ where there is no deviation."""


class BatchNorm(NamedTuple):
    """What `batch_norm` returns: Y; X̂ and 1/σ (1,l) for its Jacobian; the batch's own mean (l,)
    and variance (l,), the biased one, for `running`."""

    Y: Array
    X_hat: Array
    inverse_deviation: Array
    mean: Array
    variance: Array


class LayerNorm(NamedTuple):
    """What `layer_norm` returns: Y; X̂ and 1/σ (N,1) for its Jacobian."""

    Y: Array
    X_hat: Array
    inverse_deviation: Array


class NormGradients(NamedTuple):
    """What a normalisation's Jacobian returns, each shaped like what it is the gradient of; dbeta
    is None where there is no β."""

    dZ: Array
    dgamma: Array
    dbeta: Array | None


def batch_norm(
    Z: Array, gamma: Array, beta: Array, *, epsilon: float = EPSILON, xp: Namespace
) -> BatchNorm:
    """Normalise each column over the rows of a batch, in training.

    Forward    X̂ = (Z - μ) / sqrt(variance + ε)     (N,l) -> (N,l)
               Y = γ * X̂ + β     (l,),(N,l),(l,) -> (N,l)
    Keeps      X̂ and 1/σ.
    Members    Leading axes broadcast: Z (E,N,l), γ (E,l).

    A batch of one row has variance 0 and Y = β.
    Source: Ioffe & Szegedy 2015, "Batch normalization", algorithm 1.
    """
    mean, variance, X_hat, inverse_deviation = _normalized(Z, -2, epsilon, xp=xp)
    Y = X_hat * gamma[..., None, :] + beta[..., None, :]
    return BatchNorm(Y, X_hat, inverse_deviation, mean[..., 0, :], variance[..., 0, :])


def batch_norm_backward(
    dY: Array, X_hat: Array, inverse_deviation: Array, gamma: Array, *, xp: Namespace
) -> NormGradients:
    """Carry the gradient at the output of `batch_norm` back to its inputs.

    Backward   dγ = sum over rows of dY * X̂     (N,l) -> (l,)
               dβ = sum over rows of dY     (N,l) -> (l,)
               dZ = (γ/σ)(dY - dβ/N - X̂ * dγ/N)     (N,l) -> (N,l)
    Scale      None of the loss's: the 1/N are those of the batch's mean and variance.
    Members    Leading axes broadcast.

    γ is the same for a whole column, so the means over dX̂ = γ dY are γ dβ/N and γ dγ/N.
    Source: Ioffe & Szegedy 2015, "Batch normalization", section 3.
    """
    dgamma, dbeta = _parameters(dY, X_hat, xp=xp)
    N = dY.shape[-2]
    inner = dY - (dbeta / N)[..., None, :] - X_hat * (dgamma / N)[..., None, :]
    return NormGradients(gamma[..., None, :] * inverse_deviation * inner, dgamma, dbeta)


def batch_norm_inference(
    Z: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = EPSILON,
    xp: Namespace,
) -> Array:
    """Normalise by the running mean and variance, (l,) each, not by the batch's.

    Forward    Y = (γ/σ) * Z + (β - μ γ/σ)     (N,l) -> (N,l)
    Members    Leading axes broadcast.

    Source: Ioffe & Szegedy 2015, "Batch normalization", algorithm 2, step 11.
    """
    slope = gamma / xp.sqrt(variance + epsilon)
    return Z * slope[..., None, :] + (beta - mean * slope)[..., None, :]


def batch_norm_inference_backward(
    dY: Array, gamma: Array, variance: Array, *, epsilon: float = EPSILON, xp: Namespace
) -> Array:
    """Carry the gradient at the output of `batch_norm_inference` back to Z.

    Backward   dZ = dY * γ/σ     (N,l) -> (N,l)
    Scale      None: each row stands alone, the statistics are constants.
    Members    Leading axes broadcast.

    Source: from `batch_norm_inference`, which is linear in Z.
    """
    return dY * (gamma / xp.sqrt(variance + epsilon))[..., None, :]


def running(statistic: Array, of_batch: Array, momentum: float, *, xp: Namespace) -> Array:
    """Update a running mean or variance by a fraction `momentum` of a batch's.

    Of a variance, the batch's is to be the `unbiased` one.

    Source: Ioffe & Szegedy 2015, "Batch normalization", section 3.1, moving averages.
    """
    return statistic + momentum * (of_batch - statistic)


def unbiased(variance: Array, rows: int, *, xp: Namespace) -> Array:
    """Return the unbiased variance, N/(N-1) times that of N rows; 0 of one row.

    Source: Ioffe & Szegedy 2015, "Batch normalization", algorithm 2, step 10.
    """
    return variance * (rows / max(rows - 1, 1))


def layer_norm(
    Z: Array, gamma: Array, beta: Array, *, epsilon: float = EPSILON, xp: Namespace
) -> LayerNorm:
    """Normalise each row over the units of a layer, in training and after it alike.

    Forward    X̂ = (Z - μ) / sqrt(variance + ε)     (N,l) -> (N,l)
               Y = γ * X̂ + β     (l,),(N,l),(l,) -> (N,l)
    Keeps      X̂ and 1/σ.
    Members    Leading axes broadcast: Z (E,N,l), γ (E,l).

    Source: Ba, Kiros & Hinton 2016, "Layer normalization", equation 3.
    """
    _, _, X_hat, inverse_deviation = _normalized(Z, -1, epsilon, xp=xp)
    Y = X_hat * gamma[..., None, :] + beta[..., None, :]
    return LayerNorm(Y, X_hat, inverse_deviation)


def layer_norm_backward(
    dY: Array, X_hat: Array, inverse_deviation: Array, gamma: Array, *, xp: Namespace
) -> NormGradients:
    """Carry the gradient at the output of `layer_norm` back to its inputs.

    Backward   dγ = sum over rows of dY * X̂     (N,l) -> (l,)
               dβ = sum over rows of dY     (N,l) -> (l,)
               dZ = (1/σ)(dX̂ - mean(dX̂) - X̂ * mean(dX̂ * X̂)), dX̂ = γ dY     (N,l) -> (N,l)
    Scale      None of the loss's: the means are over the l units of a row.
    Members    Leading axes broadcast.

    Source: Ba, Kiros & Hinton 2016, "Layer normalization"; derived above.
    """
    dgamma, dbeta = _parameters(dY, X_hat, xp=xp)
    dX_hat = dY * gamma[..., None, :]
    along_X_hat = _mean(dX_hat * X_hat, -1, xp=xp)
    dZ = (dX_hat - _mean(dX_hat, -1, xp=xp) - X_hat * along_X_hat) * inverse_deviation
    return NormGradients(dZ, dgamma, dbeta)


def rms_norm(
    Z: Array, gamma: Array, beta: None = None, *, epsilon: float = EPSILON, xp: Namespace
) -> LayerNorm:
    """Divide each row by its root mean square, in training and after it alike.

    Forward    X̂ = Z / sqrt(mean(Z²) + ε)     (N,l) -> (N,l)
               Y = γ * X̂     (l,),(N,l) -> (N,l)
    Keeps      X̂ and 1/σ, σ = sqrt(mean(Z²) + ε).
    Members    Leading axes broadcast: Z (E,N,l), γ (E,l).

    Source: Zhang & Sennrich 2019, "Root mean square layer normalization", equation 4.
    """
    inverse_deviation = 1.0 / xp.sqrt(_mean(Z * Z, -1, xp=xp) + epsilon)
    X_hat = Z * inverse_deviation
    return LayerNorm(X_hat * gamma[..., None, :], X_hat, inverse_deviation)


def rms_norm_backward(
    dY: Array, X_hat: Array, inverse_deviation: Array, gamma: Array, *, xp: Namespace
) -> NormGradients:
    """Carry the gradient at the output of `rms_norm` back to its inputs.

    Backward   dγ = sum over rows of dY * X̂     (N,l) -> (l,)
               dZ = (1/σ)(dX̂ - X̂ * mean(dX̂ * X̂)), dX̂ = γ dY     (N,l) -> (N,l)
    Scale      None of the loss's: the mean is over the l units of a row.
    Members    Leading axes broadcast.

    Source: Zhang & Sennrich 2019, "Root mean square layer normalization"; derived above.
    """
    dX_hat = dY * gamma[..., None, :]
    dZ = (dX_hat - X_hat * _mean(dX_hat * X_hat, -1, xp=xp)) * inverse_deviation
    return NormGradients(dZ, xp.sum(dY * X_hat, axis=-2), None)


def _normalized(
    Z: Array, axis: int, epsilon: float, *, xp: Namespace
) -> tuple[Array, Array, Array, Array]:
    """Mean, variance, X̂ and 1/σ along an axis, which stays with length 1.

    The variance is the mean square of what is centred already: E(Z²) - μ² would cancel.
    """
    mean = _mean(Z, axis, xp=xp)
    centred = Z - mean
    variance = _mean(centred * centred, axis, xp=xp)
    inverse_deviation = 1.0 / xp.sqrt(variance + epsilon)
    return mean, variance, centred * inverse_deviation, inverse_deviation


def _parameters(dY: Array, X_hat: Array, *, xp: Namespace) -> tuple[Array, Array]:
    """dγ and dβ; (N,l) -> (l,),(l,)."""
    return xp.sum(dY * X_hat, axis=-2), xp.sum(dY, axis=-2)


def _mean(Q: Array, axis: int, *, xp: Namespace) -> Array:
    """The mean along an axis that stays with length 1; NumPy's own costs 10 us before it sums."""
    return xp.sum(Q, axis=axis, keepdims=True) / Q.shape[axis]


Kind = Literal["scale", "shift", "running mean", "running variance"]
"""What a parameter of a normalisation is for."""


class Normalization(NamedTuple):
    """A normalisation: all that the package knows of it.

    `equations` are those of the docstrings by what they compute, Y and X̂ forward, dγ, dβ and dZ
    backward, and `symbols` what their letters stand for; `parts` are its parameters and what each
    is for. Over a batch it has `running` statistics for predictions; else `onnx` is X̂ as
    operations on Z.
    """

    forward: Callable[..., Any]
    backward: Callable[..., NormGradients]
    equations: Mapping[str, tuple[str, ...]]
    symbols: Mapping[str, str]
    parts: Mapping[str, Kind] = MappingProxyType({"gamma": "scale", "beta": "shift"})
    onnx: Expression | None = None

    @property
    def running(self) -> bool:
        """Whether predictions take statistics that training has measured."""
        return self.onnx is None


def _equations(X_hat: str, Y: str, *dZ: str) -> dict[str, tuple[str, ...]]:
    shift = {"dβ": ("dβ = sum over rows of dY",)} if "β" in Y else {}
    return {"X̂": (X_hat,), "Y": (Y,), "dγ": ("dγ = sum over rows of dY * X̂",), **shift, "dZ": dZ}


def _over(numbers: str) -> dict[str, str]:
    mean = {"μ": f"mean of {numbers}", "variance": f"variance of {numbers}"}
    return {**mean, "σ": "sqrt(variance + ε)", "ε": f"{EPSILON:g}"}


def _mean_node(formula: Expression) -> Expression:
    return node("ReduceMean", formula, axes=[-1], keepdims=1)


def _deviation_node(centred: Expression) -> Expression:
    return node("Sqrt", node("Add", _mean_node(node("Mul", centred, centred)), EPSILON))


_CENTRED = node("Sub", "Z", _mean_node("Z"))
_X_HAT, _Y = "X̂ = (Z - μ) / sqrt(variance + ε)", "Y = γ * X̂ + β"

NORMALIZATIONS: dict[str, Normalization] = {
    "batch": Normalization(
        batch_norm,
        batch_norm_backward,
        _equations(_X_HAT, _Y, "dZ = (γ/σ)(dY - dβ/N - X̂ * dγ/N)"),
        _over("a column's N rows"),
        {
            "gamma": "scale", "beta": "shift",
            "mean": "running mean", "variance": "running variance",
        },
    ),
    "layer": Normalization(
        layer_norm,
        layer_norm_backward,
        _equations(_X_HAT, _Y, "dZ = (1/σ)(dX̂ - mean(dX̂) - X̂ * mean(dX̂ * X̂))", "dX̂ = γ dY"),
        _over("a row's units"),
        onnx=node("Div", _CENTRED, _deviation_node(_CENTRED)),
    ),
    "rms": Normalization(
        rms_norm,
        rms_norm_backward,
        _equations(
            "X̂ = Z / sqrt(mean(Z²) + ε)", "Y = γ * X̂",
            "dZ = (1/σ)(dX̂ - X̂ * mean(dX̂ * X̂))", "dX̂ = γ dY",
        ),
        {"σ": "sqrt(mean(Z²) + ε)", "ε": f"{EPSILON:g}"},
        {"gamma": "scale"},
        onnx=node("Div", "Z", _deviation_node("Z")),
    ),
}  # fmt: skip
"""The normalisations by name, as recipes and `MLP(normalization=...)` give them."""
