"""Tracing: what a program holds, and what it refuses to be."""

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from lecture_step import lecture_step
from steps import trace

from xpmlp.backends import Backend
from xpmlp.compiler import Untraceable, leaves, record, replay
from xpmlp.compiler.partial import apply

X = np.ones((4, 3))


@pytest.mark.parametrize("hidden", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("members", [0, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_program_replayed_is_the_step(
    backend: Backend, dtype: str, members: int, hidden: str
) -> None:
    make, host_state, host_data = lecture_step(dtype=dtype, members=members, hidden=hidden)
    program = record(make, host_state, host_data)
    flat = [backend.asarray(np.array(leaf)) for leaf in leaves(host_state)]
    data = [backend.asarray(array) for array in leaves(host_data)]
    state, metrics = replay(program, flat, data, xp=backend.xp)
    expected, wanted = make(xp=np)(host_state, host_data)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    found = [backend.to_numpy(array) for array in (*state, *metrics)]
    for one, other in zip(found, (*leaves(expected), *wanted), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def test_the_shapes_and_dtypes_are_numpy_s() -> None:
    make, state, data = lecture_step(members=2)
    program = record(make, state, data)
    arrays = dict(zip(program.inputs, (*leaves(state), *leaves(data)), strict=True))
    for operation in program.operations:
        arrays[operation.result] = found = apply(operation, arrays, xp=np)
        assert (found.shape, found.dtype.name) == (operation.result.shape, operation.result.dtype)


def test_the_same_operation_is_written_once_and_what_nobody_needs_not_at_all() -> None:
    def step(xp: Any, A: Any) -> Any:
        xp.exp(A)  # nobody needs it
        return (xp.tanh(A) + xp.tanh(A),), ()

    program = trace(step, X)
    assert [operation.function for operation in program.operations] == ["tanh", "add"]


def test_one_true_and_one_point_nought_are_not_the_same_constant() -> None:
    program = trace(lambda xp, A: ((A + 1 + (A + 1.0) + (A + True),), ()), X)
    constants = [repr(operation.operands[1].value) for operation in program.operations[:2]]
    assert constants == ["1", "1.0"]
    assert sum(operation.function == "add" for operation in program.operations) == 5


def test_an_update_in_place_rebinds() -> None:
    def step(xp: Any, p: Any) -> Any:
        before = p
        p -= 1.0
        return (p,), (xp.sum(before * 2.0),)

    program = trace(step, X)
    _, (total,) = replay(program, [X], [], xp=np)
    assert total == 24.0


def test_python_scalars_do_not_widen() -> None:
    program = trace(lambda xp, A: ((A * 2.0 + 1,), (xp.sum(A > 0),)), X.astype(np.float32))
    assert program.new_state[0].dtype == "float32"
    assert program.metrics[0].dtype == "int64"


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (lambda xp, A: ((A if A[0, 0] > 0 else -A,), ()), "waits for a number"),
        (lambda xp, A: ((A * float(xp.sum(A)),), ()), "waits for a number"),
        (lambda xp, A: ((xp.linalg.norm(A),), ()), "xp.linalg has no counterpart"),
        (lambda xp, A: ((A[A > 0],), ()), "indexing by TracedArray"),
        (lambda xp, A: ((xp.sum(A),), ()), "the step turns a float64"),
        (lambda xp, _: ((np.ones((4, 3)),), ()), "returns a ndarray"),
        (lambda xp, A: ((A + np.ones((4, 3)),), ()), "ndarray takes part"),
        (lambda xp, A: ((xp.take(A, A, axis=0),), ()), "take by anything but"),
        (lambda xp, A: ((A & A,), ()), "bitwise_and of"),
        (lambda xp, A: ((A + 0.0,), (A[0],)), "a metric is the state before the step"),
    ],
)
def test_what_no_program_can_hold_is_refused_with_the_reason(step: Any, said: str) -> None:
    with pytest.raises((Untraceable, TypeError), match=said):
        trace(step, X)


def test_a_program_can_be_read() -> None:
    program = trace(lambda xp, A, W: ((xp.matmul(A, W) + 1.0, W), ()), X, np.ones((3, 3)))
    assert str(program).splitlines() == [
        "v2: float64[4, 3] = matmul(v0, v1)",
        "v3: float64[4, 3] = add(v2, 1.0)",
    ]


def test_the_step_is_a_small_program() -> None:
    make, state, data = lecture_step()
    program = record(make, state, data)
    assert sum(operation.function == "matmul" for operation in program.operations) == 8
    assert len(program.operations) < 100


def test_what_the_callers_have_is_let_go() -> None:
    """A frame holds all its function's arrays, and those of the functions that called it."""

    class Kept:
        pass

    def call() -> weakref.ref[Kept]:
        kept = Kept()
        trace(lambda xp, A: ((xp.exp(A),), ()), X)
        return weakref.ref(kept)

    gc.disable()
    try:
        assert call()() is None
    finally:
        gc.enable()
