"""The layers of a network as values: each says its parameters, its forward pass and its Jacobian.

    Dense       Z = A W + b
    Normalize   Z freed of its mean and deviation, over a batch or over a layer's units
    Activate    A = g(Z)
    Dropout     units left out at random
    Chain       layers one after another, with `residual` also A after = A + A in

A layer is small and frozen and can be read alone. `forward` takes the parameters by name and
returns its output with whatever its Jacobian needs; `backward` takes that, and the gradient at the
output, to the gradient at the input and those of its parameters. Whoever needs to know about a
layer asks it, and whoever needs to know about all of them walks the chain.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from xpmlp.algebra import (
    ACTIVATIONS,
    NORMALIZATIONS,
    Normalization,
    batch_norm_inference,
    batch_norm_inference_backward,
    dense,
    dense_backward,
    dense_backward_parameters,
    dropout,
    dropout_backward,
    dropout_key,
    formulas,
    unbiased,
)
from xpmlp.algebra.formulas import Expression
from xpmlp.algebra.normalization import EPSILON
from xpmlp.compiler.scopes import scope
from xpmlp.errors import InputError
from xpmlp.network.parameters import Part
from xpmlp.typing import Array, Namespace

Parts = Mapping[str, Array]
"""Parameters by name."""

Gradients = dict[str, Array]
"""Gradients by the names of their parameters."""

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
    """What every layer has. `k` is the number of the dense layer that it belongs to."""

    @property
    def k(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def parts(self) -> tuple[Part, ...]: ...
    @property
    def phase(self) -> str: ...
    @property
    def backward_phase(self) -> str: ...
    def forward(self, p: Parts, A: Array, mode: Mode, *, xp: Namespace) -> tuple[Array, Any]: ...
    def backward(
        self, p: Parts, saved: Any, dA: Array, *, xp: Namespace
    ) -> tuple[Array | None, Gradients]: ...
    def onnx(self, p: Parts, A: str, graph: Graph) -> str: ...
    def equations(self, N: int) -> Equations: ...


@dataclass(frozen=True)
class Dense:
    """Z = A W + b, dense layer k of the network.

    The first layer, behind whose input nothing learns, has no dA. With `bias_cancels` a batch
    normalisation follows, whose own mean takes b off again: db is exactly 0.
    """

    k: int
    l_in: int
    l_out: int
    is_first: bool = False
    bias_cancels: bool = False

    phase: ClassVar = "forward product + bias"

    @property
    def width(self) -> int:
        return self.l_out

    @property
    def backward_phase(self) -> str:
        return "backward dW, db" if self.is_first else "backward dW, db, dA"

    @property
    def parts(self) -> tuple[Part, ...]:
        return (
            Part(f"W{self.k}", (self.l_in, self.l_out), "weight"),
            Part(f"b{self.k}", (self.l_out,), "bias"),
        )

    def forward(self, p: Parts, A: Array, mode: Mode, *, xp: Namespace) -> tuple[Array, Array]:
        return dense(A, p[f"W{self.k}"], p[f"b{self.k}"], xp=xp), A

    def backward(
        self, p: Parts, A: Array, dZ: Array, *, xp: Namespace
    ) -> tuple[Array | None, Gradients]:
        dA = None
        if self.is_first:
            dW, db = dense_backward_parameters(dZ, A, xp=xp)
        else:
            dW, db, dA = dense_backward(dZ, A, p[f"W{self.k}"], xp=xp)
        if self.bias_cancels:
            db = xp.zeros_like(db)
        return dA, {f"W{self.k}": dW, f"b{self.k}": db}

    def onnx(self, p: Parts, A: str, graph: Graph) -> str:
        W, b = f"W{self.k}", f"b{self.k}"
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


class SavedNorm(NamedTuple):
    """What a normalisation's Jacobian needs, X̂ and 1/σ, and of a batch its mean and variance."""

    X_hat: Array
    inverse_deviation: Array
    mean: Array | None = None
    variance: Array | None = None


