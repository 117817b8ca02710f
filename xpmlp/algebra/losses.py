"""Losses J of targets Y and the last layer's L, and the targets themselves.

All have one form: J is the mean over rows of what `weights` (one a row, all 1 if None) make of a
sum over outputs, and beside it stands the one array that the Jacobian is written from:

    Forward    J, kept = loss(Y, L, weights)      (N,K),(N,K),(N,) -> (), (N,K)
    Backward   dL = loss_backward(Y, kept, weights)      -> (N,K)
    Scale      1/N of the mean enters the gradients in `*_backward` and nowhere else.
    Members    Leading axes broadcast, those of Y and weights to those of L; J has those of L.

Nothing overflows on the way to a finite J, no logarithm of zero is taken, no probability is
clipped: softmax and sigmoid are computed together with their logarithms.
"""

from typing import Any, NamedTuple, Protocol

from xpmlp.algebra.formulas import Formulas
from xpmlp.typing import Array, Namespace

__all__ = [
    "LOSSES",
    "Loss",
    "huber",
    "huber_backward",
    "mix",
    "one_hot",
    "poisson",
    "poisson_backward",
    "quantile",
    "quantile_backward",
    "sigmoid_cross_entropy",
    "sigmoid_cross_entropy_backward",
    "smooth_labels",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "squared_error",
    "squared_error_backward",
    "weighted_total",
]


class LossForward(Protocol):
    """J and what is kept, from Y, L and the rows' weights."""

    def __call__(
        self, Y: Array, L: Array, weights: Array | None = None, /, *, xp: Namespace
    ) -> tuple[Array, Array]: ...


class LossBackward(Protocol):
    """dL from Y, what is kept, and the rows' weights."""

    def __call__(
        self, Y: Array, kept: Array, weights: Array | None = None, /, *, xp: Namespace
    ) -> Array: ...


class Loss(NamedTuple):
    """A loss, its Jacobian, and what turns L into predictions: softmax, sigmoid, identity, exp.

    `formulas` are those of the docstrings in the order in which they are computed; a loss of one's
    own may do without. `phase` is what profiles and messages call it.
    """

    forward: LossForward
    backward: LossBackward
    output: str
    formulas: tuple[Formulas, ...] = ()
    phase: str = "loss"


class CrossEntropy(NamedTuple):
    """What a cross-entropy returns: J, and the probabilities Ŷ."""

    J: Array
    Y_hat: Array


class Counts(NamedTuple):
    """What the loss of counts returns: J, and the means Ŷ."""

    J: Array
    Y_hat: Array


class Regression(NamedTuple):
    """What a loss of numbers returns: J, and the slope S of each output's part in it, by L."""

    J: Array
    S: Array


def one_hot(labels: Array, classes: Array, *, dtype: Any, xp: Namespace) -> Array:
    """Return one-hot targets (N,K) of labels (N,) and classes 0..K-1, (K,).

    `classes` is given so that no array is made, and no device is named, inside a step.

    Source: lecture 11, "Y[np.arange(b_size), labels] = 1".
    """
    return xp.astype(labels[..., None] == classes, dtype)


def smooth_labels(Y: Array, smoothing: float, *, xp: Namespace) -> Array:
    """Spread a fraction s of each target over K classes: (1 - s) Y + s/K; shapes (N,K).

    Source: Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision",
    section 7, q'(k) = (1 - ε) δ(k,y) + ε/K.
    """
    return (1.0 - smoothing) * Y + smoothing / Y.shape[-1]


def mix(X: Array, X_other: Array, share: Array, *, xp: Namespace) -> Array:
    """λ X + (1 - λ) X', of inputs or of targets; (N,l),(N,l), λ (N,1) -> (N,l).

    Source: Zhang et al. 2018, "mixup: beyond empirical risk minimization".
    """
    return share * X + (1.0 - share) * X_other


def softmax(L: Array, *, xp: Namespace) -> Array:
    """Ŷ = exp(L) / sum(exp(L)) for each row; (N,K) -> (N,K), rows sum to 1.

    Source: lecture 11, "Y_hat = Softmax(L)".
    """
    return _softmax_and_log(L, xp=xp)[0]


def softmax_backward(dY_hat: Array, Y_hat: Array, *, xp: Namespace) -> Array:
    """dL = Ŷ * (dŶ - sum over classes of dŶ * Ŷ); (N,K),(N,K) -> (N,K).

    From dŶ_k/dL_j = Ŷ_k (δ_kj - Ŷ_j). For derivatives of predictions; a loss has a simpler one.
    """
    return Y_hat * (dY_hat - xp.sum(dY_hat * Y_hat, axis=-1, keepdims=True))


