"""The program of any step that a test writes down."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpmlp.compiler import Program, record
from xpmlp.compiler.partial import apply


def trace(step: Any, *state: np.ndarray, data: tuple[np.ndarray, ...] = ()) -> Program:
    """The program of a step written as `step(xp, *state, *data)` -> the new state and metrics."""
    return record(lambda *, xp: lambda s, d: step(xp, *s, *d), state, data)


def replay(
    program: Program, state: Sequence[Any], data: Sequence[Any], *, xp: Any
) -> tuple[list[Any], list[Any]]:
    """The new state and the metrics of one step, as flat lists, operation by operation."""
    arrays = dict(zip(program.inputs, (*state, *data), strict=True))
    for operation in program.operations:
        arrays[operation.result] = apply(operation, arrays, xp=xp)
    return [arrays[v] for v in program.new_state], [arrays[v] for v in program.metrics]
