"""A benchmark gives no time to a competitor whose answer is wrong."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

from benchmarks.competitors import (
    PRODUCTS,
    Competitor,
    Problem,
    TakeTurn,
    Turn,
    Unavailable,
    competitors,
    lecture_losses,
    lecture_problem,
)
from benchmarks.timing import limited, measure, table, write_record

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def problem() -> Problem:
    return lecture_problem()


def planted(name: str, change) -> Competitor:
    """A competitor that knows the losses, and changes them."""

    def start(problem: Problem) -> TakeTurn:
        return lambda count: Turn(1e-6, change(lecture_losses(problem, 64 + count)))

    return Competitor(name, "cpu", "float32", "nothing", start)


def raising(name: str, error: Exception) -> Competitor:
    def start(problem: Problem) -> TakeTurn:
        raise error

    return Competitor(name, "cpu", "float32", "nothing", start)


def one_loss_off(losses: np.ndarray) -> np.ndarray:
    losses[70] *= 1.001
    return losses


def test_what_is_wrong_or_absent_gets_no_time(problem: Problem, tmp_path: Path) -> None:
    record = measure(
        problem,
        [
            planted("right", lambda losses: losses),
            planted("right on average", lambda losses: losses.reshape(2, 64).mean(axis=1)),
            planted("one loss off", one_loss_off),
            planted("not a number", lambda losses: losses * math.nan),
            planted("too few", lambda losses: losses[:-1]),
            raising("absent", ImportError("No module named 'absent'")),
            raising("no device", Unavailable("there is none")),
            raising("broken", ZeroDivisionError("by zero")),
        ],
        steps=64,
        rounds=2,
        threads=1,
    )
    status = {row["name"]: row["status"] for row in record["rows"]}
    assert status == {
        "right": "timed",
        "right on average": "timed",
        "one loss off": "WRONG",
        "not a number": "WRONG",
        "too few": "WRONG",
        "absent": "not installed",
        "no device": "unavailable",
        "broken": "failed",
    }
    for row in record["rows"]:
        timed = row["status"] == "timed"
        assert len(row["microseconds"]) == (2 if timed else 0)
        assert (row["median"] is not None) is timed
    lines = {line[:22].strip(): line for line in table(record).splitlines()}
    assert "WRONG: a loss differs by 1.0e-03 from the lecture's" in lines["one loss off"]
    assert "not installed: No module named 'absent'" in lines["absent"]
    path = write_record(record, tmp_path / "new", "lecture-step")
    assert json.loads(path.read_text())["rows"] == record["rows"]


def test_numpys_competitors_are_right_and_timed(problem: Problem) -> None:
    chosen = [
        competitor
        for competitor in competitors()
        if competitor.name in (PRODUCTS, "lecture", "xpmlp numpy")
    ]
    record = measure(problem, chosen, steps=64, rounds=1, threads=1)
    assert [row["status"] for row in record["rows"]] == ["timed"] * 6
    assert all(row["ratio_to_products"] > 0 for row in record["rows"])
    assert all(row["difference"] is not None for row in record["rows"] if row["name"] != PRODUCTS)


@pytest.mark.parametrize("steps", [0, 65, 64 * 937])
def test_steps_that_do_not_fit_are_refused(problem: Problem, steps: int) -> None:
    with pytest.raises(ValueError, match=f"steps={steps}"):
        measure(problem, [], steps=steps, rounds=1, threads=1)


def test_a_limit_of_threads_ends_with_its_context() -> None:
    before = threadpoolctl.threadpool_info()
    with limited(1) as pinned:
        assert {pool["num_threads"] for pool in pinned["blas"]} == {1}
    assert threadpoolctl.threadpool_info() == before


def test_the_command_refuses_what_it_cannot_do() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--threads", "0"],
        cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--threads" in done.stderr.splitlines()[-1]


def test_the_lectures_program_needs_nothing_but_numpy() -> None:
    code = (
        "import sys, benchmarks.lecture as lecture; "
        "print({'xpmlp', 'jax', 'torch', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
