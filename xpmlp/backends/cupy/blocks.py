"""Rows of the host in blocks on the GPU: while one is computed with, the next one travels.

There are two places, each a block in pinned memory and one on the GPU. A thread gathers a block's
rows into pinned memory and queues its copy on a stream of its own; events order that copy after
the last use of the place, and the next use after the copy. The host never waits for the GPU but
to write to pinned memory that is still being read.
"""

import itertools
import math
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from xpmlp.typing import Array

STAGING_BUFFERS = 2

HOST_TO_DEVICE = 1
"""cudaMemcpyHostToDevice."""


class Gatherer:
    """Gathers rows of the host's arrays into blocks of one shape on a GPU.

    Its memory is made once, so that graphs which read the blocks serve from epoch to epoch.
    """

    def __init__(self, sources: Sequence[Any], *, rows: int, device: Any) -> None:
        import cupy

        self._device = device
        with device:
            self._copying = cupy.cuda.Stream(non_blocking=True)
            self._places = [_Place(sources, rows, self._copying) for _ in range(STAGING_BUFFERS)]

    def __call__(self, blocks: Iterable[np.ndarray]) -> Generator[tuple[Array, ...], None, None]:
        """For each block of row numbers, those rows of each source, (rows, ...), on the GPU.

        What is yielded may be used, in the order of the stream that is current then, until the
        next is asked for. A block may have fewer rows: what is behind them is not to be read.
        """
        todo = iter(blocks)
        pending: list[tuple[_Place, Future[None]]] = []
        with ThreadPoolExecutor(1, "xpmlp-blocks") as thread:
            try:
                for place, block in zip(self._places, todo, strict=False):
                    pending.append((place, thread.submit(self._send, place, block)))
                while pending:
                    place, sent = pending.pop(0)
                    sent.result()
                    yield place.take()
                    place.give_back()
                    pending += [
                        (place, thread.submit(self._send, place, block))
                        for block in itertools.islice(todo, 1)
                    ]
            finally:
                for _, unwanted in pending:
                    unwanted.cancel()
                thread.shutdown()
                self._copying.synchronize()
                with self._device:  # whoever stopped may have queued uses of the latest block
                    for place in self._places:
                        place.give_back()

    def _send(self, place: "_Place", block: np.ndarray) -> None:
        with self._device:
            place.send(block)


class _Place:
    """Room for one block: pinned, and on the GPU."""

    def __init__(self, sources: Sequence[Any], rows: int, copying: Any) -> None:
        import cupy

        self._cupy = cupy
        self._sources = sources
        self._copying = copying
        shapes = [(rows, *source.shape[1:]) for source in sources]
        self._pinned = [
            self._pinned_array(shape, source.dtype)
            for shape, source in zip(shapes, sources, strict=True)
        ]
        self._arrays = [
            cupy.empty(shape, source.dtype) for shape, source in zip(shapes, sources, strict=True)
        ]
        self._copied = cupy.cuda.Event(disable_timing=True)
        self._used = cupy.cuda.Event(disable_timing=True)
        self.give_back()  # its memory may have been something else on this stream

    def _pinned_array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        count = math.prod(shape)
        memory = self._cupy.cuda.alloc_pinned_memory(count * dtype.itemsize)
        return np.frombuffer(memory, dtype, count).reshape(shape)

    def send(self, block: np.ndarray) -> None:
        """Gather a block's rows and queue their copy; runs in the thread."""
        self._copied.synchronize()
        self._copying.wait_event(self._used)
        for source, pinned, array in zip(self._sources, self._pinned, self._arrays, strict=True):
            part = pinned[: len(block)]
            # mode="clip" writes straight into `out`; the rows are known to exist
            source.take(block, axis=0, out=part, mode="clip")
            self._cupy.cuda.runtime.memcpyAsync(
                array.data.ptr, part.ctypes.data, part.nbytes, HOST_TO_DEVICE, self._copying.ptr
            )
        self._copied.record(self._copying)

    def take(self) -> tuple[Array, ...]:
        """The block, for the current stream; as new array objects, since their contents are new."""
        self._cupy.cuda.get_current_stream().wait_event(self._copied)
        return tuple(array[...] for array in self._arrays)

    def give_back(self) -> None:
        """All that the current stream was to do with the block is queued."""
        self._used.record(self._cupy.cuda.get_current_stream())
