"""How the rows of an epoch reach the steps: all at once, or in blocks where memory is short.

Data that fits lies on the device for the whole run, and one chunk is an epoch. Data that does not
comes in blocks of many batches, in the epoch's order, so that within a block the rows are taken
one after another. A step sees the same batches either way, and the results are the same bits.
"""

import contextlib
from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np

from xpmlp.backends import Backend
from xpmlp.data import HOST_ROWS, MappedRows, SparseRows, Split
from xpmlp.errors import InputError
from xpmlp.training.batches import EpochPlan
from xpmlp.training.step import TrainingData
from xpmlp.typing import Array

FREE_MEMORY_SHARE = 0.6
"""The part of a device's free memory that rows may take to lie there for good."""

STREAMED_BLOCK_BYTES = 256 * 2**20
"""Bytes of a block: milliseconds to copy, hundreds of batches to train on."""

MAPPED_BLOCK_BYTES = 64 * 2**20
"""The same of rows in a file: up to three such blocks are in memory at once."""


class Chunk(NamedTuple):
    """Some of an epoch's steps: what they read, how many they are, and the state's offset at the
    first of them."""

    data: TrainingData
    steps: int
    offset: Array


class BatchLoader:
    """Where the steps of an epoch get their rows from: `DeviceLoader` or `StreamingLoader`."""

    def __init__(self, *, batch_size: int, fixed: TrainingData, backend: Backend) -> None:
        self._batch_size, self._fixed, self._backend = batch_size, fixed, backend

    def epoch(self, epoch: EpochPlan, *, done: int = 0) -> Generator[Chunk, None, None]:
        """Yield the chunks of an epoch whose first `done` steps are done already.

        A chunk's arrays are good until the next one is asked for.
        """
        raise NotImplementedError

    def _lookups(self, plan: EpochPlan, first: int, steps: int) -> dict[str, Array]:
        """What these steps look up beside their rows; of one length, however few are left."""
        found = {
            name: self._backend.asarray(_cut(series, first * each, steps * each))
            for lookups, each in ((plan.by_row, self._batch_size), (plan.by_step, 1))
            for name, series in lookups.items()
        }
        if plan.by_step:
            found["first"] = self._backend.asarray(np.array([plan.first + first]))
        return found


class DeviceLoader(BatchLoader):
    """All rows on the device, sent there once, if they are not there already."""

    def __init__(self, split: Split, **given: Any) -> None:
        super().__init__(**given)
        send, (X, labels) = self._backend.asarray, split
        if isinstance(X, MappedRows):
            X = self._backend.xp.concat([send(piece) for piece in X.pieces()], axis=0)
        X, labels = (send(one) if isinstance(one, np.ndarray) else one for one in (X, labels))
        self._fixed = self._fixed._replace(X=X, labels=labels)

    def epoch(self, epoch: EpochPlan, *, done: int = 0) -> Generator[Chunk, None, None]:
        """One chunk."""
        send, steps = self._backend.asarray, epoch.order.shape[-1] // self._batch_size
        order, found = send(epoch.order), self._lookups(epoch, 0, steps)
        data = self._fixed._replace(order=order, **found)
        yield Chunk(data, steps - done, send(np.array(done * self._batch_size)))


class StreamingLoader(BatchLoader):
    """Rows on the host, sent in blocks of `steps` batches.

    Every block has the same shape, so that what was compiled for one serves all; after the last
    batch of an epoch there may be rows in it that are not read.
    """

    def __init__(self, split: Split, *, steps: int, **given: Any) -> None:
        super().__init__(**given)
        self._steps = min(steps, -(-len(split.labels) // self._batch_size))
        self._rows = self._steps * self._batch_size
        self._gather = self._backend.gatherer(list(split), rows=self._rows)
        self._fixed = self._fixed._replace(order=self._backend.asarray(np.arange(self._rows)))

    def epoch(self, epoch: EpochPlan, *, done: int = 0) -> Generator[Chunk, None, None]:
        """A chunk for each block."""
        batch_size, rows = self._batch_size, self._rows
        first, last = done * batch_size, len(epoch.order) // batch_size * batch_size
        starts = range(first, last, rows)
        blocks = [epoch.order[start : min(start + rows, last)] for start in starts]
        arriving = self._gather(blocks)
        # What comes after the last chunk matters: the places are free again.
        with contextlib.closing(arriving):
            for (X, labels), block, start in zip(arriving, blocks, starts, strict=True):
                found = self._lookups(epoch, start // batch_size, self._steps)
                data = self._fixed._replace(X=X, labels=labels, **found)
                # A new array each time: a step may write over its state.
                offset = self._backend.asarray(np.array(0))
                yield Chunk(data, len(block) // batch_size, offset)


def make_loader(
    split: Split,
    *,
    batch_size: int,
    fixed: TrainingData,
    backend: Backend,
    has_orders: bool = False,
    limit: int | None = None,
    block: int = STREAMED_BLOCK_BYTES,
) -> BatchLoader:
    """Rows that lie on the device, or come in blocks of `block` bytes if they exceed the limit.

    `fixed` is what of the steps' data stays the same for the whole run. Rows that lie on the device
    already stay there; rows in a file come in blocks where the device has not twice the room for
    them, since they are put together there, and sparse rows always do. The limit, in bytes, is by
    default a share of the device's free memory, where that is known. Raises `InputError` where
    members that each have an order of their own would need blocks.
    """
    X, labels = split
    if limit is None and (free := backend.free_memory()) is not None:
        limit = int(FREE_MEMORY_SHARE * free)
    total = X.nbytes + labels.nbytes if isinstance(X, HOST_ROWS) else 0
    limit = total if limit is None else limit
    is_resident = total <= limit
    if isinstance(X, MappedRows):
        block = min(block, MAPPED_BLOCK_BYTES)
        is_resident, limit = 2 * total <= limit, min(2 * block, limit)
    elif isinstance(X, SparseRows):
        is_resident, limit = False, min(block, limit)
    given = {"batch_size": batch_size, "fixed": fixed, "backend": backend}
    if is_resident:
        return DeviceLoader(split, **given)
    if has_orders:
        raise InputError(
            f"{total:,} bytes of rows for {limit:,} of memory on {backend.device_name}: members "
            "that each train on rows of their own need all of them there; give fewer rows"
        )
    places = 2  # one in use, one on its way
    steps = max(1, min(block, limit // places) // (total // len(labels) * batch_size))
    return StreamingLoader(split, steps=steps, **given)


def _cut(series: np.ndarray, start: int, length: int) -> np.ndarray:
    """A part of a series (n,) or (E, n), with zeros behind it up to a length."""
    part = series[..., start : start + length]
    missing = length - part.shape[-1]
    return np.pad(part, [(0, 0)] * (part.ndim - 1) + [(0, missing)]) if missing else part
