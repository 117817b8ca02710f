"""C expressions against NumPy's functions, on the numbers where they could part."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.compiler.random_steps import run_eagerly
from tests.compiler.scheduled import Scheduled
from xpmlp.compiler import Untraceable, record
from xpmlp.compiler.emit import kernel_plan
from xpmlp.compiler.expressions import literal

UNARY = ("negative", "positive", "abs", "sign", "square", "floor")
FLOATING = ("exp", "expm1", "log", "log1p", "tanh", "sin", "cos", "sqrt", "isfinite", "isnan")
BINARY = ("add", "subtract", "multiply", "maximum", "minimum")
COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
LOGICAL = ("logical_and", "logical_or")
BITS = ("bitwise_and", "bitwise_or", "bitwise_xor")
SHIFTS = ("bitwise_left_shift", "bitwise_right_shift")


def compare(
    functions: Callable[[Any, Any, Any], list[Any]], x: np.ndarray, y: np.ndarray, folder: Path
) -> None:
    """All functions of (xp, x, y), in one program, whose results are its metrics."""

    def make(*, xp: Any) -> Any:
        return lambda s, d: (s, tuple(functions(xp, *d)))

    with np.errstate(all="ignore"):
        program = record(make, (), (x, y))
        found = Scheduled(program, folder).run((), (x, y), 1)[1]
        wanted = run_eagerly(make, (), (x, y), 1)[1]
    rounding = 4 * np.finfo(x.dtype).eps if x.dtype.kind == "f" else 0
    for metric, ours, theirs in zip(program.metrics, found, wanted, strict=True):
        what = str(program.makers.get(metric))
        assert ours.dtype == theirs.dtype, what
        np.testing.assert_allclose(ours, theirs, rtol=rounding, atol=0, err_msg=what)


def pairs(numbers: list[Any], dtype: str) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.array(list(itertools.product(numbers, numbers)), dtype).T.copy()
    return x, y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floating_point(dtype: str, tmp_path: Path) -> None:
    info = np.finfo(dtype)
    numbers = [0.0, -0.0, 1.0, -1.5, 0.1, 3.0, 2.5, 20.0, -7.0, info.max, info.tiny,
               float(info.tiny) / 4, np.inf, -np.inf, np.nan]  # fmt: skip

    def functions(xp: Any, x: Any, y: Any) -> list[Any]:
        results = [getattr(xp, name)(x) for name in (*UNARY, *FLOATING)]
        results += [getattr(xp, name)(x, y) for name in (*BINARY, *COMPARISONS, *LOGICAL)]
        results += [getattr(xp, name)(x, 0.1) for name in (*BINARY, *COMPARISONS)]
        results += [x / y, 2.0 / x, x**2, x**3.5, x**y, xp.logical_not(x)]
        results += [xp.where(x > y, x, 0.0), xp.where(xp.isnan(x), -np.inf, y)]
        results += [xp.maximum(x, np.nan), xp.minimum(np.inf, x), x * 1e-310, x + 1e300]
        return results

    compare(functions, *pairs(numbers, dtype), tmp_path)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "int64", "uint64"])
def test_whole_numbers_wrap_around(dtype: str, tmp_path: Path) -> None:
    limits = np.iinfo(dtype)
    numbers = [limits.min, limits.max, limits.max // 3 + 1, 0, 1, 2, 7, 77]
    bits = limits.bits

    def functions(xp: Any, x: Any, y: Any) -> list[Any]:
        results = [getattr(xp, name)(x) for name in (*UNARY, "bitwise_invert", "logical_not")]
        names = (*BINARY, *COMPARISONS, *LOGICAL, *BITS)
        results += [getattr(xp, name)(x, y) for name in names]
        results += [getattr(xp, name)(x, 3) for name in names]
        shift = xp.bitwise_and(y, 127)
        results += [getattr(xp, name)(x, shift) for name in SHIFTS]
        results += [getattr(xp, name)(x, by) for name in SHIFTS for by in (0, 5, bits - 1)]
        results += [x**2, x ** (y & 7), xp.where(x > y, x, 1), x / 7, xp.max(x), xp.min(x)]
        results += [xp.sum(x), xp.astype(x, xp.float32), xp.astype(x, xp.int32)]
        return results

    compare(functions, *pairs(numbers, dtype), tmp_path)


def test_truth_values(tmp_path: Path) -> None:
    def functions(xp: Any, x: Any, y: Any) -> list[Any]:
        names = ("add", "multiply", "maximum", "minimum", *COMPARISONS, *LOGICAL, *BITS)
        results = [getattr(xp, name)(x, y) for name in names]
        results += [
            xp.logical_not(x),
            xp.bitwise_invert(x),
            xp.sum(x),
            xp.max(x),
            xp.argmax(x, axis=0),
        ]
        results += [xp.astype(x, xp.float64), xp.where(x, y, True), xp.where(x, 2.0, 3.0), x * 2.5]
        return results

    compare(functions, *pairs([False, True], "bool"), tmp_path)


def test_dtypes_that_meet_and_casts(tmp_path: Path) -> None:
    def functions(xp: Any, x: Any, y: Any) -> list[Any]:
        results = [x + y, x * y, x == y, y / 3, xp.maximum(x, y), xp.astype(x, xp.bool)]
        results += [xp.astype(x, getattr(xp, name)) for name in ("int32", "int64", "uint8")]
        return [*results, xp.astype(y, xp.uint8), xp.astype(y, xp.bool), y * 0.5, y + True]

    x = np.array([0.0, 1.0, 2.75, 100.9, 255.0], np.float64)
    compare(functions, x, np.array([0, 1, -2, 300, 70_000], np.int32), tmp_path)


def test_half_precision_is_rounded_after_every_operation(tmp_path: Path) -> None:
    numbers = [0.0, 1.0, 0.1, 2049.0, 65504.0, 6e-8, -3.3, np.inf, np.nan]

    def functions(xp: Any, x: Any, y: Any) -> list[Any]:
        results = [x + y, x * y - y, x / 3.0, xp.sqrt(xp.abs(x)), xp.maximum(x, y), -x, x < y]
        results += [
            xp.astype(x, xp.float32) * 0.1,
            xp.astype(xp.astype(x, xp.float32) * 0.1, xp.float16),
        ]
        return [*results, xp.max(x), x + 0.1, xp.astype(y, xp.bool)]

    compare(functions, *pairs(numbers, "float16"), tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_literal_is_the_number_to_the_bit(dtype: str) -> None:
    for number in (0.1, 1 / 3, 1e-45, 1e30, 16777217.0, np.pi, 87.33654):
        text = literal(number, dtype).removesuffix("f")
        assert np.dtype(dtype).type(text) == np.dtype(dtype).type(number)
        assert "." in text or "e" in text  # else it would be a whole number, and wrongly divided
    assert literal(-(2**63), "int64") == "(-9223372036854775807LL - 1)"
    assert literal(-1.0, dtype).startswith("(-1.0")
    assert literal(1e60, "float32") == "INF_F"


def test_functions_without_an_expression_are_refused() -> None:
    def make(*, xp: Any) -> Any:
        return lambda s, d: (s, (d[0] * 2,))

    with pytest.raises(Untraceable, match="complex128"):
        kernel_plan(record(make, (), (np.zeros(3, np.complex128),)))
