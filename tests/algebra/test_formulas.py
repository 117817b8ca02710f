"""The formulas that are shown to readers are those of the algebra's docstrings, word for word."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from xpmlp import algebra
from xpmlp.algebra import formulas
from xpmlp.algebra.activations import ACTIVATIONS
from xpmlp.algebra.losses import LOSSES
from xpmlp.algebra.normalization import NORMALIZATIONS


def pairs() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Each equation with the function whose docstring has it."""
    of_dense = {
        formulas.DENSE: algebra.dense,
        formulas.DENSE_WEIGHTS: algebra.dense_backward,
        formulas.DENSE_BIASES: algebra.dense_backward,
        formulas.DENSE_INPUTS: algebra.dense_backward,
        formulas.DROPOUT_MASK: algebra.dropout,
        formulas.SMOOTHED: algebra.smooth_labels,
        formulas.MIXED: algebra.mix,
    }
    yield from of_dense.items()
    for name, activation in ACTIVATIONS.items():
        both = activation.formulas
        yield from ((one, getattr(algebra.activations, name)) for one in both.forward)
        yield from (
            (one, getattr(algebra.activations, f"{name}_backward")) for one in both.backward
        )
    for name, loss in LOSSES.items():
        for step in loss.formulas:
            yield from ((one, getattr(algebra, name)) for one in step.forward)
            yield from ((one, getattr(algebra, f"{name}_backward")) for one in step.backward)
    for name, normalization in NORMALIZATIONS.items():
        for what, equations in normalization.equations.items():
            function = f"{name}_norm_backward" if what.startswith("d") else f"{name}_norm"
            yield from ((one, getattr(algebra.normalization, function)) for one in equations)
    for both, name in (
        (formulas.DROPOUT, "dropout"), (formulas.L1, "l1_penalty"), (formulas.L2, "l2_penalty")
    ):  # fmt: skip
        gradient = "dropout_backward" if name == "dropout" else f"{name}_gradient"
        yield from ((one, getattr(algebra, name)) for one in both.forward)
        yield from ((one, getattr(algebra, gradient)) for one in both.backward)


PAIRS = list(pairs())


@pytest.mark.parametrize(
    ("formula", "function"), PAIRS, ids=[f"{one.__name__}: {text}" for text, one in PAIRS]
)
def test_each_stands_in_the_docstring_of_its_function(
    formula: str, function: Callable[..., Any]
) -> None:
    # A Jacobian's says of what stands in it "as in" the forward step's.
    steps = {function, getattr(algebra, function.__name__.removesuffix("_backward"))}
    # Lines are broken and aligned: `Z  = A W + b`.
    assert any(formula in " ".join((inspect.getdoc(one) or "").split()) for one in steps)


def test_every_loss_has_its_formulas() -> None:
    assert all(loss.formulas for loss in LOSSES.values())
