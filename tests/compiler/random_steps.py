"""Steps of random operations: whatever a step may be made of, in orders that nobody thought of."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from xpmlp.compiler.program import leaves

E, N, K, M = 3, 6, 5, 4  # members, rows, columns, other columns

_UNARY = ("tanh", "abs", "negative", "sign", "sqrt", "log1p", "square", "exp", "sin", "positive")


class RandomStep:
    """A step of about `length` operations on state and data of small shapes, decided by a seed."""

    def __init__(self, seed: int, *, length: int = 14, dtype: str = "float64") -> None:
        self.seed, self.length, self.dtype = seed, length, dtype

    def state(self) -> tuple[np.ndarray, ...]:
        r = np.random.default_rng(self.seed)
        shapes = ((K, M), (E, K), (K, M), ())
        floats = [r.standard_normal(shape).astype(self.dtype) for shape in shapes]
        return (*floats, np.asarray(7, np.int64))

    def data(self) -> tuple[np.ndarray, ...]:
        r = np.random.default_rng(self.seed + 1)
        shapes = ((N, K), (E, N, K), (E, 1), (M,))
        floats = [r.standard_normal(shape).astype(self.dtype) for shape in shapes]
        labels = r.integers(0, K, N).astype(np.uint8)
        return (*floats, labels, r.permutation(N), np.arange(K, dtype=np.int32))

    def make(self, *, xp: Any) -> Callable[[Any, Any], tuple[Any, Any]]:
        return lambda state, data: _Choices(self, xp).step(state, data)


class _Choices:
    def __init__(self, like: RandomStep, xp: Any) -> None:
        self.choose = random.Random(like.seed)  # noqa: S311
        self.length, self.dtype, self.xp = like.length, like.dtype, xp

    def step(self, state: Any, data: Any) -> tuple[Any, Any]:
        *floats, counter = state
        *more, labels, order, classes = data
        self.integers = (labels, order, classes)
        self.counter = counter
        self.pool = [*floats, *more]
        kinds = (self.unary, self.binary, self.binary, self.reduction, self.reduction, self.view,
                 self.taken, self.product, self.concatenated, self.chosen, self.hashed,
                 self.one_hot, self.argmax, self.normalised)  # fmt: skip
        made = []
        for _ in range(self.length):
            kind = self.choose.choice(kinds)
            self.pool.append(kind())
            if kind != self.view:  # a view of the old state is no metric
                made.append(self.pool[-1])
        new = [self.next_state(old, floats) for old in floats]
        metrics = tuple(self.choose.choice(made or [1.0 * floats[0]]) for _ in range(3))
        return (*new, counter + 3), (*metrics, self.one() + 1.0)

    def one(self) -> Any:
        recent = self.pool[-5:]
        return self.choose.choice(recent if self.choose.random() < 0.5 else self.pool)

    def next_state(self, old: Any, states: list[Any]) -> Any:
        fitting = [x for x in self.pool if _meet(x.shape, old.shape) == old.shape]
        kind = self.choose.random()
        if kind < 0.1:
            return self.choose.choice([x for x in states if x.shape == old.shape])
        if kind < 0.2:
            return self.choose.choice([x for x in self.pool if x.shape == old.shape])
        x = self.choose.choice(fitting) if kind < 0.8 else self.xp.mean(self.one())
        return old * 0.9 + 0.1 * self.xp.tanh(x)

    def unary(self) -> Any:
        function, x = self.choose.choice(_UNARY), self.one()
        if function in ("sqrt", "log1p"):
            x = self.xp.abs(x) + 0.1  # the slope of a root at 0 makes much of rounding
        if function in ("exp", "square"):
            x = self.xp.minimum(self.xp.maximum(x, -2.0), 1.5)
        return getattr(self.xp, function)(x)

    def pair(self) -> tuple[Any, Any]:
        x = self.one()
        return x, self.choose.choice([y for y in self.pool if _meet(x.shape, y.shape)])

    def binary(self) -> Any:
        x, y = self.pair()
        if self.choose.random() < 0.2:
            return x / (1.5 + self.xp.abs(y))
        names = ("add", "subtract", "multiply", "maximum", "minimum")
        return getattr(self.xp, self.choose.choice(names))(self.xp.tanh(x), y)

    def reduction(self) -> Any:
        x = self.one()
        axes = [axis for axis in range(x.ndim) if self.choose.random() < 0.6]
        axis: Any = tuple(axes) if axes else None
        keepdims = self.choose.random() < 0.5
        function = self.choose.choice(("sum", "max", "min", "mean"))
        return getattr(self.xp, function)(x, axis=axis, keepdims=keepdims)

    def normalised(self) -> Any:
        x = self.matrix()
        axis = self.choose.choice((-1, -2))
        x = x - self.xp.mean(x, axis=axis, keepdims=True)
        return x / self.xp.sqrt(self.xp.mean(x * x, axis=axis, keepdims=True) + 0.1)

    def matrix(self) -> Any:
        return self.choose.choice([x for x in self.pool if x.ndim >= 2])

    def view(self) -> Any:
        x = self.matrix()
        views = (
            lambda: self.xp.matrix_transpose(x),
            lambda: x[..., None, :],
            lambda: x[..., ::-1],
            lambda: x[..., -1],
            lambda: x[-1],
            lambda: x[..., : max(1, x.shape[-2] - 1), :],
            lambda: self.xp.reshape(x, (-1,)),
            lambda: self.xp.reshape(self.xp.matrix_transpose(x), (*x.shape[:-2], -1)) * 1.0,
            lambda: self.xp.reshape(x, (*x.shape[:-2], -1)),
            lambda: self.xp.broadcast_to(x[..., :1, :], x.shape),
        )
        return self.choose.choice(views)()

    def taken(self) -> Any:
        x = self.choose.choice([x for x in self.pool if x.ndim])
        labels, order, _ = self.integers
        indices = self.xp.take(self.choose.choice((labels, order)), order + self.counter)
        return self.xp.take(x, indices, axis=self.choose.randrange(x.ndim))

    def product(self) -> Any:
        A = self.matrix()
        turned = [self.xp.matrix_transpose(x) for x in self.pool if x.ndim >= 2]
        B = self.choose.choice(
            [
                x
                for x in (*self.pool, *turned)
                if x.ndim >= 2
                and x.shape[-2] == A.shape[-1]
                and _meet(x.shape[:-2], A.shape[:-2]) is not None
            ]
        )
        return 0.3 * self.xp.matmul(A, B) if self.choose.random() < 0.5 else self.xp.matmul(A, B)

    def concatenated(self) -> Any:
        x = self.choose.choice([x for x in self.pool if x.ndim])
        axis = self.choose.randrange(x.ndim)
        fitting = [y for y in self.pool if y.ndim == x.ndim]
        parts = [y for y in fitting if _without(y.shape, axis) == _without(x.shape, axis)]
        return self.xp.concat([x, self.choose.choice(parts)], axis=axis)

    def chosen(self) -> Any:
        x, y = self.pair()
        condition = self.xp.logical_and(x > 0.3, self.xp.isfinite(y))
        return self.xp.where(condition, self.choose.choice((x, 0.0, 1.5)), y)

    def hashed(self) -> Any:
        _, _, classes = self.integers
        x = (classes + self.xp.astype(self.counter, self.xp.int32)) * 747796405
        x = ((x ^ ((x >> 15) & 0x1FFFF)) * -1150833019) & 1023
        return self.xp.astype(x, getattr(self.xp, self.dtype)) / 1024.0

    def one_hot(self) -> Any:
        labels, _, classes = self.integers
        return self.xp.astype(labels[:, None] == classes, getattr(self.xp, self.dtype))

    def argmax(self) -> Any:
        x = self.matrix()
        axis = self.choose.choice((-1, -2))
        found = self.xp.argmax(x, axis=axis, keepdims=self.choose.random() < 0.5)
        return 0.1 * self.xp.astype(found, getattr(self.xp, self.dtype))


def _meet(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        shape = np.broadcast_shapes(first, second)
    except ValueError:
        return None
    return shape if np.prod(shape) <= 2000 and len(shape) <= 4 else None


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


class EagerNumPy:
    """NumPy as the namespace of an eager step, with `take` as programs have it: an index beyond
    the ends is that of the end."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def take(self, x: np.ndarray, indices: np.ndarray, /, *, axis: int | None = None) -> np.ndarray:
        return np.take(x, indices, axis=axis, mode="clip")


def run_eagerly(make: Any, state: Any, data: Any, count: int) -> tuple[Any, list[np.ndarray]]:
    """As `Interpreter.run`, step by step."""
    step, series = make(xp=EagerNumPy()), []
    for _ in range(count):
        state, metrics = step(state, data)
        series.append([np.array(metric) for metric in metrics])
    return state, [np.stack(one) for one in zip(*series, strict=True)]


def assert_same(found: Any, wanted: Any, tolerance: float) -> None:
    """Whether two runs gave the same state and metrics, shapes and dtypes included."""
    pairs = zip([*leaves(found[0]), *found[1]], [*leaves(wanted[0]), *wanted[1]], strict=True)
    for ours, theirs in pairs:
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
