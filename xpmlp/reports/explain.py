"""The lecture's two slides for any network: each step forward and each Jacobian, with its numbers.

An explanation follows `MLP.forward` and `MLP.backward` line by line; its formulas are the algebra's
(`xpmlp.algebra.formulas`) with the network's names in them. A test computes with the formulas as
they are shown and gets the gradients that the network gets.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from xpmlp.algebra import formulas
from xpmlp.algebra.activations import SELU_LIMIT, SELU_SCALE
from xpmlp.algebra.normalization import EPSILON
from xpmlp.errors import InputError
from xpmlp.network import MLP, USUAL_LOSS, Objective
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
    last = len(widths) - 1
    X = Name("X")
    if objective.mixup:
        mixed = f"X = {formulas.MIXED}"
        yield Operation(0, "mixup", (mixed,), (N, widths[0]))
    if _any(objective.input_dropout):
        names = {"A": X, "A after": _input(objective), "mask": Name("mask", 0)}
        yield Operation(0, "dropout", formulas.DROPOUT.forward, (N, widths[0]), names)
    for k in range(1, last + 1):
        l_in, l_out = widths[k - 1], widths[k]
        A_in = Name("A", k - 1) if k > 1 else _input(objective)
        Z = Name("Z", k) if k < last else Name("L")
        names = {"A": A_in, "W": Name("W", k), "b": Name("b", k), "Z": Z}
        operands = ((N, l_in), (l_in, l_out), (l_out,))
        yield Operation(k, "dense", (formulas.DENSE,), (N, l_out), names, operands)
        if k < last:
            for part, equations, names in _hidden(model, objective, k):
                yield Operation(k, part, equations, (N, l_out), names)
    K = widths[-1]
    if objective.label_smoothing:
        smoothed = f"Y = {formulas.SMOOTHED}"
        yield Operation(last, "smoothing", (smoothed,), (N, K))
    for step in formulas.LOSS_FORMULAS[_loss(model, objective)]:
        is_scalar = step.forward[0].startswith("J")
        yield Operation(last, "loss", step.forward, () if is_scalar else (N, K))
    for strength, one, letter in _penalties(objective):
        for k in range(1, last + 1) if strength else ():
            penalty = f"J = {one.forward[0]}"
            names = {"W": Name("W", k), "λ": Name(letter)}
            yield Operation(k, "penalty", (penalty,), (), names, adds=True)


def _hidden(
    model: MLP, objective: Objective, k: int
) -> Iterator[tuple[str, tuple[str, ...], dict[str, Name]]]:
    """What stands between a hidden layer's product and its output."""
    names = _names(model, objective, k)
    if model.normalization != "none":
        yield "normalize", (formulas.NORMALIZED,), names
        yield "normalize", (formulas.SCALED,), names
    names_g = names | {"Z": names["Y"], "A": names["g"]}
    yield "activation", formulas.ACTIVATION_FORMULAS[model.hidden].forward, names_g
    if _any(objective.dropout):
        names_d = names | {"A": names["g"], "A after": names["dropped"]}
        yield "dropout", formulas.DROPOUT.forward, names_d
    if model.is_residual(k):
        names_r = {"A": names["dropped"], "A in": Name("A", k - 1), "A after": Name("A", k)}
        yield "residual", formulas.RESIDUAL.forward, names_r


def _names(model: MLP, objective: Objective, k: int) -> dict[str, Name]:
    """The names of hidden layer k; `g` is what the activation gives, `dropped` what follows."""
    parts = int(_any(objective.dropout)) + int(model.is_residual(k))
    activated = Name("A", k, primes=1) if parts else Name("A", k)
    dropped = activated
    if _any(objective.dropout):
        dropped = Name("A", k, primes=2) if model.is_residual(k) else Name("A", k)
    return {
        "Z": Name("Z", k),
        "Y": Name("Z̃", k) if model.normalization != "none" else Name("Z", k),
        **{letter: Name(letter, k) for letter in ("X̂", "γ", "β", "μ", "σ", "variance", "mask")},
        "g": activated,
        "dropped": dropped,
    }


