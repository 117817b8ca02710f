"""The layers of a network as values: each says its parameters, its forward pass and its Jacobian.

    Dense       Z = A W + b
    Normalize   Z divided by its deviation, over a batch or over a layer's units
    Activate    A = g(Z)
    Dropout     units left out at random
    Chain       layers one after another, with `residual` also A after = A + A in

A layer is small and frozen and can be read alone. `forward` takes the parameters by name and
returns its output with whatever its Jacobian needs; `backward` takes that, and the gradient at the
output, to the gradient at the input and those of its parameters. Whoever needs to know about a
layer asks it, and whoever needs to know about all of them walks the chain.
"""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xpmlp import algebra
from xpmlp.algebra import ACTIVATIONS, NORMALIZATIONS, Activation, Normalization, formulas
from xpmlp.algebra.formulas import Formulas, as_line
from xpmlp.algebra.normalization import EPSILON
from xpmlp.compiler.scopes import marker
from xpmlp.errors import InputError
from xpmlp.network.parameters import ParameterArray
from xpmlp.typing import Array, Namespace

Parts = Mapping[str, Array]
"""Parameters by name."""

Backward = tuple[Array | None, dict[str, Array]]
"""The gradient at a layer's input, None in front of the first, and those of its parameters."""


class DropoutKeys(NamedTuple):
    """The source of dropout's random numbers in one step, and its rates.

    The same step always draws the same numbers, so a run can be resumed at any step.

    Attributes
    ----------
    key : array of shape (1,) or (E, 1, 1), int32
        The key of the seed.
    step : array of shape (1,)
        The number of the step.
    positions : array of shape (N,)
        The positions of the rows in the batch.
    columns : array of at least the widest layer's length
        The numbers of the units.
    input_rate : float or array of shape (E, 1, 1)
        The fraction of inputs that is dropped, 0.0 for none.
    hidden_rate : float or array of shape (E, 1, 1)
        The fraction of hidden units that is dropped, 0.0 for none.

    Examples
    --------
    >>> from xpmlp.network import DropoutKeys
    >>> key, rows, units = np.array([7], np.int32), np.arange(4), np.arange(8)
    >>> DropoutKeys(key, np.array([0]), rows, units, input_rate=0.0, hidden_rate=0.5).hidden_rate
    0.5
    """

    key: Array
    step: Array
    positions: Array
    columns: Array
    input_rate: float | Array
    hidden_rate: float | Array


class Mode(NamedTuple):
    """How a forward pass is run.

    Attributes
    ----------
    is_training : bool, default False
        Whether batch normalisation uses the batch's own statistics, else the running ones.
    dropout : DropoutKeys, optional
        The source of dropout's random numbers; without it nothing is dropped.

    Examples
    --------
    >>> from xpmlp.network import Mode
    >>> Mode(is_training=True)
    Mode(is_training=True, dropout=None)
    """

    is_training: bool = False
    dropout: DropoutKeys | None = None


TRAINING = Mode(is_training=True)


class Computation(NamedTuple):
    """One matrix that a training step computes: how, from which shapes, at what cost.

    `layer` is 0 for the input and one above the last layer's for the loss. `factors` are rows and
    columns of a product's factors and of what is added to it; a vector is one row.
    """

    layer: int
    text: str
    shape: tuple[int, ...]
    factors: tuple[tuple[int, int], ...] = ()

    @property
    def product(self) -> tuple[int, int, int] | None:
        """Rows, inner length and columns of the matrix product, if it is one."""
        return (*self.factors[0], self.shape[-1]) if self.factors else None

    @property
    def flops(self) -> int:
        """Those of the product, two for each multiplication with its addition, and 0 of all else:
        elementwise operations take time by the bytes they move."""
        return 2 * math.prod(self.product or (0,))

    @property
    def shapes(self) -> str:
        """The shapes of a product's factors, and that of the result."""
        shapes = (*self.factors[:2], self.shape)
        *factors, result = ("×".join(map(str, shape)) or "1" for shape in shapes)
        return f"{' '.join(factors)} → {result}" if factors else result


