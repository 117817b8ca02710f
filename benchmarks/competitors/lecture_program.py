"""The lecture's program as a competitor: its own loop, in float32 or float64."""

import numpy as np

from benchmarks.competitors.competitor import (
    Advance,
    Start,
    TakeTurn,
    Unavailable,
    clocked,
    refuse_members,
)
from benchmarks.lecture import train_lecture
from benchmarks.problems import Problem


def training(dtype: str) -> Start:
    """Slices of three layers' rows; `Unavailable` for any other number of layers."""

    def start(problem: Problem) -> TakeTurn:
        refuse_members(problem)
        if len(problem.layer_sizes) != 4:
            raise Unavailable("the lecture's program has three layers")

        def begin() -> Advance:
            weights = problem.weights

            def advance(first: int, stop: int) -> np.ndarray:
                nonlocal weights
                losses = []
                while first < stop:  # from the end of the rows back to their beginning
                    at = first % problem.batches
                    until = min(problem.batches, at + stop - first)
                    rows = slice(at * problem.batch_size, until * problem.batch_size)
                    run = train_lecture(
                        weights,
                        problem.images[rows],
                        problem.labels[rows],
                        b_size=problem.batch_size,
                        lr=problem.learning_rate,
                        dtype=dtype,
                    )
                    losses.append(run.losses)
                    weights, first = run.weights, first + until - at
                return np.concatenate(losses)

            return advance

        return clocked(problem, begin)

    return start
