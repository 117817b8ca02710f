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
from xpmlp.data import Split
from xpmlp.errors import InputError
from xpmlp.training.step import TrainingData
from xpmlp.typing import Array

SHARE = 0.6
"""The part of a device's free memory that rows may take to lie there for good."""

BLOCK = 256 * 2**20
"""Bytes of a block: milliseconds to copy, hundreds of batches to train on."""


class Epoch(NamedTuple):
    """What of an epoch its steps read beside the rows, on the host.

    `order` (n,) are the rows' numbers, or (E, n) one order for each member; `first` is the number
    of its first step in the run. `shares` (n,) go with the order, `factors` and `averaging`
    (steps,) with the steps; None where there are none.
    """

    order: np.ndarray
    first: int = 0
    shares: np.ndarray | None = None
    factors: np.ndarray | None = None
    averaging: np.ndarray | None = None

    @property
    def counts_steps(self) -> bool:
        """Whether a step looks up something by its number."""
        return self.factors is not None or self.averaging is not None


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
    weights: np.ndarray | None = None,
    has_orders: bool = False,
    limit: int | None = None,
    block: int = BLOCK,
) -> Feed:
    """Rows that lie on the device, or come in blocks of so many bytes if they exceed the limit.

    `fixed` is what of the steps' data stays the same for the whole run, `weights` are the rows'.
    The limit, in bytes, is by default a share of the device's free memory, where that is known.
    Raises `InputError` where members that each have an order of their own would need blocks.
    """
    if limit is None and (free := backend.free_memory()) is not None:
        limit = int(SHARE * free)
    sources = [split.X, split.labels, *(() if weights is None else (weights,))]
    total = sum(source.nbytes for source in sources)
    if limit is None or total <= limit:
        return Resident(sources, batch_size=batch_size, fixed=fixed, backend=backend)
    if has_orders:
        raise InputError(
            f"{total:,} bytes of rows for {limit:,} of memory on {backend.device_name}: members "
            "that each train on rows of their own need all of them there; give fewer rows"
        )
    row = sum(source[:1].nbytes for source in sources)
    places = 2  # one in use, one on its way
    steps = max(1, min(block, limit // places) // (row * batch_size))
    return Streamed(sources, batch_size=batch_size, fixed=fixed, backend=backend, steps=steps)


class Resident:
    """All rows on the device, sent there once."""

    def __init__(
        self,
        sources: list[np.ndarray],
        *,
        batch_size: int,
        fixed: TrainingData,
        backend: Backend,
    ) -> None:
        self._batch_size = batch_size
        self._backend = backend
        X, labels, *weights = map(backend.asarray, sources)
        self._data = fixed._replace(X=X, labels=labels, weights=weights[0] if weights else None)

    def epoch(self, epoch: Epoch, *, done: int = 0) -> Generator[Segment, None, None]:
        """One segment."""
        send = self._backend.asarray
        data = self._data._replace(
            order=send(epoch.order),
            shares=None if epoch.shares is None else send(epoch.shares),
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
        sources: list[np.ndarray],
        *,
        batch_size: int,
        fixed: TrainingData,
        backend: Backend,
        steps: int,
    ) -> None:
        self._batch_size = batch_size
        self._backend = backend
        total = len(sources[0]) // batch_size
        self._steps = min(steps, total)
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
            for (X, labels, *weights), block, start in zip(arriving, blocks, starts, strict=True):
                shares = None
                if epoch.shares is not None:
                    shares = self._backend.asarray(_padded(epoch.shares[start:last], rows))
                here = slice(start // batch_size, start // batch_size + self._steps)
                data = self._fixed._replace(
                    X=X,
                    labels=labels,
                    weights=weights[0] if weights else None,
                    shares=shares,
                    **_by_step(epoch, here, self._backend, length=self._steps),
                )
                # A new array each time: a step may write over its state.
                offset = self._backend.asarray(np.array(0))
                yield Segment(data, len(block) // batch_size, offset)


def _by_step(
    epoch: Epoch, here: slice, backend: Backend, *, length: int | None = None
) -> dict[str, Array | None]:
    """What steps look up by number, of these steps; of one length, however few are left."""
    if not epoch.counts_steps:
        return {}
    found: dict[str, Array | None] = {
        "first": backend.asarray(np.array([epoch.first + (here.start or 0)]))
    }
    for name in ("factors", "averaging"):
        series = getattr(epoch, name)
        if series is not None:
            series = series[here]
            series = backend.asarray(series if length is None else _padded(series, length))
        found[name] = series
    return found


def _padded(series: np.ndarray, length: int) -> np.ndarray:
    padded = np.zeros(length, series.dtype)
    padded[: min(length, len(series))] = series[:length]
    return padded