Operations = tuple[list[Computation], list[Computation]]
"""What a layer computes forward and backward, in the order in which it is computed."""


@dataclass(frozen=True)
class Layer(ABC):
    """A step of the network, part of dense layer `k` (0: of the input); it gives `l_out` numbers
    for each row."""

    k: int
    l_out: int

    @functools.cached_property
    def phases(self) -> tuple[str, str]:
        """What profiles call its forward pass and its Jacobian."""
        name = type(self).__name__.lower()
        return name, f"backward {name}"

    @property
    def parts(self) -> tuple[ParameterArray, ...]:
        """Its parameters."""
        return ()

    @abstractmethod
    def forward(self, p: Parts, A: Array, mode: Mode, *, xp: Namespace) -> tuple[Array, Any]:
        """Return its output, and what `backward` needs of this pass."""

    @abstractmethod
    def backward(self, p: Parts, saved: Any, dA: Array, *, xp: Namespace) -> Backward:
        """Return the gradient at its input and those of its parameters from that at its output."""

    def onnx(self, p: Parts, A: Any, graph: Any) -> Any:
        """Return the name of its output in an ONNX graph, given that of its input.

        `graph` is that of `xpmlp.export`; arrays go by their names.
        """
        return A

    @abstractmethod
    def operations(self, N: int) -> Operations:
        """Return what it computes for N rows, in the letters of the algebra's formulas."""

    def _elementwise(self, both: Formulas, N: int) -> Operations:
        """Return a formula that turns a matrix into another of its shape, and its Jacobian's."""
        forward, backward = (Computation(self.k, as_line(side), (N, self.l_out)) for side in both)
        return [forward], [backward]

    def walk(self, *, backward: bool = False) -> Iterator["Layer"]:
        """Yield the layers in it, itself alone, in the order of the forward or backward pass."""
        yield self

    def with_saved(self, saved: Any) -> Iterator[tuple["Layer", Any]]:
        """Yield the layers in it, each with what it saved in a forward pass."""
        yield self, saved


@dataclass(frozen=True)
class Dense(Layer):
    """Z = A W + b.

    The first layer, behind whose input nothing learns, has no dA. With `bias_cancels` a batch
    normalisation follows, whose own mean takes b off again: db is exactly 0.
    """

    l_in: int
    is_first: bool = False
    bias_cancels: bool = False

    @functools.cached_property
    def phases(self) -> tuple[str, str]:
        return "forward product + bias", "backward dW, db" + ("" if self.is_first else ", dA")

    @property
    def parts(self) -> tuple[ParameterArray, ...]:
        return (
            ParameterArray(f"W{self.k}", (self.l_in, self.l_out), "weight"),
            ParameterArray(f"b{self.k}", (self.l_out,), "bias"),
        )

    def forward(self, p: Parts, A: Array, mode: Mode, *, xp: Namespace) -> tuple[Array, Array]:
        return algebra.dense(A, p[f"W{self.k}"], p[f"b{self.k}"], xp=xp), A

    def backward(self, p: Parts, A: Array, dZ: Array, *, xp: Namespace) -> Backward:
        dA = None
        if self.is_first:
            dW, db = algebra.dense_backward_parameters(dZ, A, xp=xp)
        else:
            dW, db, dA = algebra.dense_backward(dZ, A, p[f"W{self.k}"], xp=xp)
        if self.bias_cancels:
            db = xp.zeros_like(db)
        return dA, {f"W{self.k}": dW, f"b{self.k}": db}

    def onnx(self, p: Parts, A: Any, graph: Any) -> Any:
        W, b = (part.name for part in self.parts)
        Z = graph.add("MatMul", A, graph.weight(W, p[W]))
        return graph.add("Add", Z, graph.weight(b, p[b][..., None, :]))

    def operations(self, N: int) -> Operations:
        k, l_in, l_out = self.k, self.l_in, self.l_out
        of_b = formulas.NO_BIAS_GRADIENT if self.bias_cancels else formulas.DENSE_BIASES
        Z = Computation(k, formulas.DENSE, (N, l_out), ((N, l_in), (l_in, l_out), (1, l_out)))
        dW = Computation(k, formulas.DENSE_WEIGHTS, (l_in, l_out), ((l_in, N), (N, l_out)))
        db = Computation(k, of_b, (l_out,))
        dA = Computation(k, formulas.DENSE_INPUTS, (N, l_in), ((N, l_out), (l_out, l_in)))
        return [Z], [dW, db] if self.is_first else [dW, db, dA]


