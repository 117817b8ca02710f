"""The program of any step that a test writes down."""

from typing import Any

import numpy as np

from xpmlp.compiler import Program, record


def trace(step: Any, *state: np.ndarray, data: tuple[np.ndarray, ...] = ()) -> Program:
    """The program of a step written as `step(xp, *state, *data)` -> the new state and metrics."""
    return record(lambda *, xp: lambda s, d: step(xp, *s, *d), state, data)
