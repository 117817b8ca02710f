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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from xpmlp import algebra
from xpmlp.algebra import ACTIVATIONS, NORMALIZATIONS, Activation, Normalization, formulas
from xpmlp.algebra.formulas import Expression
from xpmlp.algebra.normalization import EPSILON
from xpmlp.compiler.scopes import scope
from xpmlp.errors import InputError
from xpmlp.network.parameters import Kind, Part
from xpmlp.typing import Array, Namespace

Parts = Mapping[str, Array]
"""Parameters by name."""

Gradients = dict[str, Array]
"""Gradients by the names of their parameters."""

Backward = tuple[Array | None, Gradients]
"""The gradient at a layer's input, None in front of the first, and those of its parameters."""

Rate = float | Array
"""The share that dropout drops: a number, or (E, 1, 1), one for each member."""


class DropoutKeys(NamedTuple):
    """What dropout draws from in one step, and its rates, 0.0 for none.

    `key` (1,) or (E, 1, 1), int32, is the seed's, `step` (1,) the step's number; `positions` (N,)
    are the rows' places in the batch, and `columns` (at least the widest layer's) count units.
    Nothing is drawn before it is needed, and the same step draws the same again: so a run can be
    resumed at any step.
    """

    key: Array
    step: Array
    positions: Array
    columns: Array
    input_rate: Rate
    hidden_rate: Rate


def _alone(total: Array) -> Array:
    return total


@dataclass(frozen=True)
class Mode:
    """How a forward pass is run.

    Parameters
    ----------
    is_training
        Whether batch normalisation uses the batch's own statistics, else the running ones.
    dropout
        What dropout draws from; None drops nothing.
    total
        The sum of an array over all ranks that share a batch; by default there is one rank.
    """

    is_training: bool = False
    dropout: DropoutKeys | None = None
    total: Callable[[Array], Array] = _alone

    def of_rows(self, rows: slice) -> "Mode":
        """Return the mode of some of the batch's rows alone."""
        if self.dropout is None:
            return self
        keys = self.dropout._replace(positions=self.dropout.positions[rows])
        return replace(self, dropout=keys)


INFERENCE, TRAINING = Mode(), Mode(is_training=True)


class Graph(Protocol):
    """An ONNX graph in the making; arrays go by their names."""

    def add(self, name: str, *operands: str, **attributes: Any) -> str: ...
    def weight(self, name: str, values: np.ndarray) -> str: ...
    def constant(self, value: float) -> str: ...
    def expression(self, formula: Expression, Z: str) -> str: ...


Shape = tuple[int, ...]


class Equation(NamedTuple):
    """One matrix that a layer computes: its formula, with what stands in it, and its shape.

    `factors` are the shapes of what a matrix product multiplies; `adds` says that the result is
    added to what is there.
    """

    formula: tuple[str, ...]
    shape: Shape
    factors: tuple[Shape, ...] = ()
    adds: bool = False

    @property
    def product(self) -> tuple[int, int, int] | None:
        """Rows, inner length and columns of the matrix product, if it is one."""
        if not self.factors:
            return None
        (rows, inner), (_, columns) = self.factors[:2]
        return rows, inner, columns


class Equations(NamedTuple):
    """What a layer computes forward and backward, in that order."""

    forward: tuple[Equation, ...]
    backward: tuple[Equation, ...]


