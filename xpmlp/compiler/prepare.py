"""A program brought into the form that kernels have: the same results, simpler operations.

Reductions are over one axis each, and none is very long.
"""

import dataclasses
import math

from xpmlp.compiler.geometry import WARP, longest
from xpmlp.compiler.operations import REDUCTIONS
from xpmlp.compiler.program import Operation, Program, Value


def prepare(program: Program) -> Program:
    """Return the program with short reductions over one axis."""
    return _Rewriter(program).rewrite()


class _Rewriter:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.next_number = program.next_number

    def rewrite(self) -> Program:
        operations: list[Operation] = []
        for operation in self.program.operations:
            is_reduction = operation.function in REDUCTIONS
            operations += self._single_axes(operation) if is_reduction else [operation]
        return dataclasses.replace(self.program, operations=tuple(operations))

    def _value(self, shape: tuple[int, ...], dtype: str) -> Value:
        self.next_number += 1
        return Value(self.next_number - 1, shape, dtype)

    def _single_axes(self, reduction: Operation) -> list[Operation]:
        """The same reduction one axis after another, the last first: its memory is together."""
        (operand,) = reduction.values
        axes, result = reduction.option("axis"), reduction.result
        if not axes:
            return [Operation("astype", (operand,), result, result.dtype)]
        if len(axes) == 1:
            return self._in_pieces(reduction)
        made: list[Operation] = []
        for axis in reversed(axes):
            shape = (*operand.shape[:axis], *operand.shape[axis + 1 :])
            is_done = axis == axes[0] and shape == result.shape
            value = result if is_done else self._value(shape, result.dtype)
            made += self._in_pieces(self._reduce(reduction, operand, axis, value))
            operand = value
        if operand != result:
            made.append(self._view("reshape", operand, result, shape=result.shape))
        return made

    def _in_pieces(self, reduction: Operation) -> list[Operation]:
        """A reduction of a long axis as one of its pieces, and then of their results.

        An axis of a length without a fitting divisor stays as it is, and so does an argmax.
        """
        (operand,) = reduction.values
        (axis,) = reduction.option("axis")
        length, before, after = operand.shape[axis], operand.shape[:axis], operand.shape[axis + 1 :]
        longest_piece = longest(math.prod((*before, *after)), is_last=not after)
        pieces = _pieces(length, longest_piece)
        if pieces == 1 or reduction.function == "argmax":
            return [reduction]
        split = self._value((*before, pieces, length // pieces, *after), operand.dtype)
        partial = self._value((*before, pieces, *after), reduction.result.dtype)
        return [
            self._view("reshape", operand, split, shape=split.shape),
            self._reduce(reduction, split, axis + 1, partial),
            *self._in_pieces(dataclasses.replace(reduction, operands=(partial,))),
        ]

    def _reduce(self, like: Operation, operand: Value, axis: int, result: Value) -> Operation:
        options = (("axis", (axis,)), ("keepdims", False))
        return Operation(like.function, (operand,), result, like.computes, options)

    def _view(self, function: str, operand: Value, result: Value, **options: object) -> Operation:
        return Operation(function, (operand,), result, result.dtype, tuple(options.items()))


def _pieces(length: int, longest_piece: int) -> int:
    """The smallest number of equal pieces, none longer than that; 1 where they would be tiny."""
    if length <= longest_piece:
        return 1
    numbers = range(-(-length // longest_piece), length // WARP + 1)
    return next((pieces for pieces in numbers if length % pieces == 0), 1)
