"""Index expressions, evaluated as C would, against the views that NumPy makes."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpmlp.compiler.indexing import linear, names, operand_index, unravel, whole
from xpmlp.compiler.program import Operation, Value


def evaluate(text: str, at: dict[str, int]) -> int:
    """A C expression of integers that are not negative, where `/` is Python's `//`."""
    return int(eval(text.replace("/", "//"), {}, at))  # noqa: S307


def read_through(function: str, x: np.ndarray, seen: np.ndarray, **options: Any) -> np.ndarray:
    """What a kernel would read from x for each index of the view that was seen."""
    operand, result = Value(0, x.shape, "int64"), Value(1, seen.shape, "int64")
    view = Operation(function, (operand,), result, "int64", tuple(options.items()))
    index = operand_index(view, operand, whole(seen.shape, names(seen.ndim)))
    found = np.empty(seen.shape, np.int64)
    for at in itertools.product(*map(range, seen.shape)):
        here = dict(zip(names(seen.ndim), at, strict=True))
        found[at] = x[tuple(evaluate(text, here) for text in index)]
    return found


def numbered(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape, dtype=int)).reshape(shape)


@pytest.mark.parametrize(
    "index",
    [
        (None, Ellipsis),
        (Ellipsis, None),
        (Ellipsis, None, slice(None)),
        (slice(1, None),),
        (slice(None, None, -1),),
        (Ellipsis, slice(3, 0, -2)),
        (Ellipsis, slice(1, 2)),
        (1,),
        (-1, Ellipsis, -2),
        (slice(None), 0, None),
    ],
)
def test_slices_are_read_where_numpy_reads_them(index: tuple[Any, ...]) -> None:
    x = numbered(3, 2, 5)
    np.testing.assert_array_equal(read_through("getitem", x, x[index], index=index), x[index])


def test_transposes_and_broadcasts() -> None:
    x = numbered(3, 2, 5)
    turned = np.matrix_transpose(x)
    np.testing.assert_array_equal(read_through("matrix_transpose", x, turned), turned)
    for shape in ((2, 5), (1, 5), (5,), (), (2, 1)):
        x = numbered(*shape)
        wide = np.broadcast_to(x, (4, 2, 5))
        np.testing.assert_array_equal(read_through("broadcast_to", x, wide), wide)


SHAPES = [(24,), (2, 12), (4, 6), (2, 3, 4), (1, 24), (24, 1), (4, 1, 6), (2, 2, 6), (3, 8)]


@given(st.sampled_from(SHAPES), st.sampled_from(SHAPES))
def test_any_reshape(stored: tuple[int, ...], seen: tuple[int, ...]) -> None:
    x = numbered(*stored)
    np.testing.assert_array_equal(read_through("reshape", x, x.reshape(seen)), x.reshape(seen))


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_reshapes_of_one_element(shape: tuple[int, ...]) -> None:
    for stored in ((), (1,), (1, 1, 1)):
        x = numbered(*stored)
        np.testing.assert_array_equal(
            read_through("reshape", x, x.reshape(shape)), x.reshape(shape)
        )


def test_axes_that_a_reshape_leaves_alone_are_not_divided() -> None:
    operand, result = Value(0, (6, 5), "float32"), Value(1, (2, 3, 5), "float32")
    split = Operation("reshape", (operand,), result, "float32")
    assert operand_index(split, operand, ("a", "b", "c")) == ("(a * 3 + b)", "c")


def test_text_stays_readable() -> None:
    assert linear([("i0", 64), ("i1", 1)], 3) == "(i0 * 64 + i1 + 3)"
    assert linear([("0", 64), ("i1", 1)]) == "i1"
    assert linear([]) == "0"
    assert unravel("element", (4, 1, 6)) == ("(element / 6)", "0", "(element % 6)")
