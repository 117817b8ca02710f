"""The GPU's script, as far as it goes without one."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import check_gradients, counts, describe, run_parts, run_recipe, run_tests
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
    found = run_tests("not gpu and not oracle", ["tests/test_optimizers.py"])
    assert found["passed"]
    assert found["counts"]["passed"] > 0


def test_the_machine_is_described_by_all_who_can() -> None:
    found = describe()
    assert found["passed"]
    assert found["host"]["versions"]["numpy"]
    assert found["nvidia_smi"]
