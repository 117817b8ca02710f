"""A program brought into the form that kernels have: the same results, simpler operations.

Reductions are over one axis each, and none is very long; every result and every part of a
concatenation is a value of its own, so that it can have memory of its own.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Collection

from xpmlp.compiler.geometry import WARP, longest
from xpmlp.compiler.program import REDUCTIONS, VIEWS, Operation, Program, Value


def prepare(program: Program) -> Program:
    """The program with short reductions over one axis, and results that are no views."""
    return _Rewriter(program).rewrite()


def with_copies(program: Program, states: Collection[int]) -> Program:
    """The program with a copy, at its end, of each new state with one of these numbers.

    The copy can be written over the old state where the value itself cannot: because it is
    no elementwise result, or because the old state is read later.
    """
    rewriter = _Rewriter(program)
    new_state = list(program.new_state)
    operations = list(program.operations)
    for number in states:
        operations.append(rewriter.copy_of(new_state[number]))
        new_state[number] = operations[-1].result
    return dataclasses.replace(program, operations=tuple(operations), new_state=tuple(new_state))


class _Rewriter:
    def __init__(self, program: Program) -> None:
        self.program = program
        values = [*program.inputs, *(operation.result for operation in program.operations)]
        self.last_number = max((value.number for value in values), default=0)

    def rewrite(self) -> Program:
        program = self.program
        before: list[Operation] = []
        after: list[Operation] = []
        within: list[Operation] = []

        def owned(result: Value, old: Value | None = None) -> Value:
            """The result, or a copy of what it looks at; an old state is copied before it goes."""
            is_own = program.base(result) == result and result not in program.inputs
            if is_own or result == old:
                return result
            copy = self.copy_of(result)
            (before if result in program.inputs else after).append(copy)
            return copy.result

        parts = self._parts()
        states = zip(program.new_state, program.state, strict=True)
        new_state = tuple(owned(new, old) for new, old in states)
        metrics = []
        for metric in program.metrics:
            if metric in parts:  # its memory lies within another value's
                after.append(self.copy_of(metric))
                metric = after[-1].result
            metrics.append(owned(metric))
        for operation in program.operations:
            if operation.function in REDUCTIONS:
                within += self._single_axes(operation)
            elif operation.function == "concat":
                within += self._with_own_parts(operation, parts)
            else:
                within.append(operation)
        return Program(
            program.state,
            program.data,
            (*before, *within, *after),
            new_state,
            tuple(metrics),
        )

    def copy_of(self, value: Value) -> Operation:
        """An operation whose result is the same array, with memory of its own."""
        return Operation("astype", (value,), self._value(value.shape, value.dtype), value.dtype)

    def _value(self, shape: tuple[int, ...], dtype: str) -> Value:
        self.last_number += 1
        return Value(self.last_number, shape, dtype)

    def _parts(self) -> Counter[Value]:
        return Counter(
            self.program.base(part)
            for operation in self.program.operations
            if operation.function == "concat"
            for part in operation.values
        )

    def _with_own_parts(self, concat: Operation, parts: Counter[Value]) -> list[Operation]:
        """A concatenation whose parts each lie in it and nowhere else."""
        copies, operands = list[Operation](), list[Value]()
        for part in concat.values:
            base = self.program.base(part)
            maker = self.program.makers.get(base)
            is_own = (
                maker is not None
                and maker.function != "concat"
                and parts[base] == 1
                and base not in self.program.new_state
                and self._is_only_reshaped(part)
            )
            if not is_own:
                copies.append(self.copy_of(part))
            operands.append(part if is_own else copies[-1].result)
        return [*copies, dataclasses.replace(concat, operands=tuple(operands))]

    def _is_only_reshaped(self, value: Value) -> bool:
        while (maker := self.program.makers[value]).function in VIEWS:
            if maker.function != "reshape":
                return False
            value = next(maker.values)
        return True

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
