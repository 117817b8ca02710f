"""The GPU's script, as far as it goes without one."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import competitors
from benchmarks.competitors.competitor import Competitor
from benchmarks.gpu import (
    PARTS,
    check_gradients,
    counts,
    describe,
    figures,
    infer,
    is_sound,
    run_parts,
    run_recipe,
    run_tests,
    train_network,
)
from xpmlp.backends.cupy import ask_driver

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def has_gpu() -> bool:
    driver, gpus = ask_driver()
    return bool(driver) and gpus != 0


@pytest.mark.skipif(has_gpu(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "out")],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.startswith("no GPU here")
    assert len((done.stdout + done.stderr).splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_part_that_fails_is_recorded_and_the_others_run() -> None:
    def broken() -> dict[str, Any]:
        raise ZeroDivisionError("planted")

    written: list[list[str]] = []
    record = run_parts(
        {"broken": broken, "sound": lambda: {"passed": True, "figure": 1}},
        lambda record: written.append(list(record)),
    )
    assert written == [["broken"], ["broken", "sound"]]
    assert not record["broken"]["passed"]
    assert "ZeroDivisionError: planted" in record["broken"]["error"]
    assert record["sound"]["figure"] == 1


def test_the_recipe_on_numpy_twice_agrees() -> None:
    found = run_recipe(("numpy", "numpy"), epochs=1, rows=640)
    assert found["passed"]
    first, second = found["runs"]
    assert first["steps"] == 10
    assert first["us_per_step"] > 0
    assert second["first_losses_differ_by"] == 0
    assert second["test_accuracy"] == first["test_accuracy"]


def test_the_gradient_check_needs_the_backend_it_is_for() -> None:
    assert check_gradients((5, 4, 3), ["numpy"], needed="numpy", autodiff=())["passed"]
    assert not check_gradients((5, 4, 3), ["numpy"], needed="cupy", autodiff=())["passed"]


def test_it_counts_what_pytest_counts() -> None:
    assert counts("E boom\n1 failed, 2 passed, 3 deselected in 0.20s\n") == {
        "failed": 1,
        "passed": 2,
        "deselected": 3,
    }
    assert counts("no closing line") == {}
    found = run_tests("not gpu and not oracle", ["tests/test_schedules.py"])
    assert found["passed"]
    assert found["counts"]["passed"] > 0


def test_the_machine_is_described_by_all_who_can() -> None:
    found = describe()
    assert found["passed"]
    assert found["host"]["versions"]["numpy"]
    assert found["nvidia_smi"]


def test_a_part_is_a_contest_that_xpmlp_takes_part_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, with the competitors that are quick to start."""
    ours = ("xpmlp numpy", "cpu")
    chosen = [who for who in competitors.for_training() if who.name in ("bare products", ours[0])]
    monkeypatch.setattr(competitors, "for_training", lambda *_, **__: chosen)
    found = train_network("lecture", ("cpu",), steps=64, rounds=1, needed=ours)
    assert found["passed"]
    assert found["count_per_turn"] == 64
    assert not train_network("lecture", ("cpu",), steps=64, rounds=1)["passed"]  # no CuPy timed

    chosen = [who for who in competitors.for_inference() if who.name == ours[0]]
    monkeypatch.setattr(competitors, "for_inference", lambda _: chosen)
    found = infer(("cpu",), rounds=1, needed=ours)
    assert found["passed"]
    assert [contest["rows_a_call"] for contest in found["contests"]] == [1, 10_000]

    def broken(problem: object) -> Any:
        raise ZeroDivisionError

    chosen.append(Competitor("peer", "cpu", "float32", "", broken))
    assert not infer(("cpu",), rounds=1, needed=ours)["passed"]


def test_a_peer_that_is_absent_is_no_failure() -> None:
    def contest(*rows: tuple[str, str]) -> dict[str, Any]:
        return {
            "rows": [{"name": name, "device": "cuda", "status": status} for name, status in rows]
        }

    ours = ("xpmlp cupy", "cuda")
    sound = contest(("xpmlp cupy", "timed"), ("thinc", "not installed"), ("JAX", "unavailable"))
    assert is_sound([sound, sound], ours)
    assert not is_sound([sound, contest(("xpmlp cupy", "timed"), ("JAX", "WRONG"))], ours)
    assert not is_sound([sound, contest(("JAX", "timed"))], ours)


def test_the_figures_that_the_design_asks_for_are_told() -> None:
    def ours(median: float, share: float | None = None) -> dict[str, Any]:
        return {
            "name": "xpmlp cupy", "device": "cuda", "median": median, "share_of_ceiling": share
        }  # fmt: skip

    sweep = {
        "quantity": "members",
        "points": [
            {"value": 1, "rows": [ours(20.0)]}, {"value": 32, "rows": [ours(50.0)]},
        ],
    }  # fmt: skip
    record: dict[str, Any] = {
        "lecture": {"rows": [ours(30.0)]},
        "huge": {"rows": [ours(20_000.0, 0.85)]},
        "scaling": {"sweeps": [sweep]},
    }
    assert figures(record) == [
        "lecture: 30.0 us per step",
        "huge: 20000.0 us per step, 85% of the square product's rate",
        "32 members: 2.50 times the time of one",
    ]
    assert figures({"lecture": {"passed": False, "error": "planted"}}) == []


def test_only_some_parts_can_be_asked_for(tmp_path: Path) -> None:
    assert {"machine", "tests", "gradcheck", "recipe", "lecture", "huge", "scaling"} <= set(PARTS)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path), "--only", "nothing"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "'nothing'" in done.stderr
