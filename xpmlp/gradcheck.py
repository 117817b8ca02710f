"""Gradient check: every gradient is checked in several independent ways.

The gradient of every parameter, as NumPy computes it in float64, is compared with

    the same algebra on every other usable backend, in float64 and in the float32 of training,
    the directional derivative of the loss along a random direction D of that parameter, which
    knows nothing of Jacobians: Im J(W + i h D) / h against sum(dW * D),
    torch's autograd and JAX's autodiff, where installed.

The last three differentiate the network's forward pass without its Jacobians. That the forward pass
itself is right is a question for tests, which compare it with one written as in a textbook.

Source of the directional derivative: Squire and Trapp 1998, "Using complex variables to estimate
derivatives of real functions", equation (1.2): exact to rounding, where a difference quotient is
not.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xpmlp.backends import Backend, select_backend, usable_backends
from xpmlp.network import MLP, TRAINING, DropoutKeys, LossAndGradients, Mode, Objective
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

    def loss_and_gradients(
        self,
        parameters: Any,
        backend: Backend | None = None,
        *,
        dtype: str = "float64",
        xp: Any = None,
    ) -> LossAndGradients:
        """J and its gradient by the network itself, on a backend, by default NumPy."""
        backend = backend or select_backend("numpy")
        labels, weights = self.labels, self.weights
        return self.model.loss_and_gradients(
            parameters,
            backend.asarray(self.X, dtype),
            backend.asarray(labels.astype(dtype) if labels.dtype.kind == "f" else labels),
            objective=self.objective,
            weights=None if weights is None else backend.asarray(weights, dtype),
            mode=self.mode(backend),
            xp=xp or backend.xp,
        )


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
        vector = backend.asarray(parameters.copy(), dtype)
        return backend.to_numpy(case.loss_and_gradients(vector, backend, dtype=dtype).gradients)


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
    gradients = case.model.unflatten(reference, xp=np)
    for number, (name, gradient) in enumerate(gradients.items()):
        D = np.zeros_like(parameters)
        part = case.model.unflatten(D, xp=np)[name]
        part[...] = generator(seed, DIRECTIONS, 1, number).standard_normal(part.shape)
        part /= np.linalg.norm(part)
        J, _ = case.loss_and_gradients(parameters + 1j * COMPLEX_STEP * D, xp=_Analytic())
        measured = J.imag / COMPLEX_STEP
        expected = float(np.sum(gradient * part))
        scale = max(abs(expected), _scale(gradients, name))
        difference = abs(measured - expected) / scale
        tolerance = TOLERANCES["float64"] * _amplified(case.model)
        yield Comparison(name, "directional float64", difference, tolerance)


class _Analytic:
    """NumPy on complex numbers whose imaginary part is next to nothing: |Z| as a real function."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def abs(self, Z: np.ndarray) -> np.ndarray:
        return np.where(Z.real < 0.0, -Z, Z)


def _torch_autograd(case: Case, parameters: np.ndarray) -> np.ndarray:
    torch = select_backend("torch", "cpu")
    vector = torch.asarray(parameters).requires_grad_()
    case.loss_and_gradients(vector, torch).loss.backward()
    gradient: np.ndarray = vector.grad.numpy()
    return gradient


def _jax_autodiff(case: Case, parameters: np.ndarray) -> np.ndarray:
    import jax

    backend = select_backend("jax", "cpu")
    with backend.activate():
        differentiate = jax.grad(lambda vector: case.loss_and_gradients(vector, backend).loss)
        gradient: np.ndarray = np.asarray(differentiate(backend.asarray(parameters)))
    return gradient
