"""Flat vectors taken apart and put together again."""

from typing import Any

import numpy as np
import pytest
from lecture_step import lecture_step
from steps import trace

from xpmlp.compiler import leaves, record, replay
from xpmlp.compiler.split import put_together, split_state, take_apart


@pytest.mark.parametrize("members", [0, 2])
def test_program_in_parts_has_the_same_bits(members: int) -> None:
    make, state, data = lecture_step((6, 5, 4, 3), members=members)
    program = record(make, state, data)
    parts, stops = split_state(program)
    assert stops == ((30, 35, 55, 59, 71, 74), None, None)
    assert not any(operation.function == "concat" for operation in parts.operations)
    begun = take_apart(leaves(state), stops)
    assert len(begun) == len(parts.state) == 8
    found, metrics = replay(parts, begun, leaves(data), xp=np)
    expected, wanted = replay(program, [leaf.copy() for leaf in leaves(state)], leaves(data), xp=np)
    for one, other in zip(
        (*put_together(found, stops, xp=np), *metrics), (*expected, *wanted), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def two(xp: Any, p: Any) -> tuple[Any, Any]:
    return p[..., 0:2], p[..., 2:5]


def momentum(xp: Any, p: Any, v: Any, t: Any) -> Any:
    A, B = two(xp, p)
    g = xp.concat([A * 2.0, B * 3.0])
    v = v * 0.9 + g
    t = t + 1.0
    return (p - v / t, v, t), (xp.sum(A),)


def clipped(xp: Any, p: Any, v: Any, t: Any) -> Any:
    A, B = two(xp, p)
    g = xp.concat([A * 2.0, B * 3.0])
    g = g / xp.sqrt(xp.sum(g * g))  # needs the whole
    return (p - g, v, t), (xp.sum(B), xp.sum(p))


def crooked(xp: Any, p: Any, v: Any, t: Any) -> Any:
    """Looks at other parts than those it joins, and adds a whole vector that is no state."""
    g = xp.concat([p[..., 0:2] * 2.0, p[..., 2:5] * 3.0])
    ramp = xp.concat([p[..., 1:5], p[..., 0:1]])
    return (p - g - ramp, v * ramp, t), (xp.sum(p[..., 1:3]),)


def untouched(xp: Any, p: Any, v: Any, t: Any) -> Any:
    return (p * 2.0, v, t + xp.sum(v)), (t * 2.0,)


@pytest.mark.parametrize("step", [momentum, clipped, crooked, untouched])
def test_split_of_random_steps_has_the_same_bits(step: Any) -> None:
    state = [np.arange(1.0, 6.0), np.linspace(-1.0, 1.0, 5), np.array(2.0)]
    program = trace(step, *state)
    parts, stops = split_state(program)
    found, metrics = replay(parts, take_apart(state, stops), [], xp=np)
    (*expected,), (*wanted,) = step(np, *state)
    for one, other in zip(
        (*put_together(found, stops, xp=np), *metrics), (*expected, *wanted), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-15)