def _backward(model: MLP, objective: Objective, N: int) -> Iterator[Operation]:
    widths = model.layer_sizes
    last = len(widths) - 1
    *_, loss = formulas.LOSS_FORMULAS[_loss(model, objective)]
    yield Operation(last, "loss", loss.backward, (N, widths[-1]))
    for k in range(last, 0, -1):
        l_in, l_out = widths[k - 1], widths[k]
        names = {
            "A": Name("A", k - 1) if k > 1 else _input(objective),
            "W": Name("W", k),
            "b": Name("b", k),
            "Z": Name("Z", k) if k < last else Name("L"),
        }
        operands = ((l_in, N), (N, l_out))
        yield Operation(k, "dense", (formulas.DENSE_WEIGHTS,), (l_in, l_out), names, operands)
        no_bias = model.normalization == "batch" and k < last
        of_b = formulas.NO_BIAS_GRADIENT if no_bias else formulas.DENSE_BIASES
        yield Operation(k, "dense", (of_b,), (l_out,), names)
        for strength, one, letter in _penalties(objective):
            if strength:
                of_W = {**names, "λ": Name(letter)}
                yield Operation(k, "penalty", one.backward, (l_in, l_out), of_W, adds=True)
        if k == 1:
            return
        operands = ((N, l_out), (l_out, l_in))
        yield Operation(k, "dense", (formulas.DENSE_INPUTS,), (N, l_in), names, operands)
        if model.is_residual(k):
            skip = {"A in": Name("A", k - 1), "A after": Name("A", k)}
            yield Operation(k, "residual", formulas.RESIDUAL.backward, (N, l_in), skip, adds=True)
        yield from _hidden_backward(model, objective, k - 1, N)


def _hidden_backward(model: MLP, objective: Objective, k: int, N: int) -> Iterator[Operation]:
    """From the gradient at a hidden layer's output to that at its product."""
    names, width = _names(model, objective, k), model.layer_sizes[k]
    dropped = Name("A", k)  # a residual adds to what came in and leaves the rest as it is
    activated = dropped
    if _any(objective.dropout):
        activated = Name("A", k, primes=1)
        of_mask = names | {"A after": dropped, "A before": activated}
        yield Operation(k, "dropout", formulas.DROPOUT.backward, (N, width), of_mask)
    equations = formulas.ACTIVATION_FORMULAS[model.hidden].backward
    of_g = names | {"Z": names["Y"], "A": names["g"], "dA": activated}
    yield Operation(k, "activation", equations, (N, width), of_g)
    if model.normalization != "none":
        yield Operation(k, "normalize", (formulas.SCALE_GRADIENT,), (width,), names)
        yield Operation(k, "normalize", (formulas.SHIFT_GRADIENT,), (width,), names)
        of_Z = formulas.NORMALIZATION_FORMULAS[model.normalization]
        yield Operation(k, "normalize", of_Z, (N, width), names)


def _input(objective: Objective) -> Name:
    return Name("X", None, primes=1) if _any(objective.input_dropout) else Name("X")


def _loss(model: MLP, objective: Objective) -> str:
    name = objective.loss or USUAL_LOSS[model.output]
    if not isinstance(name, str):
        raise InputError(
            "loss of one's own: its formulas are not known; give "
            f"one of {', '.join(formulas.LOSS_FORMULAS)}"
        )
    return name


def _penalties(objective: Objective) -> list[tuple[float, formulas.Formulas, str]]:
    return [(objective.l1, formulas.L1, "λ₁"), (objective.l2, formulas.L2, "λ₂")]


def _any(rate: float | Sequence[float]) -> bool:
    return bool(np.any(rate))


def _constants(model: MLP, objective: Objective) -> dict[str, str]:
    """What the letters of the formulas stand for, with this network's numbers."""
    found = {"N": "rows of the batch"}
    if model.normalization != "none":
        over = "a column's N rows" if model.normalization == "batch" else "a row's units"
        found |= {
            "μ, variance": f"those of {over}", "σ": "sqrt(variance + ε)", "ε": f"{EPSILON:g}"
        }  # fmt: skip
    if _any(objective.dropout) or _any(objective.input_dropout):
        found["mask"] = formulas.DROPOUT_MASK
        found["p"] = f"dropout {objective.dropout}, of inputs {objective.input_dropout}"
    loss = _loss(model, objective)
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
    if model.hidden == "selu":
        mixed = f"; of mixup: {found['λ']}" if "λ" in found else ""
        found |= {"λ": f"{SELU_SCALE:.4f}{mixed}", "λα": f"{SELU_LIMIT:.4f}"}
    if model.hidden == "gelu":
        found["Φ, φ"] = "the normal distribution and its density"
    if objective.class_weights:
        found["weights"] = "each row counts by the weight of its class, in J and in dL"
    return found


def as_shape(shape: Shape) -> str:
    """`64×784`, `64`, and `1` of a scalar."""
    return "×".join(map(str, shape)) or "1"
