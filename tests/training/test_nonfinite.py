"""A run whose numbers go wrong says in which step, layer and quantity they did."""

from typing import Any

import numpy as np
import pytest

from tests.callbacks import Recorder
from tests.training import small_runs
from xpmlp import MLP, Diverged, Objective, OptimizerConfig, Split, Trainer, select_backend
from xpmlp.backends import Backend
from xpmlp.training.loaders import make_loader

pytestmark = pytest.mark.extended(keep=16)


def begin(backend: Backend, **settings: Any) -> Trainer:
    random = np.random.default_rng(0)
    split = Split(random.random((96, 6)).astype(np.float32), random.integers(0, 3, 96))
    hidden, normalization = settings.pop("hidden", "relu"), settings.pop("normalization", "none")
    model = MLP((6, 5, 4, 3), hidden, normalization=normalization)
    start = settings.pop("start", None)
    parameters = model.initialize(0) if start is None else start(model)
    return small_runs.begin(model, split, parameters=parameters, backend=backend, **settings)


def large(name: str, value: float = 1e38):
    """Weights of which one layer's are so large that its products overflow."""

    def start(model: MLP) -> np.ndarray:
        parts = model.unflatten(model.initialize(0))
        parts[name][...] = value
        return model.flatten(parts)

    return start


@pytest.mark.parametrize(
    ("name", "quantity"),
    [
        ("W1", "Z1 = A0 W1 + b1 of layer 1"),
        ("W2", "Z2 = A1 W2 + b2 of layer 2"),
        ("W3", "Z3 = A2 W3 + b3 of layer 3"),
    ],
)
@pytest.mark.parametrize("compile", ["auto", "off"])
def test_an_overflow_is_found_in_its_layer(backend: Backend, name, quantity, compile) -> None:
    run = begin(backend, start=large(name), compile=compile)
    with pytest.raises(Diverged) as caught:
        run.run()
    said = str(caught.value)
    assert "at iteration 1 (epoch 1, step 1), first in " in said
    assert quantity in said
    assert run.iteration == 0


def test_a_loss_that_explodes_is_traced_to_the_step_where_it_did(backend: Backend) -> None:
    settings = {"hidden": "identity", "optimizer_config": OptimizerConfig(learning_rate=100.0)}
    run = begin(backend, **settings)
    recorder = Recorder()
    with pytest.raises(Diverged, match=r"first in .* of layer [123], with learning rate") as caught:
        run.run([recorder])
    iteration = int(str(caught.value).split("at iteration ")[1].split()[0])
    assert iteration == len(recorder.way) + 1 > 1
    # The run stands at its last good state, and continues from there as it would have.
    assert run.iteration == 0
    again = begin(backend, **settings)
    np.testing.assert_array_equal(run.snapshot().parameters, again.snapshot().parameters)


def test_an_update_that_explodes(backend: Backend) -> None:
    """Everything is a number but for what the optimizer makes of it."""
    run = begin(
        backend, optimizer_config=OptimizerConfig(learning_rate=1e38), objective=Objective(l2=1e3)
    )
    with pytest.raises(Diverged, match="first in the new parameters, with"):
        run.run()


@pytest.mark.parametrize(
    ("normalization", "name", "quantity"),
    [("batch", "W2", "batch norm of layer 2"), ("layer", "W1", "layer norm of layer 1")],
)
def test_a_normalised_layer(backend: Backend, normalization, name, quantity) -> None:
    run = begin(backend, start=large(name, 3e37), normalization=normalization)
    with pytest.raises(Diverged, match=quantity):
        run.run()


def test_rows_that_come_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_blocks(split: Split, **settings: Any) -> Any:
        return make_loader(split, **{**settings, "limit": 1000}, block=500)

    monkeypatch.setattr("xpmlp.training.trainer.make_loader", in_blocks)
    run = begin(
        select_backend("numpy"),
        hidden="identity",
        optimizer_config=OptimizerConfig(learning_rate=100.0),
    )
    whole = begin(
        select_backend("numpy"),
        hidden="identity",
        optimizer_config=OptimizerConfig(learning_rate=100.0),
    )
    with pytest.raises(Diverged) as caught:
        run.run()
    monkeypatch.undo()
    with pytest.raises(Diverged) as expected:
        whole.run()
    assert str(caught.value) == str(expected.value)
    assert "first in" in str(caught.value)
