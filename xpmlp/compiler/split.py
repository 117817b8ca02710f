"""Flat vectors taken apart: a program whose state is the parts that the step looks at.

A flat vector makes an update one expression and a checkpoint one tensor; a compiler that copies
(XLA does) pays for joining the gradients and for cutting the weights out in every step. Where a
concatenation says what the parts are, all that is elementwise can be done on each of them.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from xpmlp.compiler.program import ELEMENTWISE, Operand, Operation, Program, Value, needed
from xpmlp.typing import Array, Namespace


class SplitProgram(NamedTuple):
    """A program with its state in parts; `stops`, for every leaf of the state it had, says where
    its parts end along the last axis, or is None for a leaf that is whole."""

    program: Program
    stops: tuple[tuple[int, ...] | None, ...]


def split_state(program: Program) -> SplitProgram:
    """The same program on parts, wherever one of its concatenations says what they are."""
    return _Splitter(program).split()


def take_apart(leaves: Sequence[Array], stops: Sequence[tuple[int, ...] | None]) -> list[Array]:
    """The leaves of a state in parts, as `split_state` has it."""
    parts: list[Array] = []
    for leaf, cut in zip(leaves, stops, strict=True):
        if cut is None:
            parts.append(leaf)
        else:
            parts += [leaf[..., start:stop] for start, stop in itertools.pairwise((0, *cut))]
    return parts


def put_together(
    parts: Sequence[Array], stops: Sequence[tuple[int, ...] | None], *, xp: Namespace
) -> list[Array]:
    """The inverse of `take_apart`."""
    coming = iter(parts)
    return [
        next(coming) if cut is None else xp.concat([next(coming) for _ in cut], axis=-1)
        for cut in stops
    ]


class _Splitter:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.count = 1 + max(
            value.number
            for value in (*program.inputs, *(operation.result for operation in program.operations))
        )
        self.parts: dict[Value, list[Value]] = {}
        self.alias: dict[Value, Value] = {}
        self.operations: list[Operation] = []
        # (shape of the whole, where its parts end), as the concatenations have it
        self.cuts: dict[tuple[int, ...], tuple[int, ...]] = {}
        for operation in program.operations:
            whole = operation.result.shape
            if operation.function == "concat" and operation.option("axis") == len(whole) - 1:
                sizes = (part.shape[-1] for part in operation.values)
                self.cuts.setdefault(whole, tuple(itertools.accumulate(sizes)))

    def split(self) -> SplitProgram:
        state: list[Value] = []
        stops = [self.cuts.get(value.shape) for value in self.program.state]
        for value, cut in zip(self.program.state, stops, strict=True):
            state += [value] if cut is None else self._new_parts(value, cut)
        for operation in self.program.operations:
            self._rewrite(operation)
        new_state: list[Value] = []
        for value, cut in zip(self.program.new_state, stops, strict=True):
            new_state += [self._whole(value)] if cut is None else self._parts_of(value, cut)
        metrics = tuple(map(self._whole, self.program.metrics))
        operations = needed(self.operations, (*new_state, *metrics))
        return SplitProgram(
            Program(tuple(state), self.program.data, operations, tuple(new_state), metrics),
            tuple(stops),
        )

    def _new_value(self, shape: Sequence[int], dtype: str) -> Value:
        self.count += 1
        return Value(self.count - 1, tuple(shape), dtype)

    def _new_parts(self, value: Value, cut: tuple[int, ...]) -> list[Value]:
        self.parts[value] = [
            self._new_value((*value.shape[:-1], stop - start), value.dtype)
            for start, stop in itertools.pairwise((0, *cut))
        ]
        return self.parts[value]

    def _rewrite(self, operation: Operation) -> None:
        result, cut = operation.result, self.cuts.get(operation.result.shape)
        if operation.function == "concat" and cut is not None:
            sizes = [part.shape[-1] for part in operation.values]
            if tuple(itertools.accumulate(sizes)) == cut:
                self.parts[result] = [self._whole(part) for part in operation.values]
                return
        if operation.function == "getitem" and (part := self._part_at(operation)) is not None:
            self.alias[result] = part
            return
        if cut is not None and operation.function in ELEMENTWISE and self._splits(operation):
            parts = self._new_parts(result, cut)
            for number, part in enumerate(parts):
                operands = tuple(
                    self._operand_of_part(operand, number) for operand in operation.operands
                )
                self._write(operation, operands, part)
            return
        operands = tuple(
            self._whole(operand) if isinstance(operand, Value) else operand
            for operand in operation.operands
        )
        self._write(operation, operands, result)

    def _write(self, operation: Operation, operands: tuple[Operand, ...], result: Value) -> None:
        self.operations.append(
            Operation(operation.function, operands, result, operation.computes, operation.options)
        )

    def _splits(self, operation: Operation) -> bool:
        """Whether each operand is in parts already, or the same for all of them."""
        operands = list(operation.values)
        return any(operand in self.parts for operand in operands) and all(
            operand in self.parts or operand.shape[-1:] in ((), (1,)) for operand in operands
        )

    def _operand_of_part(self, operand: Operand, number: int) -> Operand:
        if not isinstance(operand, Value):
            return operand
        return self.parts[operand][number] if operand in self.parts else self._whole(operand)

    def _part_at(self, operation: Operation) -> Value | None:
        """The part that a slice of a vector in parts is, if it is just one of them."""
        (operand,) = operation.values
        index = operation.option("index")
        if operand not in self.parts or len(index) != 2 or index[0] is not Ellipsis:
            return None
        if not isinstance(index[1], slice) or index[1].step not in (None, 1):
            return None
        wanted = index[1].indices(operand.shape[-1])[:2]
        stops = (0, *itertools.accumulate(part.shape[-1] for part in self.parts[operand]))
        for number, bounds in enumerate(itertools.pairwise(stops)):
            if bounds == wanted:
                return self.parts[operand][number]
        return None

    def _whole(self, value: Value) -> Value:
        """The value itself, joined again if it is in parts."""
        if value in self.alias:
            return self.alias[value]
        if value in self.parts and value not in self._joined():
            options = (("axis", len(value.shape) - 1),)
            self.operations.append(
                Operation("concat", tuple(self.parts[value]), value, value.dtype, options)
            )
        return value

    def _joined(self) -> Iterator[Value]:
        return (operation.result for operation in self.operations)

    def _parts_of(self, value: Value, cut: tuple[int, ...]) -> list[Value]:
        """The parts of a new state, cut out of it where it was made whole."""
        if value in self.parts:
            return self.parts[value]
        parts = []
        for start, stop in itertools.pairwise((0, *cut)):
            part = self._new_value((*value.shape[:-1], stop - start), value.dtype)
            index = (Ellipsis, slice(start, stop))
            self.operations.append(
                Operation("getitem", (value,), part, value.dtype, (("index", index),))
            )
            parts.append(part)
        return parts
