"""Where an operation reads: the index of an operand, for an index of the result.

An index is a tuple of C expressions, one an axis; an axis of length 1 is always at "0". With it a
view, a broadcast or a transpose costs a kernel nothing but another expression, and two reads are
the same read if their texts are.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from xpmlp.compiler.layout import contiguous_strides
from xpmlp.compiler.program import Operation, Value

Index: TypeAlias = tuple[str, ...]

ZERO = "0"


def whole(shape: Sequence[int], names: Sequence[str]) -> Index:
    """The index of an array whose axes are walked along by variables of these names."""
    return tuple(ZERO if length == 1 else name for length, name in zip(shape, names, strict=True))


def names(rank: int) -> tuple[str, ...]:
    """The variables that kernels walk along the axes of an array with."""
    return tuple(f"i{axis}" for axis in range(rank))


def operand_index(operation: Operation, operand: Value, index: Index) -> Index:
    """Where an elementwise operation or a view reads an operand, for an index of its result."""
    if operation.function == "matrix_transpose":
        return (*index[:-2], index[-1], index[-2])
    if operation.function == "getitem":
        return _sliced(operation, operand.shape, index)
    if operation.function == "reshape":
        return _reshaped(operation.result.shape, operand.shape, index)
    trailing = index[len(index) - len(operand.shape) :]
    return whole(operand.shape, trailing)


def taken_index(operation: Operation, index: Index, position: str) -> tuple[Index, Index]:
    """Where `take` reads its array, and where its indices, whose value is `position`."""
    axis = operation.option("axis")
    return (*index[:axis], position, *index[axis + 1 :]), (index[axis],)


def linear(terms: Iterable[tuple[str, int]], constant: int = 0) -> str:
    """The C text of constant + sum of position * stride, in brackets if it has operators."""
    text = linear_sum(terms, constant)
    return f"({text})" if " " in text and not is_bracketed(text) else text


def linear_sum(terms: Iterable[tuple[str, int]], constant: int = 0) -> str:
    """The C text of constant + sum of position * stride."""
    parts = [
        name if stride == 1 else f"{name} * {stride}"
        for name, stride in terms
        if name != ZERO and stride != 0
    ]
    if constant or not parts:
        parts.append(str(constant))
    return " + ".join(parts)


def is_bracketed(text: str) -> bool:
    """Whether one pair of brackets encloses the whole text."""
    depths = itertools.accumulate({"(": 1, ")": -1}.get(letter, 0) for letter in text)
    return text.startswith("(") and 0 not in list(depths)[:-1]


def unravel(flat: str, shape: Sequence[int]) -> Index:
    """The index of the element at a position in row-major order."""
    index, step = [], math.prod(shape)
    for axis, length in enumerate(shape):
        step //= length
        position = flat if step == 1 else f"({flat} / {step})"
        is_outermost = math.prod(shape[:axis]) == 1
        index.append(
            ZERO if length == 1 else position if is_outermost else f"({position} % {length})"
        )
    return tuple(index)


def _sliced(operation: Operation, shape: Sequence[int], index: Index) -> Index:
    parts = list(operation.option("index"))
    given = sum(part is not None and part is not Ellipsis for part in parts)
    if Ellipsis not in parts:
        parts.append(Ellipsis)
    gap = parts.index(Ellipsis)
    parts[gap : gap + 1] = [slice(None)] * (len(shape) - given)
    result, lengths, positions = [], iter(shape), iter(index)
    for part in parts:
        if part is None:
            next(positions)
        elif isinstance(part, slice):
            start, _, step = part.indices(length := next(lengths))
            position = linear([(next(positions), step)], start)
            result.append(ZERO if length == 1 else position)
        else:
            length = next(lengths)
            result.append(str(part % length))
    return tuple(result)


def _reshaped(seen: Sequence[int], stored: Sequence[int], index: Index) -> Index:
    """Axes that were split or joined, run by run: (2,3,5) seen, (6,5) stored is 0,1 -> 0; 2 -> 1.

    So only what was split or joined is multiplied and divided.
    """
    result: list[str] = []
    i = j = 0
    while i < len(seen) or j < len(stored):
        first_i, first_j, seen_size, stored_size = i, j, 1, 1
        while True:
            if i < len(seen) and (seen_size <= stored_size or j == len(stored)):
                seen_size, i = seen_size * seen[i], i + 1
            elif j < len(stored):
                stored_size, j = stored_size * stored[j], j + 1
            if seen_size == stored_size and (j > first_j or j == len(stored)):
                break
        run = zip(index[first_i:i], contiguous_strides(tuple(seen[first_i:i])), strict=True)
        result += unravel(linear(run), stored[first_j:j])
    return tuple(result)
