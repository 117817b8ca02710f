"""The lecture's two slides for any network: each step forward and each Jacobian, with its numbers.

An explanation follows `MLP.forward` and `MLP.backward` line by line; its formulas are the algebra's
(`xpmlp.algebra.formulas`) with the network's names in them. A test computes with the formulas as
they are shown and gets the gradients that the network gets.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from xpmlp.algebra import ACTIVATIONS, LOSSES, NORMALIZATIONS, formulas
from xpmlp.errors import InputError
from xpmlp.network import (
    MLP,
    USUAL_LOSS,
    Activate,
    Dense,
    Dropout,
    Layer,
    Normalize,
    Objective,
)
from xpmlp.network.layers import Equation
from xpmlp.reports.notation import Name, as_latex, as_text, named, tokens

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Operation:
    """One matrix that a training step computes: how, from which shapes, at what cost.

    `flops` are those of a matrix product, two for each multiplication with its addition, and 0 of
    all else: elementwise operations take time by the bytes they move.
    """

    layer: int
    part: str
    equations: tuple[str, ...]
    shape: Shape
    names: Mapping[str, Name] = field(default_factory=dict)
    operands: tuple[Shape, ...] = ()
    adds: bool = False

    @property
    def result(self) -> str:
        """The name of the matrix."""
        d, name = named(next(tokens(self.equations[0])).text, self.names)
        return d + name.text

    @property
    def text(self) -> str:
        """The formula, and what else stands in it."""
        return self._joined([as_text(one, self.names) for one in self.equations], ", with ")

    @property
    def latex(self) -> str:
        """The same for TeX."""
        shown = [as_latex(one, self.names) for one in self.equations]
        return self._joined(shown, r",\quad ", plus="{+}")

    def _joined(self, shown: list[str], between: str, plus: str = "+") -> str:
        if self.adds:
            shown[0] = shown[0].replace("=", f"{plus}=", 1)
        first, *others = shown
        return between.join([first, ", ".join(others)]) if others else first

    @property
    def flops(self) -> int:
        if len(self.operands) < 2:
            return 0
        (rows, inner), (_, columns) = self.operands[:2]
        return 2 * rows * inner * columns

    @property
    def size(self) -> int:
        """How many numbers the matrix has."""
        return math.prod(self.shape)

    @property
    def shapes(self) -> str:
        """The shapes of a product's factors, and that of the result."""
        factors = " ".join(map(as_shape, self.operands[:2]))
        return f"{factors} → {as_shape(self.shape)}" if factors else as_shape(self.shape)


@dataclass(frozen=True)
class Explanation:
    """A training step of a network on `rows` rows, matrix by matrix.

    `constants` are the numbers that formulas have letters for.
    """

    model: MLP
    rows: int
    dtype: str
    forward: tuple[Operation, ...]
    backward: tuple[Operation, ...]
    constants: dict[str, str]

    @property
    def itemsize(self) -> int:
        return int(np.dtype(self.dtype).itemsize)

    def bytes_of(self, operations: Sequence[Operation]) -> int:
        """What these matrices take."""
        return sum(one.size for one in operations) * self.itemsize


def explain(
    model: MLP, objective: Objective | None = None, *, rows: int = 64, dtype: str = "float32"
) -> Explanation:
    """Every matrix of a training step in the order in which it is computed."""
    objective = objective or Objective()
    return Explanation(
        model,
        rows,
        dtype,
        tuple(_forward(model, objective, rows)),
        tuple(_backward(model, objective, rows)),
        _constants(model, objective),
    )


def _forward(model: MLP, objective: Objective, N: int) -> Iterator[Operation]:
    widths = model.layer_sizes
    last, K = len(widths) - 1, widths[-1]
    if objective.mixup:
        yield Operation(0, "mixup", (f"X = {formulas.MIXED}",), (N, widths[0]))
    for layer in _walked(model.chain.walk(), objective):
        names = _names(layer, model, objective)[0]
        yield from (_operation(layer, one, names) for one in layer.equations(N).forward)
    if objective.label_smoothing:
        yield Operation(last, "smoothing", (f"Y = {formulas.SMOOTHED}",), (N, K))
    for step in _loss(model, objective):
        is_scalar = step.forward[0].startswith("J")
        yield Operation(last, "loss", step.forward, () if is_scalar else (N, K))
    for strength, one, letter in _penalties(objective):
        for k in range(1, last + 1) if strength else ():
            names = {"W": Name("W", k), "λ": Name(letter)}
            yield Operation(k, "penalty", (f"J = {one.forward[0]}",), (), names, adds=True)


def _backward(model: MLP, objective: Objective, N: int) -> Iterator[Operation]:
    widths = model.layer_sizes
    yield Operation(len(widths) - 1, "loss", _loss(model, objective)[-1].backward, (N, widths[-1]))
    for layer in _walked(model.chain.walk(backward=True), objective):
        if layer.k == 0:
            return  # behind the input nothing learns
        names = _names(layer, model, objective)[1]
        yield from (_operation(layer, one, names) for one in layer.equations(N).backward)
        if isinstance(layer, Dense):
            for strength, one, letter in _penalties(objective):
                if strength:
                    of_W, shape = {**names, "λ": Name(letter)}, (layer.l_in, layer.l_out)
                    yield Operation(layer.k, "penalty", one.backward, shape, of_W, adds=True)


