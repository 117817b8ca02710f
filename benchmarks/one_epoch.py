"""The lecture's first epoch with one competitor, as a program: read, import, train, end.

    python -m benchmarks.one_epoch NAME DEVICE IMAGES.gz LABELS.gz WEIGHTS.npz LOSSES.npz

It reads the same compressed files that `xpmlp train` reads, and imports nothing of xpmlp.
"""

import gzip
import sys

import numpy as np

from benchmarks.competitors import for_training
from benchmarks.problems import Problem

IMAGES_HEADER, LABELS_HEADER = 16, 8
"""Bytes before the values in MNIST's two kinds of files."""


def main(name: str, device: str, images: str, labels: str, weights: str, losses: str) -> None:
    """Train and save the losses, with the number of steps behind each (`parts`)."""
    with gzip.open(labels) as file:
        digits = np.frombuffer(file.read(), "uint8", offset=LABELS_HEADER).astype(np.int64)
    with gzip.open(images) as file:
        pixels = np.frombuffer(file.read(), "uint8", offset=IMAGES_HEADER)
    with np.load(weights) as arrays:
        problem = Problem(dict(arrays), pixels.reshape(len(digits), -1).copy(), digits, warm=0)
    rows = problem.batches * problem.batch_size
    problem = Problem(problem.weights, problem.images[:rows], problem.labels[:rows], warm=0)
    (competitor,) = (
        found
        for found in for_training((device,), quick=True)
        if (found.name, found.precision) == (name, "float32")
    )
    turn = competitor.start(problem)(problem.batches)
    assert turn.answer is not None
    np.savez(losses, losses=turn.answer, parts=turn.parts or ())


if __name__ == "__main__":
    main(*sys.argv[1:])
