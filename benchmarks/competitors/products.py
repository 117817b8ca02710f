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


def training_products(device: str, dtype: str, *, own: bool = False) -> Start:
    """Z = A W, dW = Aᵀ dZ and, but for the first layer, dA = dZ Wᵀ; arrays hold random numbers.

    `own` products are those of xpmlp's cuBLAS handle, as for every `dtype` that CuPy cannot
    multiply in (tf32, and float16 into float32).
    """

    def start(problem: Problem) -> TakeTurn:
        xp, multiply, wait = _library(device, dtype, own=own)
        products = list_products(problem, _random_arrays(xp, dtype), _result_like(xp))

        def steps(count: int) -> float:
            started = time.perf_counter()
            for _ in range(count):
                for left, right, out in products:
                    multiply(left, right, out)
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


def square_product(
    device: str, dtype: str, *, own: bool = False, width: int | None = None
) -> Start:
    """The time that a step's multiply-adds take at the rate of one large square product."""

    def start(problem: Problem) -> TakeTurn:
        n = width or SQUARE[device]
        seconds_of = square_seconds(device, dtype, n, own=own)

        def take_turn(count: int) -> Turn:
            seconds = seconds_of() * problem.multiply_adds / n**3
            return Turn(seconds, None, note=f"{n} x {n}")

        return take_turn

    return start


def square_seconds(device: str, dtype: str, n: int, *, own: bool = False) -> Callable[[], float]:
    """Return a function that times one n x n x n product."""
    xp, multiply, wait = _library(device, dtype, own=own)
    array = _random_arrays(xp, dtype)
    A, B = array(n, n), array(n, n)
    out = _result_like(xp)(A)

    def seconds() -> float:
        """Time two products after a first one: enough, and long on a CPU."""
        multiply(A, B, out)
        wait()
        started = time.perf_counter()
        for _ in range(2):
            multiply(A, B, out)
        wait()
        return (time.perf_counter() - started) / 2

    return seconds


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


Multiply = Callable[[Any, Any, Any], object]
"""Multiplies two matrices, or stacks of them, into a third."""


def _library(
    device: str, dtype: str, *, own: bool = False
) -> tuple[Any, Multiply, Callable[[], object]]:
    """The array library of a device, its product, and what waits until it has finished."""
    if device == "cpu":
        return np, lambda A, B, out: np.matmul(A, B, out=out), lambda: None
    open_backend("cupy", device)  # says what is missing
    import cupy

    def multiply(A: Any, B: Any, out: Any) -> None:
        cupy.matmul(A, B, out=out)

    is_ours = own or dtype in ("tf32", "float16")
    chosen = _own_product(dtype) if is_ours else multiply
    return cupy, chosen, lambda: cupy.cuda.get_current_stream().synchronize()


def _own_product(dtype: str) -> Multiply:
    """The product of xpmlp's own cuBLAS handle."""
    import cupy

    from xpmlp.backends.cupy.cublas import Cublas, arithmetic, gemm_of, place_of

    handle = Cublas(cupy.cuda.get_current_stream(), cupy)
    result = "float64" if dtype == "float64" else "float32"

    def multiply(*arrays: Any) -> None:
        gemm = gemm_of(*(place_of(array, number) for number, array in enumerate(arrays)))
        handle.multiply(gemm, arrays, arithmetic(dtype, result))

    return multiply


def _random_arrays(xp: Any, dtype: str) -> Callable[..., Any]:
    random = np.random.default_rng(0)
    numbers = random.standard_normal(2**20, "float64" if dtype == "float64" else "float32")
    numbers = numbers.astype("float32" if dtype == "tf32" else dtype)

    def array(*shape: int) -> Any:
        """A million random numbers, again and again."""
        return xp.resize(xp.asarray(numbers), shape)

    return array


def _result_like(xp: Any) -> Callable[[Any], Any]:
    """Make an empty array as large as another; float16 is multiplied into float32."""

    def empty(array: Any) -> Any:
        return xp.empty(array.shape, "float32" if array.dtype.name == "float16" else array.dtype)

    return empty
