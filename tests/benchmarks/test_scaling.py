"""What varies: threads, and the size of the problem."""

import pytest

from benchmarks import scaling
from benchmarks.competitors import for_training
from benchmarks.competitors.competitor import PRODUCTS
from benchmarks.problems import make_problem
from benchmarks.scaling import SWEEPS, Sweep, contestants, measure_scaling
from benchmarks.threads import (
    DEFAULT,
    compare_with_best,
    fixed,
    measure_thread_choice,
    thread_counts,
)
from benchmarks.training import whole_blocks

pytestmark = pytest.mark.extended


def test_thread_counts_double_up_to_the_cores() -> None:
    assert thread_counts(1) == [1]
    assert thread_counts(2) == [1, 2]
    assert thread_counts(6) == [1, 2, 4, 6]
    assert [fixed(count) for count in (1, 6)] == ["1 thread", "6 threads"]


def test_default_is_compared_with_the_best_median() -> None:
    def row(name: str, median: float | None) -> dict:
        return {"name": name, "median": median}

    rows = [row(DEFAULT, 3.0), row(fixed(1), 6.0), row(fixed(2), 2.0), row(fixed(4), None)]
    assert compare_with_best(rows) == {"best": "2 threads", "default_over_best": 1.5}
    assert compare_with_best(rows[1:])["default_over_best"] is None
    assert compare_with_best([row(DEFAULT, 3.0), row(fixed(1), None)])["best"] is None


@pytest.mark.parametrize("busy", [False, True])
def test_default_runs_beside_every_fixed_count(busy: bool) -> None:
    problem = make_problem((784, 4, 10), 8, batches=2, warm=2)
    record = measure_thread_choice(problem, steps=4, rounds=2, busy=busy)
    cores = record["threads"]["schedulable_cores"]
    assert [row["name"] for row in record["rows"]] == [
        DEFAULT, *(fixed(count) for count in thread_counts(cores))
    ]  # fmt: skip
    assert {row["status"] for row in record["rows"]} == {"timed"}
    assert record["busy_processes"] == (cores if busy else 0)
    assert record["default_over_best"] > 0


@pytest.mark.extended
@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda sweep: sweep.quantity)
def test_ends_of_a_sweep_fit_the_data(sweep: Sweep) -> None:
    for value in (sweep.values[0], sweep.values[-1]):
        problem = sweep.problem(value, "cpu")
        assert problem.batches == problem.warm > 0  # so every number of blocks fits
        assert whole_blocks(2 * problem.warm, problem) == 2 * problem.warm
        found = {
            "width": problem.layer_sizes[1],
            "depth": len(problem.layer_sizes) - 2,
            "batch": problem.batch_size,
            "members": problem.members,
        }
        assert found[sweep.quantity] == value


def test_a_sweep_is_a_contest_at_every_value(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (PRODUCTS, "xpmlp numpy")
    chosen = [who for who in for_training(quick=True) if who.name in names]
    monkeypatch.setattr(scaling, "contestants", lambda _: chosen)
    sweep = SWEEPS[3]._replace(values=(1, 2))
    record = measure_scaling(rounds=1, threads=1, sweeps=[sweep])
    (found,) = record["sweeps"]
    assert [point["value"] for point in found["points"]] == [1, 2]
    assert [point["problem"]["members"] for point in found["points"]] == [1, 2]
    for point in found["points"]:
        assert [row["status"] for row in point["rows"]] == ["timed", "timed"]


def test_lines_of_a_sweep_are_one_a_name() -> None:
    for device in ("cpu", "cuda"):
        names = [who.name for who in contestants(device)]
        assert len(set(names)) == len(names) == 5
