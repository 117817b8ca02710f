"""Random steps, interpreted and as kernels, against the same steps run eagerly by NumPy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.compiler.random_steps import RandomStep, assert_same, run_eagerly
from tests.compiler.scheduled import Scheduled
from xpmlp.compiler import Interpreter, Untraceable, record

STEPS = 3


def check(
    step: RandomStep, folder: Path, language: str = "c", *, tolerance: float = 1e-9, **how: Any
) -> None:
    program = record(step.make, step.state(), step.data())
    found = Scheduled(program, folder, language, **how).run(step.state(), step.data(), STEPS)
    assert_same(found, run_eagerly(step.make, step.state(), step.data(), STEPS), tolerance)


@pytest.mark.extended(keep=5)
@pytest.mark.parametrize("seed", range(25))
def test_random_steps_as_serial_kernels(seed: int, tmp_path: Path) -> None:
    check(RandomStep(seed, length=20), tmp_path)


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize("seed", range(100, 106))
def test_random_steps_as_a_gpu_runs_them(seed: int, tmp_path: Path) -> None:
    check(RandomStep(seed, length=20), tmp_path, "cuda", backwards=seed % 2 == 1)


@pytest.mark.parametrize("seed", [200, 201])
def test_random_steps_in_single_precision(seed: int, tmp_path: Path) -> None:
    check(RandomStep(seed, length=8, dtype="float32"), tmp_path, tolerance=2e-4)


@pytest.mark.extended
def test_interpreted() -> None:
    refused = 0
    for seed in range(100):
        step = RandomStep(seed)
        try:
            interpreter = Interpreter(record(step.make, step.state(), step.data()))
        except Untraceable as reason:
            assert "a copy" in str(reason)  # noqa: PT017
            refused += 1
            continue
        found = interpreter.run(step.state(), step.data(), STEPS)
        assert_same(found, run_eagerly(step.make, step.state(), step.data(), STEPS), 1e-9)
    assert refused < 10
    assert np.isfinite(found[1][0]).all()
