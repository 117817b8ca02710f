"""How the rows of an epoch reach the steps: all at once, or in blocks where memory is short.

Data that fits lies on the device for the whole run, and one segment is an epoch. Data that does
not comes in blocks of many batches, in the epoch's order, so that within a block the rows are
taken one after another. A step sees the same batches either way, and the results are the same
bits.
"""

import contextlib
from collections.abc import Generator
from typing import NamedTuple, Protocol

import numpy as np

from xpmlp.backends import Backend
from xpmlp.data import HOST_ROWS, MappedRows, SparseRows, Split
from xpmlp.errors import InputError
from xpmlp.network import Objective
from xpmlp.training.step import TrainingData
from xpmlp.typing import Array

SHARE = 0.6
"""The part of a device's free memory that rows may take to lie there for good."""

BLOCK = 256 * 2**20
"""Bytes of a block: milliseconds to copy, hundreds of batches to train on."""

MAPPED_BLOCK = 64 * 2**20
"""The same of rows in a file: up to three such blocks are in memory at once."""


BY_ROW, BY_STEP = ("weights", "shares"), ("penalties", "factors", "averaging")
"""What of an epoch a step looks up by the place of a row in its order, and by its own number."""


class Epoch(NamedTuple):
    """What of an epoch its steps read beside the rows, on the host.

    `order` (n,) are the rows' numbers, whole batches of them, or (E, n) one order for each member;
    `first` is the number of its first step in the run. `weights` (n,) or (E, n) and `shares` (n,)
    go with the order, `penalties` (steps,) or (E, steps), `factors` and `averaging` (steps,) with
    the steps; None where there are none.
    """

    order: np.ndarray
    first: int = 0
    weights: np.ndarray | None = None
    shares: np.ndarray | None = None
    penalties: np.ndarray | None = None
    factors: np.ndarray | None = None
    averaging: np.ndarray | None = None

    @property
    def counts_steps(self) -> bool:
        """Whether a step looks up something by its number."""
        return any(getattr(self, name) is not None for name in BY_STEP)

    @property
    def counted(self) -> np.ndarray:
        """How many of its rows count, () or (E,): those that weigh something."""
        if self.weights is None:
            return np.asarray(self.order.shape[-1])
        return np.asarray(np.count_nonzero(self.weights, axis=-1))


