"""A run on a pretended CuPy, profiled: the phases go kernel by kernel, in the run's precision."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from pretended_cupy import naive_plan

from xpmlp import MLP, OptimizerConfig, Split, Trainer, select_backend
from xpmlp.training.profile import profile


@pytest.mark.extended(keep=1)
@pytest.mark.parametrize("compile", ["off", "require"])
@pytest.mark.parametrize("precision", ["float32", "tf32", "float16"])
def test_a_captured_run_is_profiled(cupy, monkeypatch, precision: str, compile: str) -> None:
    monkeypatch.setattr("xpmlp.training.profile.SIDE_ON_GPU", 16)
    monkeypatch.setattr("xpmlp.training.profile.SECONDS", 0.0)
    emit = SimpleNamespace(kernel_plan=lambda program: naive_plan(program, cupy.machine))
    monkeypatch.setitem(sys.modules, "xpmlp.compiler.emit", emit)
    model = MLP((6, 5, 4))
    trainer = Trainer.begin(
        model,
        Split(np.zeros((64, 6), np.uint8), np.zeros(64, np.int64)),
        parameters=model.initialize(0),
        optimizer_config=OptimizerConfig(learning_rate=0.1),
        backend=select_backend("cupy"),
        epochs=1,
        batch_size=8,
        seed=0,
        shuffle=False,
        dtype=precision,
        compile=compile,
    )
    found = profile(trainer)
    assert found.flops == 2 * 8 * (2 * 6 * 5 + 3 * 5 * 4)
    assert found.is_apart == (compile == "require")
    assert bool(cupy.machine.launched) == (compile == "require")