def softmax_cross_entropy(
    Y: Array, L: Array, weights: Array | None = None, *, xp: Namespace
) -> CrossEntropy:
    """Return the cross-entropy of targets and softmax of logits (the lecture's CCEE).

    Forward    Ŷ = softmax(L)     (N,K) -> (N,K)
               J = -(1/N) sum(Y * log Ŷ)     (N,K),(N,K) -> ()
    Keeps      Ŷ.

    Y holds one distribution a row; for class labels, one-hot rows.
    Source: lecture 11, "J = CCEE(Y, Y_hat)".
    """
    Y_hat, log_Y_hat = _softmax_and_log(L, xp=xp)
    J = -weighted_total(Y * log_Y_hat, weights, xp=xp) / L.shape[-2]
    return CrossEntropy(J, Y_hat)


def softmax_cross_entropy_backward(
    Y: Array, Y_hat: Array, weights: Array | None = None, *, xp: Namespace
) -> Array:
    """dL = -(1/N)(Y - Ŷ); (N,K),(N,K) -> (N,K).

    Source: lecture 11, "Expanded Jacobians".
    """
    return _of_the_mean(-(Y - Y_hat), weights)


def _softmax_and_log(L: Array, *, xp: Namespace) -> tuple[Array, Array]:
    """Ŷ = exp(L - m) / s and log Ŷ = (L - m) - log(s), m the largest logit of each row and
    s = sum(exp(L - m)) between 1 and K; (N,K) -> (N,K),(N,K).

    The lecture's exp(L) overflows for logits above 88 in float32; with m taken off it cannot,
    and log Ŷ stays finite where Ŷ itself is too small for a number.
    """
    shifted = L - xp.max(L, axis=-1, keepdims=True)
    exponentials = xp.exp(shifted)
    total = xp.sum(exponentials, axis=-1, keepdims=True)
    return exponentials / total, shifted - xp.log(total)


def sigmoid_cross_entropy(
    Y: Array, L: Array, weights: Array | None = None, *, xp: Namespace
) -> CrossEntropy:
    """Return the sum of the binary cross-entropies of K labels.

    Forward    Ŷ = 1 / (1 + exp(-L))     (N,K) -> (N,K)
               J = -(1/N) sum(Y * log Ŷ + (1 - Y) * log(1 - Ŷ))     (N,K),(N,K) -> ()
    Keeps      Ŷ.

    Y holds a probability for each answer. With log Ŷ = L - max(L, 0) - log(1 + E), E = exp(-|L|),
    and log(1 - Ŷ) = log Ŷ - L, the sum is over max(L, 0) - L Y + log(1 + E), and no exponent is
    above 0; Ŷ itself is 1 / (1 + E) for L >= 0 and E / (1 + E) below.
    Source: Bishop 2006, "Pattern recognition and machine learning", equation 4.90.
    """
    E = xp.exp(-xp.abs(L))
    each = xp.maximum(L, 0.0) - L * Y + xp.log1p(E)
    at_least_half = 1.0 / (1.0 + E)
    Y_hat = xp.where(L >= 0.0, at_least_half, E * at_least_half)
    return CrossEntropy(weighted_total(each, weights, xp=xp) / L.shape[-2], Y_hat)


def sigmoid_cross_entropy_backward(
    Y: Array, Y_hat: Array, weights: Array | None = None, *, xp: Namespace
) -> Array:
    """dL = (1/N)(Ŷ - Y); (N,K),(N,K) -> (N,K).

    Source: Bishop 2006, "Pattern recognition and machine learning", equation 4.91.
    """
    return _of_the_mean(Y_hat - Y, weights)


def squared_error(Y: Array, L: Array, weights: Array | None = None, *, xp: Namespace) -> Regression:
    """Half the squared distance from targets to outputs.

    Forward    J = (1/N) sum(½ D²), D = L - Y     (N,K),(N,K) -> ()
    Keeps      S = D.

    Source: Rumelhart, Hinton & Williams 1986, "Learning representations by back-propagating
    errors", equation 3.
    """
    D = L - Y
    return Regression(0.5 * weighted_total(D * D, weights, xp=xp) / L.shape[-2], D)


def squared_error_backward(
    Y: Array, S: Array, weights: Array | None = None, *, xp: Namespace
) -> Array:
    """dL = (1/N)(L - Y); (N,K) -> (N,K)."""
    return _of_the_mean(S, weights)


def huber(
    Y: Array, L: Array, weights: Array | None = None, *, delta: float = 1.0, xp: Namespace
) -> Regression:
    """Return Huber's loss: quadratic up to an error of δ, linear above it.

    Forward    S = D held between -δ and δ, D = L - Y     (N,K),(N,K) -> (N,K)
               J = (1/N) sum(S * (D - ½ S))     which is ½ D², or δ (|D| - ½ δ) beyond
    Keeps      S.

    Source: Huber 1964, "Robust estimation of a location parameter".
    """
    D = L - Y
    S = xp.minimum(xp.maximum(D, -delta), delta)
    return Regression(weighted_total(S * (D - 0.5 * S), weights, xp=xp) / L.shape[-2], S)


def huber_backward(Y: Array, S: Array, weights: Array | None = None, *, xp: Namespace) -> Array:
    """dL = (1/N) S, S the distance L - Y held between -δ and δ; (N,K) -> (N,K)."""
    return _of_the_mean(S, weights)


