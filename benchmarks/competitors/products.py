"""The yardsticks: the matrix products of a step and nothing else, and how fast a product can be."""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.competitors.competitor import Start, TakeTurn, Turn
from benchmarks.competitors.xpmlp import open_backend
from benchmarks.inputs import Inference
from benchmarks.problems import Problem

SQUARE = {"cpu": 2048, "cuda": 8192}
"""Width of the square product: large enough that another doubling gains nothing."""


def training_products(device: str, dtype: str) -> Start:
    """Z = A W, dW = Aᵀ dZ and, but for the first layer, dA = dZ Wᵀ; arrays hold random numbers."""

    def start(problem: Problem) -> TakeTurn:
        xp, wait = _library(device)
        products = list_products(problem, _random_arrays(xp, dtype), xp.empty_like)

        def steps(count: int) -> float:
            started = time.perf_counter()
            for _ in range(count):
                for left, right, out in products:
                    xp.matmul(left, right, out=out)
            wait()
            return time.perf_counter() - started

        def take_turn(count: int) -> Turn:
            steps(problem.warm)
            return Turn(steps(count) / count, None)

        return take_turn

    return start


def list_products(
    problem: Problem, array: Callable[..., Any], empty_like: Callable[[Any], Any]
) -> list[tuple[Any, Any, Any]]:
    """(left, right, out) of each product of a step; `array(*shape)` makes the factors.

    With E members all but the first layer's input has a leading axis.
    """
    members = (problem.members,) if problem.members > 1 else ()
    products = []
    for number, (l_in, l_out) in enumerate(pairwise(problem.layer_sizes)):
        A = array(*(members if number else ()), problem.batch_size, l_in)
        W, dZ = array(*members, l_in, l_out), array(*members, problem.batch_size, l_out)
        products += [(A, W, empty_like(dZ)), (A.swapaxes(-1, -2), dZ, empty_like(W))]
        if number > 0:
            products.append((dZ, W.swapaxes(-1, -2), empty_like(A)))
    return products


def square_product(device: str, dtype: str) -> Start:
    """The time that a step's multiply-adds take at the rate of one large square product."""

    def start(problem: Problem) -> TakeTurn:
        xp, wait = _library(device)
        n = SQUARE[device]
        array = _random_arrays(xp, dtype)
        A, B = array(n, n), array(n, n)
        out = xp.empty_like(A)

        def take_turn(count: int) -> Turn:
            """Two products a turn, whatever the count: enough to time, and long on a CPU."""
            xp.matmul(A, B, out=out)
            wait()
            started = time.perf_counter()
            for _ in range(2):
                xp.matmul(A, B, out=out)
            wait()
            seconds = (time.perf_counter() - started) / 2
            rate = 2 * n**3 / seconds
            note = f"{n} x {n}"
            return Turn(2 * problem.multiply_adds / rate, None, note=note)

        return take_turn

    return start


def inference_products(inference: Inference) -> TakeTurn:
    """Z = A W of each layer, NumPy, into arrays made beforehand."""
    array = _random_arrays(np, "float32")
    products = []
    for l_in, l_out in pairwise(inference.problem.layer_sizes):
        A, W = array(len(inference.X), l_in), array(l_in, l_out)
        products.append((A, W, array(len(inference.X), l_out)))

    def take_turn(count: int) -> Turn:
        for left, right, out in products:
            np.matmul(left, right, out=out)
        started = time.perf_counter()
        for _ in range(count):
            for left, right, out in products:
                np.matmul(left, right, out=out)
        return Turn((time.perf_counter() - started) / count, None)

    return take_turn


def _library(device: str) -> tuple[Any, Callable[[], object]]:
    """The array library of a device, and what waits until it has finished."""
    if device == "cpu":
        return np, lambda: None
    open_backend("cupy", device)  # says what is missing
    import cupy

    return cupy, lambda: cupy.cuda.get_current_stream().synchronize()


def _random_arrays(xp: Any, dtype: str) -> Callable[..., Any]:
    random = np.random.default_rng(0)

    def array(*shape: int) -> Any:
        return xp.asarray(random.standard_normal(shape, dtype))

    return array
