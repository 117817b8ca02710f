"""The multilayer perceptron: a chain of layers with a loss at its end.

A network is a value that describes an architecture and holds no parameters. These are ONE
flat vector, W1 b1 W2 b2 ... one after another, and `MLP.layers` gives (W, b) as views of it:

    loss, gradients = model.loss_and_gradients(parameters, X, labels)
    parameters -= 0.03 * gradients

A leading axis of that vector, (E, P) in place of (P,), is E networks at once.

Hidden layer k computes, each part after the first two where the network has it,

    Z = A W + b   ->   normalised   ->   A = g(Z)   ->   dropout   ->   A after = A + A in

See `xpmlp.network.layers` for each of these, forward and backward.
"""

import functools
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import array_api_compat
import numpy as np

from xpmlp import algebra
from xpmlp.algebra import ACTIVATIONS, OUTPUTS, max_norm, one_hot, running
from xpmlp.checks import check_integer, check_range, one_of
from xpmlp.compiler.scopes import marker
from xpmlp.display import TextTable, as_html, short_repr
from xpmlp.errors import InputError, no_attribute
from xpmlp.network.initializers import INITIALIZERS
from xpmlp.network.layers import TRAINING, Activate, Chain, Dense, Dropout, Layer, Mode, Normalize
from xpmlp.network.objective import Objective
from xpmlp.network.parameters import Parameters
from xpmlp.randomness import WEIGHTS, generator
from xpmlp.typing import DTYPES, Array, Namespace

NORMALIZATIONS = ("none", *algebra.NORMALIZATIONS)

ARCHITECTURE = ("layer_sizes", "hidden", "output", "normalization", "residual")
"""What files say of a network, as `MLP` takes it; the activation by its name in 0.1.0."""

MOMENTUM = 0.1
"""The share of a batch in the running mean and variance of batch normalisation."""


class ForwardPass(NamedTuple):
    """What the forward pass gives: L of the last layer (N, K), and what each layer saved."""

    L: Array
    saved: tuple[Any, ...]


class LossAndGradients(NamedTuple):
    """What `MLP.loss_and_gradients` returns: a scalar (or one per member) and a flat vector."""

    loss: Array
    gradients: Array


class BatchGradients(NamedTuple):
    """What a training step needs of a batch: J, the flat gradient (P,), the last layer's L, and
    the running statistics after it (S,), None where the network has none."""

    J: Array
    gradients: Array
    L: Array
    statistics: Array | None


