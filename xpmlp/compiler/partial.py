"""A program run through an Array API namespace: any library's arrays, one operation at a time."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from xpmlp.compiler.program import Operation, Program, Scalar, Value
from xpmlp.typing import Array, Namespace


def replay(
    program: Program, state: Sequence[Array], data: Sequence[Array], *, xp: Namespace
) -> tuple[list[Array], list[Array]]:
    """The new state and the metrics that a program makes of a state and data, as flat lists."""
    arrays: dict[Value, Array] = dict(zip(program.inputs, (*state, *data), strict=True))
    for operation in program.operations:
        arrays[operation.result] = apply(operation, arrays, xp=xp)
    return [arrays[v] for v in program.new_state], [arrays[v] for v in program.metrics]


def apply(operation: Operation, arrays: dict[Value, Array], *, xp: Namespace) -> Array:
    """The result of one operation on the arrays that stand for its operands."""
    given: list[Any] = [
        operand.value if isinstance(operand, Scalar) else arrays[operand]
        for operand in operation.operands
    ]
    name, options = operation.function, dict(operation.options)
    if name == "getitem":
        return given[0][options["index"]]
    if name in ("reshape", "broadcast_to"):
        return getattr(xp, name)(given[0], operation.result.shape)
    if name == "astype":
        return xp.astype(given[0], getattr(xp, operation.result.dtype))
    if name == "full":
        return xp.full(operation.result.shape, given[0], dtype=getattr(xp, operation.result.dtype))
    if name == "concat":
        return xp.concat(given, **options)
    if name == "sum":
        return xp.sum(given[0], dtype=getattr(xp, operation.result.dtype), **options)
    if name == "argmax":
        (axis,) = options.pop("axis")
        return xp.argmax(given[0], axis=axis, **options)
    return getattr(xp, name)(*given, **options)


class ProgramPart(NamedTuple):
    """Operations in a row: what they are given, and which of their results others look at."""

    operations: tuple[Operation, ...]
    given: tuple[Value, ...]
    wanted: tuple[Value, ...]

    def run(self, given: Sequence[Array], *, xp: Namespace) -> tuple[Array, ...]:
        """The wanted results."""
        arrays = dict(zip(self.given, given, strict=True))
        for operation in self.operations:
            arrays[operation.result] = apply(operation, arrays, xp=xp)
        return tuple([arrays[value] for value in self.wanted])


def cut(program: Program, starts: Sequence[int]) -> list[ProgramPart]:
    """The program in parts that begin with the operations of these numbers, the first with 0."""
    parts: list[ProgramPart] = []
    looked_at = set(program.results)
    for start, stop in reversed(list(itertools.pairwise((*starts, len(program.operations))))):
        operations = program.operations[start:stop]
        made = [operation.result for operation in operations]
        read = dict.fromkeys(value for operation in operations for value in operation.values)
        given = tuple(value for value in read if value not in made)
        parts.append(ProgramPart(operations, given, tuple(v for v in made if v in looked_at)))
        looked_at.update(given)
    return parts[::-1]
