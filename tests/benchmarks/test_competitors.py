"""Every competitor solves the same problem, on this machine or not at all."""

import numpy as np
import pytest

from benchmarks.competitors import for_inference, for_training, pytorch, xpmlp
from benchmarks.competitors.competitor import PRODUCTS, Competitor
from benchmarks.inference import measure_inference
from benchmarks.problems import Problem, make_problem
from benchmarks.training import measure_training
from xpmlp.backends.cupy import ask_driver

# What torch, JAX, scikit-learn and thinc warn of is theirs.
pytestmark = [pytest.mark.extended, pytest.mark.filterwarnings("default")]

LIBRARIES = {"torch": "torch", "PyTorch": "torch", "jax": "jax", "JAX": "jax"}


@pytest.fixture(scope="module")
def problem() -> Problem:
    """Seven epochs of two batches."""
    return make_problem((784, 12, 8, 10), 16, batches=2, warm=2)


def needs_oracle(competitor: Competitor) -> bool:
    return any(word in LIBRARIES for word in competitor.name.split())


def statuses(record: dict) -> dict[tuple[str, str], str]:
    return {
        (row["name"], row["precision"]): f"{row['status']} {row['cause']}".strip()
        for row in record["rows"]
    }


def assert_all_timed(record: dict, but: tuple[str, ...] = ()) -> None:
    for (name, precision), status in statuses(record).items():
        if name not in but:
            assert status == "timed" or status.startswith("not installed"), (name, precision)
    for row in record["rows"]:
        has_answer = row["name"] != PRODUCTS and row["name"] != "square product"
        assert (row["difference"] is not None) == (has_answer and row["status"] == "timed")


def test_numpys_scikit_learns_and_thincs_train_alike(problem: Problem) -> None:
    chosen = [who for who in for_training() if not needs_oracle(who)]
    assert len(chosen) >= 7
    record = measure_training(problem, chosen, steps=12, rounds=1, threads=1)
    assert_all_timed(record, but=("xpmlp numpy eager",))
    assert statuses(record)["xpmlp numpy", "float64"] == "timed"
    for row in record["rows"]:
        if row["status"] == "timed":
            assert row["ratio_to_products"] > 0


@pytest.mark.oracle
def test_torchs_and_jaxs_train_alike(problem: Problem, torch, jax) -> None:
    chosen = [who for who in for_training(quick=True) if needs_oracle(who)]
    chosen.append(Competitor("static step", "cpu", "float32", "", pytorch.uncompiled))
    record = measure_training(problem, chosen, steps=12, rounds=1, threads=1)
    assert set(statuses(record).values()) == {"timed"}
    assert len(record["rows"]) == 6


@pytest.mark.oracle
def test_members_train_at_once_or_not_at_all(jax) -> None:
    problem = make_problem((784, 6, 10), 8, batches=2, warm=2, members=3)
    chosen = [
        who
        for who in for_training(quick=True)
        if who.name in (PRODUCTS, "xpmlp numpy", "JAX scan", "lecture", "PyTorch eager")
    ]
    record = measure_training(problem, chosen, steps=4, rounds=1, threads=1)
    found = statuses(record)
    for name in (PRODUCTS, "xpmlp numpy", "JAX scan"):
        assert found[name, "float32"] == "timed"
    assert "one network, not 3" in found["lecture", "float32"]


def test_inference_gives_the_references_probabilities(problem: Problem) -> None:
    chosen = [who for who in for_inference() if not needs_oracle(who)]
    for rows in (1, 40):  # more than the problem has: they are repeated
        record = measure_inference(problem, chosen, rows=rows, rounds=1, threads=1, calls=2)
        assert_all_timed(record)
        assert record["rows_a_call"] == rows
        assert statuses(record)["xpmlp numpy", "float32"] == "timed"


@pytest.mark.oracle
def test_torchs_and_jaxs_inference_as_well(problem: Problem, torch, jax) -> None:
    chosen = [who for who in for_inference() if needs_oracle(who)]
    record = measure_inference(problem, chosen, rows=3, rounds=1, threads=1, calls=2)
    assert set(statuses(record).values()) == {"timed"}
    assert len(record["rows"]) == 4


@pytest.mark.oracle
@pytest.mark.skipif(ask_driver()[1] not in (0, None), reason="there is a GPU here")
def test_gpu_competitors_say_that_there_is_no_gpu(problem: Problem) -> None:
    record = measure_training(
        problem, for_training(("cuda",), ceiling=True), steps=2, rounds=1, threads=1
    )
    assert len(record["rows"]) >= 11
    for row in record["rows"]:
        assert row["status"] in ("unavailable", "not installed"), (row["name"], row["cause"])
        assert row["median"] is None


def test_clock_runs_from_the_first_tick_after_the_warm_up(problem: Problem) -> None:
    take_turn = xpmlp.training("numpy", "cpu").start(problem)
    assert take_turn(2).answer.shape == (4,)
    once = make_problem((784, 4, 10), 16, batches=8, warm=4)
    with pytest.raises(RuntimeError, match="no tick began in steps 5 to 8"):
        xpmlp.training("numpy", "cpu").start(once)(4)


@pytest.mark.oracle
@pytest.mark.parametrize("precision", ["float32", "tf32", "float16"])
def test_a_square_product_is_the_time_of_a_steps_multiply_adds(
    problem: Problem, precision: str, torch
) -> None:
    turn = pytorch.square_product("cpu", precision, 64)(problem)(1)
    assert turn.seconds > 0
    assert turn.note == "64 x 64"
    assert torch.get_float32_matmul_precision() == "highest"


def test_wrong_weights_are_found_out(problem: Problem) -> None:
    """The whole way, with a competitor whose only fault is a bias of 0.01."""

    def start(given: Problem):
        weights = {**given.weights, "B1": given.weights["B1"] + 0.01}
        other = Problem(weights, given.images, given.labels, given.batch_size, warm=given.warm)
        return xpmlp.training("numpy", "cpu").start(other)

    wrong = Competitor("wrong", "cpu", "float32", "", start)
    record = measure_training(problem, [wrong], steps=4, rounds=1, threads=1)
    assert statuses(record)["wrong", "float32"].startswith("WRONG its answer differs by")
    assert np.isfinite(record["rows"][0]["difference"])
