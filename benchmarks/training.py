"""Training as a task: n steps from given weights, judged by every loss on the way."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.competitors.competitor import Competitor, Turn
from benchmarks.problems import Problem
from benchmarks.reference import reference_losses
from benchmarks.timing import measure

TOLERANCES = {"float32": 1e-5, "float64": 1e-9, "tf32": 5e-3, "float16": 5e-3}
"""Largest relative difference allowed between any loss and the reference's in float64.

In float32 all programs that are right come within 1e-6, and a first bias that is off by 0.01 is
found. TF32 and float16 keep 10 bits of each factor: imitated in NumPy, by rounding factors so, they
moved the losses of the lecture's first 320 steps by 2.4e-4 at most.
"""


class TrainingTask:
    """`steps` under the clock, after the problem's `warm` ones.

    Raises `ValueError` for steps that are not blocks of `warm`, or that end amid an epoch.
    """

    unit = "training step"
    tolerances: Mapping[str, float] = TOLERANCES

    def __init__(self, problem: Problem, steps: int) -> None:
        warm, total = problem.warm, problem.warm + steps
        if steps < warm or steps % warm:
            raise ValueError(f"steps={steps}: give a multiple of {warm}")
        if total > problem.batches and total % problem.batches:
            raise ValueError(
                f"steps={steps}: the data has batches for {problem.batches - warm}; "
                "more must end with an epoch"
            )
        self.given, self.count = problem, steps
        self.steps = total
        self.expected = reference_losses(problem, min(problem.checked or total, total))

    def difference(self, turn: Turn) -> float:
        """The largest relative difference of a loss; infinite where steps are missing."""
        if turn.answer is None or sum(turn.parts or (len(turn.answer),)) != self.steps:
            return float("inf")
        return largest_difference(turn.answer, self.expected, turn.parts or (1,) * self.steps)

    def describe(self) -> dict[str, Any]:
        """The problem, and how much of it was trained and checked."""
        return {
            "problem": self.given.describe(),
            "warm_up_steps": self.given.warm,
            "losses_checked": len(self.expected),
        }


def largest_difference(losses: np.ndarray, expected: np.ndarray, parts: Sequence[int]) -> float:
    """The largest relative difference between losses and the oracle's first ones.

    Each of the losses is the mean of a number of steps, its part. All must be finite; parts that
    go beyond the oracle's steps are not compared. Infinite where there is nothing to compare.
    """
    found = np.asarray(losses, "float64")
    stops = np.cumsum(parts)
    known = int(np.searchsorted(stops, len(expected), side="right"))
    if known == 0 or len(found) != len(parts) or not np.isfinite(found).all():
        return float("inf")
    lengths = np.asarray(parts[:known])
    means = np.add.reduceat(expected[: stops[known - 1]], stops[:known] - lengths, axis=0)
    means /= lengths.reshape(-1, *[1] * (expected.ndim - 1))
    if found.shape[1:] != means.shape[1:]:
        return float("inf")
    return float(np.abs(found[:known] / means - 1.0).max())


def measure_training(
    problem: Problem,
    competitors: Sequence[Competitor],
    *,
    steps: int,
    rounds: int,
    threads: int | None,
    patience: float = math.inf,
) -> dict[str, Any]:
    """The record of a contest in training; see `timing.measure`."""
    task = TrainingTask(problem, steps)
    return measure(task, competitors, rounds=rounds, threads=threads, patience=patience)


def whole_blocks(steps: int, problem: Problem) -> int:
    """The least number of steps, no fewer than asked for, that a turn can have."""
    warm = problem.warm
    blocks = -(-steps // warm) * warm
    while blocks + warm > problem.batches and (blocks + warm) % problem.batches:
        blocks += warm
    return blocks