@dataclass(frozen=True)
class Normalize(Layer):
    """Z normalised, then scaled and shifted; `name` is one of `xpmlp.algebra.NORMALIZATIONS`.

    For its Jacobian it saves X̂ and 1/σ, and of a batch its mean and variance besides.
    """

    name: str

    @functools.cached_property
    def phases(self) -> tuple[str, str]:
        return f"{self.name} norm", f"backward {self.name} norm"

    @property
    def kind(self) -> Normalization:
        """The functions and formulas of this normalisation."""
        return NORMALIZATIONS[self.name]

    @property
    def parts(self) -> tuple[ParameterArray, ...]:
        kinds = self.kind.parts.items()
        return tuple(ParameterArray(f"{name}{self.k}", (self.l_out,), kind) for name, kind in kinds)

    def _own(self, p: Parts) -> dict[str, Array]:
        """Its parameters by their names without the number; running statistics if there are."""
        return {name: p[full] for name in self.kind.parts if (full := f"{name}{self.k}") in p}

    def forward(self, p: Parts, Z: Array, mode: Mode, *, xp: Namespace) -> tuple[Array, Any]:
        own = self._own(p)
        if mode.is_training or not self.kind.running:
            Y, *saved = self.kind.forward(Z, own["gamma"], own.get("beta"), xp=xp)
            return Y, saved
        if "mean" not in own:
            raise InputError(
                "parameters without the running statistics of batch normalisation, which "
                "predictions need; give run.parameters"
            )
        return algebra.batch_norm_inference(Z, **own, xp=xp), None

    def backward(self, p: Parts, saved: Any, dY: Array, *, xp: Namespace) -> Backward:
        gamma = p[f"gamma{self.k}"]
        if saved is None:  # predictions, which learn nothing
            variance = p[f"variance{self.k}"]
            return algebra.batch_norm_inference_backward(dY, gamma, variance, xp=xp), {}
        dZ, *learned = self.kind.backward(dY, *saved[:2], gamma, xp=xp)
        return dZ, dict(zip((part.name for part in self.parts), learned, strict=False))

    def onnx(self, p: Parts, Z: Any, graph: Any) -> Any:
        own = self._own(p)
        gamma, beta = own["gamma"], own.get("beta")
        if self.kind.onnx is not None:
            Z = graph.expression(self.kind.onnx, Z)
        else:
            gamma = gamma / np.sqrt(own["variance"] + EPSILON)
            beta = beta - own["mean"] * gamma
        Y = graph.add("Mul", Z, graph.weight(f"gamma{self.k}", gamma[..., None, :]))
        if beta is None:
            return Y
        return graph.add("Add", Y, graph.weight(f"beta{self.k}", beta[..., None, :]))

    def operations(self, N: int) -> Operations:
        forward, backward = list[Computation](), list[Computation]()
        for what, formula in self.kind.equations.items():
            shape = (self.l_out,) if what in ("dγ", "dβ") else (N, self.l_out)
            side = forward if what in ("X̂", "Y") else backward
            side.append(Computation(self.k, as_line(formula), shape))
        return forward, backward

    def statistics(self, saved: Any, rows: int, *, xp: Namespace) -> Parts:
        """Return a batch's mean and unbiased variance, by the names of the running ones."""
        *_, mean, variance = saved
        return {f"mean{self.k}": mean, f"variance{self.k}": algebra.unbiased(variance, rows, xp=xp)}


