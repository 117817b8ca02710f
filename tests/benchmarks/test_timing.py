"""A benchmark gives no time to a competitor whose answer is wrong."""

import logging
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

from benchmarks.competitors.competitor import (
    CEILING,
    PRODUCTS,
    Competitor,
    TakeTurn,
    Turn,
    Unavailable,
)
from benchmarks.machine import describe_machine, every_core_busy, limited, schedulable_cores
from benchmarks.problems import Problem, make_problem
from benchmarks.record import failures, read_record, write_record
from benchmarks.reference import reference_losses
from benchmarks.tables import table
from benchmarks.training import TrainingTask, largest_difference, measure_training, whole_blocks

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def problem() -> Problem:
    return make_problem((784, 4, 10), 8, batches=40, warm=4)


def planted(name: str, change: Callable, seconds: float = 1e-6, **more) -> Competitor:
    """A competitor that knows the losses, and changes them."""

    def start(problem: Problem) -> TakeTurn:
        return lambda count: Turn(seconds, change(reference_losses(problem, 4 + count)), **more)

    return Competitor(name, "cpu", "float32", "nothing", start)


def raising(name: str, error: Exception) -> Competitor:
    def start(problem: Problem) -> TakeTurn:
        raise error

    return Competitor(name, "cpu", "float32", "nothing", start)


def unchanged(losses: np.ndarray) -> np.ndarray:
    return losses


def one_loss_off(losses: np.ndarray) -> np.ndarray:
    losses[7] *= 1.001
    return losses


def test_wrong_or_absent_competitor_gets_no_time(problem: Problem, tmp_path: Path) -> None:
    record = measure_training(
        problem,
        [
            planted("right", unchanged),
            planted("on average", lambda losses: losses.reshape(2, 4).mean(axis=1), parts=(4, 4)),
            planted("one loss off", one_loss_off),
            planted("not a number", lambda losses: losses * math.nan),
            planted("too few", lambda losses: losses[:-1]),
            raising("absent", ModuleNotFoundError("No module named 'absent'")),
            raising("broken import", ImportError("undefined symbol")),
            raising("no device", Unavailable("there is none")),
            raising("broken", ZeroDivisionError("by zero")),
        ],
        steps=4,
        rounds=2,
        threads=1,
    )
    status = {row["name"]: row["status"] for row in record["rows"]}
    assert status == {
        "right": "timed",
        "on average": "timed",
        "one loss off": "WRONG",
        "not a number": "WRONG",
        "too few": "WRONG",
        "absent": "not installed",
        "broken import": "failed",
        "no device": "unavailable",
        "broken": "failed",
    }
    for row in record["rows"]:
        timed = row["status"] == "timed"
        assert len(row["microseconds"]) == (2 if timed else 0)
        assert (row["median"] is not None) is timed
    assert len(failures(record)) == 5
    lines = {line[:28].strip(): line for line in table(record).splitlines()}
    assert "WRONG: its answer differs by 1.0e-03" in lines["one loss off"]
    assert "not installed: No module named 'absent'" in lines["absent"]
    path = write_record(record, tmp_path / "new", "lecture-step")
    assert read_record(path)["rows"][0]["microseconds"] == record["rows"][0]["microseconds"]


def test_ratios_are_to_the_yardsticks_of_the_same_run(problem: Problem) -> None:
    def yardstick(name: str, seconds: float) -> Competitor:
        def start(problem: Problem) -> TakeTurn:
            return lambda _: Turn(seconds, None)

        return Competitor(name, "cpu", "float32", "", start)

    contestants = [
        planted("someone", unchanged, 4e-6), yardstick(PRODUCTS, 2e-6), yardstick(CEILING, 1e-6),
    ]  # fmt: skip
    record = measure_training(problem, contestants, steps=4, rounds=3, threads=1)
    someone = record["rows"][0]
    assert someone["ratio_to_products"] == pytest.approx(2.0)
    assert someone["share_of_ceiling"] == pytest.approx(0.25)
    assert someone["quartiles"] == pytest.approx((4.0, 4.0))
    assert " 25%" in table(record)