@dataclass(frozen=True)
class Normalize:
    """Z normalised, then scaled and shifted; `name` is one of `xpmlp.algebra.NORMALIZATIONS`."""

    k: int
    width: int
    name: str

    @property
    def phase(self) -> str:
        return f"{self.name} norm"

    @property
    def backward_phase(self) -> str:
        return f"backward {self.name} norm"

    @property
    def kind(self) -> Normalization:
        """The functions and formulas of this normalisation."""
        return NORMALIZATIONS[self.name]

    @property
    def parts(self) -> tuple[Part, ...]:
        found = [Part(f"gamma{self.k}", (self.width,), "scale")]
        if self.kind.has_shift:
            found.append(Part(f"beta{self.k}", (self.width,), "shift"))
        if self.kind.running:
            found.append(Part(f"mean{self.k}", (self.width,), "running mean"))
            found.append(Part(f"variance{self.k}", (self.width,), "running variance"))
        return tuple(found)

    def _own(self, p: Parts) -> list[Array]:
        """γ and β, or γ alone; with running statistics, where they are given, those besides."""
        return [p[part.name] for part in self.parts if part.name in p]

    def forward(
        self, p: Parts, Z: Array, mode: Mode, *, xp: Namespace
    ) -> tuple[Array, SavedNorm | None]:
        own = self._own(p)
        if self.kind.running and not mode.is_training:
            if len(own) < len(self.parts):
                raise InputError(
                    "parameters without the running statistics of batch normalisation, which "
                    "predictions need; give run.parameters"
                )
            return batch_norm_inference(Z, *own, xp=xp), None
        Y, *saved = self.kind.forward(Z, *own[:2], xp=xp)
        return Y, SavedNorm(*saved)

    def backward(
        self, p: Parts, saved: SavedNorm | None, dY: Array, *, xp: Namespace
    ) -> tuple[Array, Gradients]:
        gamma, *_ = self._own(p)
        if saved is None:  # predictions, which learn nothing
            variance = p[f"variance{self.k}"]
            return batch_norm_inference_backward(dY, gamma, variance, xp=xp), {}
        dZ, *learned = self.kind.backward(dY, saved.X_hat, saved.inverse_deviation, gamma, xp=xp)
        return dZ, dict(zip((part.name for part in self.parts), learned, strict=False))

    def onnx(self, p: Parts, Z: str, graph: Graph) -> str:
        gamma, *beta = self._own(p)
        if self.kind.running:
            shift, mean, variance = beta
            gamma = gamma / np.sqrt(variance + EPSILON)
            beta = [shift - mean * gamma]
        elif self.kind.onnx is not None:
            Z = graph.expression(self.kind.onnx, Z)
        Y = graph.add("Mul", Z, graph.weight(f"gamma{self.k}", gamma[..., None, :]))
        for shift in beta:
            Y = graph.add("Add", Y, graph.weight(f"beta{self.k}", shift[..., None, :]))
        return Y

    def equations(self, N: int) -> Equations:
        found = {
            what: Equation(text, (self.width,) if what in ("dγ", "dβ") else (N, self.width))
            for what, text in self.kind.equations.items()
        }
        forward = found.pop("X̂"), found.pop("Y")
        return Equations(forward, tuple(found.values()))

    def statistics(self, saved: SavedNorm, rows: int, *, xp: Namespace) -> Parts:
        """Return the mean and unbiased variance of the batch, by the names of the running ones."""
        if not self.kind.running:
            return {}
        variance = unbiased(saved.variance, rows, xp=xp)
        return {f"mean{self.k}": saved.mean, f"variance{self.k}": variance}


@dataclass(frozen=True)
class Activate:
    """A = g(Z), elementwise; g is one of `xpmlp.algebra.ACTIVATIONS`."""

    k: int
    width: int
    name: str

    parts: ClassVar[tuple[Part, ...]] = ()

    @property
    def phase(self) -> str:
        return self.name

    @property
    def backward_phase(self) -> str:
        return f"backward {self.name}"

    def forward(self, p: Parts, Z: Array, mode: Mode, *, xp: Namespace) -> tuple[Array, Array]:
        activation = ACTIVATIONS[self.name]
        A = activation.forward(Z, xp=xp)
        return A, A if activation.keeps == "A" else Z

    def backward(
        self, p: Parts, saved: Array, dA: Array, *, xp: Namespace
    ) -> tuple[Array, Gradients]:
        return ACTIVATIONS[self.name].backward(dA, saved, xp=xp), {}

    def onnx(self, p: Parts, Z: str, graph: Graph) -> str:
        return graph.expression(ACTIVATIONS[self.name].onnx, Z)

    def equations(self, N: int) -> Equations:
        return _elementwise(ACTIVATIONS[self.name].formulas, N, self.width)