def batch_weights(
    chosen: np.ndarray,
    weights: np.ndarray | None,
    *,
    batch_size: int,
    left_over: int,
    objective: Objective,
    dtype: str,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The weights of the rows of an epoch, by which the mean over N rows of a batch becomes what
    the objective asks for, and the scale of its penalties in each step; None where all are 1.

    `chosen` (n,) or (E, n) are whole batches of rows, and `weights` those of all rows, which (E, n)
    gives each member its own; of the last batch only `left_over` rows are meant, if that is not 0:
    the others weigh nothing.
    """
    is_scaled = objective.divides_by_weight and objective.has_penalty
    if weights is None and not left_over and not is_scaled:
        return None, None
    if weights is None:
        own = np.ones(chosen.shape[-1:])
    elif weights.ndim == 1:
        own = weights[chosen].astype(np.float64)
    else:
        own = np.take_along_axis(weights, np.atleast_2d(chosen), axis=1).astype(np.float64)
    if left_over:
        own[..., left_over - batch_size :] = 0.0
    batches = own.reshape((*own.shape[:-1], -1, batch_size))
    if objective.divides_by_weight:
        divisors = batches.sum(axis=-1)
    else:
        divisors = np.full(batches.shape[:-1], float(batch_size))
        divisors[..., -1] = left_over or batch_size
    divisors = np.where(divisors > 0.0, divisors, np.inf)  # a batch that weighs nothing is skipped
    scaled = (batches * (batch_size / divisors)[..., None]).reshape(own.shape)
    return (
        None if weights is None and not left_over else scaled.astype(dtype),
        (1.0 / divisors).astype(dtype) if is_scaled else None,
    )


class Segment(NamedTuple):
    """Some of an epoch's steps: what they read, how many they are, and the state's offset at the
    first of them."""

    data: TrainingData
    steps: int
    offset: Array


class Feed(Protocol):
    """Where the steps of an epoch get their rows from."""

    def epoch(self, epoch: Epoch, *, done: int = 0) -> Generator[Segment, None, None]:
        """The segments of an epoch of which so many steps are done already.

        A segment's arrays are good until the next one is asked for.
        """
        ...


def feed(
    split: Split,
    *,
    batch_size: int,
    fixed: TrainingData,
    backend: Backend,
    has_orders: bool = False,
    limit: int | None = None,
    block: int = BLOCK,
) -> Feed:
    """Rows that lie on the device, or come in blocks of so many bytes if they exceed the limit.

    `fixed` is what of the steps' data stays the same for the whole run. Rows that lie on the device
    already stay there; rows in a file come in blocks where the device has not twice the room for
    them. The limit, in bytes, is by default a share of the device's free memory, where that is
    known. Raises `InputError` where members that each have an order of their own would need
    blocks.
    """
    if limit is None and (free := backend.free_memory()) is not None:
        limit = int(SHARE * free)
    if not isinstance(split.X, HOST_ROWS):
        return Resident(split, batch_size=batch_size, fixed=fixed, backend=backend)
    sources = [split.X, split.labels]
    total = sum(source.nbytes for source in sources)
    if isinstance(split.X, SparseRows):
        limit = min(block, total if limit is None else limit)
    elif isinstance(split.X, MappedRows):
        # To lie on the device they are put together there, for a moment twice.
        if limit is not None and 2 * total <= limit:
            return Resident(split, batch_size=batch_size, fixed=fixed, backend=backend)
        block = min(block, MAPPED_BLOCK)
        limit = min(2 * block, total if limit is None else limit)
    elif limit is None or total <= limit:
        return Resident(split, batch_size=batch_size, fixed=fixed, backend=backend)
    if has_orders:
        raise InputError(
            f"{total:,} bytes of rows for {limit:,} of memory on {backend.device_name}: members "
            "that each train on rows of their own need all of them there; give fewer rows"
        )
    row = total // len(split.labels)
    places = 2  # one in use, one on its way
    steps = max(1, min(block, limit // places) // (row * batch_size))
    return Streamed(sources, batch_size=batch_size, fixed=fixed, backend=backend, steps=steps)


class Resident:
    """All rows on the device, sent there once, if they are not there already."""

    def __init__(
        self,
        split: Split,
        *,
        batch_size: int,
        fixed: TrainingData,
        backend: Backend,
    ) -> None:
        self._batch_size = batch_size
        self._backend = backend
        X, labels = split
        if isinstance(X, MappedRows):
            X = backend.xp.concat([backend.asarray(piece) for piece in X.pieces()], axis=0)
        X, labels = (
            backend.asarray(source) if isinstance(source, np.ndarray) else source
            for source in (X, labels)
        )
        self._data = fixed._replace(X=X, labels=labels)

    def epoch(self, epoch: Epoch, *, done: int = 0) -> Generator[Segment, None, None]:
        """One segment."""
        send = self._backend.asarray
        data = self._data._replace(
            order=send(epoch.order),
            **_by_row(epoch, slice(None), self._backend),
            **_by_step(epoch, slice(None), self._backend),
        )
        steps = epoch.order.shape[-1] // self._batch_size
        yield Segment(data, steps - done, send(np.array(done * self._batch_size)))


class Streamed:
    """Rows on the host, sent in blocks of `steps` batches.

    Every block has the same shape, so that what was compiled for one serves all; after the last
    batch of an epoch there may be rows in it that are not read.
    """

    def __init__(
        self,
        sources: list[np.ndarray | SparseRows | MappedRows],
        *,
        batch_size: int,
        fixed: TrainingData,
        backend: Backend,
        steps: int,
    ) -> None:
        self._batch_size = batch_size
        self._backend = backend
        self._steps = min(steps, -(-len(sources[1]) // batch_size))
        self._rows = self._steps * batch_size
        self._gather = backend.gatherer(sources, rows=self._rows)
        self._fixed = fixed._replace(order=backend.asarray(np.arange(self._rows)))

    def epoch(self, epoch: Epoch, *, done: int = 0) -> Generator[Segment, None, None]:
        """A segment for each block."""
        batch_size, rows = self._batch_size, self._rows
        first, last = done * batch_size, len(epoch.order) // batch_size * batch_size
        starts = range(first, last, rows)
        blocks = [epoch.order[start : min(start + rows, last)] for start in starts]
        arriving = self._gather(blocks)
        # What comes after the last segment matters: the places are free again.
        with contextlib.closing(arriving):
            for (X, labels), block, start in zip(arriving, blocks, starts, strict=True):
                here = slice(start // batch_size, start // batch_size + self._steps)
                data = self._fixed._replace(
                    X=X,
                    labels=labels,
                    **_by_row(epoch, slice(start, start + rows), self._backend, length=rows),
                    **_by_step(epoch, here, self._backend, length=self._steps),
                )
                # A new array each time: a step may write over its state.
                offset = self._backend.asarray(np.array(0))
                yield Segment(data, len(block) // batch_size, offset)


def _by_row(
    epoch: Epoch, here: slice, backend: Backend, *, length: int | None = None
) -> dict[str, Array]:
    """What steps look up by the place of a row, of these places; of one length, however few."""
    return {
        name: backend.asarray(_cut(getattr(epoch, name), here, length))
        for name in BY_ROW
        if getattr(epoch, name) is not None
    }


def _by_step(
    epoch: Epoch, here: slice, backend: Backend, *, length: int | None = None
) -> dict[str, Array]:
    """What steps look up by number, of these steps; of one length, however few are left."""
    if not epoch.counts_steps:
        return {}
    return {
        "first": backend.asarray(np.array([epoch.first + (here.start or 0)])),
        **{
            name: backend.asarray(_cut(getattr(epoch, name), here, length))
            for name in BY_STEP
            if getattr(epoch, name) is not None
        },
    }


def _cut(series: np.ndarray, here: slice, length: int | None) -> np.ndarray:
    """A part of a series (n,) or (E, n), with zeros behind it up to a length."""
    part = series[..., here]
    if length is None or part.shape[-1] == length:
        return part
    padded = np.zeros((*part.shape[:-1], length), series.dtype)
    padded[..., : part.shape[-1]] = part
    return padded
