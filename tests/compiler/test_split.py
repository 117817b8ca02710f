"""Flat vectors taken apart and put together again."""

from typing import Any

import numpy as np
import pytest
from lecture_step import lecture_step
from steps import replay, trace

from xpmlp.compiler import Program, leaves, record
from xpmlp.compiler.split import SplitProgram


class Counted:
    """NumPy, and how often it joined arrays."""

    joined = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def concat(self, arrays: Any, *, axis: int) -> np.ndarray:
        self.joined += 1
        return np.concat(arrays, axis=axis)


def check(program: Program, state: list[Any], data: list[Any], steps: int = 2) -> Counted:
    """Steps in parts are those on whole vectors, to the bit."""
    xp = Counted()
    split = SplitProgram(program, xp=xp)
    pieces = split.take_apart(state)
    for _ in range(steps):
        pieces, metrics = split.run(pieces, data)
        state, wanted = replay(program, [np.copy(leaf) for leaf in state], data, xp=np)
        for one, other in zip(metrics, wanted, strict=True):
            np.testing.assert_array_equal(one, other)
    joined = xp.joined
    for one, other in zip(split.put_together(pieces), state, strict=True):
        np.testing.assert_array_equal(one, other)
    xp.joined = joined
    return xp


@pytest.mark.parametrize("members", [0, 2])
def test_program_in_parts_has_the_same_bits(members: int) -> None:
    make, state, data = lecture_step((6, 5, 4, 3), members=members)
    program = record(make, state, data)
    begun = SplitProgram(program, xp=np).take_apart(leaves(state))
    assert [part.shape[-1] for part in begun[0]] == [30, 5, 20, 4, 12, 3]
    assert [np.shape(leaf) for leaf in begun[1:]] == [np.shape(one) for one in leaves(state)[1:]]
    assert check(program, leaves(state), leaves(data)).joined == 0


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
    xp = check(trace(step, *state), state, [])
    assert (xp.joined == 0) == (step in (momentum, untouched))
