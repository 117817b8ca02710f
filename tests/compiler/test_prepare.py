"""The form that kernels have: one short axis a reduction."""

from typing import Any

import numpy as np
import pytest

from xpmlp.compiler import Interpreter, Program, record
from xpmlp.compiler.operations import REDUCTIONS
from xpmlp.compiler.prepare import prepare


def trace(function: Any, *data: np.ndarray) -> Program:
    return record(lambda *, xp: lambda s, d: (s, tuple(function(xp, *d))), (), data)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (1, 2), (0, 1), ()])
def test_every_reduction_is_over_one_axis(axis: Any, keepdims: bool) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4, 5))

    def function(xp: Any, x: Any) -> list[Any]:
        options = {"axis": axis, "keepdims": keepdims}
        return [xp.sum(x, **options), xp.max(x * 2.0, **options), xp.mean(x, **options) + 1.0]

    program = trace(function, x)
    prepared = prepare(program)
    for operation in prepared.operations:
        if operation.function in REDUCTIONS:
            assert len(operation.option("axis")) == 1
    found, wanted = (Interpreter(one).run((), (x,), 1)[1] for one in (prepared, program))
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)


@pytest.mark.parametrize(
    ("shape", "axis", "lengths"),
    [
        ((8192,), 0, [8192]),
        ((52_650,), 0, [5850, 9]),
        ((8192, 64), 0, [1024, 8]),
        ((8192, 4096), 0, [256, 32]),
        ((40_009,), 0, [40_009]),  # a prime
        ((3, 100_000), 1, [6250, 16]),
        ((10_000_000,), 0, [8000, 1250]),
    ],
)
def test_long_axes_are_taken_in_pieces(
    shape: tuple[int, ...], axis: int, lengths: list[int]
) -> None:
    x = np.broadcast_to(np.float32(1), shape)
    prepared = prepare(trace(lambda xp, x: [xp.sum(x, axis=axis)], x))
    found = []
    for operation in prepared.operations:
        if operation.function == "sum":
            (operand,) = operation.values
            found.append(operand.shape[operation.option("axis")[0]])
    assert np.prod(found) == shape[axis]
    assert found == lengths
