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
from xpmlp.training.step import TrainingData
from xpmlp.typing import Array

SHARE = 0.6
"""The part of a device's free memory that rows may take to lie there for good."""

BLOCK = 256 * 2**20
"""Bytes of a block: milliseconds to copy, hundreds of batches to train on."""


class Segment(NamedTuple):
    """Some of an epoch's steps: what they read, how many they are, and the state's offset at the
    first of them."""

    data: TrainingData
    steps: int
    offset: Array


class Feed(Protocol):
    """Where the steps of an epoch get their rows from."""

    def epoch(self, order: np.ndarray, *, first: int = 0) -> Generator[Segment, None, None]:
        """The segments of an epoch that takes the rows in this order, from a step on.

        A segment's arrays are good until the next one is asked for.
        """
        ...


def feed(
    split: Split,
    *,
    batch_size: int,
    classes: int,
    backend: Backend,
    limit: int | None = None,
    block: int = BLOCK,
) -> Feed:
    """Rows that lie on the device, or come in blocks of so many bytes if they exceed the limit.

    The limit, in bytes, is by default a share of the device's free memory, where that is known.
    """
    if limit is None and (free := backend.free_memory()) is not None:
        limit = int(SHARE * free)
    if limit is None or split.X.nbytes + split.labels.nbytes <= limit:
        return Resident(split, batch_size=batch_size, classes=classes, backend=backend)
    row = split.X[:1].nbytes + split.labels[:1].nbytes
    places = 2  # one in use, one on its way
    steps = max(1, min(block, limit // places) // (row * batch_size))
    return Streamed(split, batch_size=batch_size, classes=classes, backend=backend, steps=steps)


class Resident:
    """All rows on the device, sent there once."""

    def __init__(self, split: Split, *, batch_size: int, classes: int, backend: Backend) -> None:
        self._batch_size = batch_size
        self._backend = backend
        self._X, self._labels = backend.asarray(split.X), backend.asarray(split.labels)
        self._positions = backend.asarray(np.arange(batch_size))
        self._classes = backend.asarray(np.arange(classes))

    def epoch(self, order: np.ndarray, *, first: int = 0) -> Generator[Segment, None, None]:
        """One segment."""
        rows = self._backend.asarray(order)
        data = TrainingData(self._X, self._labels, rows, self._positions, self._classes)
        offset = self._backend.asarray(np.array(first * self._batch_size))
        yield Segment(data, len(order) // self._batch_size - first, offset)


class Streamed:
    """Rows on the host, sent in blocks of `steps` batches.

    Every block has the same shape, so that what was compiled for one serves all; after the last
    batch of an epoch there may be rows in it that are not read.
    """

    def __init__(
        self, split: Split, *, batch_size: int, classes: int, backend: Backend, steps: int
    ) -> None:
        self._batch_size = batch_size
        self._backend = backend
        total = len(split.labels) // batch_size
        self._rows = min(steps, total) * batch_size
        self._gather = backend.gatherer((split.X, split.labels), rows=self._rows)
        self._order = backend.asarray(np.arange(self._rows))
        self._positions = backend.asarray(np.arange(batch_size))
        self._classes = backend.asarray(np.arange(classes))

    def epoch(self, order: np.ndarray, *, first: int = 0) -> Generator[Segment, None, None]:
        """A segment for each block."""
        batch_size, rows = self._batch_size, self._rows
        wanted = order[first * batch_size : len(order) // batch_size * batch_size]
        blocks = [wanted[start : start + rows] for start in range(0, len(wanted), rows)]
        arriving = self._gather(blocks)
        # What comes after the last segment matters: the places are free again.
        with contextlib.closing(arriving):
            for (X, labels), block in zip(arriving, blocks, strict=True):
                data = TrainingData(X, labels, self._order, self._positions, self._classes)
                # A new array each time: a step may write over its state.
                offset = self._backend.asarray(np.array(0))
                yield Segment(data, len(block) // batch_size, offset)
