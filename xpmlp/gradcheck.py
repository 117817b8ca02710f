"""Gradient check: no gradient is trusted on one witness.

The gradient of every parameter, as NumPy computes it in float64, is compared with

    the same algebra on every other usable backend, in float64 and in the float32 of training,
    the directional derivative of the loss along a random direction D of that parameter, which
    knows nothing of Jacobians: Im J(W + i h D) / h against sum(dW * D),
    torch's autograd and JAX's autodiff, where installed.

The last three differentiate a forward pass of their own, written out below as a textbook has it.

Source of the directional derivative: Squire and Trapp 1998, "Using complex variables to estimate
derivatives of real functions", equation (1.2): exact to rounding, where a difference quotient is
not.
"""

import functools
import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xpmlp.backends import Backend, select_backend, usable_backends
from xpmlp.network import MLP, TRAINING, USUAL_LOSS, Dropout, DropoutKeys, Mode, Objective
from xpmlp.randomness import BATCH, DIRECTIONS, generator

TOLERANCES = {"float64": 1e-12, "float32": 1e-5}
"""Largest relative difference allowed, some thousand (float64) or a hundred (float32) times what
sums in another order make of rounding."""

AMPLIFIED = 100.0
"""How many times larger it may be where something is normalised: what hardly deviates from its mean
is divided by a deviation down to sqrt(1e-5), and its rounding with it."""

CANCELLED = 1e-3
"""A gradient this small beside the network's largest is what rounding leaves of larger parts."""

COMPLEX_STEP = 1e-30
"""h of the complex step: nothing is subtracted, so it can be as small as one likes."""


class Comparison(NamedTuple):
    """One row of the check: a parameter against one witness."""

    parameter: str
    witness: str
    difference: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the tolerance; a NaN is not."""
        return self.difference <= self.tolerance


@dataclass(frozen=True)
class Case:
    """What is differentiated: a network, what it minimises, and a batch on the host."""

    model: MLP
    objective: Objective
    X: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None

    @property
    def targets(self) -> np.ndarray:
        """The targets (N, K)."""
        classes = np.arange(self.model.layer_sizes[-1])
        Y: np.ndarray = self.model.targets(self.labels, classes, dtype=np.float64, xp=np)
        return Y

    def mode(self, backend: Backend) -> Mode:
        """Training, where dropout draws from step 3 of seed 7."""
        objective, send = self.objective, backend.asarray
        if not objective.has_noise:
            return TRAINING
        keys = DropoutKeys(
            send(np.array([7], np.int32)),
            send(np.array([3])),
            send(np.arange(len(self.X))),
            send(np.arange(max(self.model.layer_sizes), dtype=np.int32)),
            _one(objective.input_dropout),
            _one(objective.dropout),
        )
        return Mode(is_training=True, dropout=keys)


def _one(rate: float | tuple[float, ...]) -> float:
    """The first member's."""
    return rate[0] if isinstance(rate, tuple) else rate


def gradcheck(
    model: MLP,
    *,
    objective: Objective | None = None,
    seed: int = 0,
    batch_size: int = 32,
    backends: Sequence[Backend] | None = None,
    autodiff: Sequence[str] = ("torch", "jax"),
) -> list[Comparison]:
    """Compare every parameter's gradient across backends and with independent derivatives.

    The weights, a batch of rows and its labels are random, from `seed`. `backends` are compared
    with NumPy; the default is every one that can run here. `autodiff` names the libraries whose
    own derivatives are asked for, where they are installed.
    """
    objective = objective or Objective()
    objective.check(model.output, model.layer_sizes[-1])
    case = _random_case(model, objective, seed, batch_size)
    parameters = _moderate_parameters(model, seed)
    reference = _gradients(case, select_backend("numpy"), "float64", parameters)

    rows: list[Comparison] = []
    for backend in usable_backends() if backends is None else backends:
        for dtype in ("float64", "float32"):
            if (backend.name, dtype) != ("numpy", "float64"):
                found = _gradients(case, backend, dtype, parameters)
                witness = f"{backend.name} {dtype}"
                rows += _compare(model, reference, found, witness, TOLERANCES[dtype])
    rows += _directional(case, reference, parameters, seed)
    for witness, differentiate in (("torch", _torch_autograd), ("jax", _jax_autodiff)):
        if witness in autodiff and importlib.util.find_spec(witness):
            found = differentiate(case, parameters)
            name = f"{witness} autograd" if witness == "torch" else f"{witness} autodiff"
            rows += _compare(model, reference, found, name, TOLERANCES["float64"])
    order = list(model.shapes)
    return sorted(rows, key=lambda row: order.index(row.parameter))


