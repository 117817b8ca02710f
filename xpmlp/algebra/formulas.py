"""The formulas of the algebra as text, word for word as its docstrings have them, and for ONNX.

Whoever shows a formula (`xpmlp explain`) takes it from here; a test finds each in the docstring of
its function, and another computes with them and compares the numbers with the functions'.

    the notation is that of the docstrings: `*` and `/` elementwise, two names side by side their
    product, ᵀ the transpose; a name of two words, such as `dA before`, is one array

The first equation of a tuple is the result, those after it say what stands in it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Formulas(NamedTuple):
    """A step forward and its Jacobian: equations, each tuple's first the result."""

    forward: tuple[str, ...]
    backward: tuple[str, ...]


def as_line(equations: tuple[str, ...]) -> str:
    """Return the first equation, with those after it that say what stands in it."""
    first, *others = equations
    return f"{first}, with {', '.join(others)}" if others else first


class Node(NamedTuple):
    """An operation by its ONNX name, and what it is applied to."""

    name: str
    operands: tuple["Expression", ...]
    attributes: Mapping[str, Any] = MappingProxyType({})


Expression = Node | float | str
"""A formula in Z for ONNX: `"Z"` itself, a number, or an operation on such."""


def node(name: str, *operands: Expression, **attributes: Any) -> Node:
    """Return an operation of ONNX, applied."""
    return Node(name, operands, attributes)


DENSE = "Z = A W + b"
DENSE_WEIGHTS = "dW = Aᵀ dZ"
DENSE_BIASES = "db = sum over rows of dZ"
DENSE_INPUTS = "dA = dZ Wᵀ"

DROPOUT = Formulas(("A after = A * mask",), ("dA before = dA after * mask",))
DROPOUT_MASK = "0 with probability p, else 1/(1-p)"
SMOOTHED = "(1 - s) Y + s/K"
MIXED = "λ X + (1 - λ) X'"
L2 = Formulas(("(λ/2) ΣW²",), ("dW = λ W",))
L1 = Formulas(("λ Σ|W|",), ("dW = λ sign(W)",))
RESIDUAL = Formulas(("A after = A + A in",), ("dA in += dA after",))
"""What a network adds to a layer's output."""
NO_BIAS_GRADIENT = "db = 0"
"""Before a batch normalisation, whose own mean takes b off again."""
