"""Operations know which part of the step they belong to, and are what they are without it."""

import dataclasses
from typing import Any

import numpy as np
from steps import trace

from xpmlp.backends import Backend
from xpmlp.compiler.scopes import NOWHERE, Phase, marker
from xpmlp.network import MLP


def inner(xp: Any, x: Any) -> Any:
    return xp.exp(x) + 1.0


def test_an_operation_belongs_to_the_last_mark_before_it() -> None:
    def step(xp: Any, x: Any) -> Any:
        mark = marker(xp)
        x = x - 1.0
        mark("one")
        y = inner(xp, x)
        mark("two", 2)
        z = inner(xp, y * 2.0)
        mark("one")
        return (z * 3.0,), ()

    program = trace(step, np.zeros(3))
    assert [operation.phase for operation in program.operations] == [
        NOWHERE,
        Phase(None, "one"), Phase(None, "one"),
        Phase(2, "two"), Phase(2, "two"), Phase(2, "two"),
        Phase(None, "one"),
    ]  # fmt: skip


def test_an_operation_recorded_twice_belongs_to_its_first_mark() -> None:
    def step(xp: Any, x: Any) -> Any:
        mark = marker(xp)
        mark("first")
        y = inner(xp, x)
        mark("second")
        return (y,), (inner(xp, x) * 2.0,)

    program = trace(step, np.zeros(3))
    phases = [operation.phase for operation in program.operations]
    assert phases == [Phase(None, "first"), Phase(None, "first"), Phase(None, "second")]


def test_a_mark_outside_of_tracing_does_nothing(backend: Backend) -> None:
    for xp in (np, backend.xp):
        assert marker(xp) is marker(np)
    marker(np)("anything", 1)
    marker(np)("anything")


def test_a_residual_sum_belongs_to_its_layer() -> None:
    """What its layers compute is theirs, and the sum after them, forward and backward, is its."""
    model = MLP((3, 3, 3, 2), "tanh", residual=True)
    data = np.zeros((2, 3), np.float32), np.zeros((2, 2), np.float32)

    def step(xp: Any, parameters: Any, X: Any, Y: Any) -> Any:
        found = model.forward_backward(parameters, X, Y, xp=xp)
        return (found.gradients,), (found.J,)

    operations = trace(step, model.initialize(0), data=data).operations
    sums = [one for one in operations if "residual" in one.phase.name]
    assert [(one.function, one.phase) for one in sums] == [
        ("add", Phase(2, "residual")), ("add", Phase(2, "backward residual"))
    ]  # fmt: skip


def test_phases_take_no_part_in_comparison() -> None:
    def step(xp: Any, x: Any) -> Any:
        marker(xp)("named")
        return (inner(xp, x),), ()

    (operation, _) = trace(step, np.zeros(3)).operations
    without = dataclasses.replace(operation, phase=NOWHERE)
    assert operation == without
    assert hash(operation) == hash(without)
    assert str(operation) == str(without)
