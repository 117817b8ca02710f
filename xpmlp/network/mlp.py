"""The multilayer perceptron: the algebra's layers composed, forward and backward.

A network is a value that describes an architecture; it holds no numbers. Its parameters are ONE
flat vector, W1 b1 W2 b2 ... one after another, and `MLP.layers` gives (W, b) as views of it. So an
optimizer's update is one expression, a checkpoint one tensor and a sum over machines one call:

    loss, gradients = model.loss_and_gradients(parameters, X, labels)
    parameters -= 0.03 * gradients

A leading axis of that vector, (E, P) in place of (P,), is E networks at once.

Hidden layer k computes, each part after the first two where it is asked for,

    Z = A W + b   ->   normalised   ->   A = g(Z)   ->   dropout   ->   A after = A + A in

where `A in` is what came in, whose gradient has that of the sum added to it.
"""

import functools
import itertools
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import array_api_compat
import numpy as np

from xpmlp.algebra import (
    ACTIVATIONS,
    NUMBERS,
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    dense,
    dense_backward,
    dense_backward_parameters,
    dropout_backward,
    layer_norm,
    layer_norm_backward,
    max_norm,
    one_hot,
    running,
    sigmoid,
    softmax,
    unbiased,
)
from xpmlp.backends import DTYPES, Backend, select_backend
from xpmlp.checks import one_of
from xpmlp.errors import InputError
from xpmlp.network.initializers import INITIALIZERS
from xpmlp.network.noise import Noise
from xpmlp.network.objective import Objective
from xpmlp.randomness import WEIGHTS, generator
from xpmlp.typing import Array, Namespace

OUTPUTS = ("softmax", "sigmoid", *NUMBERS)
"""What makes predictions of the last layer's L: one class of K, K answers of yes or no, numbers
(`identity`), and numbers above 0 (`exp`)."""

NORMALIZATIONS = ("none", "batch", "layer")

MOMENTUM = 0.1
"""The share of a batch in the running mean and variance of batch normalisation."""


class Layer(NamedTuple):
    """The parameters of one dense layer: W (l_in, l_out) and b (l_out,), or (E, ...) of each."""

    W: Array
    b: Array


class Norm(NamedTuple):
    """The parameters of one normalisation, (l,) or (E, l) each, and its running statistics; None
    where there are none."""

    gamma: Array
    beta: Array
    mean: Array | None
    variance: Array | None


class Hidden(NamedTuple):
    """What a hidden layer keeps beside its output, each None where the layer has no such part.

    `kept` is A or Z, whichever the activation's Jacobian is written from; `X_hat` and
    `inverse_deviation` are the normalisation's, `mean` and `variance` those of the batch; `mask`
    is the dropout's.
    """

    kept: Array
    X_hat: Array | None = None
    inverse_deviation: Array | None = None
    mean: Array | None = None
    variance: Array | None = None
    mask: Array | None = None


class Tape(NamedTuple):
    """What the forward pass keeps for the backward pass, and its result.

    A = (X, A1, A2, ...) goes into the layers, whose (W, b) and normalisations are kept as views;
    L is what the last layer gives; `hidden` is the rest that hidden layers keep.
    """

    A: tuple[Array, ...]
    layers: list[Layer]
    L: Array
    norms: list[Norm]
    hidden: tuple[Hidden, ...]


class LossAndGradients(NamedTuple):
    """What `MLP.loss_and_gradients` returns: a scalar (or one per member) and a flat vector."""

    loss: Array
    gradients: Array


class Pass(NamedTuple):
    """What a training step needs of a batch: J, the flat gradient (P,), the last layer's L, and
    the running statistics after it (S,), None where the network has none."""

    J: Array
    gradients: Array
    L: Array
    statistics: Array | None


