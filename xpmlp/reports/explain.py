"""The lecture's two slides for any network: each step forward and each Jacobian, with its numbers.

An explanation follows `MLP.forward` and `MLP.backward` line by line; its formulas are the algebra's
(`xpmlp.algebra.formulas`) with the network's names in them. A test computes with the formulas as
they are shown and gets the gradients that the network gets.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from xpmlp.algebra import ACTIVATIONS, LOSSES, NORMALIZATIONS, formulas
from xpmlp.algebra.formulas import as_line
from xpmlp.errors import InputError
from xpmlp.network import MLP, PLAIN, Objective
from xpmlp.network.layers import Activate, Chain, Computation, Dense, Dropout, Layer, Normalize
from xpmlp.reports.notation import SYMBOL, as_text
from xpmlp.reports.numbers import short

Names = dict[str, str]
NUMBERED = ("W", "b", "X̂", "γ", "β", "μ", "σ", "variance", "mask")
LINKS = {
    Dense: ("A", "Z", "Z"), Normalize: ("Z", "Y", "Z̃"), Activate: ("Z", "A", "A"),
    Dropout: ("A", "A after", ""), Chain: ("A", "A after", ""),
}  # fmt: skip
"""What a layer's formulas call its input and its output, and what the network calls the latter,
empty for its input's name with a prime."""

SIGNS = {"δ": "huber_delta", "q": "quantile", "s": "label_smoothing", "λ₁": "l1", "λ₂": "l2"}
"""What the letters of an objective's formulas stand for."""

SYMBOLS: Mapping[str, str] = {
    "N": "rows of the batch",
    "X": "inputs, one row per example",
    "X̃": "the rows of X in another order",
    "W": "weights",
    "b": "biases",
    "Z": "pre-activations",
    "X̂": "normalised Z",
    "Z̃": "normalised Z, scaled and shifted",
    "γ": "learned scale",
    "β": "learned shift",
    "A": "activations",
    "L": "outputs of the last layer (logits)",
    "Y": "targets",
    "Ŷ": "predictions",
    "J": "loss",
    "d": "gradient: dW is that of J with respect to W",
    "*": "elementwise product; A W without a sign is a matrix product",
    "ᵀ": "transpose",
    "′": "after dropout or a residual sum, ′′ after both",
    "π": "3.1416",
    "Σ": "sum over all entries",
    "sum": "sum over all entries",
    "mean": "mean of a row",
    "sign": "1, 0 or -1",
    "softmax": "exp(L) of a row, divided by the sum of that row",
    "softplus": "log(1 + exp(Z))",
}
"""What the letters and signs of every network's formulas stand for."""


class Explanation(NamedTuple):
    """A training step, matrix by matrix.

    Attributes
    ----------
    model : MLP
        The network.
    rows : int
        Rows in a mini-batch, N.
    dtype : str
        The dtype of the matrices.
    forward : tuple of Computation
        The operations of the forward pass, in order.
    backward : tuple of Computation
        The operations of the backward pass, in order.
    symbols : dict of str to str
        The meaning of each symbol in the formulas.

    Examples
    --------
    >>> from xpmlp.reports.explain import explain
    >>> explain(xpmlp.MLP((4, 2))).symbols["W[k]"]
    'weights'
    """

    model: MLP
    rows: int
    dtype: str
    forward: tuple[Computation, ...]
    backward: tuple[Computation, ...]
    symbols: dict[str, str]

    @property
    def itemsize(self) -> int:
        """The bytes of a number."""
        return int(np.dtype(self.dtype).itemsize)

    @property
    def summary(self) -> str:
        """One line about the whole step."""
        count = self.model.parameter_count
        flops = [sum(one.flops for one in side) for side in self.slides.values()]
        forward, backward = (short(one, "FLOP") for one in flops)
        return (
            f"{count:,} parameters ({short(count * self.itemsize, 'B')} in {self.dtype}); products "
            f"of a step with N = {self.rows}: {forward} forward, {backward} backward"
        )

    def numbers(self, operation: Computation) -> tuple[str, str, str]:
        """Return the shapes, FLOPs and bytes of an operation as text.

        Parameters
        ----------
        operation : Computation
            One of `forward` or `backward`.

        Returns
        -------
        tuple of str
            Shapes, FLOPs (empty without a product) and bytes.
        """
        flops = short(operation.flops) if operation.flops else ""
        return operation.shapes, flops, short(math.prod(operation.shape) * self.itemsize)

    @property
    def slides(self) -> dict[str, tuple[Computation, ...]]:
        """The operations of the lecture's two slides by their titles."""
        return {"Forward pass": self.forward, "Expanded Jacobians": self.backward}

    def title(self, layer: int) -> str:
        """Return the heading of a layer.

        Parameters
        ----------
        layer : int
            The `layer` of an operation: 0 for the input, one more than the last layer for the loss.

        Returns
        -------
        str
            The heading.
        """
        widths = self.model.layer_sizes
        if 0 < layer < len(widths):
            return f"Layer {layer}: {widths[layer - 1]} → {widths[layer]}"
        return "Loss" if layer else "Input"