@dataclass(frozen=True)
class MLP:
    """A multilayer perceptron: dense layers, one activation between them, an output at the end.

    Parameters
    ----------
    layer_sizes
        Widths l0, l1, ..., K: values per row, hidden layers, outputs.
    activation
        The activation of the hidden layers.
    output
        What the last layer predicts. `softmax`: one class of K; `sigmoid`: K answers of yes or no;
        `identity`: K numbers; `exp`: K numbers of 0 or more, such as counts.
    normalization
        What stands between a hidden layer's product and its activation.
    residual
        Whether a hidden layer as wide as the one before it adds its input to its output.

    Raises
    ------
    InputError
        For fewer than two widths, a width below 1, unknown names, and a residual network without
        two hidden layers of one width in a row.

    References
    ----------
    Lecture 11: the network 784-64-32-10 is that of the recipe `lecture`.

    Examples
    --------
    >>> model = MLP((784, 64, 32, 10))
    >>> model.parameter_count
    52650
    """

    layer_sizes: Sequence[int]
    activation: str = "sigmoid"
    output: str = "softmax"
    normalization: str = "none"
    residual: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "layer_sizes", check_layer_sizes(self.layer_sizes))
        one_of(ACTIVATIONS, activation=self.activation)
        one_of(OUTPUTS, output=self.output)
        one_of(NORMALIZATIONS, normalization=self.normalization)
        if self.residual and not any(map(self.is_residual, range(1, len(self.layer_sizes)))):
            raise InputError(
                f"residual=True: {self} has no hidden layer as wide as the hidden layer before it; "
                "give two of the same width"
            )

    @property
    def hidden(self) -> str:
        """The activation, by its name in 0.1.0."""
        return self.activation

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a pickle; those of 0.1.0 have the activation as `hidden`."""
        renamed = {"activation" if name == "hidden" else name: state[name] for name in state}
        self.__dict__.update(renamed)

    @functools.cached_property
    def chain(self) -> Chain:
        """The layers in the order of the forward pass."""
        return self._build(reaches_input=False)

    def _build(self, *, reaches_input: bool) -> Chain:
        """The chain; the first layer has a dA only where the gradient is to reach the input."""
        widths = self.layer_sizes
        last = len(widths) - 1
        layers: list[Layer] = [Dropout(0, widths[0])]
        for k, (l_in, l_out) in enumerate(itertools.pairwise(widths), start=1):
            is_hidden = k < last
            bias_cancels = is_hidden and self.normalization == "batch"
            is_first = k == 1 and not reaches_input
            block: list[Layer] = [Dense(k, l_out, l_in, is_first, bias_cancels)]
            if is_hidden:
                if self.normalization != "none":
                    block.append(Normalize(k, l_out, self.normalization))
                block += [Activate(k, l_out, self.activation), Dropout(k, l_out)]
            if self.is_residual(k):
                block = [Chain(k, l_out, tuple(block), residual=True)]
            layers += block
        return Chain(0, widths[-1], tuple(layers))

    @functools.cached_property
    def parts(self) -> Parameters:
        """The layout of the flat vector: W1, b1, W2, ..., with a normalisation gamma1 and beta1
        after b1 and so on; the running statistics mean1, variance1, ... are at the end."""
        parts = (part for layer in self.chain.walk() for part in layer.parts)
        return Parameters(tuple(sorted(parts, key=lambda part: not part.is_learned)))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every part of the flat vector by name, in its order."""
        return self.parts.shapes

    @functools.cached_property
    def parameter_count(self) -> int:
        """P: how many numbers of the flat vector of one network are learned."""
        return sum(part.size for part in self.parts.parts if part.is_learned)

    @functools.cached_property
    def size(self) -> int:
        """The length of that vector: P, and S running statistics."""
        return sum(part.size for part in self.parts.parts)

    def is_residual(self, number: int) -> bool:
        """Whether hidden layer `number`, counted from 1, adds what came in to what it gives."""
        widths = self.layer_sizes
        is_inner = 1 < number < len(widths) - 1
        return self.residual and is_inner and widths[number] == widths[number - 1]

    def products(self, batch_size: int) -> list[tuple[int, int, int]]:
        """The matrix products of a training step: rows, inner length and columns of each.

        Z = A W and dW = Aᵀ dZ of every layer, and dA = dZ Wᵀ of all but the first.
        """
        found = (layer.operations(batch_size) for layer in self.chain.walk())
        return [one.product for two in found for side in two for one in side if one.product]

    def initialize(
        self,
        seed: int | Iterable[int] = 0,
        *,
        initializer: str = "normal",
        scale: float = 1.0,
        zero_output: bool = False,
        backend: Any = None,
        dtype: str = "float32",
    ) -> Array:
        """Initial parameters, flat: by default the lecture's, weights from N(0, 1), biases zero.

        `initializer` is one of `INITIALIZERS`, `scale` multiplies its weights, and `zero_output`
        starts the last layer's at zero. A sequence of E seeds gives E networks, (E, P); each
        equals what its own seed gives. The numbers are drawn in float64 on the host, so every
        backend and dtype starts from the same weights. `backend` defaults to NumPy.

        Source: lecture 11, "initialize w, b".
        """
        one_of(DTYPES, dtype=dtype)
        one_of(INITIALIZERS, initializer=initializer)
        check_range("scale", scale, above=0.0, below=math.inf)

        def member(seed: int) -> np.ndarray:
            random = generator(seed, WEIGHTS)
            drawn = self._weights[:-1] if zero_output else self._weights
            parts = {
                part.name: scale * INITIALIZERS[initializer](random, *part.shape)
                if part.name in drawn
                else np.full(part.shape, float(part.kind in ("scale", "running variance")))
                for part in self.parts.parts
            }
            return self.flatten(parts)

        if isinstance(seed, Iterable):
            host = np.stack([member(one) for one in member_seeds(seed)])
        else:
            host = member(*member_seeds([seed]))
        return host.astype(dtype) if backend is None else backend.asarray(host, dtype)

    def unflatten(self, vector: Array, *, xp: Namespace | None = None) -> dict[str, Array]:
        """The parts of a flat vector (P,) or (E, P) by name: views where the library has them.

        A vector of what is learned alone has no running statistics.
        """
        xp = xp or array_api_compat.array_namespace(vector)
        if vector.shape[-1] not in (self.size, self.parameter_count):
            raise InputError(f"{vector.shape[-1]:,} parameters, but {self} has {self.size:,}")
        return self.parts.unflatten(vector, xp=xp)

    def flatten(self, parts: Mapping[str, np.ndarray]) -> np.ndarray:
        """The flat vector of parameters given by name as host arrays: the inverse of `unflatten`.

        Raises `InputError` for a missing or unknown name and for a shape that does not fit.
        """
        vector: np.ndarray = self.parts.flatten(parts, self.parts.check(parts, self), xp=np)
        return vector

    def layers(
        self, parameters: Array, *, xp: Namespace | None = None
    ) -> list[tuple[Array, Array]]:
        """W (l_in, l_out) and b (l_out,) of each layer, views of the flat vector; or (E, ...)."""
        p = self.unflatten(parameters, xp=xp)
        return [(p[f"W{k}"], p[f"b{k}"]) for k in range(1, len(self.layer_sizes))]

    def forward(
        self,
        parameters: Array,
        X: Array,
        mode: Mode = Mode(),  # noqa: B008 (a value that nothing changes)
        *,
        xp: Namespace | None = None,
    ) -> ForwardPass:
        """The forward pass: X (N, l0) to the last layer's L (N, K), and what each layer saved.

        `mode` says whether it is for training, and what dropout draws from.

        Source: lecture 11, "forward propagation".
        """
        xp = xp or array_api_compat.array_namespace(parameters)
        return ForwardPass(*self.chain.forward(self.unflatten(parameters, xp=xp), X, mode, xp=xp))

    @property
    def is_regression(self) -> bool:
        """Whether it is a regression: predictions are not probabilities."""
        return OUTPUTS[self.output].is_regression

    def predictions(self, parameters: Array, X: Array, *, xp: Namespace | None = None) -> Array:
        """Return the prediction for each row; (N, l0) -> (N, K).

        The probability of each class (softmax), of each answer being yes (sigmoid), or numbers
        (identity), those above 0 being means of counts (exp).
        """
        xp = xp or array_api_compat.array_namespace(parameters)
        return self.predictions_of(self.forward(parameters, X, xp=xp).L, xp=xp)

    def predictions_of(self, L: Array, *, xp: Namespace) -> Array:
        """Predictions from the last layer's L."""
        return OUTPUTS[self.output].forward(L, xp=xp)

    def input_gradients(
        self,
        parameters: Array,
        X: Array,
        labels: Array | None = None,
        *,
        objective: Objective | None = None,
        xp: Namespace | None = None,
    ) -> Array:
        """Return the derivatives of the predictions, or of the loss, with respect to the input.

        Parameters
        ----------
        parameters
            The flat vector, (P,) or (P + S,) with the running statistics of batch normalisation.
        X
            Rows (N, l0), floating like the parameters.
        labels
            None for the predictions' derivatives; integers (N,) or targets (N, K) for the loss's.
        objective
            Its loss alone counts, by default the usual one of the output: no smoothing, class
            weights, penalties or dropout.

        Returns
        -------
        dŶ/dX, of shape (N, K, l0), or dJ/dX, of shape (N, l0); J is the mean over the N rows, so
        each row of dJ/dX has the 1/N in it. Nothing is dropped out, and batches are normalised by
        the running statistics.

        Notes
        -----
        One more product than training: dX = dZ1 W1ᵀ, with one backward pass for each output. The
        chain is that of training, so that what it shows is what the network has learned.
        """
        xp = xp or array_api_compat.array_namespace(parameters)
        p, output = self.unflatten(parameters, xp=xp), OUTPUTS[self.output]
        chain = self._build(reaches_input=True)
        L, saved = chain.forward(p, X, Mode(), xp=xp)

        def back(dL: Array) -> Array | None:
            return chain.backward(p, saved, dL, xp=xp)[0]

        device, K = array_api_compat.device(X), self.layer_sizes[-1]
        if labels is not None:
            loss = (objective or Objective()).loss_for(self.output)
            classes = xp.arange(K, device=device)
            Y = self.targets(labels, classes, dtype=parameters.dtype, xp=xp)
            _, kept = loss.forward(Y, L, None, xp=xp)
            return back(loss.backward(Y, kept, None, xp=xp))
        Y_hat = output.forward(L, xp=xp)
        units = xp.eye(K, dtype=Y_hat.dtype, device=device)
        rows = (xp.broadcast_to(units[k, :], Y_hat.shape) for k in range(K))
        return xp.stack([back(output.backward(row, Y_hat, xp=xp)) for row in rows], axis=-2)

    def loss_and_gradients(
        self,
        parameters: Array,
        X: Array,
        labels: Array,
        *,
        objective: Objective | None = None,
        weights: Array | None = None,
        mode: Mode = TRAINING,
        xp: Namespace | None = None,
    ) -> LossAndGradients:
        """The loss J of a batch, by default the mean cross-entropy, and its flat gradient.

        X is (N, l0), floating like the parameters; labels is (N,), integers 0..K-1, or targets
        (N, K). With members both results have their leading axis. The running statistics of batch
        normalisation, if they are in the vector, have gradient zero.
        """
        xp = xp or array_api_compat.array_namespace(parameters)
        if self.normalization == "batch" and not mode.is_training:
            raise InputError(
                "mode: batch normalisation has gradients in training alone; give "
                "Mode(is_training=True)"
            )
        is_floating = xp.isdtype(labels.dtype, "real floating")
        if labels.shape[0] != X.shape[-2] or labels.ndim != 1 + is_floating:
            raise InputError(
                f"labels of shape {tuple(labels.shape)} for X {tuple(X.shape)}: give one per row, "
                "integers (N,), or floating-point targets (N, K)"
            )
        classes = xp.arange(self.layer_sizes[-1], device=array_api_compat.device(labels))
        Y = self.targets(labels, classes, dtype=parameters.dtype, xp=xp)
        J, gradients, _, _ = self.forward_backward(
            parameters, X, Y, objective=objective, weights=weights, mode=mode, xp=xp
        )
        if parameters.shape[-1] != gradients.shape[-1]:
            still = xp.zeros_like(parameters[..., self.parameter_count :])
            gradients = xp.concat([gradients, still], axis=-1)
        return LossAndGradients(J, gradients)

    def targets(self, labels: Array, classes: Array, *, dtype: object, xp: Namespace) -> Array:
        """Y (N, K) from labels, integers (N,): one-hot, but for one answer; or from targets,
        floating-point numbers (N, K), which they are already. Members may have rows of their own.
        """
        if xp.isdtype(labels.dtype, "real floating"):
            return xp.astype(labels, dtype)
        if self.output == "softmax" or (self.output == "sigmoid" and self.layer_sizes[-1] > 1):
            return one_hot(labels, classes, dtype=dtype, xp=xp)
        return xp.astype(labels, dtype)[..., None]

    def forward_backward(
        self,
        parameters: Array,
        X: Array,
        Y: Array,
        *,
        objective: Objective | None = None,
        weights: Array | None = None,
        penalty_scale: Array | None = None,
        mode: Mode = TRAINING,
        statistics: Array | None = None,
        xp: Namespace,
    ) -> BatchGradients:
        """J, the flat gradient and L of a batch with targets Y (N, K), in training.

        `weights` (N,) are the rows' own; `penalty_scale` (1, 1), or (E, 1, 1) for members, is what
        the objective's penalties are multiplied by. What a training step calls: nothing in it
        needs to look at the device or the library.

        Source: lecture 11, "forward propagation" and "backpropagation".
        """
        objective = objective or Objective()
        loss, mark = objective.loss_for(self.output), marker(xp)
        mark("W, b as views of one vector")
        p = self.unflatten(parameters, xp=xp)
        L, saved = self.chain.forward(p, X, mode, xp=xp)
        mark(objective.phase(self.output))
        Y = objective.smoothed(Y, xp=xp)
        J, kept = loss.forward(Y, L, weights, xp=xp)
        mark("backward dL")
        dL = loss.backward(Y, kept, weights, xp=xp)
        _, gradients = self.chain.backward(p, saved, dL, xp=xp)
        mark("penalties")
        for name in self._weights if objective.has_penalty else ():
            J, gradients[name] = objective.penalized(
                J, gradients[name], p[name], penalty_scale, xp=xp
            )
        mark("gradients as one vector")
        flat = self.parts.flatten(gradients, dL.shape[:-2], xp=xp)
        if statistics is not None:
            mark("running statistics")
            of_batch: dict[str, Array] = {}
            for layer, one in self.chain.with_saved(saved):
                if isinstance(layer, Normalize):
                    of_batch |= layer.statistics(one, L.shape[-2], xp=xp)
            now = self.parts.flatten(of_batch, statistics.shape[:-1], xp=xp)
            statistics = running(statistics, now, MOMENTUM, xp=xp)
        return BatchGradients(J, flat, L, statistics)

    @functools.cached_property
    def _weights(self) -> list[str]:
        """The names of all W."""
        return [part.name for part in self.parts.parts if part.kind == "weight"]

    def constrained(self, parameters: Array, limit: float, *, xp: Namespace) -> Array:
        """The parameters with the weights into each hidden unit held to a norm of `limit`.

        Source: Srivastava et al. 2014, "Dropout", section 5.1.
        """
        parts = self.unflatten(parameters, xp=xp)
        for name in self._weights[:-1]:
            parts[name] = max_norm(parts[name], limit, xp=xp)
        return self.parts.flatten(parts, parameters.shape[:-1], xp=xp)

    def summary(self) -> str:
        """Return a table of the layers: widths and how many parameters each learns."""
        return TextTable("\n".join(_summary(self)))

    def _repr_html_(self) -> str:
        facts = {"network": "-".join(map(str, self.layer_sizes)), "activation": self.hidden}
        learned = f"{self.parameter_count:,}"
        return as_html({**facts, "output": self.output, "parameters": learned})

    __repr__ = short_repr

    if not TYPE_CHECKING:  # a type checker knows all there are

        def __getattr__(self, name: str) -> NoReturn:
            raise no_attribute(self, name, MLP_HABITS)

    def __str__(self) -> str:
        return f"the network {'-'.join(map(str, self.layer_sizes))}"


