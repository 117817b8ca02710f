"""Where each value of a program lives: buffers made once, and the views of them.

A new state is written over the old one, products go straight into their part of a concatenation,
and what is no longer read gives its memory to what comes next. Nothing is allocated in a step.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from xpmlp.compiler.operations import ELEMENTWISE, VIEWS
from xpmlp.compiler.program import Operation, Program, Value
from xpmlp.compiler.record import Untraceable


class Place(NamedTuple):
    """Where a value lies: a buffer, and in it an offset and strides, all counted in elements."""

    buffer: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Buffer(NamedTuple):
    """Memory of one dtype; `holds` is the input that it belongs to, None for a buffer of ours."""

    dtype: str
    size: int
    holds: Value | None


@dataclass(frozen=True)
class Layout:
    """The buffers, the place of every value that has one, and which new states lie elsewhere.

    `moved` are the new states that are not written over the old ones: (new, old). Before the next
    step they are copied there, or the two places change roles.
    """

    buffers: tuple[Buffer, ...]
    places: dict[Value, Place]
    moved: tuple[tuple[Value, Value], ...]


def lay_out(program: Program, kept: Collection[Value] | None = None) -> Layout:
    """The layout of a program whose operations run one after another, so that memory that is read
    no more is used again: a step stays in the cache.

    `kept` are the values that get memory, views apart, where kernels compute all others. They may
    run in another order, and so each has memory of its own, the new state too.
    """
    return _Planner(program, kept).plan()


class _Planner:
    def __init__(self, program: Program, kept: Collection[Value] | None) -> None:
        self.program = program
        self.kept = kept
        self.buffers: list[Buffer] = []
        self.places: dict[Value, Place] = {}
        self.free: list[int] = []
        self.last_read: dict[Value, int] = {}
        for index, operation in enumerate(program.operations):
            for value in operation.values:
                self.last_read[program.base(value)] = index
        for value in program.results:
            self.last_read[program.base(value)] = len(program.operations)
        for operation in program.operations:
            if operation.function == "concat":  # its memory is that of its parts
                ends = [self.last_read[program.base(part)] for part in operation.values]
                self.last_read[operation.result] = max(self.last_read[operation.result], *ends)

    def plan(self) -> Layout:
        for value in self.program.inputs:
            self.places[value] = self._new_place(value, holds=value)
        moved = self._write_state_in_place()
        for operation in self.program.operations:
            if operation.function == "concat":
                self._write_parts_in_place(operation)
        for index, operation in enumerate(self.program.operations):
            self._place(index, operation)
        return Layout(tuple(self.buffers), self.places, tuple(moved))

    def _is_kept(self, value: Value) -> bool:
        return self.kept is None or value in self.kept

    def _new_place(self, value: Value, *, holds: Value | None = None) -> Place:
        size = math.prod(value.shape)
        wanted = Buffer(value.dtype, size, holds)
        for buffer in self.free:
            if holds is None and self.buffers[buffer] == wanted:
                self.free.remove(buffer)
                break
        else:
            buffer = len(self.buffers)
            self.buffers.append(wanted)
        return Place(buffer, 0, value.shape, contiguous_strides(value.shape))

    def _write_state_in_place(self) -> list[tuple[Value, Value]]:
        moved = []
        order = {operation.result: index for index, operation in enumerate(self.program.operations)}
        for old, new in zip(self.program.state, self.program.new_state, strict=True):
            if new == old:
                continue
            maker = self.program.makers.get(new)
            is_safe = (
                self.kept is None
                and maker is not None
                and maker.function in ELEMENTWISE
                and new not in self.places
                and self._reads_in_step(maker, old)
                and not any(
                    self.program.base(value) == old
                    for operation in self.program.operations[order[new] + 1 :]
                    for value in operation.values
                )
                and old not in map(self.program.base, self.program.results)
            )
            if is_safe:
                self.places[new] = self.places[old]
            else:
                moved.append((new, old))
        return moved

    def _reads_in_step(self, operation: Operation, target: Value) -> bool:
        """Whether the operation reads the target, if at all, at the index that it writes."""
        return all(
            value == target for value in operation.values if self.program.base(value) == target
        )

    def _write_parts_in_place(self, concat: Operation) -> None:
        """Give the parts of a concatenation their place in it."""
        if concat.result not in self.places:
            self.places[concat.result] = self._new_place(concat.result)
        whole, axis = self.places[concat.result], concat.option("axis")
        start = 0
        for part in concat.values:
            stop = start + part.shape[axis]
            index = (*[slice(None)] * axis, slice(start, stop))
            base = self.program.base(part)
            self.places[base] = _seen(whole, partial(_part, index=index, shape=base.shape))
            start = stop

    def _place(self, index: int, operation: Operation) -> None:
        result = operation.result
        if operation.function in VIEWS:
            (operand,) = operation.values
            if operand in self.places:
                try:
                    self.places[result] = _seen(
                        self.places[operand], partial(apply_view, operation, copy=False)
                    )
                except Untraceable:
                    if self.kept is None:
                        raise  # else a kernel computes where each element is
            return
        if result not in self.places and self._is_kept(result):
            self.places[result] = self._taken_over(index, operation) or self._new_place(result)
        if self.kept is None:
            self._release(index, operation)

    def _taken_over(self, index: int, operation: Operation) -> Place | None:
        """The place of an operand that is read here for the last time, if it fits the result."""
        # NumPy's sign of an array in its own place takes fifteen times as long.
        if self.kept is not None or operation.function not in ELEMENTWISE.keys() - {"sign"}:
            return None
        for operand in operation.values:
            if (
                self._is_ours(operand)
                and (operand.shape, operand.dtype)
                == (operation.result.shape, operation.result.dtype)
                and self.last_read[operand] == index
                and self._reads_in_step(operation, operand)
            ):
                return self.places[operand]
        return None

    def _is_ours(self, value: Value) -> bool:
        """Whether a whole buffer of ours holds the value and nothing beside it."""
        place = self.places.get(value)
        if place is None or self.program.base(value) != value:
            return False
        buffer = self.buffers[place.buffer]
        return buffer.holds is None and buffer.size == math.prod(value.shape)

    def _release(self, index: int, operation: Operation) -> None:
        now = self.places[operation.result].buffer
        for value in {self.program.base(value) for value in operation.values}:
            if (
                self.last_read[value] == index
                and self._is_ours(value)
                and (buffer := self.places[value].buffer) != now
                and buffer not in self.free
            ):
                self.free.append(buffer)


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of an array in row-major order, in elements."""
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= length
    return tuple(reversed(strides))


