"""The multilayer perceptron: the algebra's layers composed, forward and backward.

A network is a value that describes an architecture; it holds no numbers. Its parameters are ONE
flat vector, W1 b1 W2 b2 ... one after another, and `MLP.layers` gives (W, b) as views of it. So an
optimizer's update is one expression, a checkpoint one tensor and a sum over machines one call:

    loss, gradients = model.loss_and_gradients(parameters, X, labels)
    parameters -= 0.03 * gradients

A leading axis of that vector, (E, P) in place of (P,), is E networks at once.
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
    dense,
    dense_backward,
    dense_backward_parameters,
    one_hot,
    softmax,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from xpmlp.backends import DTYPES, Backend, select_backend
from xpmlp.errors import InputError
from xpmlp.randomness import WEIGHTS, generator
from xpmlp.typing import Array, Namespace

OUTPUTS = ("softmax",)


class Layer(NamedTuple):
    """The parameters of one dense layer: W (l_in, l_out) and b (l_out,), or (E, ...) of each."""

    W: Array
    b: Array


class Tape(NamedTuple):
    """What the forward pass keeps for the backward pass, and its result.

    A = (X, A1, A2, ...) goes into the layers, whose (W, b) are kept as views; L are the logits.
    """

    A: tuple[Array, ...]
    layers: list[Layer]
    L: Array


class LossAndGradients(NamedTuple):
    """What `MLP.loss_and_gradients` returns: a scalar (or one per member) and a flat vector."""

    loss: Array
    gradients: Array


@dataclass(frozen=True)
class MLP:
    """A multilayer perceptron: dense layers, one activation between them, softmax at the end.

    `layer_sizes` are the widths l0, l1, ..., K: values per row first, classes last. `hidden` names
    the activation between the layers, one of `xpmlp.algebra.ACTIVATIONS`.

    >>> model = MLP((784, 64, 32, 10))
    >>> model.parameter_count
    52650

    Raises `InputError` for fewer than two widths, a width below 1 and unknown names.
    Source: lecture 11, the network 784-64-32-10 is the default recipe's.
    """

    layer_sizes: tuple[int, ...]
    hidden: str = "sigmoid"
    output: str = "softmax"

    def __init__(
        self, layer_sizes: Iterable[int], hidden: str = "sigmoid", output: str = "softmax"
    ) -> None:
        object.__setattr__(self, "layer_sizes", tuple(layer_sizes))
        object.__setattr__(self, "hidden", hidden)
        object.__setattr__(self, "output", output)
        check_layer_sizes(self.layer_sizes)
        if hidden not in ACTIVATIONS:
            raise InputError(f"hidden={hidden!r}: an activation is one of {', '.join(ACTIVATIONS)}")
        if output not in OUTPUTS:
            raise InputError(f"output={output!r}: an output is one of {', '.join(OUTPUTS)}")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter by name, in the order of the flat vector: W1, b1, W2, ..."""
        shapes: dict[str, tuple[int, ...]] = {}
        for number, (l_in, l_out) in enumerate(itertools.pairwise(self.layer_sizes), start=1):
            shapes[f"W{number}"] = (l_in, l_out)
            shapes[f"b{number}"] = (l_out,)
        return shapes

    @functools.cached_property
    def _places(self) -> tuple[tuple[str, slice, tuple[int, ...]], ...]:
        """Name, place in the flat vector and shape of every parameter: looked up in every step."""
        stops = itertools.accumulate(math.prod(shape) for shape in self.shapes.values())
        starts = itertools.chain((0,), stops)
        return tuple(
            (name, slice(start, start + math.prod(shape)), shape)
            for start, (name, shape) in zip(starts, self.shapes.items(), strict=False)
        )

    @property
    def parameter_count(self) -> int:
        """P, the length of the flat vector of one network."""
        return sum(math.prod(shape) for shape in self.shapes.values())

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
        backend: Backend | None = None,
        dtype: str = "float32",
    ) -> Array:
        """The lecture's initial parameters: weights from N(0, 1), biases zero; flat, (P,).

        A sequence of E seeds gives E networks, (E, P); each equals what its own seed gives.
        The numbers are drawn in float64 on the host, so every backend and dtype starts from the
        same weights. `backend` defaults to NumPy.

        Source: lecture 11, "initialize w, b".
        """
        if dtype not in DTYPES:
            raise InputError(f"dtype={dtype!r}: use {' or '.join(DTYPES)}")
        if isinstance(seed, Iterable):
            host = np.stack([self._initial_vector(member) for member in member_seeds(seed)])
        else:
            host = self._initial_vector(*member_seeds([seed]))
        return (backend or select_backend("numpy")).asarray(host, dtype)

    def _initial_vector(self, seed: int) -> np.ndarray:
        random = generator(seed, WEIGHTS)
        parts = [
            random.standard_normal(math.prod(shape)) if len(shape) == 2 else np.zeros(shape)
            for shape in self.shapes.values()
        ]
        return np.concatenate(parts)

    def unflatten(self, vector: Array, *, xp: Namespace | None = None) -> dict[str, Array]:
        """The parts of a flat vector (P,) or (E, P) by name: views where the library has them."""
        xp = xp or array_api_compat.array_namespace(vector)
        *members, length = vector.shape
        if length != self._places[-1][1].stop:
            raise InputError(f"{length:,} parameters, but {self} has {self.parameter_count:,}")
        return {
            name: xp.reshape(vector[..., where], (*members, *shape))
            for name, where, shape in self._places
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
        parts = iter(self.unflatten(parameters, xp=xp).values())
        return [Layer(W, b) for W, b in zip(parts, parts, strict=True)]

    def forward(self, parameters: Array, X: Array, *, xp: Namespace | None = None) -> Tape:
        """The forward pass: X (N, l0) to the tape X, A1, A2, ... and the logits L (N, K).

        Source: lecture 11, "forward propagation".
        """
        xp = xp or array_api_compat.array_namespace(parameters)
        activation = ACTIVATIONS[self.hidden]
        layers = self.layers(parameters, xp=xp)
        A = [X]
        for W, b in layers[:-1]:
            A.append(activation.forward(dense(A[-1], W, b, xp=xp), xp=xp))
        W, b = layers[-1]
        return Tape(tuple(A), layers, L=dense(A[-1], W, b, xp=xp))

    def backward(self, tape: Tape, dL: Array, *, xp: Namespace | None = None) -> Array:
        """The backward pass: dL (N, K) to the flat gradient of all parameters, (P,).

        Source: lecture 11, "backpropagation".
        """
        xp = xp or array_api_compat.array_namespace(dL)
        activation = ACTIVATIONS[self.hidden]
        gradients: list[Array] = []
        dZ = dL
        for A, (W, _) in zip(tape.A[:0:-1], tape.layers[:0:-1], strict=True):
            dW, db, dA = dense_backward(dZ, A, W, xp=xp)
            gradients[:0] = [dW, db]
            dZ = activation.backward(dA, A, xp=xp)
        gradients[:0] = dense_backward_parameters(dZ, tape.A[0], xp=xp)
        members = dL.shape[:-2]
        return xp.concat([xp.reshape(part, (*members, -1)) for part in gradients], axis=-1)

    def probabilities(self, parameters: Array, X: Array, *, xp: Namespace | None = None) -> Array:
        """Ŷ = softmax(L): the probability of each class for each row; (N, l0) -> (N, K)."""
        xp = xp or array_api_compat.array_namespace(parameters)
        return softmax(self.forward(parameters, X, xp=xp).L, xp=xp)

    def loss_and_gradients(
        self, parameters: Array, X: Array, labels: Array, *, xp: Namespace | None = None
    ) -> LossAndGradients:
        """The mean cross-entropy J of a batch and its gradient, flat like the parameters.

        X is (N, l0), floating like the parameters; labels is (N,), integers 0..K-1. With members
        both results have their leading axis.
        """
        xp = xp or array_api_compat.array_namespace(parameters)
        if tuple(labels.shape) != tuple(X.shape[:-1]):
            raise InputError(
                f"labels of shape {tuple(labels.shape)} for X {tuple(X.shape)}: give one per row"
            )
        classes = xp.arange(self.layer_sizes[-1], device=array_api_compat.device(labels))
        Y = one_hot(labels, classes, dtype=parameters.dtype, xp=xp)
        J, gradients, _ = self.forward_backward(parameters, X, Y, xp=xp)
        return LossAndGradients(J, gradients)

    def forward_backward(
        self, parameters: Array, X: Array, Y: Array, *, xp: Namespace
    ) -> tuple[Array, Array, Array]:
        """J, the flat gradient and the logits L of a batch whose targets are one-hot, Y (N, K).

        What a training step calls: nothing in it needs to look at the device or the library.
        """
        tape = self.forward(parameters, X, xp=xp)
        J, Y_hat = softmax_cross_entropy(Y, tape.L, xp=xp)
        dL = softmax_cross_entropy_backward(Y, Y_hat, xp=xp)
        return J, self.backward(tape, dL, xp=xp), tape.L

    def __str__(self) -> str:
        return f"the network {'-'.join(map(str, self.layer_sizes))}"


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
