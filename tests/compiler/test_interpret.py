"""The NumPy interpreter: the bits of the step, on memory that is allocated once."""

import itertools
import tracemalloc
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from lecture_step import lecture_step
from steps import trace

from xpmlp.compiler import Interpreter, TracedFunction, record
from xpmlp.compiler.layout import lay_out


@pytest.mark.parametrize("hidden", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("members", [0, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_have_the_bits_of_the_eager_ones(dtype: str, members: int, hidden: str) -> None:
    make, state, data = lecture_step(dtype=dtype, members=members, hidden=hidden)
    interpreter = Interpreter(record(make, state, data))
    found, (losses, correct) = interpreter.run(state, data, 5)
    step, losses_one_by_one, correct_one_by_one = make(xp=np), [], []
    for _ in range(5):
        state, metrics = step(state, data)
        losses_one_by_one.append(metrics.loss)
        correct_one_by_one.append(metrics.metric_sum)
    np.testing.assert_array_equal(losses, losses_one_by_one)
    np.testing.assert_array_equal(correct, correct_one_by_one)
    np.testing.assert_array_equal(found.parameters, state.parameters)
    assert found.offset == state.offset


def test_the_state_that_is_given_stays_as_it_is_and_the_result_goes_on() -> None:
    make, state, data = lecture_step()
    before = state.parameters.copy()
    interpreter = Interpreter(record(make, state, data))
    first, _ = interpreter.run(state, data, 2)
    np.testing.assert_array_equal(state.parameters, before)
    middle = first.parameters.copy()
    second, _ = interpreter.run(first, data, 1)
    assert second.parameters is first.parameters  # the program's own memory
    whole, _ = interpreter.run(state, data, 3)
    assert (middle != whole.parameters).any()


def test_other_data_is_bound_and_the_old_is_not_read() -> None:
    make, state, data = lecture_step()
    interpreter = Interpreter(record(make, state, data))
    interpreter.run(state, data, 1)
    other = data._replace(order=data.order[::-1].copy(), X=255 - data.X)
    _, (losses, _) = interpreter.run(state, other, 2)
    _, (expected, _) = Interpreter(record(make, state, other)).run(state, other, 2)
    np.testing.assert_array_equal(losses, expected)


def test_a_step_allocates_nothing() -> None:
    make, state, data = lecture_step()
    interpreter = Interpreter(record(make, state, data))
    interpreter.run(state, data, 1)
    tracemalloc.start()
    for call in interpreter.calls:
        call()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4096  # reductions take a few bytes to iterate, no array


def test_few_buffers_serve_all_values() -> None:
    make, state, data = lecture_step()
    program = record(make, state, data)
    layout = lay_out(program)
    ours = [buffer for buffer in layout.buffers if buffer.holds is None]
    assert len(ours) < len(program.operations) / 2
    assert not layout.copies  # parameters and offset are written where they were


def test_a_state_that_is_read_late_is_copied_afterwards() -> None:
    def step(xp: Any, p: Any, q: Any) -> Any:
        new = p + 1.0
        return (new, q * 2.0), (xp.sum(p) + xp.sum(new),)

    def swap(xp: Any, p: Any, q: Any) -> Any:
        return (q, p), (xp.sum(p),)

    def shifted(xp: Any, p: Any, q: Any) -> Any:
        return (xp.concat([p[1:], p[:1]]), q), (xp.sum(q),)

    p, q = np.arange(5.0), np.ones(5)
    for function in (step, swap, shifted):
        interpreter = Interpreter(trace(function, p, q))
        state: Any = (p, q)
        found, (metric,) = interpreter.run(state, (), 3)
        expected, wanted = state, []
        for _ in range(3):
            (*arrays,), (one,) = function(np, *(array.copy() for array in expected))
            expected = tuple(arrays)
            wanted.append(one)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(metric, wanted)


SPECIAL = [0.0, -0.0, 1.5, -2.5, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_choosing_by_bits_is_where(dtype: str) -> None:
    x, y = (
        np.array(pair, dtype) for pair in zip(*itertools.product(SPECIAL, SPECIAL), strict=True)
    )
    c = np.resize(np.array([1.0, -1.0, np.nan]), x.shape).astype(dtype)
    choices: list[tuple[Any, Any]] = [(x, y), (x, 0.0), (x, -0.0), (x, 2.0), (x, np.nan), (3.0, y)]
    for first, second in choices:

        def step(xp: Any, c: Any, x: Any, y: Any, first: Any = first, second: Any = second) -> Any:
            chosen = first if isinstance(first, float) else x
            other = second if isinstance(second, float) else y
            return (c, x, y), (xp.where(c > 0.0, chosen, other),)

        _, (found,) = Interpreter(trace(step, c, x, y)).run((c, x, y), (), 1)
        expected = np.where(c > 0.0, first, second).astype(dtype)
        np.testing.assert_array_equal(found[0].view("u1"), expected.view("u1"))


@given(
    st.lists(st.lists(st.sampled_from(SPECIAL), min_size=3, max_size=3), min_size=1, max_size=6),
    st.sampled_from(["max", "min"]),
    st.booleans(),
)
def test_the_largest_of_a_row_is_numpy_s(
    rows: list[list[float]], name: str, keepdims: bool
) -> None:
    X = np.array(rows, np.float32)

    def step(xp: Any, X: Any) -> Any:
        return (X,), (getattr(xp, name)(X, axis=-1, keepdims=keepdims) + 0.0,)

    _, (found,) = Interpreter(trace(step, X)).run((X,), (), 1)
    np.testing.assert_array_equal(found[0], getattr(np, name)(X, axis=-1, keepdims=keepdims))


def test_a_traced_function_keeps_a_few_shapes_and_copies_its_results() -> None:
    traced = TracedFunction(lambda *, xp: lambda fixed, varying: (fixed[0] * varying[0] + 1.0,))
    a = np.array([2.0])
    results = [traced((a,), (np.ones(n),))[0] for n in range(1, 9)]
    for n, result in enumerate(results, start=1):
        np.testing.assert_array_equal(result, np.full(n, 3.0))
    a[0] = 5.0
    np.testing.assert_array_equal(traced((a,), (np.ones(8),))[0], np.full(8, 6.0))
    np.testing.assert_array_equal(results[-1], np.full(8, 3.0))
    np.testing.assert_array_equal(traced((np.array([7.0]),), (np.ones(8),))[0], np.full(8, 8.0))


def test_an_interrupted_call_is_not_taken_up_half_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(*, xp: Any) -> Any:
        return lambda fixed, varying: (xp.exp(fixed[0] * varying[0]) + fixed[0],)

    function, X = TracedFunction(make), np.arange(3.0)
    function((np.ones(3),), (X,))
    bind = Interpreter._calls

    def interrupted(self: Interpreter, operation: Any) -> Any:
        raise KeyboardInterrupt

    two = np.full(3, 2.0)
    with monkeypatch.context() as patch:
        patch.setattr(Interpreter, "_calls", interrupted)
        with pytest.raises(KeyboardInterrupt):
            function((two,), (X,))
    assert Interpreter._calls is bind
    np.testing.assert_array_equal(function((two,), (X,))[0], np.exp(2.0 * X) + 2.0)


def test_where_between_two_dtypes_reads_what_is_computed() -> None:
    def make(*, xp: Any) -> Any:
        return lambda fixed, varying: (xp.where(fixed[0] > 0, varying[0] * 2, fixed[0]),)

    function, fixed = TracedFunction(make), np.array([1.0, -1.0, 2.0])
    for X in (np.array([1, 2, 3], np.float32), np.array([4, 5, 6], np.float32)):
        np.testing.assert_array_equal(
            function((fixed,), (X,))[0], np.where(fixed > 0, X * 2, fixed)
        )