def apply_view(operation: Operation, array: np.ndarray, *, copy: bool | None = None) -> np.ndarray:
    """What a view operation makes of an array; `copy=False` raises where a reshape takes a copy."""
    shape = operation.result.shape
    if operation.function == "getitem":
        viewed: np.ndarray = array[operation.option("index")]
        return viewed
    if operation.function == "matrix_transpose":
        return np.matrix_transpose(array)
    if operation.function == "broadcast_to":
        return np.broadcast_to(array, shape)
    return np.reshape(array, shape, copy=copy)


def _part(whole: np.ndarray, index: tuple[slice, ...], shape: tuple[int, ...]) -> np.ndarray:
    return np.reshape(whole[index], shape, copy=False)


def _seen(place: Place, look: Callable[[np.ndarray], np.ndarray]) -> Place:
    """The place that a view has; NumPy works it out on an array that has no memory.

    Raises `Untraceable` where it takes a copy.
    """
    origin = np.empty(1, np.int8)  # a byte an element, so that strides and offsets count elements
    ghost = np.lib.stride_tricks.as_strided(origin, place.shape, place.strides)
    try:
        ghost = look(ghost)
    except ValueError as error:
        raise Untraceable(f"a view of {place.shape} takes a copy") from error
    offset = ghost.__array_interface__["data"][0] - origin.__array_interface__["data"][0]
    return Place(place.buffer, place.offset + offset, ghost.shape, ghost.strides)