def test_patience_ends_with_one_turn(problem: Problem) -> None:
    contestants = [planted("quick", unchanged, 1e-6), planted("slow", unchanged, 6e-6)]
    record = measure_training(problem, contestants, steps=4, rounds=3, threads=1, patience=5.0)
    quick, slow = record["rows"]
    assert len(quick["microseconds"]) == 3
    assert slow["microseconds"] == pytest.approx([6.0])
    assert "over 5 times" in slow["notes"][0]


def test_log_lines_and_notes_of_turns_are_recorded(problem: Problem) -> None:
    def start(problem: Problem) -> TakeTurn:
        logging.getLogger("xpmlp.backends").info("falls back: %s", "a reason")
        return lambda count: Turn(1e-6, reference_losses(problem, 4 + count), note="threads 1")

    chatty = Competitor("chatty", "cpu", "float32", "", start)
    record = measure_training(problem, [chatty], steps=4, rounds=2, threads=1)
    assert record["rows"][0]["notes"] == ["falls back: a reason", "threads 1"]


def test_only_the_steps_with_an_oracle_are_compared() -> None:
    problem = make_problem((784, 4, 10), 8, batches=40, warm=4, checked=6)
    task = TrainingTask(problem, 8)
    right = reference_losses(problem, 12)
    assert task.expected.shape == (6,)
    assert task.difference(Turn(1.0, right)) == 0.0
    later = right.copy()
    later[9] *= 2.0
    assert task.difference(Turn(1.0, later)) == 0.0
    later[9] = math.inf  # but numbers they must be
    assert task.difference(Turn(1.0, later)) == math.inf
    assert task.difference(Turn(1.0, None)) == math.inf


def test_means_are_compared_with_means() -> None:
    expected = np.array([1.0, 2.0, 3.0, 4.0])
    assert largest_difference(np.array([1.5, 3.5]), expected, (2, 2)) == 0.0
    assert largest_difference(np.array([1.5, 9.0]), expected, (2, 9)) == 0.0  # beyond the oracle
    assert largest_difference(np.array([1.5, 7.0]), expected, (2, 2)) == pytest.approx(1.0)
    assert largest_difference(np.array([1.5]), expected, (5,)) == math.inf  # nothing to compare
    assert largest_difference(np.ones((4, 2)), expected, (1,) * 4) == math.inf


@pytest.mark.parametrize("steps", [0, 5, 40])
def test_steps_that_do_not_fit_are_refused(problem: Problem, steps: int) -> None:
    with pytest.raises(ValueError, match=f"steps={steps}"):
        measure_training(problem, [], steps=steps, rounds=1, threads=1)


@pytest.mark.parametrize("asked", [1, 4, 5, 36, 37, 100])
def test_steps_are_rounded_up_to_what_fits(problem: Problem, asked: int) -> None:
    steps = whole_blocks(asked, problem)
    assert asked <= steps <= asked + 40
    assert len(TrainingTask(problem, steps).expected) == 4 + steps


def test_a_limit_of_threads_ends_with_its_context() -> None:
    before = threadpoolctl.threadpool_info()
    with limited(1) as pinned:
        assert {pool["num_threads"] for pool in pinned["blas"]} == {1}
    assert threadpoolctl.threadpool_info() == before
    with limited(None) as pinned:
        assert threadpoolctl.threadpool_info() == before
    assert pinned["requested"] is None


def test_a_busy_machine_is_idle_again_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    class Watched(subprocess.Popen):
        def __init__(self, *arguments, **settings) -> None:
            super().__init__(*arguments, **settings)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Watched)
    with every_core_busy() as processes:
        assert processes == len(started) == len(schedulable_cores())
        assert all(process.poll() is None for process in started)
    assert all(process.poll() is not None for process in started)


def test_machine_says_what_it_is() -> None:
    machine = describe_machine()
    assert machine["versions"]["numpy"] == np.__version__
    assert machine["cpu"]


def test_a_record_that_is_none_is_refused(tmp_path: Path) -> None:
    for content in ("[]", "no JSON"):
        path = tmp_path / "record.json"
        path.write_text(content)
        with pytest.raises(ValueError, match="is no record"):
            read_record(path)


def test_lectures_program_needs_nothing_but_numpy() -> None:
    code = (
        "import sys, benchmarks.lecture as lecture; "
        "print({'xpmlp', 'jax', 'torch', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