def explain(
    model: MLP, objective: Objective = PLAIN, *, rows: int = 64, dtype: str = "float32"
) -> Explanation:
    """Return every matrix of a training step, in the order of computation.

    Parameters
    ----------
    model : MLP
        The network.
    objective : Objective, optional
        The loss and its regularisation.
    rows : int, default 64
        Rows in a mini-batch, N.
    dtype : str, default 'float32'
        The dtype, for the numbers of bytes.

    Returns
    -------
    Explanation
        The operations of the forward and the backward pass, with shapes and formulas.

    Raises
    ------
    InputError
        For an objective that does not fit the network, and for a custom loss, whose formulas are
        not known.

    References
    ----------
    Lecture 11, "forward propagation" and "Expanded Jacobians".

    Examples
    --------
    >>> from xpmlp.reports.explain import explain
    >>> for operation in explain(xpmlp.MLP((4, 2))).backward:
    ...     print(operation.text)
    dL = -(1/N)(Y - Ŷ)
    dW[1] = Xᵀ dL
    db[1] = sum over rows of dL
    """
    objective.check(model.output, model.layer_sizes[-1])
    steps = objective.loss_for(model.output).formulas
    if not steps:
        raise InputError(
            f"loss of one's own: its formulas are not known; give one of {', '.join(LOSSES)}"
        )
    widths, above = model.layer_sizes, len(model.layer_sizes)
    outputs = rows, widths[-1]
    forward, backward = list[Computation](), list[Computation]()
    if objective.mixup:
        mixed = as_text(f"X = {formulas.MIXED}", {"λ": "λ₀", "X'": "X̃"})
        forward.append(Computation(0, mixed, (rows, widths[0])))
    named = _named(model, objective)
    for layer, names in named.items():
        forward += _renamed(layer.operations(rows)[0], names)
    if objective.label_smoothing:
        forward.append(Computation(above, f"Y = {formulas.SMOOTHED}", outputs))
    for step in steps:
        shape = () if step.forward[0].startswith("J") else outputs
        forward.append(Computation(above, as_line(step.forward), shape))
    backward.append(Computation(above, as_line(steps[-1].backward), outputs))
    for layer in model.chain.walk(backward=True):
        if layer in named and layer.k:  # behind the input nothing learns
            backward += _renamed(layer.operations(rows)[1], named[layer])
    penalties = (objective.l1, "λ₁", formulas.L1), (objective.l2, "λ₂", formulas.L2)
    for strength, letter, penalty in penalties:
        for k, shape in enumerate(itertools.pairwise(widths), 1) if strength else ():
            of_J, of_W = (as_text(one, {"W": f"W[{k}]", "λ": letter}) for (one,) in penalty)
            forward.append(Computation(above, f"J += {of_J}", ()))
            backward.append(Computation(k, of_W.replace("=", "+="), shape))
    symbols = _symbols(model, objective, [one.text for one in (*forward, *backward)])
    return Explanation(model, rows, dtype, tuple(forward), tuple(backward), symbols)


def _named(model: MLP, objective: Objective) -> dict[Layer, Names]:
    """Return what the letters of each layer's formulas are called in the network.

    Dropout and a residual sum add a prime to the name of what they change; dropout without a rate
    does nothing and is left out.
    """
    named: dict[Layer, Names] = {}
    entering, here, before = "X", "X", Names()
    for layer in model.chain.walk():
        k = layer.k
        rate = objective.dropout if k else objective.input_dropout
        if isinstance(layer, Dropout) and not np.any(rate):
            continue
        reads, gives, letter = LINKS[type(layer)]
        after = f"{letter}[{k}]" if letter else here.replace("[", "′[") if k else "X′"
        if isinstance(layer, Dense):
            entering = here
            after = "L" if k == len(model.layer_sizes) - 1 else after
        names = {letter: f"{letter}[{k}]" for letter in NUMBERED}
        names |= {reads: here, "A before": here, gives: after, "A in": entering}
        if isinstance(layer, Chain):  # a sum leaves the gradient as it is
            before |= {"dA": f"d{after}", "dA after": f"d{after}"}
        here, before, named[layer] = after, names, names
    return named


def _renamed(operations: Iterable[Computation], names: Names) -> Iterator[Computation]:
    return (one._replace(text=as_text(one.text, names)) for one in operations)


def _symbols(model: MLP, objective: Objective, texts: Iterable[str]) -> dict[str, str]:
    """Return what stands in the formulas, with this network's numbers; `[k]` is a layer's."""
    norm = NORMALIZATIONS.get(model.normalization)
    known = {
        **SYMBOLS,
        **ACTIVATIONS[model.activation].symbols,
        **(norm.symbols if norm else {}),
        "mask": f"{formulas.DROPOUT_MASK}; p: dropout {objective.dropout}, of inputs "
        f"{objective.input_dropout}",
        "K": f"classes = {model.layer_sizes[-1]}",
        "λ₀": f"drawn from Beta({objective.mixup:g}, {objective.mixup:g}); Y is mixed alike",
        **{sign: f"{name} = {getattr(objective, name):g}" for sign, name in SIGNS.items()},
    }
    text = "\n".join(texts)
    symbols = list(SYMBOL.finditer(text))
    numbered = {one["letter"] for one in symbols if one["number"]}
    present = {part for one in symbols for part in (one["letter"], one["d"])}
    present |= set(text).intersection("*ᵀ′Σ")
    legend = {
        f"{letter}[k]" if letter in numbered else letter: meaning
        for letter, meaning in known.items()
        if letter in present
    }
    local = {one["letter"] for one in symbols if len(one["letter"]) == 1} - known.keys()
    if local:
        legend[", ".join(sorted(local))] = "defined where they stand"
    if objective.class_weights:
        legend["weights"] = "each row counts by the weight of its class, in J and in dL"
    return legend
