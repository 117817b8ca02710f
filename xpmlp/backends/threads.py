"""How many threads BLAS should compute with: measured, since nothing else can know.

OpenBLAS with two threads is up to twice as fast on a quiet machine, and a hundred times slower on
a busy one, where its threads spin for each other. So the products of the run at hand are timed with
each number of threads, for a few milliseconds, as the machine is now. That alone would not do: a
process that has just woken is favoured by the scheduler for longer than that, and finds a busy
machine quiet. So no more threads are tried than there are cores with nothing else to run.
"""

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

from xpmlp.backends.base import Products, Threads

SECONDS_PER_COUNT = 0.01
"""Seconds for which each number of threads is timed, in turns with the others."""

FEWEST_TIMINGS = 3
"""Turns that each number of threads gets at least."""

LOAD_SAMPLES = 9
"""Times that the running threads are counted, half a millisecond apart."""

HOPELESS_FACTOR = 3.0
"""How many times slower than the best a number may be before it is asked no more."""

MORE_THREADS_TIME_RATIO = 0.9
"""More threads are taken only if their time is below this share of fewer's: the last tenth is
not worth what a second thread costs when the machine becomes busy."""

LARGEST_TIMED_PRODUCT, LONGEST_TIMED_SIDE = 12_000_000, 1024
"""Multiply-adds and lengths of a product that is timed: larger ones are cut down to these."""


def calibrate(products: Products, dtype: str) -> Threads:
    """The number of BLAS threads that these products are fastest with, as things stand now.

    Their bits are compared, too: `may_change` is whether every number gave the same for every
    product, as large as it is, of factors that lie in memory in either order.
    """
    candidates = thread_counts()
    if len(candidates) == 1:
        return Threads(candidates[0], may_change=False)
    free = (os.cpu_count() or 1) - others_running()
    shapes = list(dict.fromkeys(map(_cut, products)))
    operands = [_operands(shape, dtype) for shape in shapes]
    out = [np.empty((len(A), B.shape[1]), dtype) for A, B in operands]

    def seconds(count: int) -> float:
        with limits.of(count):
            started = time.perf_counter()
            for (A, B), result in zip(operands, out, strict=True):
                np.matmul(A, B, out=result)
            return time.perf_counter() - started

    is_whole = set(shapes) == set(products)
    may_change = is_whole and _same_bits(operands, candidates)
    for count in candidates:
        seconds(count)  # wakes the threads
    count = fastest([count for count in candidates if count == 1 or count <= free], seconds)
    return Threads(count, may_change)


def _same_bits(
    operands: Sequence[tuple[np.ndarray, np.ndarray]], candidates: Sequence[int]
) -> bool:
    """Whether every number of threads gives the same products, to the bit."""
    for A, B in operands:
        # A step multiplies A W, Aᵀ dZ and dZ Wᵀ: each order takes a way of its own through BLAS.
        for left, right in ((A, B), (np.asfortranarray(A), B), (A, np.asfortranarray(B))):
            products = []
            for count in candidates:
                with limits.of(count):
                    products.append(np.matmul(left, right))
            if not all(np.array_equal(products[0], other) for other in products[1:]):
                return False
    return True


def fastest(candidates: Sequence[int], seconds: Callable[[int], float]) -> int:
    """The fewest threads whose time no greater number beats by more than a tenth."""
    times: dict[int, list[float]] = {count: [] for count in candidates}
    asked = list(candidates)
    while asked:
        for count in list(asked):
            taken = times[count]
            taken.append(seconds(count))
            best = min(sum(other) / len(other) for other in times.values() if other)
            is_slow = sum(taken) > HOPELESS_FACTOR * best * len(taken)
            if is_slow or (len(taken) >= FEWEST_TIMINGS and sum(taken) >= SECONDS_PER_COUNT):
                asked.remove(count)
    # The mean, not the median: one stall of many milliseconds is what a busy machine looks like.
    means = {count: sum(taken) / len(taken) for count, taken in times.items()}
    chosen = candidates[0]
    for count in candidates[1:]:
        if means[count] < MORE_THREADS_TIME_RATIO * means[chosen]:
            chosen = count
    return chosen


def idle_threads() -> int:
    """The most threads that there are idle cores for, at least one."""
    free = (os.cpu_count() or 1) - others_running()
    return max(count for count in thread_counts() if count == 1 or count <= free)


def others_running() -> int:
    """How many threads of others are running or want to, as Linux counts them; 0 elsewhere.

    The middle of a few looks. Threads of this process are not counted: BLAS's own keep spinning
    for some milliseconds after a product.
    """
    looks = []
    try:
        for _ in range(LOAD_SAMPLES):
            running = Path("/proc/loadavg").read_text("ascii").split()[3].partition("/")[0]
            looks.append(int(running) - _own_running())
            time.sleep(0.0005)
    except (OSError, ValueError, IndexError):
        return 0
    return max(0, sorted(looks)[LOAD_SAMPLES // 2])


def _own_running() -> int:
    """Threads of this process that are running, this one among them."""
    running = 0
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):  # a thread may end meanwhile
            status = Path("/proc/self/task", task, "stat").read_text("utf-8", "replace")
            running += status.rpartition(")")[2].split()[0] == "R"
    return running


def thread_counts() -> list[int]:
    """The numbers worth trying: 1, 2, 4, ... up to what BLAS is set to and the cores we may use."""
    allowed = max((library["num_threads"] for library in blas().info()), default=1)
    if hasattr(os, "sched_getaffinity"):
        allowed = min(allowed, len(os.sched_getaffinity(0)))
    counts = [1 << power for power in range(allowed.bit_length())]
    return counts if counts[-1] == allowed else [*counts, allowed]


class _Limits:
    """The limits on BLAS's threads that are in force, one inside another or side by side.

    The number is one for the whole process. The limit that was asked for last holds; when the last
    one ends, the number is what it was before the first, in whatever order they ended.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: list[tuple[object, int]] = []
        self._original: Any = None

    @contextlib.contextmanager
    def of(self, count: int) -> Iterator[None]:
        """BLAS computes with `count` threads inside the context."""
        ours = (object(), count)
        with self._lock:
            limiter = blas().limit(limits=count)
            if not self._asked:
                self._original = limiter
            self._asked.append(ours)
        try:
            yield
        finally:
            with self._lock:
                self._asked.remove(ours)
                if self._asked:
                    blas().limit(limits=self._asked[-1][1])
                else:
                    self._original.restore_original_limits()


limits = _Limits()


@functools.cache
def blas() -> threadpoolctl.ThreadpoolController:
    """The BLAS that NumPy has loaded; found once, for that takes a while."""
    return threadpoolctl.ThreadpoolController().select(user_api="blas")


def _cut(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """A product that is timed in the place of a larger one."""
    rows, inner, columns = shape
    inner, columns = min(inner, LONGEST_TIMED_SIDE), min(columns, LONGEST_TIMED_SIDE)
    return min(rows, max(16, LARGEST_TIMED_PRODUCT // (inner * columns))), inner, columns


def _operands(shape: tuple[int, int, int], dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """A and B of a product."""
    rows, inner, columns = shape
    random = np.random.default_rng(0)

    def numbers(rows: int, columns: int) -> np.ndarray:
        # Of the dtype's full precision and both signs, so that sums round; drawn once and repeated,
        # for drawing takes longer than the product.
        drawn = random.standard_normal(4099).astype(dtype)
        return np.resize(drawn, rows * columns).reshape(rows, columns)

    return numbers(rows, inner), numbers(inner, columns)