class Layer(Protocol):
    """A step of the network, part of dense layer `k` (0: of the input).

    `l_out` is how many numbers it gives for each row, `name` what it is called.
    """

    k: int
    l_out: int
    name: str

    @functools.cached_property
    def phases(self) -> tuple[str, str]:
        """What profiles call its forward pass and its Jacobian."""
        return self.name, f"backward {self.name}"

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its parameters."""
        return ()

    def forward(self, p: Parts, A: Array, mode: Mode, *, xp: Namespace) -> tuple[Array, Any]:
        """Return its output, and what `backward` needs of this pass."""

    def backward(self, p: Parts, saved: Any, dA: Array, *, xp: Namespace) -> Backward:
        """Return the gradient at its input and those of its parameters from that at its output."""

    def onnx(self, p: Parts, A: str, graph: Graph) -> str:
        """Return the name of its output in an ONNX graph, given that of its input."""
        return A

    def equations(self, N: int) -> Equations:
        """Return what it computes for N rows."""

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

    k: int
    l_in: int
    l_out: int
    is_first: bool = False
    bias_cancels: bool = False

    name = "dense"

    @functools.cached_property
    def phases(self) -> tuple[str, str]:
        backward = "backward dW, db" if self.is_first else "backward dW, db, dA"
        return "forward product + bias", backward

    @property
    def parts(self) -> tuple[Part, ...]:
        return (
            Part(f"W{self.k}", (self.l_in, self.l_out), "weight"),
            Part(f"b{self.k}", (self.l_out,), "bias"),
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

    def onnx(self, p: Parts, A: str, graph: Graph) -> str:
        W, b = (part.name for part in self.parts)
        Z = graph.add("MatMul", A, graph.weight(W, p[W]))
        return graph.add("Add", Z, graph.weight(b, p[b][..., None, :]))

    def equations(self, N: int) -> Equations:
        l_in, l_out = self.l_in, self.l_out
        of_b = formulas.NO_BIAS_GRADIENT if self.bias_cancels else formulas.DENSE_BIASES
        Z = Equation((formulas.DENSE,), (N, l_out), ((N, l_in), (l_in, l_out), (l_out,)))
        dW = Equation((formulas.DENSE_WEIGHTS,), (l_in, l_out), ((l_in, N), (N, l_out)))
        dA = Equation((formulas.DENSE_INPUTS,), (N, l_in), ((N, l_out), (l_out, l_in)))
        backward = dW, Equation((of_b,), (l_out,)), dA
        return Equations((Z,), backward[:2] if self.is_first else backward)


@dataclass(frozen=True)
class Normalize(Layer):
    """Z normalised, then scaled and shifted; `name` is one of `xpmlp.algebra.NORMALIZATIONS`.

    For its Jacobian it saves X̂ and 1/σ, and of a batch its mean and variance besides.
    """

    k: int
    l_out: int
    name: str

    @functools.cached_property
    def phases(self) -> tuple[str, str]:
        return f"{self.name} norm", f"backward {self.name} norm"

    @property
    def kind(self) -> Normalization:
        """The functions and formulas of this normalisation."""
        return NORMALIZATIONS[self.name]

    @property
    def parts(self) -> tuple[Part, ...]:
        kinds: dict[str, Kind] = {"gamma": "scale"}
        if self.kind.has_shift:
            kinds["beta"] = "shift"
        if self.kind.running:
            kinds |= {"mean": "running mean", "variance": "running variance"}
        return tuple(Part(f"{one}{self.k}", (self.l_out,), kind) for one, kind in kinds.items())

    def _own(self, p: Parts) -> list[Array]:
        """γ and β, or γ alone; with running statistics, where there are some, those besides."""
        return [p[part.name] for part in self.parts if part.name in p]

    def forward(self, p: Parts, Z: Array, mode: Mode, *, xp: Namespace) -> tuple[Array, Any]:
        own = self._own(p)
        if mode.is_training or not self.kind.running:
            Y, *saved = self.kind.forward(Z, *own[:2], xp=xp)
            return Y, saved
        if len(own) < len(self.parts):
            raise InputError(
                "parameters without the running statistics of batch normalisation, which "
                "predictions need; give run.parameters"
            )
        return algebra.batch_norm_inference(Z, *own, xp=xp), None

    def backward(self, p: Parts, saved: Any, dY: Array, *, xp: Namespace) -> Backward:
        gamma = p[f"gamma{self.k}"]
        if saved is None:  # predictions, which learn nothing
            variance = p[f"variance{self.k}"]
            return algebra.batch_norm_inference_backward(dY, gamma, variance, xp=xp), {}
        dZ, *learned = self.kind.backward(dY, *saved[:2], gamma, xp=xp)
        return dZ, dict(zip((part.name for part in self.parts), learned, strict=False))

    def onnx(self, p: Parts, Z: str, graph: Graph) -> str:
        gamma, *shifts = self._own(p)
        if self.kind.onnx is not None:
            Z = graph.expression(self.kind.onnx, Z)
        else:
            beta, mean, variance = shifts
            gamma = gamma / np.sqrt(variance + EPSILON)
            shifts = [beta - mean * gamma]
        Y = graph.add("Mul", Z, graph.weight(f"gamma{self.k}", gamma[..., None, :]))
        for beta in shifts:
            Y = graph.add("Add", Y, graph.weight(f"beta{self.k}", beta[..., None, :]))
        return Y

    def equations(self, N: int) -> Equations:
        found = {
            what: Equation(text, (self.l_out,) if what in ("dγ", "dβ") else (N, self.l_out))
            for what, text in self.kind.equations.items()
        }
        forward = found.pop("X̂"), found.pop("Y")
        return Equations(forward, tuple(found.values()))

    def statistics(self, saved: Any, rows: int, *, xp: Namespace) -> Parts:
        """Return the mean and unbiased variance of the batch, by the names of the running ones."""
        if not self.kind.running:
            return {}
        *_, mean, variance = saved
        return {f"mean{self.k}": mean, f"variance{self.k}": algebra.unbiased(variance, rows, xp=xp)}


@dataclass(frozen=True)
class Activate(Layer):
    """A = g(Z), elementwise; `name` is one of `xpmlp.algebra.ACTIVATIONS`."""

    k: int
    l_out: int
    name: str

    @property
    def kind(self) -> Activation:
        """The functions and formulas of this activation."""
        return ACTIVATIONS[self.name]

    def forward(self, p: Parts, Z: Array, mode: Mode, *, xp: Namespace) -> tuple[Array, Array]:
        A = self.kind.forward(Z, xp=xp)
        return A, A if self.kind.keeps == "A" else Z

    def backward(self, p: Parts, saved: Array, dA: Array, *, xp: Namespace) -> Backward:
        return self.kind.backward(dA, saved, xp=xp), {}

    def onnx(self, p: Parts, Z: str, graph: Graph) -> str:
        return graph.expression(self.kind.onnx, Z)

    def equations(self, N: int) -> Equations:
        return _elementwise(self.kind.formulas, N, self.l_out)


@dataclass(frozen=True)
class Dropout(Layer):
    """Units left out at random; all of them kept after training."""

    k: int
    l_out: int

    name = "dropout"

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

    def equations(self, N: int) -> Equations:
        return _elementwise(formulas.DROPOUT, N, self.l_out)


def _elementwise(both: formulas.Formulas, N: int, l_out: int, adds: bool = False) -> Equations:
    shape = (N, l_out)
    return Equations((Equation(both.forward, shape),), (Equation(both.backward, shape, adds=adds),))


@dataclass(frozen=True)
class Chain(Layer):
    """Layers one after another; with `residual`, what came in is added to what they give.

    Backward, dA in = dA of the layers + dA after, since a sum passes its gradient to both terms.
    Source of the sum: He et al. 2016, "Deep residual learning for image recognition", equation 1.
    """

    k: int
    l_out: int
    layers: tuple[Layer, ...]
    residual: bool = False

    name = "residual"

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
        A_in, saved = A, []
        for layer in self.layers:
            with scope(xp, layer.phases[0], layer.k):
                A, one = layer.forward(p, A, mode, xp=xp)
            saved.append(one)
        return (A + A_in if self.residual else A), saved

    def backward(self, p: Parts, saved: Any, dA: Array, *, xp: Namespace) -> Backward:
        dA_after, gradients = dA, Gradients()
        for layer, one in zip(reversed(self.layers), reversed(saved), strict=True):
            with scope(xp, layer.phases[1], layer.k):
                found, its = layer.backward(p, one, dA, xp=xp)
            gradients |= its
            if found is None:
                return None, gradients
            dA = found
        return (dA + dA_after if self.residual else dA), gradients

    def onnx(self, p: Parts, A: str, graph: Graph) -> str:
        A_in = A
        for layer in self.layers:
            A = layer.onnx(p, A, graph)
        return graph.add("Add", A, A_in) if self.residual else A

    def equations(self, N: int) -> Equations:
        """Return what the sum computes, without what its layers do."""
        return _elementwise(formulas.RESIDUAL, N, self.l_out, adds=True)