def _random_case(model: MLP, objective: Objective, seed: int, batch_size: int) -> Case:
    random, width = generator(seed, BATCH), model.layer_sizes[-1]
    shape = (batch_size, model.layer_sizes[0])
    X = random.uniform(0.0, 1.0, shape)  # NumPy's Philox: repeatable, and no secret # nosec B311
    labels: np.ndarray
    if model.output == "softmax":
        labels = random.integers(0, width, batch_size)
    elif model.output == "sigmoid":
        labels = random.integers(0, 2, (batch_size, width)).astype(np.float64)
    elif model.output == "exp":
        labels = random.poisson(1.0, (batch_size, width)).astype(np.float64)
    else:
        labels = random.standard_normal((batch_size, width))
    weights = None
    if objective.class_weights:
        classes = labels if labels.ndim == 1 else labels.argmax(axis=1)
        weights = np.asarray(objective.class_weights, np.float64)[classes]
    return Case(model, objective, X, labels, weights)


def _moderate_parameters(model: MLP, seed: int) -> np.ndarray:
    """Weights from N(0, 1/l_in) and biases too: N(0, 1) weights would saturate most units, and
    a gradient of nearly zero, or a bias that is zero, shows few mistakes."""
    random = generator(seed, DIRECTIONS, 0)
    scales = [
        np.full(int(np.prod(shape)), shape[0] ** -0.5 if len(shape) == 2 else 0.5)
        for shape in model.shapes.values()
    ]
    numbers = random.standard_normal(model.size)[: model.parameter_count]
    moderate: np.ndarray = numbers * np.concatenate(scales)[: model.parameter_count]
    return moderate


def _gradients(case: Case, backend: Backend, dtype: str, parameters: np.ndarray) -> np.ndarray:
    with backend.activate():
        labels = case.labels
        if labels.dtype.kind == "f":
            labels = labels.astype(dtype)
        _, gradients = case.model.loss_and_gradients(
            backend.asarray(parameters.copy(), dtype),
            backend.asarray(case.X, dtype),
            backend.asarray(labels),
            objective=case.objective,
            weights=None if case.weights is None else backend.asarray(case.weights, dtype),
            mode=case.mode(backend),
            xp=backend.xp,
        )
        return backend.to_numpy(gradients)


def _compare(
    model: MLP, reference: np.ndarray, found: np.ndarray, witness: str, tolerance: float
) -> Iterator[Comparison]:
    """Differences relative to the largest entry of each parameter's gradient."""
    ours, theirs = model.unflatten(reference, xp=np), model.unflatten(found, xp=np)
    for name in ours:
        difference = np.abs(theirs[name] - ours[name]).max() / _scale(ours, name)
        yield Comparison(name, witness, float(difference), tolerance * _amplified(model))


def _amplified(model: MLP) -> float:
    return 1.0 if model.normalization == "none" else AMPLIFIED


def _scale(gradients: dict[str, np.ndarray], name: str) -> float:
    """What a difference is measured by.

    That is the largest entry of the gradient itself, but where it is what large parts that cancel
    leave over (a single bias, a weight before a normalisation), a thousandth of the network's.
    """
    own = float(np.abs(gradients[name]).max())
    largest = max(float(np.abs(one).max()) for one in gradients.values())
    return max(own, CANCELLED * largest) or 1.0


