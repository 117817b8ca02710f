"""Flat vectors taken apart: a program run on the parts of its state that the step looks at.

A flat vector makes an update one expression and a checkpoint one tensor; a compiler that copies
(XLA does) pays for joining the gradients and for cutting the weights out in every step. Where a
concatenation says what the parts are, all that is elementwise can be done on each of them.
"""

import itertools
from collections.abc import Sequence
from typing import Any, TypeAlias

from xpmlp.compiler.operations import ELEMENTWISE
from xpmlp.compiler.partial import apply
from xpmlp.compiler.program import Operation, Program, Value
from xpmlp.typing import Array, Namespace

Pieces: TypeAlias = Array | list[Array]
"""A value: one array, or its parts along the last axis."""


class SplitProgram:
    """A program whose state is in parts, wherever one of its concatenations says what they are."""

    def __init__(self, program: Program, *, xp: Namespace) -> None:
        self.program = program
        self._xp = xp
        # (shape of the whole: where its parts end), as the concatenations have it
        self._cuts: dict[tuple[int, ...], tuple[int, ...]] = {}
        for operation in program.operations:
            shape = operation.result.shape
            if operation.function == "concat" and operation.option("axis") == len(shape) - 1:
                self._cuts.setdefault(shape, _stops(operation))

    def take_apart(self, arrays: Sequence[Array]) -> list[Pieces]:
        """The leaves of a state in parts."""
        return [self._apart(array, tuple(array.shape)) for array in arrays]

    def put_together(self, state: Sequence[Pieces]) -> list[Array]:
        """The inverse of `take_apart`."""
        return list(map(self._whole, state))

    def run(
        self, state: Sequence[Pieces], data: Sequence[Array]
    ) -> tuple[list[Pieces], list[Array]]:
        """The new state, in parts, and the metrics that one step makes."""
        program = self.program
        arrays: dict[Value, Any] = dict(zip(program.inputs, (*state, *data), strict=True))
        for operation in program.operations:
            arrays[operation.result] = self._apply(operation, arrays)
        new_state = [self._apart(arrays[value], value.shape) for value in program.new_state]
        return new_state, [self._whole(arrays[value]) for value in program.metrics]

    def _apart(self, found: Pieces, shape: tuple[int, ...]) -> Pieces:
        if isinstance(found, list) or shape not in self._cuts:
            return found
        bounds = itertools.pairwise((0, *self._cuts[shape]))
        return [found[..., start:stop] for start, stop in bounds]

    def _whole(self, found: Pieces) -> Array:
        return self._xp.concat(found, axis=-1) if isinstance(found, list) else found

    def _apply(self, operation: Operation, arrays: dict[Value, Any]) -> Pieces:
        cut = self._cuts.get(operation.result.shape)
        given = {value: arrays[value] for value in operation.values}
        if operation.function == "concat" and cut == _stops(operation):
            return [self._whole(arrays[part]) for part in operation.values]
        if (
            operation.function == "getitem"
            and (part := self._part_at(operation, given)) is not None
        ):
            return part
        if cut and operation.function in ELEMENTWISE and self._is_split(given, cut):
            return [
                apply(operation, {v: _part(x, n) for v, x in given.items()}, xp=self._xp)
                for n in range(len(cut))
            ]
        return apply(operation, {v: self._whole(x) for v, x in given.items()}, xp=self._xp)

    def _is_split(self, given: dict[Value, Any], cut: tuple[int, ...]) -> bool:
        """Whether each operand is in these parts already, or the same for all of them."""
        split = [value for value, found in given.items() if isinstance(found, list)]
        return bool(split) and all(
            self._cuts[value.shape] == cut if value in split else value.shape[-1:] in ((), (1,))
            for value in given
        )

    def _part_at(self, operation: Operation, given: dict[Value, Any]) -> Array | None:
        """The part that a slice of a vector in parts is, if it is just one of them."""
        ((operand, found),) = given.items()
        index = operation.option("index")
        if isinstance(found, list) and len(index) == 2 and index[0] is Ellipsis:
            bounds = itertools.pairwise((0, *self._cuts[operand.shape]))
            for part, (start, stop) in zip(found, bounds, strict=True):
                if index[1] == slice(start, stop):
                    return part
        return None


def _stops(concat: Operation) -> tuple[int, ...]:
    """Where the parts of a concatenation along the last axis end."""
    return tuple(itertools.accumulate(part.shape[-1] for part in concat.values))


def _part(found: Pieces, number: int) -> Array:
    return found[number] if isinstance(found, list) else found
