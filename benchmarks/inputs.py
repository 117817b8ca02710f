"""What inference is asked: an untrained network and rows on the host."""

from dataclasses import dataclass

import numpy as np

from benchmarks.problems import Problem


@dataclass(frozen=True)
class Inference:
    """`X` (n, l0) are float32 rows, scaled; the answer is Ŷ (n, K) on the host."""

    problem: Problem
    X: np.ndarray


def inference_of(problem: Problem, rows: int) -> Inference:
    """The first rows of the problem's images, repeated where it has fewer."""
    images = np.resize(problem.images, (rows, problem.images.shape[1]))
    return Inference(problem, images.astype("float32") / np.float32(255.0))