@dataclass(frozen=True)
class Dropout:
    """Units of layer k left out at random, 0 being the input; all of them kept after training."""

    k: int
    width: int

    parts: ClassVar[tuple[Part, ...]] = ()
    phase: ClassVar = "dropout"
    backward_phase: ClassVar = "dropout backward"

    def forward(
        self, p: Parts, A: Array, mode: Mode, *, xp: Namespace
    ) -> tuple[Array, Array | None]:
        keys = mode.dropout
        if keys is None:
            return A, None
        rate = keys.hidden_rate if self.k else keys.input_rate
        if isinstance(rate, float) and rate == 0.0:
            return A, None
        key = dropout_key(keys.key, keys.step, self.k, xp=xp)
        return dropout(A, keys.positions, keys.columns[: self.width], key, rate, xp=xp)

    def backward(
        self, p: Parts, mask: Array | None, dA: Array, *, xp: Namespace
    ) -> tuple[Array, Gradients]:
        return (dA if mask is None else dropout_backward(dA, mask, xp=xp)), {}

    def onnx(self, p: Parts, A: str, graph: Graph) -> str:
        return A

    def equations(self, N: int) -> Equations:
        return _elementwise(formulas.DROPOUT, N, self.width)


def _elementwise(both: formulas.Formulas, N: int, width: int, adds: bool = False) -> Equations:
    shape = (N, width)
    return Equations((Equation(both.forward, shape),), (Equation(both.backward, shape, adds=adds),))


@dataclass(frozen=True)
class Chain:
    """Layers one after another; with `residual`, what came in is added to what they give.

    Backward, dA in = dA of the layers + dA after, since a sum passes its gradient to both terms.
    Source of the sum: He et al. 2016, "Deep residual learning for image recognition", equation 1.
    """

    layers: tuple["Layer | Chain", ...]
    residual: bool = False

    parts: ClassVar[tuple[Part, ...]] = ()

    @property
    def k(self) -> int:
        return self.layers[0].k

    @property
    def width(self) -> int:
        return self.layers[-1].width

    def walk(self) -> Iterator["Layer | Chain"]:
        """Every layer in the order of the forward pass, a sum of `residual` after what it adds."""
        for layer in self.layers:
            yield from layer.walk() if isinstance(layer, Chain) else (layer,)
        if self.residual:
            yield self

    def walk_back(self) -> Iterator["Layer | Chain"]:
        """Every layer in the order of the backward pass, a sum again last."""
        for layer in reversed(self.layers):
            yield from layer.walk_back() if isinstance(layer, Chain) else (layer,)
        if self.residual:
            yield self

    def saved(self, saved: tuple[Any, ...]) -> Iterator[tuple[Layer, Any]]:
        """Every layer with what it saved in a forward pass."""
        for layer, one in zip(self.layers, saved, strict=True):
            yield from layer.saved(one) if isinstance(layer, Chain) else ((layer, one),)

    def forward(
        self, p: Parts, A: Array, mode: Mode, *, xp: Namespace
    ) -> tuple[Array, tuple[Any, ...]]:
        """Return the output of the last layer, and what all of them saved."""
        A_in, saved = A, []
        for layer in self.layers:
            if isinstance(layer, Chain):
                A, one = layer.forward(p, A, mode, xp=xp)
            else:
                with scope(xp, layer.phase, layer.k):
                    A, one = layer.forward(p, A, mode, xp=xp)
            saved.append(one)
        return (A + A_in if self.residual else A), tuple(saved)

    def backward(
        self, p: Parts, saved: tuple[Any, ...], dA: Array, *, xp: Namespace
    ) -> tuple[Array | None, Gradients]:
        """Return the gradient at the first layer's input, and those of all parameters.

        The gradient at the input of the network, behind which nothing learns, is None.
        """
        dA_out, gradients = dA, Gradients()
        for layer, one in zip(reversed(self.layers), reversed(saved), strict=True):
            if isinstance(layer, Chain):
                found, its = layer.backward(p, one, dA, xp=xp)
            else:
                with scope(xp, layer.backward_phase, layer.k):
                    found, its = layer.backward(p, one, dA, xp=xp)
            gradients |= its
            if found is None:
                return None, gradients
            dA = found
        return (dA + dA_out if self.residual else dA), gradients

    def onnx(self, p: Parts, A: str, graph: Graph) -> str:
        """Return the name of the last layer's output in an ONNX graph."""
        A_in = A
        for layer in self.layers:
            A = layer.onnx(p, A, graph)
        return graph.add("Add", A, A_in) if self.residual else A

    def equations(self, N: int) -> Equations:
        """What the sum computes, without what its layers do."""
        return _elementwise(formulas.RESIDUAL, N, self.width, adds=True)
