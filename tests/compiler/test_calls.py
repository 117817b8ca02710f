"""Operations know which functions wrote them, and are what they are without it."""

import dataclasses
from typing import Any

import numpy as np
from steps import trace


def inner(xp: Any, x: Any) -> Any:
    return xp.exp(x) + 1.0


def outer(xp: Any, x: Any) -> Any:
    return inner(xp, inner(xp, x) * 2.0)


def names(operation: Any) -> list[str]:
    return [call.function.rpartition(".")[2] for call in operation.calls]


def test_an_operation_knows_the_calls_it_stands_in_and_which_they_were() -> None:
    def step(xp: Any, x: Any) -> Any:
        return (outer(xp, x) - 1.0,), ()

    program = trace(step, np.zeros(3))
    exp, add, double, second_exp, second_add, subtract = program.operations
    for operation in (exp, add, second_exp, second_add):
        assert names(operation)[-2:] == ["outer", "inner"]
    assert names(double)[-1] == "outer"
    assert names(subtract)[-1] == "step"
    assert exp.calls == add.calls
    assert second_exp.calls == second_add.calls
    assert exp.calls[:-1] == second_exp.calls[:-1] == double.calls
    assert exp.calls[-1].number != second_exp.calls[-1].number
    assert exp.calls[-1].function == f"{__name__}.inner"


def test_what_was_written_before_belongs_to_who_wrote_it_first() -> None:
    def step(xp: Any, x: Any) -> Any:
        return (inner(xp, x),), (inner(xp, x),)

    program = trace(step, np.zeros(3))
    assert len(program.operations) == 2
    assert len({operation.calls for operation in program.operations}) == 1


def test_calls_take_no_part_in_comparison() -> None:
    def step(xp: Any, x: Any) -> Any:
        return (inner(xp, x),), ()

    (operation, _) = trace(step, np.zeros(3)).operations
    without = dataclasses.replace(operation, calls=())
    assert operation == without
    assert hash(operation) == hash(without)
    assert str(operation) == str(without)
