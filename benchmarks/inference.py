"""Inference as a task: rows on the host in, probabilities on the host out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.competitors.competitor import Competitor, Turn
from benchmarks.inputs import Inference, inference_of
from benchmarks.problems import Problem
from benchmarks.reference import reference_probabilities
from benchmarks.timing import measure

TOLERANCES = {"float32": 1e-4}
"""Largest difference allowed between any probability and the reference's in float64."""

CALLS = {1: 1000, 10_000: 10}
"""Calls of a turn for each number of rows: about as long a turn of either."""


class InferenceTask:
    """Calls on the same rows."""

    tolerances: Mapping[str, float] = TOLERANCES

    def __init__(self, given: Inference, calls: int) -> None:
        self.given, self.count = given, calls
        rows = len(given.X)
        self.unit = f"call on {rows:,} row{'s' if rows > 1 else ''}"
        self.expected = reference_probabilities(given.problem, given.X)

    def difference(self, turn: Turn) -> float:
        """The largest difference of a probability."""
        found = np.asarray(turn.answer, "float64")
        if found.shape != self.expected.shape or not np.isfinite(found).all():
            return float("inf")
        return float(np.abs(found - self.expected).max())

    def describe(self) -> dict[str, Any]:
        """The network and the number of rows."""
        return {"problem": self.given.problem.describe(), "rows_a_call": len(self.given.X)}


def measure_inference(
    problem: Problem,
    competitors: Sequence[Competitor],
    *,
    rows: int,
    rounds: int,
    threads: int | None,
    calls: int | None = None,
) -> dict[str, Any]:
    """The record of a contest in inference; see `timing.measure`."""
    task = InferenceTask(inference_of(problem, rows), calls or CALLS[rows])
    return measure(task, competitors, rounds=rounds, threads=threads)