def _summary(model: MLP) -> Iterator[str]:
    yield f"{'layer':<10}{'computes':<20}{'out':>8}{'parameters':>14}"
    for layer in model.chain.walk():
        if layer.k and not isinstance(layer, Dropout):
            learned = sum(part.size for part in layer.parts if part.is_learned)
            name = layer.phases[0].removeprefix("forward ")
            yield f"{layer.k:<10}{name:<20}{layer.l_out:>8,}{learned:>14,}"
    yield f"{model.output} of the last layer; {model.parameter_count:,} parameters"


MLP_HABITS = {
    "fit train": "run = xpmlp.train(model, X, y)",
    "compile": "settings go to xpmlp.train: optimizer='adam', learning_rate=0.001",
    "predict predict_proba evaluate score": "run = xpmlp.train(model, X, y); run.predict(X)",
    "parameters weights get_weights state_dict": "model.initialize(seed=0), or run.parameters",
    "to cuda cpu": "xpmlp.train(model, X, y, backend='cupy')",
    "save save_weights": "run = xpmlp.train(model, X, y); run.save('runs/mine')",
}
"""What to type where other libraries have a method of a network."""


def _takes_hidden(make: Callable[..., None]) -> Callable[..., None]:
    """The constructor with the activation also by its name in 0.1.0, `hidden`; it says where
    widths go."""

    @functools.wraps(make)
    def construct(self: MLP, *arguments: Any, **settings: Any) -> None:
        if len(arguments) > 1 and all(isinstance(one, int) for one in arguments[:2]):
            widths = ", ".join(map(str, arguments))
            raise InputError(f"MLP({widths}): give the widths as one sequence, MLP(({widths}))")
        if "hidden" in settings:
            warnings.warn("MLP(hidden=...) is activation=... now", DeprecationWarning, stacklevel=2)
            settings["activation"] = settings.pop("hidden")
        make(self, *arguments, **settings)

    return construct


