"""How many BLAS threads compute: measured, compared in their bits, and given back."""

import itertools
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from xpmlp import MLP, Split, select_backend
from xpmlp.backends import threads
from xpmlp.backends.threads import calibrate, fastest, thread_counts
from xpmlp.training import train

PRODUCTS = MLP((30, 20, 10)).products(16)


def counts() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_process_s_setting_is_as_before_after_all() -> None:
    before, numpy = counts(), select_backend("numpy")
    chosen = numpy.choose_threads(PRODUCTS, "float32")
    assert counts() == before
    assert 1 <= chosen.number <= max(before)
    with numpy.threads(1):
        assert set(counts()) == {1}
    assert counts() == before
    with numpy.threads(0):
        assert counts() == before


@pytest.mark.parametrize(
    ("times", "chosen"),
    [
        ({1: 1.0, 2: 0.5, 4: 0.3}, 4),
        ({1: 1.0, 2: 0.5, 4: 0.48}, 2),  # the last twentieth is not worth two more threads
        ({1: 1.0, 2: 0.95, 4: 1.2}, 1),
        ({1: 1.0, 2: 100.0, 4: 200.0}, 1),  # a busy machine
        ({1: 1.0, 2: 1.1, 4: 0.4}, 4),
        ({1: 1.0}, 1),
    ],
)
def test_fewest_threads_within_a_tenth_of_the_best(times: dict[int, float], chosen: int) -> None:
    assert fastest(list(times), lambda count: times[count]) == chosen


def test_a_number_that_crawls_is_asked_once() -> None:
    asked: list[int] = []

    def seconds(count: int) -> float:
        asked.append(count)
        return {1: 1.0, 2: 100.0}[count]

    assert fastest([1, 2], seconds) == 1
    assert asked.count(2) == 1
    assert asked.count(1) == threads.FEWEST_TIMINGS


def test_one_stall_counts_however_quick_the_rest_is() -> None:
    stalls = iter([0.5, 0.5, 2.9])
    assert fastest([1, 2], lambda count: 1.0 if count == 1 else next(stalls)) == 1


def test_candidates_are_powers_of_two_up_to_what_is_allowed(monkeypatch) -> None:
    class Pools:
        def info(self) -> list[dict[str, int]]:
            return [{"num_threads": 6}]

    monkeypatch.setattr(threads, "blas", Pools)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert thread_counts() == [1, 2, 4, 6]
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert thread_counts() == [1]
    assert calibrate(PRODUCTS, "float32") == (1, False)


def test_threads_may_change_only_if_no_bit_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "thread_counts", lambda: [1, 2])
    assert calibrate([(4, 4, 4)], "float64").may_change

    true_matmul, calls = np.matmul, itertools.count()

    def matmul(A: np.ndarray, B: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        return true_matmul(A, B, out=out) + next(calls) * 1e-12

    monkeypatch.setattr(np, "matmul", matmul)
    assert not calibrate([(4, 4, 4)], "float64").may_change


def test_a_product_that_is_cut_down_says_nothing_about_bits(monkeypatch) -> None:
    monkeypatch.setattr(threads, "thread_counts", lambda: [1, 2])
    assert not calibrate([(2, 2000, 2)], "float64").may_change


def test_no_more_threads_are_tried_than_there_are_idle_cores(monkeypatch) -> None:
    tried: list[list[int]] = []

    def record(candidates: list[int], _: object) -> int:
        tried.append(candidates)
        return candidates[-1]

    monkeypatch.setattr(threads, "thread_counts", lambda: [1, 2, 4])
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(threads, "fastest", record)
    for others, count in ((0, 4), (1, 2), (2, 2), (3, 1), (9, 1)):
        monkeypatch.setattr(threads, "others_running", lambda others=others: others)
        assert calibrate([(4, 4, 4)], "float64").number == count
    assert tried == [[1, 2, 4], [1, 2], [1, 2], [1], [1]]


def test_others_are_counted_without_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = itertools.cycle(["1", "4", "4"])
    true_read_text = Path.read_text

    def read_text(path: Path, *arguments: Any) -> str:
        if path == Path("/proc/loadavg"):
            return f"0.1 0.2 0.3 {next(looks)}/90 123\n"
        return true_read_text(path, *arguments)

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(threads, "_own_running", lambda: 1)
    assert threads.others_running() == 3
    monkeypatch.setattr(threads, "_own_running", lambda: 3)  # BLAS's threads are spinning
    assert threads.others_running() == 1

    def missing(*_: object) -> str:
        raise OSError

    monkeypatch.setattr(Path, "read_text", missing)  # no Linux
    assert threads.others_running() == 0


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads as Linux does")
def test_this_process_s_running_threads_are_known() -> None:
    stop = threading.Event()

    def spin() -> None:
        A = np.ones((600, 600))
        while not stop.is_set():
            A @ A  # without Python's lock

    assert threads._own_running() >= 1
    workers = [threading.Thread(target=spin) for _ in range(3)]
    for worker in workers:
        worker.start()
    try:
        seen = max(threads._own_running() for _ in range(200))
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert seen >= 3


def test_limits_side_by_side_leave_what_they_found() -> None:
    """As runs in two threads of a program: the first to begin may be the first to end."""
    before = [library["num_threads"] for library in threads.blas().info()]
    one, other = threads.limits.of(1), threads.limits.of(2)
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert {library["num_threads"] for library in threads.blas().info()} <= {2, max(before)}
    other.__exit__(None, None, None)
    assert [library["num_threads"] for library in threads.blas().info()] == before
    with threads.limits.of(1), pytest.raises(ZeroDivisionError), threads.limits.of(1):
        raise ZeroDivisionError
    assert [library["num_threads"] for library in threads.blas().info()] == before


def test_factors_whose_bits_are_compared_use_all_their_digits() -> None:
    for dtype in ("float32", "float64"):
        for factor in threads._operands((96, 54, 176), dtype):
            assert factor.dtype == dtype
            assert (factor < 0).any()
            assert (factor > 0).any()
    A, B = threads._operands((96, 54, 176), "float64")
    assert (A.astype(np.float32) != A).mean() > 0.9
    assert (B.astype(np.float32) != B).mean() > 0.9


def test_thread_counts_that_may_change_train_to_the_same_bits() -> None:
    """Shapes that differed by the number of threads on some BLAS."""
    random = np.random.default_rng(0)
    for sizes, batch_size in (((54, 176, 10), 96), ((784, 100, 32, 10), 96)):
        model = MLP(sizes)
        if not calibrate(model.products(batch_size), "float64").may_change:
            continue
        X = random.integers(0, 256, (batch_size * 4, sizes[0]), dtype=np.uint8)
        split = Split(X, random.integers(0, 10, batch_size * 4))
        one, other = (
            train(
                model, split, epochs=2, batch_size=batch_size, dtype="float64", threads=count
            ).parameters
            for count in (1, 2)
        )
        np.testing.assert_array_equal(one, other)
