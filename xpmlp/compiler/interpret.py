"""A program run by NumPy: a list of calls on buffers that were made once.

The calls are the very functions that the eager step would have called, on the same numbers in the
same order, so a training step gives the same bits; what is saved is Python between them and memory.
(Where a step sums what it computed from a transpose the bits may differ: NumPy would keep that in
the transpose's order in memory, and sum in it; here all that is computed lies row by row.)
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import array_api_compat.numpy
import numpy as np

from xpmlp.compiler.layout import Layout, Place, apply_view, lay_out
from xpmlp.compiler.operations import VIEWS
from xpmlp.compiler.program import Operation, Program, Scalar, Value, leaves, rebuild
from xpmlp.compiler.record import Untraceable, record

Call = Callable[[], object]

MOST_TRACED_SHAPES = 4
"""Shapes that a traced function is kept for: one row, a block, what is left over."""


class Interpreter:
    """A program bound to NumPy arrays.

    `state` and `data` are nests of arrays like those it was recorded with. The state is copied
    into memory of its own, which `run` changes in place; the data is read where it lies. `marks`
    are called before the operations with these numbers, or after the last: a stopwatch, say.
    """

    def __init__(
        self,
        program: Program,
        layout: Layout | None = None,
        *,
        marks: Mapping[int, Call] | None = None,
    ) -> None:
        self.program = program
        self.layout = layout or lay_out(program)
        self.marks = marks or {}
        self.bound: list[np.ndarray] = []
        self.readers = [
            [
                index
                for index, operation in enumerate(program.operations)
                if any(program.base(value) == data for value in operation.values)
            ]
            for data in program.data
        ]
        self.buffers: list[np.ndarray] = [
            np.empty(buffer.size if buffer.holds not in program.data else 0, buffer.dtype)
            for buffer in self.layout.buffers
        ]
        self.state = [self.array(value) for value in program.state]
        self.metrics = [np.empty(0)] * len(program.metrics)
        self.calls: list[Call] = []
        self._calls_of: list[list[Call]] = [[] for _ in program.operations]

    def run(self, state: Any, data: Any, count: int) -> tuple[Any, list[np.ndarray]]:
        """`count` steps from the state; the new state, and each metric stacked along a first axis.

        The arrays of the state returned are the program's own: the next run changes them.
        """
        self._load(state, data)
        series = [np.empty((count, *metric.shape), metric.dtype) for metric in self.metrics]
        pairs = list(zip(series, self.metrics, strict=True))
        calls = self.calls
        for index in range(count):
            for call in calls:
                call()
            for whole, metric in pairs:
                whole[index] = metric
        return rebuild(state, iter(self.state)), series

    def call(self, state: Any, data: Any) -> tuple[np.ndarray, ...]:
        """One step from the state, and copies of its metrics."""
        self._load(state, data)
        for call in self.calls:
            call()
        return tuple([metric.copy() for metric in self.metrics])

    def _load(self, state: Any, data: Any) -> None:
        for ours, given in zip(self.state, leaves(state), strict=True):
            if given is not ours:
                ours[...] = given
        given = leaves(data)
        if not self.calls:
            indices: Iterable[int] = range(len(self.program.operations))
        else:
            changed = [k for k, array in enumerate(given) if array is not self.bound[k]]
            if not changed:
                return
            indices = {index for k in changed for index in self.readers[k]}
        # Should anything stop it here, the next run binds everything anew.
        self.bound, self.calls = given, []
        self._bind(indices)

    def _bind(self, indices: Iterable[int]) -> None:
        """Make the calls of some operations anew, for the arrays that are bound now."""
        operations = self.program.operations
        for index in indices:
            if operations[index].function not in VIEWS:
                self._calls_of[index] = self._calls(operations[index])
        copies: list[Call] = [
            partial(np.copyto, self.array(old), self.array(new)) for new, old in self.layout.moved
        ]
        bound: list[Call] = []
        for index, calls in enumerate((*self._calls_of, copies)):
            if index in self.marks:
                bound.append(self.marks[index])
            bound += calls
        self.metrics = [self.array(value) for value in self.program.metrics]
        self.calls = bound

    def array(self, value: Value) -> np.ndarray:
        """The array that stands for a value, a view of its buffer."""
        base = self.program.base(value)
        if base in self.program.data:
            array = self.bound[self.program.data.index(base)]
            return self._viewed(value, array)
        return at(self.layout.places[value], self.buffers)

    def _viewed(self, value: Value, array: np.ndarray) -> np.ndarray:
        maker = self.program.makers.get(value)
        if maker is None:
            return array
        (operand,) = maker.values
        return apply_view(maker, self._viewed(operand, array))

    def _operands(self, operation: Operation) -> list[Any]:
        return [
            np.asarray(operand.value, operation.computes)
            if isinstance(operand, Scalar)
            else self.array(operand)
            for operand in operation.operands
        ]

    def _calls(self, operation: Operation) -> list[Call]:
        name, out = operation.function, self.array(operation.result)
        given = self._operands(operation)
        if name == "where":
            return self._where_calls(operation, out)
        if name in ("minimum", "maximum"):
            # Written out, since NumPy's minimum is three times as fast for two whole arrays.
            whole = [
                np.full(out.shape, one) if isinstance(operand, Scalar) else one
                for one, operand in zip(given, operation.operands, strict=True)
            ]
            return [partial(getattr(np, name), *whole, out=out)]
        if name in ("astype", "full"):
            return [partial(np.copyto, out, given[0], "unsafe")]
        if name == "take":
            values, indices = given
            # mode="raise" would copy twice; the order that is taken by is a permutation of the rows
            return [partial(values.take, indices, operation.option("axis"), out, "clip")]
        if name == "concat":
            return []  # its parts are written where they belong
        if name == "matmul":
            # float16 factors of a float32 result: each product is exact in float32, as on a GPU
            calls: list[Call] = []
            for position, factor in enumerate(given):
                if factor.dtype != out.dtype:
                    given[position] = np.empty(factor.shape, out.dtype)
                    calls.append(partial(np.copyto, given[position], factor))
            return [*calls, partial(np.matmul, *given, out)]
        if name in ("max", "min") and operation.option("axis") == (len(given[0].shape) - 1,):
            return self._row_extreme_calls(operation, given[0], out)
        if name in _REDUCE:
            axes = operation.option("axis")
            axis, keepdims = axes[0] if len(axes) == 1 else axes, operation.option("keepdims")
            reduce = _REDUCE[name]
            return [partial(reduce, given[0], axis, operation.result.dtype, out, keepdims)]
        if name == "argmax":
            (axis,) = operation.option("axis")
            flat = np.squeeze(out, axis) if operation.option("keepdims") else out
            return [partial(given[0].argmax, axis, flat)]
        return [partial(getattr(np, name), *given, out)]

    def _where_calls(self, operation: Operation, out: np.ndarray) -> list[Call]:
        """Choose by bits, y ^ ((x ^ y) & mask): the same bits as `np.where`, which mispredicts a
        branch at every second element of a ReLU and takes twenty times as long."""
        kind = f"i{out.itemsize}"
        condition, *choices = self._operands(operation)
        masked: list[Call] = []
        for number, choice in enumerate(choices):
            if choice.dtype != out.dtype:
                choices[number] = np.empty(choice.shape, out.dtype)
                masked.append(partial(np.copyto, choices[number], choice))
        x, y = (choice.view(kind) for choice in choices)
        mask = np.empty(np.shape(condition), kind)
        bits = out.view(kind)
        masked += [partial(np.copyto, mask, condition), partial(np.negative, mask, mask)]
        if not y.shape and y == 0:
            return [*masked, partial(np.bitwise_and, x, mask, bits)]
        changed = np.empty(out.shape, kind)
        return [
            *masked,
            partial(np.bitwise_xor, x, y, changed),
            partial(np.bitwise_and, changed, mask, changed),
            partial(np.bitwise_xor, y, changed, bits),
        ]

    def _row_extreme_calls(
        self, operation: Operation, x: np.ndarray, out: np.ndarray
    ) -> list[Call]:
        """The largest of each row, column by column: NumPy's loop along a short row is slow, and
        which of two numbers is larger does not depend on the order of asking."""
        columns = np.empty((x.shape[-1], *x.shape[:-1]), x.dtype)
        flat = out[..., 0] if operation.option("keepdims") else out
        reduce = _REDUCE[operation.function]
        return [
            partial(np.copyto, columns, np.moveaxis(x, -1, 0)),
            partial(reduce, columns, 0, None, flat),
        ]


_REDUCE = {"sum": np.add.reduce, "max": np.maximum.reduce, "min": np.minimum.reduce}


def at(place: Place, buffers: list[np.ndarray]) -> np.ndarray:
    """The array at a place."""
    buffer = buffers[place.buffer]
    strides = tuple(stride * buffer.itemsize for stride in place.strides)
    return np.lib.stride_tricks.as_strided(buffer[place.offset :], place.shape, strides)


class TracedFunction:
    """A pure function of (fixed, varying), traced for every shape it meets and run by NumPy.

    `fixed` arrays are read where they lie; `varying` ones are copied first, which takes less time
    than binding a small one and, for a large one, than packing it for a product from afar. The
    results are copies. One thread computes at a time: the memory between is shared by all calls.
    """

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make
        self._plain: Callable[..., Any] | None = None
        self._traced: dict[object, Interpreter] = {}
        self._lock = threading.Lock()

    def __call__(self, fixed: tuple[np.ndarray, ...], varying: tuple[np.ndarray, ...]) -> Any:
        key = tuple([(array.shape, array.dtype) for array in (*fixed, *varying)])
        with self._lock:
            if self._plain is None:
                try:
                    interpreter = self._traced.get(key) or self._trace(key, fixed, varying)
                    return interpreter.call(varying, fixed)
                except Untraceable:  # a loss of one's own may do what no program can hold
                    self._plain = self._make(xp=array_api_compat.numpy)
        return self._plain(fixed, varying)

    def _trace(self, key: object, fixed: Any, varying: Any) -> Interpreter:
        def as_step(*, xp: Any) -> Any:
            function = self._make(xp=xp)
            # What varies is the state of this step: a state is copied.
            return lambda varying, fixed: (varying, function(fixed, varying))

        while len(self._traced) >= MOST_TRACED_SHAPES:
            self._traced.pop(next(iter(self._traced)))
        self._traced[key] = Interpreter(record(as_step, varying, fixed))
        return self._traced[key]
