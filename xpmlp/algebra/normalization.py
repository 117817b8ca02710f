"""Normalisation: Z freed of its mean and its deviation, over a batch or over a layer.

    X̂ = (Z - μ) / σ      Y = γ * X̂ + β      σ = sqrt(variance + ε)

with γ and β, (l,), to be learned. In batch normalisation μ and σ are those of a column, over the
N rows of a batch; in layer normalisation those of a row, over its l units.

The Jacobian is the same for both. Of the n numbers that are normalised together, let z be one,
x̂ what becomes of it, and dx̂ = γ dy. As Σ x̂ = 0, the mean's own part is -(1/σ)(1/n) Σ dx̂, and
dσ/dz = x̂/n, so that

    dz = (1/σ)(dx̂ - mean(dx̂) - x̂ mean(dx̂ x̂)),     the means over those n numbers:

what is left of dx̂ without its parts along 1 and along x̂, in which x̂ can hardly change.

Inverse deviations are kept as (1,l) or (N,1), so that they broadcast against Z as they are.
"""

from typing import NamedTuple

from xpmlp.typing import Array, Namespace

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
    """What a normalisation's Jacobian returns, each shaped like what it is the gradient of."""

    dZ: Array
    dgamma: Array
    dbeta: Array


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
    """Normalise by statistics known before, (l,) each: the same for a row whatever its batch.

    Forward    Y = (γ/σ) * Z + (β - μ γ/σ)     (N,l) -> (N,l)
    Members    Leading axes broadcast.

    Source: Ioffe & Szegedy 2015, "Batch normalization", algorithm 2, step 11.
    """
    slope = gamma / xp.sqrt(variance + epsilon)
    return Z * slope[..., None, :] + (beta - mean * slope)[..., None, :]


def running(statistic: Array, of_batch: Array, momentum: float, *, xp: Namespace) -> Array:
    """The running mean or variance with one more batch in it, by a share of `momentum`; any shape.

    Of a variance, the batch's is to be the `unbiased` one.

    Source: Ioffe & Szegedy 2015, "Batch normalization", section 3.1, moving averages.
    """
    return statistic + momentum * (of_batch - statistic)


def unbiased(variance: Array, rows: int, *, xp: Namespace) -> Array:
    """The variance that N rows were drawn from, N/(N-1) times their own; 0 of a single row.

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
