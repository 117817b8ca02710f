"""The estimators' contest: equal answers first, then times of both."""

import json
from collections.abc import Sequence

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed (the extra `sklearn`)")

from benchmarks import estimators
from benchmarks.__main__ import contests
from benchmarks.competitors.competitor import Competitor, Turn
from benchmarks.estimators import (
    THEIRS,
    WORKS,
    EstimatorTask,
    compare,
    contestants,
    lines,
    measure_estimators,
    shortened,
)
from benchmarks.record import failures

pytestmark = pytest.mark.extended

TINY = [
    work._replace(hidden=(4,), rows=min(work.rows, 256), calls=2, epochs=1)
    for work in WORKS
    if work.name in ("fit (64, 32) adam", "partial_fit", "predict 1 row")
]


def test_all_give_the_same_answer_and_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(device: str, precisions: Sequence[str]) -> list[Competitor]:
        """Those that have nothing to compile."""
        names = ("xpmlp numpy", THEIRS)
        return [who for who in contestants(device, precisions) if who.name in names]

    monkeypatch.setattr(estimators, "contestants", chosen)
    record = measure_estimators(rounds=2, threads=1, works=TINY)
    json.dumps(record, allow_nan=False)
    assert [contest["work"]["call"] for contest in contests(record)] == [
        "fit", "partial_fit", "predict",
    ]  # fmt: skip
    for contest in contests(record):
        assert failures(contest) == []
        assert {row["name"] for row in contest["rows"]} == {"xpmlp numpy", THEIRS}
        for row in contest["rows"]:
            assert len(row["microseconds"]) == 2
            assert row["speed"] == 1.0 or row["name"] != THEIRS
            if row["precision"] == "float64":
                assert row["difference"] <= 1e-6


def test_another_network_is_no_answer() -> None:
    task = EstimatorTask(TINY[0])
    assert task.difference(Turn(1.0, task.expected)) == 0.0
    assert task.difference(Turn(1.0, task.expected + 0.1)) == pytest.approx(0.1)
    assert task.difference(Turn(1.0, task.expected[1:])) == float("inf")
    assert task.difference(Turn(1.0, np.full_like(task.expected, np.nan))) == float("inf")


def test_speeds_are_of_the_same_precision() -> None:
    medians = {(THEIRS, "float32"): 6.0, (THEIRS, "float64"): 8.0, ("xpmlp numpy", "float32"): 2.0}
    rows = [
        {"name": name, "precision": precision, "median": median, "status": "timed"}
        for (name, precision), median in medians.items()
    ]
    rows.append({**rows[0], "name": "xpmlp cupy", "median": None, "status": "unavailable"})
    compare(rows)
    assert [row["speed"] for row in rows] == [1.0, 1.0, 3.0, None]


def test_row_without_a_time_says_why() -> None:
    row = {
        "name": "xpmlp cupy", "precision": "float32", "status": "unavailable", "cause": "no GPU\n",
    }  # fmt: skip
    assert lines({"work": {"name": "fit"}, "rows": [row]}).endswith("unavailable: no GPU")


def test_estimators_on_a_device_stand_beside_scikit_learn_on_the_cpu() -> None:
    found = [(who.name, who.device) for who in contestants("cuda", ("float32",))]
    assert found == [("xpmlp cupy", "cuda"), ("xpmlp jax", "cuda"), (THEIRS, "cpu")]


def test_quick_form_asks_the_same_of_fewer_rows() -> None:
    for work in WORKS:
        quick = shortened(work)
        assert (quick.name, quick.call, quick.hidden) == (work.name, work.call, work.hidden)
        assert quick.rows * quick.epochs * quick.calls <= work.rows * work.epochs * work.calls
