"""A program run through an Array API namespace: any library's arrays, one operation at a time."""

from collections.abc import Sequence
from typing import Any

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