@dataclass(frozen=True)
class MLP:
    """A multilayer perceptron: dense layers, one activation between them, an output at the end.

    `layer_sizes` are the widths l0, l1, ..., K: values per row first, classes last. `hidden` names
    the activation between the layers, one of `xpmlp.algebra.ACTIVATIONS`; `output` what makes
    predictions of the last layer, one of `OUTPUTS`; `normalization` what stands between a hidden
    layer's product and its activation; `residual` adds to a hidden layer's output what came in,
    where that is as wide.

    >>> model = MLP((784, 64, 32, 10))
    >>> model.parameter_count
    52650

    Raises `InputError` for fewer than two widths, a width below 1, unknown names, and a residual
    network without two hidden layers of one width in a row.
    Source: lecture 11, the network 784-64-32-10 is the default recipe's.
    """

    layer_sizes: tuple[int, ...]
    hidden: str = "sigmoid"
    output: str = "softmax"
    normalization: str = "none"
    residual: bool = False

    def __init__(
        self,
        layer_sizes: Iterable[int],
        hidden: str = "sigmoid",
        output: str = "softmax",
        normalization: str = "none",
        residual: bool = False,
    ) -> None:
        object.__setattr__(self, "layer_sizes", tuple(layer_sizes))
        object.__setattr__(self, "hidden", hidden)
        object.__setattr__(self, "output", output)
        object.__setattr__(self, "normalization", normalization)
        object.__setattr__(self, "residual", residual)
        check_layer_sizes(self.layer_sizes)
        one_of(ACTIVATIONS, hidden=hidden)
        one_of(OUTPUTS, output=output)
        one_of(NORMALIZATIONS, normalization=normalization)
        if residual and not any(map(self.is_residual, range(1, len(self.layer_sizes)))):
            raise InputError(
                f"residual=True: {self} has no hidden layer as wide as the hidden layer before it; "
                "give two of the same width"
            )

    @functools.cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every part of the flat vector by name, in its order: W1, b1, W2, ...

        With a normalisation gamma1 and beta1 follow b1, and so on; the running statistics mean1,
        variance1, ... of batch normalisation stand at the end.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        statistics: dict[str, tuple[int, ...]] = {}
        last = len(self.layer_sizes) - 1
        for number, (l_in, l_out) in enumerate(itertools.pairwise(self.layer_sizes), start=1):
            shapes[f"W{number}"] = (l_in, l_out)
            shapes[f"b{number}"] = (l_out,)
            if self.normalization != "none" and number < last:
                shapes[f"gamma{number}"] = shapes[f"beta{number}"] = (l_out,)
            if self.normalization == "batch" and number < last:
                statistics[f"mean{number}"] = statistics[f"variance{number}"] = (l_out,)
        return shapes | statistics

    @functools.cached_property
    def _places(self) -> tuple[tuple[str, slice, tuple[int, ...]], ...]:
        """Name, place in the flat vector and shape of every parameter: looked up in every step."""
        stops = itertools.accumulate(math.prod(shape) for shape in self.shapes.values())
        starts = itertools.chain((0,), stops)
        return tuple(
            (name, slice(start, start + math.prod(shape)), shape)
            for start, (name, shape) in zip(starts, self.shapes.items(), strict=False)
        )

    @functools.cached_property
    def parameter_count(self) -> int:
        """P: how many numbers of the flat vector of one network are learned."""
        return sum(
            math.prod(shape)
            for name, shape in self.shapes.items()
            if not name.startswith(("mean", "variance"))
        )

    @functools.cached_property
    def size(self) -> int:
        """The length of that vector: P, and S running statistics."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def is_residual(self, number: int) -> bool:
        """Whether hidden layer `number`, counted from 1, adds what came in to what it gives."""
        widths = self.layer_sizes
        is_inner = 1 < number < len(widths) - 1
        return self.residual and is_inner and widths[number] == widths[number - 1]

    def products(self, batch_size: int) -> list[tuple[int, int, int]]:
        """The matrix products of a training step: rows, inner length and columns of each.

        Z = A W and dW = Aᵀ dZ of every layer, and dA = dZ Wᵀ of all but the first.
        """
        products = []
        for number, (l_in, l_out) in enumerate(itertools.pairwise(self.layer_sizes)):
            products += [(batch_size, l_in, l_out), (l_in, batch_size, l_out)]
            if number:
                products.append((batch_size, l_out, l_in))
        return products

    def initialize(
        self,
        seed: int | Iterable[int] = 0,
        *,
        initializer: str = "normal",
        scale: float = 1.0,
        zero_output: bool = False,
        backend: Backend | None = None,
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
        if not 0.0 < scale < math.inf:
            raise InputError(f"scale={scale}: give a finite number above 0")

        def vector(seed: int) -> np.ndarray:
            return self._initial_vector(seed, initializer, scale, zero_output)

        if isinstance(seed, Iterable):
            host = np.stack([vector(member) for member in member_seeds(seed)])
        else:
            host = vector(*member_seeds([seed]))
        return (backend or select_backend("numpy")).asarray(host, dtype)

    def _initial_vector(
        self, seed: int, initializer: str, scale: float, zero_output: bool
    ) -> np.ndarray:
        random = generator(seed, WEIGHTS)
        parts = {
            name: scale * INITIALIZERS[initializer](random, *shape)
            if len(shape) == 2
            else np.full(shape, float(name.startswith(("gamma", "variance"))))
            for name, shape in self.shapes.items()
        }
        if zero_output:
            parts[f"W{len(self.layer_sizes) - 1}"][...] = 0.0
        return np.concatenate([part.ravel() for part in parts.values()])

    def unflatten(self, vector: Array, *, xp: Namespace | None = None) -> dict[str, Array]:
        """The parts of a flat vector (P,) or (E, P) by name: views where the library has them.

        A vector of what is learned alone has no running statistics.
        """
        xp = xp or array_api_compat.array_namespace(vector)
        *members, length = vector.shape
        if length not in (self.size, self.parameter_count):
            raise InputError(f"{length:,} parameters, but {self} has {self.size:,}")
        return {
            name: xp.reshape(vector[..., where], (*members, *shape))
            for name, where, shape in self._places
            if where.stop <= length
        }

    def flatten(self, parts: Mapping[str, np.ndarray]) -> np.ndarray:
        """The flat vector of parameters given by name as host arrays: the inverse of `unflatten`.

        Raises `InputError` for a missing or unknown name and for a shape that does not fit.
        """
        names = list(self.shapes)
        if missing := [name for name in names if name not in parts]:
            raise InputError(f"no {', '.join(missing)}: {self} has {', '.join(names)}")
        if unknown := [name for name in parts if name not in names]:
            raise InputError(f"unknown {', '.join(unknown)}: {self} has {', '.join(names)}")
        members = parts[names[0]].shape[:-2]
        for name, shape in self.shapes.items():
            if parts[name].shape != (*members, *shape):
                found, wanted = parts[name].shape, (*members, *shape)
                raise InputError(f"{name} has shape {found}, but {self} takes {wanted}")
        return np.concatenate([parts[name].reshape((*members, -1)) for name in names], axis=-1)

    def layers(self, parameters: Array, *, xp: Namespace | None = None) -> list[Layer]:
        """The layers' parameters as views of the flat vector, first layer first."""
        return self._layers(self.unflatten(parameters, xp=xp))

    def _layers(self, parts: Mapping[str, Array]) -> list[Layer]:
        return [
            Layer(parts[f"W{number}"], parts[f"b{number}"])
            for number in range(1, len(self.layer_sizes))
        ]

    def _norms(self, parts: Mapping[str, Array]) -> list[Norm]:
        """The normalisations of the hidden layers, or none."""
        if self.normalization == "none":
            return []
        return [
            Norm(*(parts.get(f"{name}{number}") for name in Norm._fields))
            for number in range(1, len(self.layer_sizes) - 1)
        ]

    def forward(
        self,
        parameters: Array,
        X: Array,
        *,
        in_training: bool = False,
        noise: Noise | None = None,
        xp: Namespace | None = None,
    ) -> Tape:
        """The forward pass: X (N, l0) to the tape X, A1, A2, ... and the last layer's L (N, K).

        In training a batch is normalised by its own mean and variance, else by the running ones;
        `noise` is where dropout draws from.

        Source: lecture 11, "forward propagation".
        """
        xp = xp or array_api_compat.array_namespace(parameters)
        parts = self.unflatten(parameters, xp=xp)
        layers, norms = self._layers(parts), self._norms(parts)
        activation = ACTIVATIONS[self.hidden]
        A, hidden = [X if noise is None else noise.drop(X, 0, xp=xp)[0]], list[Hidden]()
        for number, (W, b) in enumerate(layers[:-1], start=1):
            Z = dense(A[-1], W, b, xp=xp)
            kept = Hidden(Z)
            if norms:
                Z, kept = self._normalize(Z, norms[number - 1], in_training, xp=xp)
            A_k = activation.forward(Z, xp=xp)
            kept = kept._replace(kept=A_k if activation.keeps == "A" else Z)
            if noise is not None:
                A_k, mask = noise.drop(A_k, number, xp=xp)
                kept = kept._replace(mask=mask)
            A.append(A_k + A[-1] if self.is_residual(number) else A_k)
            hidden.append(kept)
        W, b = layers[-1]
        return Tape(tuple(A), layers, dense(A[-1], W, b, xp=xp), norms, tuple(hidden))

    def _normalize(
        self, Z: Array, norm: Norm, in_training: bool, *, xp: Namespace
    ) -> tuple[Array, Hidden]:
        gamma, beta, mean, variance = norm
        if self.normalization == "batch" and not in_training:
            if mean is None or variance is None:
                raise InputError(
                    f"parameters without the running statistics of batch normalisation: {self} "
                    f"predicts with {self.size:,} numbers, of which {self.parameter_count:,} are "
                    "learned; give run.parameters"
                )
            return batch_norm_inference(Z, gamma, beta, mean, variance, xp=xp), Hidden(Z)
        normalize = batch_norm if self.normalization == "batch" else layer_norm
        Z, *kept = normalize(Z, gamma, beta, xp=xp)
        return Z, Hidden(Z, *kept)

    def backward(
        self,
        tape: Tape,
        dL: Array,
        *,
        objective: Objective | None = None,
        penalty_scale: Array | None = None,
        xp: Namespace | None = None,
    ) -> Array:
        """The backward pass: dL (N, K) to the flat gradient of all that is learned, (P,).

        The objective's penalties, times `penalty_scale` (1, 1), add theirs to each dW.

        Source: lecture 11, "backpropagation".
        """
        xp = xp or array_api_compat.array_namespace(dL)
        activation = ACTIVATIONS[self.hidden]
        gradients: list[Array] = []
        dZ, dnorm, skipped = dL, list[Array](), None
        for number in range(len(tape.layers), 0, -1):
            A, (W, _) = tape.A[number - 1], tape.layers[number - 1]
            if number > 1:
                dW, db, dA = dense_backward(dZ, A, W, xp=xp)
            else:
                dW, db = dense_backward_parameters(dZ, A, xp=xp)
            if dnorm and self.normalization == "batch":
                db = xp.zeros_like(db)  # a batch's own mean takes b off again: this is no rounding
            if objective is not None:
                dW = objective.add_penalty_gradient(dW, W, penalty_scale, xp=xp)
            gradients[:0] = [dW, db, *dnorm]
            if number == 1:
                break
            if skipped is not None:
                dA = dA + skipped
            kept = tape.hidden[number - 2]
            skipped = dA if self.is_residual(number - 1) else None
            if kept.mask is not None:
                dA = dropout_backward(dA, kept.mask, xp=xp)
            dZ = activation.backward(dA, kept.kept, xp=xp)
            if tape.norms:
                backward = (
                    batch_norm_backward if self.normalization == "batch" else layer_norm_backward
                )
                dZ, *dnorm = backward(
                    dZ, kept.X_hat, kept.inverse_deviation, tape.norms[number - 2].gamma, xp=xp
                )
        return _joined(gradients, dL.shape[:-2], xp=xp)

    @property
    def predicts_numbers(self) -> bool:
        """Whether it is a regression: predictions are no probabilities."""
        return self.output in NUMBERS

    def predictions(self, parameters: Array, X: Array, *, xp: Namespace | None = None) -> Array:
        """What the network says of each row; (N, l0) -> (N, K).

        The probability of each class (softmax), of each answer being yes (sigmoid), or numbers
        (identity), those above 0 being means of counts (exp).
        """
        xp = xp or array_api_compat.array_namespace(parameters)
        return self.predictions_of(self.forward(parameters, X, xp=xp).L, xp=xp)

    def predictions_of(self, L: Array, *, xp: Namespace) -> Array:
        """Predictions from the last layer's L: softmax, sigmoid, exp, or L itself."""
        if self.predicts_numbers:
            return xp.exp(L) if self.output == "exp" else L
        return (softmax if self.output == "softmax" else sigmoid)(L, xp=xp)

    def loss_and_gradients(
        self,
        parameters: Array,
        X: Array,
        labels: Array,
        *,
        objective: Objective | None = None,
        weights: Array | None = None,
        noise: Noise | None = None,
        xp: Namespace | None = None,
    ) -> LossAndGradients:
        """The loss J of a batch, by default the mean cross-entropy, and its flat gradient.

        X is (N, l0), floating like the parameters; labels is (N,), integers 0..K-1, or targets
        (N, K). With members both results have their leading axis. The running statistics of batch
        normalisation, if they are in the vector, have gradient zero.
        """
        xp = xp or array_api_compat.array_namespace(parameters)
        is_floating = xp.isdtype(labels.dtype, "real floating")
        if labels.shape[0] != X.shape[-2] or labels.ndim != 1 + is_floating:
            raise InputError(
                f"labels of shape {tuple(labels.shape)} for X {tuple(X.shape)}: give one per row, "
                "(N,) whole numbers, or targets, (N, K) floating-point numbers"
            )
        classes = xp.arange(self.layer_sizes[-1], device=array_api_compat.device(labels))
        Y = self.targets(labels, classes, dtype=parameters.dtype, xp=xp)
        J, gradients, _, _ = self.forward_backward(
            parameters, X, Y, objective=objective, weights=weights, noise=noise, xp=xp
        )
        if parameters.shape[-1] != gradients.shape[-1]:
            still = xp.zeros_like(parameters[..., self.parameter_count :])
            gradients = xp.concat([gradients, still], axis=-1)
        return LossAndGradients(J, gradients)

    def targets(self, labels: Array, classes: Array, *, dtype: object, xp: Namespace) -> Array:
        """Y (N, K) from labels, whole numbers (N,): one-hot, but for one answer; or from targets,
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
        noise: Noise | None = None,
        statistics: Array | None = None,
        xp: Namespace,
    ) -> Pass:
        """J, the flat gradient and L of a batch with targets Y (N, K), in training.

        `weights` (N,) are the rows' own; `penalty_scale` (1, 1), or (E, 1, 1) for members, is what
        the objective's penalties are multiplied by. What a training step calls: nothing in it
        needs to look at the device or the library.
        """
        objective = objective or Objective()
        loss = objective.loss_for(self.output)
        tape = self.forward(parameters, X, in_training=True, noise=noise, xp=xp)
        Y = objective.smoothed(Y, xp=xp)
        J, kept = loss.forward(Y, tape.L, weights, xp=xp)
        J = objective.add_penalty(J, [W for W, _ in tape.layers], penalty_scale, xp=xp)
        dL = loss.backward(Y, kept, weights, xp=xp)
        gradients = self.backward(tape, dL, objective=objective, penalty_scale=penalty_scale, xp=xp)
        if statistics is not None:
            statistics = self._new_statistics(statistics, tape, xp=xp)
        return Pass(J, gradients, tape.L, statistics)

    def _new_statistics(self, statistics: Array, tape: Tape, *, xp: Namespace) -> Array:
        """The running mean1, variance1, ... with this batch in them; (S,) -> (S,)."""
        rows = tape.L.shape[-2]
        of_batch = [
            part
            for kept in tape.hidden
            for part in (kept.mean, unbiased(kept.variance, rows, xp=xp))
        ]
        flat = _joined(of_batch, statistics.shape[:-1], xp=xp)
        return running(statistics, flat, MOMENTUM, xp=xp)

    def constrained(self, parameters: Array, limit: float, *, xp: Namespace) -> Array:
        """The parameters with the weights into each hidden unit held to a norm of `limit`.

        Source: Srivastava et al. 2014, "Dropout", section 5.1.
        """
        parts = self.unflatten(parameters, xp=xp)
        for number in range(1, len(self.layer_sizes) - 1):
            parts[f"W{number}"] = max_norm(parts[f"W{number}"], limit, xp=xp)
        return _joined(parts.values(), parameters.shape[:-1], xp=xp)

    @functools.cached_property
    def is_weight(self) -> np.ndarray:
        """Which of the P learned numbers are weights: not biases, gammas or betas."""
        flags = [np.full(w.stop - w.start, name[0] == "W") for name, w, _ in self._places]
        return np.concatenate(flags)[: self.parameter_count]

    def __str__(self) -> str:
        return f"the network {'-'.join(map(str, self.layer_sizes))}"


def _joined(parts: Iterable[Array], members: Sequence[int], *, xp: Namespace) -> Array:
    """Parts one after another as a flat vector, for each member."""
    return xp.concat([xp.reshape(part, (*members, -1)) for part in parts], axis=-1)


def member_seeds(seeds: Iterable[int]) -> list[int]:
    """A seed for each member, as Python integers; `InputError` for none or for what is no seed."""
    try:
        found = [operator.index(seed) for seed in seeds]
    except TypeError as error:
        raise InputError(f"a seed is a whole number ({error})") from error
    if not found or min(found) < 0:
        raise InputError(f"seeds {found}: give at least one, each 0 or more")
    return found


def check_layer_sizes(layer_sizes: Sequence[int]) -> None:
    """Refuse with `InputError` what cannot be the widths of a network."""
    shown = ",".join(map(str, layer_sizes))
    if len(layer_sizes) < 2:
        raise InputError(f"layer_sizes={shown}: give at least two widths, values in and classes")
    for position, width in enumerate(layer_sizes):
        if type(width) is not int or width < 1:
            raise InputError(
                f"layer_sizes={shown}: width {position} is {width}; each is a whole number >= 1"
            )
