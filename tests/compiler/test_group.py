"""Grouping: how few nodes a step takes, what is in which kernel, and that no kernel overwrites
what another one, or itself, still has to read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.compiler.lecture_step import LECTURE, lecture_step
from tests.compiler.random_steps import run_eagerly
from tests.compiler.scheduled import Scheduled
from xpmlp.compiler import Untraceable, record
from xpmlp.compiler.group import Grouping, LoopNest, group
from xpmlp.compiler.kernel_plan import Launch
from xpmlp.compiler.program import Operation, leaves

pytestmark = pytest.mark.extended(keep=6)


def grouping(step: Callable[..., Any], state: Any, data: Any = ()) -> Grouping:
    return group(record(lambda *, xp: lambda s, d: step(xp, s, d), state, data))


def kernels(grouped: Grouping) -> list[tuple[LoopNest, ...]]:
    return [node for node in grouped.nodes if not isinstance(node, Operation)]


def functions(part: LoopNest) -> list[str]:
    return [item.function for item in part.items.values()]


# -- the lecture's step ---------------------------------------------------------------------------


@pytest.mark.parametrize("members", [0, 3])
@pytest.mark.parametrize("hidden", ["sigmoid", "tanh", "relu"])
def test_the_lecture_takes_15_nodes_a_step(members: int, hidden: str) -> None:
    """8 products, and between them: batch, A1, A2, loss and dL, dZ2, dZ1, the update."""
    step = lecture_step(LECTURE, batch=64, members=members, hidden=hidden)
    grouped = group(step.program())
    assert len(kernels(grouped)) == 7
    assert len(grouped.nodes) == 15


def test_the_lecture_s_sums_ride_with_what_they_sum() -> None:
    batch, A1, A2, loss, dZ2, dZ1, update = kernels(
        group(lecture_step(LECTURE, batch=64).program())
    )
    assert [functions(part) for part in (*batch, *A1, *A2)] == [["divide"]] * 3
    (rows,) = loss
    assert functions(rows) == ["max", "sum", "sum", "divide", "argmax", "astype"]
    shapes = {part.shape: functions(part) for part in dZ2 if part.shape}
    assert shapes == {(10,): ["sum"], (32,): ["multiply", "sum"]}  # db3; dZ2 and db2
    assert [functions(part) for part in dZ1 if part.shape] == [["multiply", "sum"]]
    assert [part.shape for part in update] == [(52650,)]


def test_large_batches_are_summed_in_pieces_by_many_blocks() -> None:
    grouped = group(lecture_step((784, 512, 10), batch=8192).program())
    assert len(grouped.nodes) <= 5 + 8
    lengths = [part.loop(v) for parts in kernels(grouped) for part in parts for v in part.items]
    assert max(lengths) <= 8192
    columns = [p for parts in kernels(grouped) for p in parts if p.axis == 1 and 512 in p.shape]
    assert all(part.loop(value) <= 1024 for part in columns for value in part.items)


def test_nothing_but_what_products_and_other_kernels_read_has_memory() -> None:
    step = lecture_step(LECTURE, batch=64)
    grouped = group(step.program())
    elements = sum(b.size for b in grouped.layout.buffers if b.holds is None)
    wide = 64 * (784 + 2 * (64 + 32 + 10) + 64 + 32 + 10)  # X; Z and A or dL; dA; dZ is one of ...
    assert elements <= wide + 64 * (64 + 32) + 52650 + 64 * 3 + 4


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("members", [(), (3,)])
def test_a_normalisation_is_one_kernel(axis: int, members: tuple[int, ...]) -> None:
    """Mean, variance, the normalised values and the running mean: three walks, no memory."""

    def step(xp: Any, s: Any, d: Any) -> Any:
        W, running = s
        Z = xp.matmul(d[0], W)
        mean = xp.mean(Z, axis=axis, keepdims=True)
        variance = xp.mean((Z - mean) ** 2, axis=axis, keepdims=True)
        Z_hat = (Z - mean) / xp.sqrt(variance + 1e-5)
        return (W, 0.9 * running + 0.1 * mean), (xp.maximum(Z_hat, 0.0),)

    running = (*members, 1, 30) if axis == -2 else (*members, 50, 1)
    state = (np.zeros((*members, 7, 30)), np.zeros(running))
    grouped = grouping(step, state, (np.zeros((50, 7)),))
    product, kernel = grouped.nodes
    assert isinstance(product, Operation)
    assert [functions(part) for part in kernel] == [["sum", "sum", "add", "maximum"]]
    memory = [buffer for buffer in grouped.layout.buffers if buffer.holds is None]
    assert len(memory) == 2  # Z and the metric


# -- state written in place ------------------------------------------------------------------------


def check(
    step: Callable[..., Any], state: tuple[Any, ...], directory: Path, data: tuple[Any, ...] = ()
) -> Scheduled:
    """Both languages, and threads in either order, agree with the eager step."""

    def make(*, xp: Any) -> Callable[..., Any]:
        return lambda s, d: step(xp, s, d)

    program = record(make, state, data)
    wanted = run_eagerly(make, state, data, 3)
    for language, backwards in (("c", False), ("cuda", False), ("cuda", True)):
        folder = directory / f"{language}{backwards}"
        folder.mkdir()
        scheduled = Scheduled(program, folder, language, backwards=backwards)
        found = scheduled.run(state, data, 3)
        for ours, theirs in zip(_all(found), _all(wanted), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    return scheduled


def _all(run: tuple[Any, list[np.ndarray]]) -> list[np.ndarray]:
    return [*leaves(run[0]), *run[1]]


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape)


def test_states_that_change_places(tmp_path: Path) -> None:
    state = (numbers(40), numbers(40) + 1, numbers(40) * 2)
    check(lambda xp, s, d: ((s[1], s[2], s[0]), ()), state, tmp_path)


def test_a_state_that_is_read_after_its_successor_is_known(tmp_path: Path) -> None:
    def step(xp: Any, s: Any, d: Any) -> Any:
        a, b = s
        new_a = 0.5 * a
        return (new_a, xp.matmul(new_a, b) * a), (xp.sum(a * new_a),)

    check(step, (numbers(6, 6), numbers(6, 6)), tmp_path)


def test_a_state_mixed_with_other_elements_of_itself(tmp_path: Path) -> None:
    def step(xp: Any, s: Any, d: Any) -> Any:
        a, b, c = s
        return (a - 0.5 * a[::-1], xp.matrix_transpose(b) + 1.0, xp.take(c, d[0]) + c), ()

    order = np.random.default_rng(0).permutation(700)
    check(step, (numbers(700), numbers(30, 30), numbers(700)), tmp_path, (order,))


def test_rows_that_are_normalised_in_place(tmp_path: Path) -> None:
    def step(xp: Any, s: Any, d: Any) -> Any:
        a, b = s
        a = a / xp.sqrt(xp.sum(a * a, axis=-1, keepdims=True)) + 0.01
        b = (b - xp.mean(b, axis=0)) / (1.0 + xp.max(b, axis=0))
        return (a, b), (xp.sum(a),)

    check(step, (numbers(5, 700), numbers(300, 11)), tmp_path)


def test_a_part_of_a_state_read_in_another_loop_than_that_which_writes(tmp_path: Path) -> None:
    def step(xp: Any, s: Any, d: Any) -> Any:
        (a,) = s
        shorter = a[:, :97]
        sums = xp.sum(a, axis=1), xp.sum(shorter, axis=1), xp.max(shorter + 1.0, axis=1)
        return (a * 0.5,), sums

    check(step, (numbers(4, 100),), tmp_path)


def test_two_kernels_that_would_overwrite_what_the_other_reads(tmp_path: Path) -> None:
    def step(xp: Any, s: Any, d: Any) -> Any:
        a, b = s
        new_a = a + xp.sum(xp.matmul(b, b))
        new_b = b + xp.sum(xp.matmul(new_a, new_a) * a)
        return (new_a, new_b / 100.0), ()

    check(step, (numbers(5, 5), numbers(5, 5)), tmp_path)


def test_adam(tmp_path: Path) -> None:
    def step(xp: Any, s: Any, d: Any) -> Any:
        p, m, v, t, rate = s
        A, Y = d
        W = xp.reshape(p[:12], (4, 3))
        E = xp.matmul(A, W) + p[12:][None, :] - Y
        g = xp.concat([xp.reshape(xp.matmul(xp.matrix_transpose(A), E), (-1,)), xp.sum(E, axis=0)])
        t = t + 1
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        time = xp.astype(t, xp.float64)
        step_size = rate * xp.sqrt(1.0 - 0.999**time) / (1.0 - 0.9**time)
        p = p - step_size * m / (xp.sqrt(v) + 1e-8)
        return (p, m, v, t, rate * 0.99), (xp.sum(E * E),)

    zero = np.zeros(15)
    state = (numbers(15), zero, zero, np.asarray(0), np.asarray(0.01))
    scheduled = check(step, state, tmp_path, (numbers(9, 4), numbers(9, 3)))
    nodes = scheduled.kernel_plan.nodes
    assert len(nodes) == 5  # a product, dE and db, a product, the update, and then the next rate
    assert isinstance(nodes[3], Launch)
    assert {0, 1, 2} <= set(nodes[3].buffers)  # p, m and v, by one kernel where they lie


def test_results_that_are_views_and_one_value_twice(tmp_path: Path) -> None:
    def step(xp: Any, s: Any, d: Any) -> Any:
        a, _, c = s
        a = 0.5 * a + 1.0
        return (a, a, xp.reshape(a[::-1], c.shape)), (a[3:], xp.reshape(a, c.shape), a)

    check(step, (numbers(12), numbers(12), numbers(3, 4)), tmp_path)


def test_parts_of_a_concatenation_that_lie_elsewhere_already(tmp_path: Path) -> None:
    def step(xp: Any, s: Any, d: Any) -> Any:
        a, b = s
        once = xp.concat([xp.sum(a, axis=1), a[0], b[1:], xp.matmul(a, a)[:, 0]])
        twice = xp.concat([once, once[2:], b])
        new_b = b * 0.5
        with_state = xp.concat([new_b, new_b])
        return (a * xp.sum(twice) / 100.0, new_b), (once, twice, with_state)

    check(step, (numbers(5, 5), numbers(5)), tmp_path)


def test_an_empty_array_is_refused() -> None:
    with pytest.raises(Untraceable, match="without elements"):
        grouping(lambda xp, s, d: ((s[0] + 1.0,), ()), (np.zeros((0, 3)),))