@dataclass(frozen=True)
class Activate(Layer):
    """A = g(Z), elementwise; `name` is one of `xpmlp.algebra.ACTIVATIONS`."""

    name: str

    @functools.cached_property
    def phases(self) -> tuple[str, str]:
        return self.name, f"backward {self.name}"

    @property
    def kind(self) -> Activation:
        """The functions and formulas of this activation."""
        return ACTIVATIONS[self.name]

    def forward(self, p: Parts, Z: Array, mode: Mode, *, xp: Namespace) -> tuple[Array, Array]:
        A = self.kind.forward(Z, xp=xp)
        return A, A if self.kind.keeps == "A" else Z

    def backward(self, p: Parts, saved: Array, dA: Array, *, xp: Namespace) -> Backward:
        return self.kind.backward(dA, saved, xp=xp), {}

    def onnx(self, p: Parts, Z: Any, graph: Any) -> Any:
        return graph.expression(self.kind.onnx, Z)

    def operations(self, N: int) -> Operations:
        return self._elementwise(self.kind.formulas, N)


@dataclass(frozen=True)
class Dropout(Layer):
    """Units left out at random; all of them kept after training."""

    def forward(self, p: Parts, A: Array, mode: Mode, *, xp: Namespace) -> tuple[Array, Any]:
        keys = mode.dropout
        if keys is None:
            return A, None
        rate = keys.hidden_rate if self.k else keys.input_rate
        if isinstance(rate, float) and rate == 0.0:
            return A, None
        key = algebra.dropout_key(keys.key, keys.step, self.k, xp=xp)
        return algebra.dropout(A, keys.positions, keys.columns[: self.l_out], key, rate, xp=xp)

    def backward(self, p: Parts, mask: Any, dA: Array, *, xp: Namespace) -> Backward:
        return (dA if mask is None else algebra.dropout_backward(dA, mask, xp=xp)), {}

    def operations(self, N: int) -> Operations:
        return self._elementwise(formulas.DROPOUT, N)


@dataclass(frozen=True)
class Chain(Layer):
    """Layers one after another; with `residual`, what came in is added to what they give.

    Backward, dA in = dA of the layers + dA after, since a sum passes its gradient to both terms.
    Source of the sum: He et al. 2016, "Deep residual learning for image recognition", equation 1.
    """

    layers: tuple[Layer, ...]
    residual: bool = False

    phases = "residual", "backward residual"

    def walk(self, *, backward: bool = False) -> Iterator[Layer]:
        """Yield every layer in the order of that pass, a sum of `residual` after what it adds."""
        for layer in reversed(self.layers) if backward else self.layers:
            yield from layer.walk(backward=backward)
        if self.residual:
            yield self

    def with_saved(self, saved: Any) -> Iterator[tuple[Layer, Any]]:
        for layer, one in zip(self.layers, saved, strict=True):
            yield from layer.with_saved(one)

    def forward(self, p: Parts, A: Array, mode: Mode, *, xp: Namespace) -> tuple[Array, Any]:
        """Return the output of the last layer, and a list of what each has saved."""
        A_in, saved, mark = A, [], marker(xp)
        for layer in self.layers:
            mark(layer.phases[0], layer.k)
            A, one = layer.forward(p, A, mode, xp=xp)
            saved.append(one)
        if self.residual:
            mark(self.phases[0], self.k)
            A = A + A_in
        return A, saved

    def backward(self, p: Parts, saved: Any, dA: Array, *, xp: Namespace) -> Backward:
        dA_after, gradients, mark = dA, dict[str, Array](), marker(xp)
        for layer, one in zip(reversed(self.layers), reversed(saved), strict=True):
            mark(layer.phases[1], layer.k)
            found, its = layer.backward(p, one, dA, xp=xp)
            gradients |= its
            if found is None:
                return None, gradients
            dA = found
        if self.residual:
            mark(self.phases[1], self.k)
            dA = dA + dA_after
        return dA, gradients

    def onnx(self, p: Parts, A: Any, graph: Any) -> Any:
        A_in = A
        for layer in self.layers:
            A = layer.onnx(p, A, graph)
        return graph.add("Add", A, A_in) if self.residual else A

    def operations(self, N: int) -> Operations:
        """Return what the sum computes, without what its layers do."""
        return self._elementwise(formulas.RESIDUAL, N)
