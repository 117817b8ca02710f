"""Where the numbers of a step went wrong: it is traced and run once more, looking at every result.

No step looks at its numbers while it trains; this is done afterwards, from the last good state.
"""

import functools
from typing import Any

import numpy as np

from xpmlp.backends import Backend
from xpmlp.backends.base import StepMaker
from xpmlp.compiler import Interpreter, Program, leaves, rebuild, record
from xpmlp.compiler.program import Value
from xpmlp.compiler.scopes import Phase


class NonFiniteError(Exception):
    """A loss or parameter became NaN or infinite at this iteration."""

    def __init__(self, found: str, iteration: int) -> None:
        super().__init__(found)
        self.found, self.iteration = found, iteration


def check_losses(losses: np.ndarray, iteration: int, *, allows_divergence: bool) -> None:
    """Raise `NonFiniteError` for a loss that is NaN or infinite, (steps,) or (steps, E).

    `iteration` steps were done before. Where members may diverge, all of them must have.
    """
    bad = ~np.isfinite(losses)
    if bad.any() and not (allows_divergence and not bad[-1].all()):
        first = np.argwhere(bad)[0]
        found = f"the loss became {losses[tuple(first)]}"
        if len(first) > 1:
            found += f" in member {first[1] + 1}"
        raise NonFiniteError(found, iteration + int(first[0]) + 1)


QUANTITIES = {
    "forward product + bias": "Z{layer} = A{before} W{layer} + b{layer}",
    "backward dW, db, dA": "dW{layer}, db{layer} or dA{before}",
    "backward dW, db": "dW{layer} or db{layer}",
    "backward dL": "dL",
    "update": "the new parameters",
}
"""What a phase computes, in the lecture's notation; another phase is called by its own name."""


def find_first_nonfinite(make_step: StepMaker, state: Any, data: Any, *, backend: Backend) -> str:
    """Return what became NaN or infinite first in a step, with its layer, in words.

    Only what made the loss or the parameters non-finite counts; the text is empty if they are
    finite. NumPy runs the step on copies.
    """
    state, data = (_on_host(nest, backend) for nest in (state, data))
    program = record(make_step, state, data)
    bad = _not_finite(program, state, data)
    for value in (*program.metrics, *program.new_state):
        if value in bad:
            return _origin(program, value, bad)
    return ""


def _not_finite(program: Program, state: Any, data: Any) -> set[Value]:
    """The values of a program that have a non-finite element, once it has run from this state."""
    bad = set[Value]()

    def look(value: Value, array: np.ndarray) -> None:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad.add(value)

    for value, array in zip(program.inputs, [*leaves(state), *leaves(data)], strict=True):
        look(value, array)
    marks = {
        number: functools.partial(lambda one: look(one, interpreter.array(one)), operation.result)
        for number, operation in enumerate(program.operations, start=1)
    }
    interpreter = Interpreter(program, marks=marks)
    with np.errstate(all="ignore"):
        interpreter.run(state, data, 1)
    return bad


def _origin(program: Program, value: Value, bad: set[Value]) -> str:
    """Where a value became non-finite: back to the operation whose operands are all finite."""
    while (maker := program.makers.get(value)) is not None:
        causes = [operand for operand in maker.values if operand in bad]
        if not causes:
            return _worded(maker.phase)
        value = causes[0]
    return "the parameters that it began with" if value in program.state else "its rows"


def _worded(phase: Phase) -> str:
    layer = phase.layer or 0
    quantity = QUANTITIES.get(phase.name, phase.name).format(layer=layer, before=layer - 1)
    return f"{quantity} of layer {layer}" if layer else quantity


def _on_host(nest: Any, backend: Backend) -> Any:
    """A nest of arrays with copies on the host in their places."""
    return rebuild(nest, iter([backend.to_numpy(leaf) for leaf in leaves(nest)]))
