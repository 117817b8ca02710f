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
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from xpmlp.backends import Backend, select_backend, usable_backends
from xpmlp.network import MLP, PLAIN, DropoutKeys, Mode, Objective
from xpmlp.randomness import BATCH, DIRECTIONS, generator

TOLERANCES = {"float64": 1e-12, "float32": 1e-5}
"""Largest relative difference allowed, some thousand (float64) or a hundred (float32) times what
sums in another order make of rounding."""

NORMALIZED_TOLERANCE_FACTOR = 100.0
"""How many times larger it may be where something is normalised: what hardly deviates from its mean
is divided by a deviation down to sqrt(1e-5), and its rounding with it."""

ROUNDING_GRADIENT_RATIO = 1e-3
"""A gradient this small beside the network's largest is what rounding leaves of larger parts."""

COMPLEX_STEP = 1e-30
"""h of the complex step: nothing is subtracted, so it can be as small as one likes."""

ANALYTIC_NUMPY = SimpleNamespace(**{**vars(np), "abs": lambda Z: np.where(Z.real < 0.0, -Z, Z)})
"""NumPy on complex numbers whose imaginary part is next to nothing: |Z| as a real function."""

AUTODIFF = {"torch": "torch autograd", "jax": "jax autodiff"}
"""The libraries that differentiate by themselves, and what their derivatives are called."""


class Comparison(NamedTuple):
    """The comparison of one parameter's gradient with one reference.

    Attributes
    ----------
    parameter : str
        The name of the parameter, such as `W1`.
    method : str
        The name of the reference, such as `torch autograd`.
    difference : float
        The largest difference, relative to the largest entry of the gradient.
    tolerance : float
        The largest difference that is allowed.

    Examples
    --------
    >>> from xpmlp.gradcheck import Comparison
    >>> Comparison("W1", "numpy float32", 2e-7, 1e-5).agrees
    True
    """

    parameter: str
    method: str
    difference: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the tolerance; a NaN is not."""
        return self.difference <= self.tolerance


class Case(NamedTuple):
    """What is differentiated: a network, what it minimises, and a batch on the host."""

    model: MLP
    objective: Objective
    X: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None

    def mode(self, backend: Backend) -> Mode:
        """Training, where dropout draws from step 3 of seed 7, at the first member's rates."""
        units = np.arange(max(self.model.layer_sizes), dtype=np.int32)
        drawn = np.array([7], np.int32), np.array([3]), np.arange(len(self.X)), units
        rates = self.objective.input_dropout, self.objective.dropout
        of_first = (float(np.ravel(rate)[0]) for rate in rates)
        return Mode(True, DropoutKeys(*map(backend.asarray, drawn), *of_first))

    def loss_and_gradients(
        self, parameters: Any, backend: Backend, *, dtype: str = "float64", xp: Any = None
    ) -> tuple[Any, Any]:
        """J and its gradient by the network itself, on a backend."""
        return self.model.loss_and_gradients(
            parameters,
            backend.asarray(self.X, dtype),
            backend.asarray(self.labels),
            objective=self.objective,
            weights=None if self.weights is None else backend.asarray(self.weights, dtype),
            mode=self.mode(backend),
            xp=xp or backend.xp,
        )

    def gradients(self, parameters: np.ndarray, backend: Backend, dtype: str) -> np.ndarray:
        """The gradient by the network's own Jacobians, on a backend."""
        with backend.activate():
            vector = backend.asarray(parameters.copy(), dtype)
            return backend.to_numpy(self.loss_and_gradients(vector, backend, dtype=dtype)[1])