def _walked(layers: Iterable[Layer], objective: Objective) -> Iterator[Layer]:
    """Those that do something: dropout only where it has a rate."""
    for layer in layers:
        rate = objective.dropout if layer.k else objective.input_dropout
        if not isinstance(layer, Dropout) or _any(rate):
            yield layer


def _operation(layer: Layer, one: Equation, names: Mapping[str, Name]) -> Operation:
    part = type(layer).__name__.lower()
    return Operation(layer.k, part, one.formula, one.shape, names, one.factors, one.adds)


def _names(
    layer: Layer, model: MLP, objective: Objective
) -> tuple[dict[str, Name], dict[str, Name]]:
    """What the letters of a layer's formulas are called in the network, forward and backward.

    Between the activation and what leaves layer k, A has primes. A sum of `residual` leaves the
    gradient as it is, so there are fewer of them backward.
    """
    k, drops, adds = layer.k, _any(objective.dropout), model.is_residual(layer.k)
    A = Name("A", k)
    A_in = Name("A", k - 1) if k > 1 else _input(objective)
    Z = Name("Z", k) if k < len(model.layer_sizes) - 1 else Name("L")
    activated, d_activated = A._replace(primes=drops or adds), A._replace(primes=drops)
    dropped = A._replace(primes=2 * adds) if drops else activated
    numbered = {letter: Name(letter, k) for letter in ("W", "b", "X̂", "γ", "β", "μ", "σ")}
    numbered |= {
        "variance": Name("variance", k),
        "mask": Name("mask", k),
        "Y": Name("Z̃", k),
        "Z": Z,
    }
    match layer:
        case Dense():
            both = numbered | {"A": A_in}
            return both, both
        case Normalize():
            return numbered, numbered
        case Activate():
            both = {"Z": Name("Z̃", k) if model.normalization != "none" else Z, "A": activated}
            return both, both | {"dA": d_activated}
        case Dropout(k=0):
            return numbered | {"A": Name("X"), "A after": _input(objective)}, {}
        case Dropout():
            back = numbered | {"A before": d_activated, "A after": A}
            return numbered | {"A": activated, "A after": dropped}, back
        case _:
            summed = {"A in": Name("A", k - 1), "A after": A}
            return {"A": dropped, **summed}, summed


def _input(objective: Objective) -> Name:
    return Name("X", None, primes=1) if _any(objective.input_dropout) else Name("X")


def _loss(model: MLP, objective: Objective) -> tuple[formulas.Formulas, ...]:
    loss = objective.loss or USUAL_LOSS[model.output]
    if isinstance(loss, str):
        return LOSSES[loss].formulas
    if loss.formulas:
        return loss.formulas
    raise InputError(
        f"loss of one's own: its formulas are not known; give one of {', '.join(LOSSES)}"
    )


def _penalties(objective: Objective) -> list[tuple[float, formulas.Formulas, str]]:
    return [(objective.l1, formulas.L1, "λ₁"), (objective.l2, formulas.L2, "λ₂")]


def _any(rate: float | Sequence[float]) -> bool:
    return bool(np.any(rate))


def _constants(model: MLP, objective: Objective) -> dict[str, str]:
    """What the letters of the formulas stand for, with this network's numbers."""
    found = {"N": "rows of the batch"}
    if model.normalization != "none":
        found |= NORMALIZATIONS[model.normalization].symbols
    if _any(objective.dropout) or _any(objective.input_dropout):
        found["mask"] = formulas.DROPOUT_MASK
        found["p"] = f"dropout {objective.dropout}, of inputs {objective.input_dropout}"
    loss = objective.loss or USUAL_LOSS[model.output]
    if loss == "huber":
        found["δ"] = f"{objective.huber_delta:g}"
    if loss == "quantile":
        found["q"] = f"{objective.quantile:g}"
    if objective.label_smoothing:
        found |= {"s": f"{objective.label_smoothing:g}", "K": str(model.layer_sizes[-1])}
    if objective.mixup:
        found["λ"] = f"drawn from Beta({objective.mixup:g}, {objective.mixup:g}); Y is mixed alike"
    for strength, _, letter in _penalties(objective):
        if strength:
            found[letter] = f"{strength:g}"
    symbols = ACTIVATIONS[model.hidden].symbols
    if "λ" in symbols and "λ" in found:
        symbols = {**symbols, "λ": f"{symbols['λ']}; of mixup: {found['λ']}"}
    found |= symbols
    if objective.class_weights:
        found["weights"] = "each row counts by the weight of its class, in J and in dL"
    return found


def as_shape(shape: Shape) -> str:
    """`64×784`, `64`, and `1` of a scalar."""
    return "×".join(map(str, shape)) or "1"
