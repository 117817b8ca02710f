"""Results and parts of concatenations that have memory of their own."""

from typing import Any

import numpy as np

from xpmlp.compiler import record
from xpmlp.compiler.operations import VIEWS


def test_results_are_no_views_no_inputs_and_nothing_twice() -> None:
    def make(*, xp: Any) -> Any:
        def step(state: Any, data: Any) -> Any:
            a, _, c = state
            y = data[0] + 1.0
            new = (a, a, xp.matrix_transpose(c))
            return new, (y, y, y[1:], xp.reshape(y, (-1,)), xp.matrix_transpose(y), data[0])

        return step

    x = np.zeros((3, 3))
    program = record(make, (x, x, x), (x,))
    assert program.new_state[0] == program.state[0]
    others = (*program.new_state[1:], *program.metrics)
    assert len(set(others)) == len(others)
    assert all(program.makers[value].function not in VIEWS for value in others)


def test_parts_of_a_concatenation_belong_to_it_alone() -> None:
    def make(*, xp: Any) -> Any:
        def step(state: Any, data: Any) -> Any:
            (x,) = data
            y, z = xp.sum(x, axis=0), xp.sum(x * 2.0, axis=0)
            return state, (xp.concat([y, x[0], y, xp.sum(x, axis=1), z]), z)

        return step

    program = record(make, (), (np.zeros((3, 4)),))
    (concat,) = (one for one in program.operations if one.function == "concat")
    makers = [program.makers[part].function for part in concat.values]
    assert makers == ["astype", "astype", "astype", "sum", "astype"]