def _directional(
    case: Case, reference: np.ndarray, parameters: np.ndarray, seed: int
) -> Iterator[Comparison]:
    loss = functools.partial(_plain_loss, case, maths=_numpy_maths())
    gradients = case.model.unflatten(reference, xp=np)
    for number, (name, gradient) in enumerate(gradients.items()):
        D = np.zeros_like(parameters)
        part = case.model.unflatten(D, xp=np)[name]
        part[...] = generator(seed, DIRECTIONS, 1, number).standard_normal(part.shape)
        part /= np.linalg.norm(part)
        measured = loss(parameters + 1j * COMPLEX_STEP * D).imag / COMPLEX_STEP
        expected = float(np.sum(gradient * part))
        scale = max(abs(expected), _scale(gradients, name))
        difference = abs(measured - expected) / scale
        tolerance = TOLERANCES["float64"] * _amplified(case.model)
        yield Comparison(name, "directional float64", difference, tolerance)


class Maths(NamedTuple):
    """What the plain forward pass is written with: a library's own functions."""

    exp: Callable[..., Any]
    log: Callable[..., Any]
    tanh: Callable[..., Any]
    erf: Callable[..., Any]
    where: Callable[..., Any]
    real: Callable[..., Any]
    array: Callable[[np.ndarray], Any]


def _numpy_maths() -> Maths:
    """NumPy on complex numbers with an imaginary part that is next to nothing."""
    real_erf = np.vectorize(math.erf, otypes=[float])

    def erf(Z: np.ndarray) -> np.ndarray:
        derivative = 2.0 / math.sqrt(math.pi) * np.exp(-(Z.real**2))
        erf_of: np.ndarray = real_erf(Z.real) + 1j * Z.imag * derivative
        return erf_of

    return Maths(np.exp, np.log, np.tanh, erf, np.where, np.real, np.asarray)


def _plain_loss(case: Case, vector: Any, *, maths: Maths) -> Any:
    """The loss as a textbook writes it, apart from the algebra that is being checked."""
    model, objective = case.model, case.objective
    parts, start = dict[str, Any](), 0
    for name, shape in model.shapes.items():  # cut without the network's own code
        stop = start + math.prod(shape)
        parts[name] = vector[start:stop].reshape(shape)
        start = stop
        if stop == model.parameter_count:
            break
    # The masks are given: which units are dropped is no question of derivatives.
    numpy = select_backend("numpy")
    zeros = np.zeros(model.parameter_count)
    _, saved = model.forward(zeros, case.X, case.mode(numpy), xp=np)
    masks = {layer.k: m for layer, m in model.chain.saved(saved) if isinstance(layer, Dropout)}
    A = maths.array(model.activations(saved)[0])
    last = len(model.layer_sizes) - 1
    for number in range(1, last):
        Z = A @ parts[f"W{number}"] + parts[f"b{number}"]
        if model.normalization != "none":
            axis = 0 if model.normalization == "batch" else 1
            centred = Z - Z.mean(axis, keepdims=True)
            variance = (centred * centred).mean(axis, keepdims=True)
            Z = (
                centred / (variance + 1e-5) ** 0.5 * parts[f"gamma{number}"]
                + parts[f"beta{number}"]
            )
        A_k = _PLAIN[model.hidden](Z, maths)
        if masks[number] is not None:
            A_k = A_k * maths.array(masks[number])
        A = A_k + A if model.is_residual(number) else A_k
    L = A @ parts[f"W{last}"] + parts[f"b{last}"]
    Y = case.targets
    Y = maths.array(Y * (1 - objective.label_smoothing) + objective.label_smoothing / Y.shape[1])
    losses = _plain_losses(objective)[str(objective.loss) or USUAL_LOSS[model.output]](Y, L, maths)
    rows = losses.sum(1)
    if case.weights is not None:
        rows = rows * maths.array(case.weights)
    J = rows.sum(0) / len(case.X)
    for number in range(1, last + 1):
        W = parts[f"W{number}"]
        magnitude = maths.where(maths.real(W) > 0, W, -W)
        J = J + objective.l1 * magnitude.sum() + objective.l2 / 2 * (W * W).sum()
    return J


