"""Operations know which part of the step they belong to, and are what they are without it."""

import dataclasses
from typing import Any

import numpy as np
from steps import trace

from xpmlp.compiler.scopes import NOWHERE, Phase, scope


def inner(xp: Any, x: Any) -> Any:
    return xp.exp(x) + 1.0


def test_an_operation_has_the_innermost_scope() -> None:
    def step(xp: Any, x: Any) -> Any:
        with scope(xp, "outer"):
            y = inner(xp, x)
            with scope(xp, "inner", 2):
                z = inner(xp, y * 2.0)
            w = z * 3.0
        return (w - 1.0,), ()

    program = trace(step, np.zeros(3))
    assert [operation.phase for operation in program.operations] == [
        Phase(None, "outer"), Phase(None, "outer"),
        Phase(2, "inner"), Phase(2, "inner"), Phase(2, "inner"),
        Phase(None, "outer"),
        NOWHERE,
    ]  # fmt: skip


def test_an_operation_recorded_twice_belongs_to_its_first_scope() -> None:
    def step(xp: Any, x: Any) -> Any:
        with scope(xp, "first"):
            y = inner(xp, x)
        with scope(xp, "second"):
            return (y,), (inner(xp, x),)

    program = trace(step, np.zeros(3))
    assert [operation.phase for operation in program.operations] == [Phase(None, "first")] * 2


def test_a_scope_ends_with_an_exception() -> None:
    def step(xp: Any, x: Any) -> Any:
        try:
            with scope(xp, "fails"):
                raise ValueError
        except ValueError:
            return (inner(xp, x),), ()

    program = trace(step, np.zeros(3))
    assert {operation.phase for operation in program.operations} == {NOWHERE}


def test_a_scope_outside_of_tracing_does_nothing() -> None:
    with scope(np, "anything", 1):
        np.testing.assert_allclose(inner(np, np.zeros(1)), 2.0)


def test_phases_take_no_part_in_comparison() -> None:
    def step(xp: Any, x: Any) -> Any:
        with scope(xp, "named"):
            return (inner(xp, x),), ()

    (operation, _) = trace(step, np.zeros(3)).operations
    without = dataclasses.replace(operation, phase=NOWHERE)
    assert operation == without
    assert hash(operation) == hash(without)
    assert str(operation) == str(without)