def quantile(
    Y: Array, L: Array, weights: Array | None = None, *, quantile: float = 0.5, xp: Namespace
) -> Regression:
    """Return the quantile (pinball) loss: a fraction q of targets is to be below L.

    Forward    S = 1 - q where L >= Y, else -q     (N,K),(N,K) -> (N,K)
               J = (1/N) sum(S * (L - Y))     which is max(q (Y - L), (q - 1)(Y - L))
    Keeps      S. At L = Y, where J has a bend, the slope is taken to be 1 - q.

    Source: Koenker & Bassett 1978, "Regression quantiles".
    """
    D = L - Y
    S = (1.0 - quantile) - xp.astype(D < 0.0, D.dtype)
    return Regression(weighted_total(S * D, weights, xp=xp) / L.shape[-2], S)


def quantile_backward(Y: Array, S: Array, weights: Array | None = None, *, xp: Namespace) -> Array:
    """dL = (1/N) S, S being 1 - q where L >= Y, else -q; (N,K) -> (N,K)."""
    return _of_the_mean(S, weights)


def poisson(Y: Array, L: Array, weights: Array | None = None, *, xp: Namespace) -> Counts:
    """Return half the Poisson deviance of counts, whose predicted mean is Ŷ = exp(L).

    Forward    Ŷ = exp(L)     (N,K) -> (N,K)
               J = (1/N) sum(Y * log(Y / Ŷ) - Y + Ŷ)     (N,K),(N,K) -> ()
    Keeps      Ŷ.

    Y is 0 or more, and Y log Y is 0 at 0; J is 0 where Ŷ = Y. L itself is log Ŷ. An exp(L) that is
    no finite number has no finite J.
    Source: McCullagh & Nelder 1989, "Generalized linear models", section 2.3.
    """
    Y_hat = xp.exp(L)
    each = Y * (xp.log(xp.where(Y > 0.0, Y, 1.0)) - L) - Y + Y_hat
    return Counts(weighted_total(each, weights, xp=xp) / L.shape[-2], Y_hat)


def poisson_backward(
    Y: Array, Y_hat: Array, weights: Array | None = None, *, xp: Namespace
) -> Array:
    """dL = (1/N)(Ŷ - Y); (N,K),(N,K) -> (N,K)."""
    return _of_the_mean(Y_hat - Y, weights)


def weighted_total(each: Array, weights: Array | None, *, xp: Namespace) -> Array:
    """Return the weighted sum over outputs and rows; (N,K),(N,) -> ()."""
    if weights is None:
        return xp.sum(each, axis=(-2, -1))
    return xp.sum(xp.sum(each, axis=-1) * weights, axis=-1)


def _of_the_mean(dL: Array, weights: Array | None) -> Array:
    """dL of the mean over rows, from dL of the rows themselves; (N,K),(N,) -> (N,K)."""
    if weights is None:
        return dL / dL.shape[-2]
    return dL * (weights / dL.shape[-2])[..., None]


LOSSES: dict[str, Loss] = {
    "softmax_cross_entropy": Loss(
        softmax_cross_entropy,
        softmax_cross_entropy_backward,
        "softmax",
        (
            Formulas(("Ŷ = softmax(L)",), ()),
            Formulas(("J = -(1/N) sum(Y * log Ŷ)",), ("dL = -(1/N)(Y - Ŷ)",)),
        ),
        "softmax, cross-entropy",
    ),
    "sigmoid_cross_entropy": Loss(
        sigmoid_cross_entropy,
        sigmoid_cross_entropy_backward,
        "sigmoid",
        (
            Formulas(("Ŷ = 1 / (1 + exp(-L))",), ()),
            Formulas(("J = -(1/N) sum(Y * log Ŷ + (1 - Y) * log(1 - Ŷ))",), ("dL = (1/N)(Ŷ - Y)",)),
        ),
        "sigmoid cross entropy",
    ),
    "squared_error": Loss(
        squared_error,
        squared_error_backward,
        "identity",
        (Formulas(("J = (1/N) sum(½ D²)", "D = L - Y"), ("dL = (1/N)(L - Y)",)),),
        "squared error",
    ),
    "huber": Loss(
        huber,
        huber_backward,
        "identity",
        (
            Formulas(("S = D held between -δ and δ", "D = L - Y"), ()),
            Formulas(("J = (1/N) sum(S * (D - ½ S))",), ("dL = (1/N) S",)),
        ),
        "huber",
    ),
    "quantile": Loss(
        quantile,
        quantile_backward,
        "identity",
        (
            Formulas(("S = 1 - q where L >= Y, else -q",), ()),
            Formulas(("J = (1/N) sum(S * (L - Y))",), ("dL = (1/N) S",)),
        ),
        "quantile",
    ),
    "poisson": Loss(
        poisson,
        poisson_backward,
        "exp",
        (
            Formulas(("Ŷ = exp(L)",), ()),
            Formulas(("J = (1/N) sum(Y * log(Y / Ŷ) - Y + Ŷ)",), ("dL = (1/N)(Ŷ - Y)",)),
        ),
        "poisson",
    ),
}
"""The losses by name, as recipes give them."""