def _plain_losses(objective: Objective) -> dict[str, Callable[[Any, Any, Maths], Any]]:
    """The losses once more, one value for each output of each row."""
    delta, q = objective.huber_delta, objective.quantile

    def softmax_cross_entropy(Y: Any, L: Any, m: Maths) -> Any:
        return -Y * m.log(m.exp(L) / m.exp(L).sum(1, keepdims=True))

    def sigmoid_cross_entropy(Y: Any, L: Any, m: Maths) -> Any:
        probability = 1.0 / (1.0 + m.exp(-L))
        return -Y * m.log(probability) - (1.0 - Y) * m.log(1.0 - probability)

    def huber(Y: Any, L: Any, m: Maths) -> Any:
        magnitude = m.where(m.real(L - Y) > 0, L - Y, Y - L)
        is_small = m.real(magnitude) <= delta
        return m.where(is_small, (L - Y) * (L - Y) / 2, delta * (magnitude - delta / 2))

    def quantile(Y: Any, L: Any, m: Maths) -> Any:
        return m.where(m.real(Y - L) > 0, q * (Y - L), (q - 1.0) * (Y - L))

    def poisson(Y: Any, L: Any, m: Maths) -> Any:
        mean = m.exp(L)
        return Y * m.log(m.where(Y > 0, Y, 1.0 + 0.0 * Y) / mean) - Y + mean

    return {
        "softmax_cross_entropy": softmax_cross_entropy,
        "sigmoid_cross_entropy": sigmoid_cross_entropy,
        "squared_error": lambda Y, L, _: (L - Y) * (L - Y) / 2,
        "huber": huber,
        "quantile": quantile,
        "poisson": poisson,
    }


_PLAIN: dict[str, Callable[[Any, Maths], Any]] = {
    "identity": lambda Z, _: Z,
    "sigmoid": lambda Z, m: 1.0 / (1.0 + m.exp(-Z)),
    "tanh": lambda Z, m: m.tanh(Z),
    "scaled_tanh": lambda Z, m: 1.7159 * m.tanh(2.0 * Z / 3.0),
    "relu": lambda Z, m: m.where(m.real(Z) > 0, Z, 0.0 * Z),
    "leaky_relu": lambda Z, m: m.where(m.real(Z) > 0, Z, 0.01 * Z),
    "selu": lambda Z, m: (
        1.0507009873554804934193349852946
        * m.where(m.real(Z) > 0, Z, 1.6732632423543772848170429916717 * (m.exp(Z) - 1.0))
    ),
    "gelu": lambda Z, m: Z * (1.0 + m.erf(Z / math.sqrt(2.0))) / 2.0,
    "gelu_tanh": lambda Z, m: (
        Z * (1.0 + m.tanh(math.sqrt(2.0 / math.pi) * (Z + 0.044715 * Z * Z * Z))) / 2.0
    ),
    "silu": lambda Z, m: Z / (1.0 + m.exp(-Z)),
    "mish": lambda Z, m: Z * m.tanh(m.log(1.0 + m.exp(Z))),
    "softplus": lambda Z, m: m.log(1.0 + m.exp(Z)),
}
"""The activations once more."""


def _torch_autograd(case: Case, parameters: np.ndarray) -> np.ndarray:
    import torch

    maths = Maths(
        torch.exp, torch.log, torch.tanh, torch.erf, torch.where, lambda Z: Z, torch.tensor
    )
    vector = torch.tensor(parameters, requires_grad=True)
    _plain_loss(case, vector, maths=maths).backward()
    gradient: np.ndarray = vector.grad.numpy()
    return gradient


def _jax_autodiff(case: Case, parameters: np.ndarray) -> np.ndarray:
    import jax

    jnp = jax.numpy
    maths = Maths(
        jnp.exp, jnp.log, jnp.tanh, jax.scipy.special.erf, jnp.where, lambda Z: Z, jnp.asarray
    )
    with jax.enable_x64(True):
        loss = functools.partial(_plain_loss, case, maths=maths)
        gradient: np.ndarray = np.asarray(jax.grad(loss)(jnp.asarray(parameters)))
    return gradient
