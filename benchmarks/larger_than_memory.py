"""Training on a file larger than memory, beside training on rows in memory.

    python benchmarks/larger_than_memory.py FILE.npy [--gigabytes 20] [--limit 2] [--rounds 5]

makes a file of random bytes, as rows of 784, and trains the lecture's network on it in shuffled
order, in a process whose own memory (RLIMIT_DATA: what is allocated, not what is mapped) is
limited, each time after the file was dropped from the system's cache: a whole epoch, and then as
many steps as a run on two million of its rows in memory has, by turns with that. Times are from
the first look at the losses to the last, but for the epoch's, which is with its order; one BLAS
thread. The file is removed again, unless there is --keep.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from xpmlp import MLP, Callback, Split, StopTraining, Trainer, select_backend
from xpmlp.training import train

VALUES, BATCH = 784, 64
IN_MEMORY = 2_000_000
"""Rows of the run in memory: 1.6 GB."""


def make(path: Path, gigabytes: float) -> None:
    """A file of this size; the block of random ones changes a little from time to time."""
    count = int(gigabytes * 1e9) // VALUES
    X = np.lib.format.open_memmap(path, "w+", np.uint8, (count, VALUES))
    block = np.random.default_rng(0).integers(0, 256, (100_000, VALUES), dtype=np.uint8)
    for start in range(0, count, len(block)):
        X[start : start + len(block)] = block[: count - start]
        block += 1
    X.flush()
    del X
    with path.open("rb") as file:
        os.fsync(file.fileno())


def forget(path: Path) -> None:
    """Drop the file from the system's cache."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Watch(Callback):
    """The seconds and steps of a run, and the most memory that it had of its own."""

    seconds, steps, own = 0.0, 0, 0

    def __init__(self, *, most: int, is_whole: bool) -> None:
        self.most, self.is_whole = most, is_whole
        self.began: tuple[float, int] | None = None

    def on_start(self, trainer: Trainer, /) -> None:
        if self.is_whole:
            self.began = time.perf_counter(), 0

    def on_tick(self, trainer: Trainer, /) -> None:
        lines = Path("/proc/self/status").read_text().splitlines()
        own = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
        self.own = max(self.own, own * 1024)
        self.began = self.began or (time.perf_counter(), trainer.iteration)
        self.seconds = time.perf_counter() - self.began[0]
        self.steps = trainer.iteration - self.began[1]
        if not self.is_whole and trainer.iteration >= self.most:
            raise StopTraining


def one_run(path: Path, *, in_memory: bool, is_whole: bool) -> dict[str, float]:
    """An epoch or a part of it: microseconds a step, steps, and bytes of memory."""
    X = np.load(path, mmap_mode="r")
    if in_memory:
        X = np.array(X[:IN_MEMORY], subok=False)
    labels = np.random.default_rng(1).integers(0, 10, len(X))
    watch = Watch(most=IN_MEMORY // BATCH, is_whole=is_whole)
    train(
        MLP((VALUES, 64, 32, 10)),
        Split(X, labels),
        epochs=1,
        batch_size=BATCH,
        shuffle=True,
        threads=1,
        backend=select_backend("numpy"),
        callbacks=[watch],
    )
    return {"step": watch.seconds / watch.steps * 1e6, "steps": watch.steps, "own": watch.own}


def measure(path: Path, *arguments: str) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, str(path), *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--gigabytes", type=float, default=20.0)
    parser.add_argument("--limit", type=float, default=2.0, help="gigabytes of memory")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--run", choices=["memory", "file", "epoch"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        if options.run != "memory":
            resource.setrlimit(resource.RLIMIT_DATA, (int(options.limit * 1e9),) * 2)
        is_whole, in_memory = options.run == "epoch", options.run == "memory"
        print(json.dumps(one_run(options.file, in_memory=in_memory, is_whole=is_whole)))
        return
    try:
        if not options.file.exists():
            make(options.file, options.gigabytes)
        found: dict[str, list[float]] = {"memory": [], "file": []}
        for kind in ("epoch", *("memory", "file") * options.rounds):
            forget(options.file)
            one = measure(options.file, "--run", kind, "--limit", str(options.limit))
            found.setdefault(kind, []).append(one["step"])
            print(
                f"{kind:8} {one['steps']:9,} steps {one['step']:6.0f} us each, "
                f"{one['own'] / 1e6:,.0f} MB of memory",
                flush=True,
            )
        memory, file = (statistics.median(found[kind]) for kind in ("memory", "file"))
        print(f"medians: memory {memory:.0f} us, file {file:.0f} us: {memory / file:.0%} as fast")
    finally:
        if not options.keep:
            options.file.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