def gradcheck(
    model: MLP,
    *,
    objective: Objective = PLAIN,
    seed: int = 0,
    batch_size: int = 32,
    backends: Sequence[Backend] | None = None,
    autodiff: Sequence[str] = tuple(AUTODIFF),
) -> list[Comparison]:
    """Compare every parameter's gradient across backends and with derivatives.

    The references are the other backends, directional derivatives, and autodiff of PyTorch and JAX.
    Weights, rows and labels are random.

    Parameters
    ----------
    model : MLP
        The network.
    objective : Objective, optional
        The loss and its regularisation.
    seed : int, default 0
        The seed of the random numbers.
    batch_size : int, default 32
        The number of rows.
    backends : sequence of Backend, optional
        The backends to compare with NumPy; by default all that run on this machine.
    autodiff : sequence of str, default ('torch', 'jax')
        The libraries whose autodiff is used, where they are installed.

    Returns
    -------
    list of Comparison
        One for each parameter and reference, ordered by parameter.

    Raises
    ------
    InputError
        For an objective that does not fit the network.

    References
    ----------
    Squire and Trapp 1998, Using complex variables to estimate derivatives of real functions,
    equation 1.2, for the directional derivatives.

    Examples
    --------
    >>> from xpmlp.gradcheck import gradcheck
    >>> numpy = xpmlp.select_backend("numpy")
    >>> rows = gradcheck(xpmlp.MLP((4, 3, 2)), backends=[numpy], autodiff=())
    >>> all(row.agrees for row in rows)
    True
    """
    objective.check(model.output, model.layer_sizes[-1])
    case = _random_case(model, objective, seed, batch_size)
    parameters = _moderate_parameters(model, seed)
    numpy = select_backend("numpy")
    ours = model.unflatten(case.gradients(parameters, numpy, "float64"), xp=np)
    scales = _scales(ours)
    amplified = 1.0 if model.normalization == "none" else NORMALIZED_TOLERANCE_FACTOR
    rows: list[Comparison] = []

    def compare(method: str, gradients: np.ndarray, dtype: str = "float64") -> None:
        """Add differences relative to each parameter's gradient."""
        for name, theirs in model.unflatten(gradients, xp=np).items():
            difference = float(np.abs(theirs - ours[name]).max()) / scales[name]
            rows.append(Comparison(name, method, difference, amplified * TOLERANCES[dtype]))

    for backend in usable_backends() if backends is None else backends:
        for dtype in TOLERANCES:
            if (backend.name, dtype) != ("numpy", "float64"):
                found = case.gradients(parameters, backend, dtype)
                compare(f"{backend.name} {dtype}", found, dtype)
    for number, (name, gradient) in enumerate(ours.items()):
        D = np.zeros_like(parameters)
        part = model.unflatten(D, xp=np)[name]
        part[...] = generator(seed, DIRECTIONS, 1, number).standard_normal(part.shape)
        part /= np.linalg.norm(part)
        J, _ = case.loss_and_gradients(parameters + 1j * COMPLEX_STEP * D, numpy, xp=ANALYTIC_NUMPY)
        expected = float(np.sum(gradient * part))
        error = abs(J.imag / COMPLEX_STEP - expected) / max(abs(expected), scales[name])
        tolerance = amplified * TOLERANCES["float64"]
        rows.append(Comparison(name, "directional float64", error, tolerance))
    for library, method in AUTODIFF.items():
        if library in autodiff and importlib.util.find_spec(library):
            compare(method, _autodiff(library, case, parameters))
    return sorted(rows, key=lambda row: list(ours).index(row.parameter))


def _random_case(model: MLP, objective: Objective, seed: int, batch_size: int) -> Case:
    random, K = generator(seed, BATCH), model.layer_sizes[-1]
    shape = (batch_size, model.layer_sizes[0])
    X = random.uniform(0.0, 1.0, shape)  # NumPy's Philox: repeatable, and no secret # nosec B311
    if model.output == "softmax":
        labels = random.integers(0, K, batch_size)
    else:  # answers of yes or no, or counts, which are numbers, too
        most = 2 if model.output == "sigmoid" else 5
        labels = random.integers(0, most, (batch_size, K)).astype(np.float64)
    weights = None
    if objective.class_weights:
        classes = labels if labels.ndim == 1 else labels.argmax(axis=1)
        weights = np.asarray(objective.class_weights, np.float64)[classes]
    return Case(model, objective, X, labels, weights)


def _moderate_parameters(model: MLP, seed: int) -> np.ndarray:
    """Weights from N(0, 1/l_in) and biases too: N(0, 1) weights would saturate most units, and
    a gradient of nearly zero, or a bias that is zero, shows few mistakes."""
    numbers = generator(seed, DIRECTIONS, 0).standard_normal(model.size)[: model.parameter_count]
    for part in model.unflatten(numbers, xp=np).values():
        part *= part.shape[0] ** -0.5 if part.ndim == 2 else 0.5
    return numbers


def _scales(gradients: dict[str, np.ndarray]) -> dict[str, float]:
    """What a difference is measured by, for each parameter.

    That is the largest entry of the gradient itself, but where it is what large parts that cancel
    leave over (a single bias, a weight before a normalisation), a thousandth of the network's.
    """
    largest = {name: float(np.abs(one).max()) for name, one in gradients.items()}
    least = ROUNDING_GRADIENT_RATIO * max(largest.values())
    return {name: max(own, least) or 1.0 for name, own in largest.items()}


def _autodiff(library: str, case: Case, parameters: np.ndarray) -> np.ndarray:
    backend = select_backend(library, "cpu")
    with backend.activate():
        vector = backend.asarray(parameters)
        if library == "torch":
            case.loss_and_gradients(vector.requires_grad_(), backend)[0].backward()
            return np.asarray(vector.grad)
        import jax

        differentiate = jax.grad(lambda vector: case.loss_and_gradients(vector, backend)[0])
        return np.asarray(differentiate(vector))