MLP.__init__ = _takes_hidden(MLP.__init__)  # type: ignore[method-assign]


def member_seeds(seeds: Iterable[int]) -> list[int]:
    """A seed for each member, as Python integers; `InputError` for none or an invalid one."""
    found = [check_integer("seed", seed, least=0) for seed in seeds]
    # Seeds that members count up from the largest that may be given go beyond it.
    if not found or max(found) >= 2**63 + len(found) - 1:
        shown = ",".join(map(str, found))
        raise InputError(f"seed={shown}: give at least one, each 0 or more and less than 2**63")
    return found


def check_layer_sizes(layer_sizes: Iterable[int]) -> tuple[int, ...]:
    """Return the widths as Python's integers; raise `InputError` for invalid ones."""
    if not isinstance(layer_sizes, Iterable) or isinstance(layer_sizes, str):
        raise InputError(
            f"layer_sizes={layer_sizes}: give all widths as one sequence, such as (784, 64, 10)"
        )
    widths = list(layer_sizes)
    shown = ",".join(map(str, widths))
    if len(widths) < 2:
        raise InputError(f"layer_sizes={shown}: give at least two widths, values in and classes")
    for position, width in enumerate(widths):
        if (
            isinstance(width, bool)
            or not isinstance(width, (int, np.integer))
            or not 1 <= width < 2**28
        ):
            raise InputError(
                f"layer_sizes={shown}: width {position} is {width}; each is an integer >= 1 "
                "and less than 2**28"
            )
    return tuple(map(int, widths))
