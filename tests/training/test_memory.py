"""Runs short of memory continue with less of it; those whose GPU is gone keep their state."""

import logging
import re
import tracemalloc
from typing import Any

import numpy as np
import pytest

from tests.callbacks import hearing
from tests.training import small_runs
from xpmlp import MLP, DeviceLost, Objective, OptimizerConfig, Split, Trainer, select_backend
from xpmlp.backends.failures import is_lost, is_out_of_memory
from xpmlp.network import TRAINING
from xpmlp.optimizers import adam
from xpmlp.training import evaluate, evaluation, predict, recovery
from xpmlp.training.loaders import DeviceLoader
from xpmlp.training.recovery import MemoryPlan
from xpmlp.training.step import forward_backward

pytestmark = pytest.mark.extended(keep=4)

ROWS, BATCH = 96, 12


MODEL = MLP((6, 5, 3))


def begin(*, model: MLP = MODEL, rows: int = ROWS, **settings: Any) -> Trainer:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, rows)
    if model.is_regression:
        labels = labels.astype(np.float64)[:, None]
    split = Split(random.random((rows, 6)), labels)
    members = settings.pop("members", 1)
    seeds = list(range(members)) if members > 1 else 0
    return small_runs.begin(model, split, seed=seeds, batch_size=BATCH, **settings)


@pytest.fixture
def at_most(monkeypatch: pytest.MonkeyPatch):
    """Steps that are given more rows at once are out of memory, of which any saving counts."""
    monkeypatch.setattr(recovery, "LEAST_SAVED_BYTES", 0)

    def limit(rows: int) -> None:
        enough = MLP.forward_backward

        def forward_backward(self: MLP, parameters: Any, *, X: Any, **settings: Any) -> Any:
            if X.shape[-2] > rows:
                raise MemoryError(f"no room for {X.shape[-2]} rows")
            return enough(self, parameters, X=X, **settings)

        monkeypatch.setattr(MLP, "forward_backward", forward_backward)

    return limit


SETTINGS = {
    "plain": {},
    "penalties": {"objective": Objective(l2=0.1, l1=0.01)},
    "dropout": {"objective": Objective(dropout=0.3, input_dropout=0.1)},
    "mixup": {"objective": Objective(mixup=0.4)},
    "weights": {"sample_weights": np.linspace(0.0, 2.0, ROWS)},
    "divided by weights": {
        "objective": Objective(divides_by_weight=True, l2=0.1),
        "sample_weights": np.linspace(0.0, 2.0, ROWS),
    },
    "adam": {
        "optimizer_config": OptimizerConfig(optimizer=adam(), learning_rate=0.01, clip_norm=1.0)
    },
    "members": {"members": 3},
    "layer normalisation": {"model": MLP((6, 5, 5, 3), normalization="layer", residual=True)},
    "a smaller last batch": {"rows": 100, "drop_last": False},
    "numbers": {"model": MLP((6, 5, 1), output="identity")},
}


@pytest.mark.extended(keep=1)
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("compile", ["auto", "off"])
def test_a_batch_in_parts_is_the_same_mathematics(at_most, caplog, name: str, compile: str) -> None:
    expected = begin(**SETTINGS[name], compile=compile).run()
    at_most(5)
    trainer = begin(**SETTINGS[name], compile=compile)
    with caplog.at_level(logging.WARNING, "xpmlp"):
        trainer.run()
    assert trainer.memory.parts == 4
    assert [record.getMessage() for record in caplog.records] == [
        f"numpy on cpu is out of memory (no room for {rows} rows): epoch 1 begins again with "
        f"each batch in {parts} parts"
        for rows, parts in ((12, 2), (6, 4))
    ]
    np.testing.assert_allclose(trainer.history.loss, expected.history.loss, rtol=1e-12)
    np.testing.assert_allclose(trainer.history.accuracies, expected.history.accuracies, rtol=1e-9)
    np.testing.assert_allclose(
        trainer.snapshot().parameters, expected.snapshot().parameters, rtol=1e-9, atol=1e-12
    )


def test_memory_that_runs_out_in_mid_run_costs_no_epoch(at_most, caplog) -> None:
    expected = begin(compile="off").run()

    shrink = hearing(on_epoch=lambda trainer: at_most(6) if trainer.epoch == 2 else None)
    trainer = begin(compile="off").run([shrink])
    assert "epoch 3 begins again with each batch in 2 parts" in caplog.text
    assert len(trainer.history.losses) == len(expected.history.losses)
    np.testing.assert_allclose(trainer.history.loss, expected.history.loss, rtol=1e-12)


@pytest.mark.extended
def test_batch_that_cannot_be_split_raises_the_first_error(at_most) -> None:
    at_most(5)
    trainer = begin(model=MLP((6, 5, 3), normalization="batch"))
    with pytest.raises(MemoryError, match="no room for 12 rows"):
        trainer.run()
    at_most(0)
    with pytest.raises(MemoryError, match="no room for 1 rows"):
        begin().run()


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
@pytest.mark.parametrize("compile", ["auto", "off"])
def test_a_batch_that_saves_nothing_is_not_halved(monkeypatch, device: str, compile: str) -> None:
    """As where a GPU has no room for what a step needs whatever its batch is."""
    backend, tries = select_backend("numpy"), []

    def refuse(*_: Any, **__: Any) -> None:
        tries.append(1)
        raise MemoryError("no room for the workspace")

    monkeypatch.setattr(backend, "eager", refuse)
    monkeypatch.setattr(backend, "compile", refuse)
    backend.device_name = device
    trainer = begin(backend=backend, compile=compile)
    with pytest.raises(MemoryError, match="no room for the workspace"):
        trainer.run()
    assert trainer.memory.parts == 1
    assert len(tries) == (1 if device == "cpu" else 2)  # on a GPU again with rows in blocks


def test_halving_ends_where_it_saves_too_little(monkeypatch, at_most) -> None:
    at_most(0)
    batch = BATCH * sum(MODEL.layer_sizes[1:]) * recovery.STEP_BYTES_PER_UNIT
    monkeypatch.setattr(recovery, "LEAST_SAVED_BYTES", batch / 4)
    trainer = begin()
    with pytest.raises(MemoryError, match="no room for 3 rows"):
        trainer.run()
    assert trainer.memory.parts == 4


def test_gradients_of_parts_are_not_kept() -> None:
    model, random = MLP((50, 400, 3)), np.random.default_rng(0)
    parameters = model.initialize(0, dtype="float64")
    X, Y = random.random((64, 50)), np.eye(3)[random.integers(0, 3, 64)]
    peaks = []
    for parts in (2, 32):
        tracemalloc.start()
        forward_backward(
            model, parameters, X, Y, parts=parts, weights=None, mode=TRAINING, xp=np,
            objective=Objective(),
        )  # fmt: skip
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] <= peaks[0] + parameters.nbytes


@pytest.mark.parametrize("free", [None, 2**40, 40_000])
def test_blocks_are_an_eighth_of_the_rows_or_of_the_memory(monkeypatch, free: int | None) -> None:
    backend = select_backend("numpy")
    monkeypatch.setattr(backend, "free_memory", lambda: free)
    trainer = begin(rows=4000, backend=backend)
    trainer.memory = MemoryPlan(in_blocks=True)
    size = 40_000 if free == 40_000 else trainer.split.X.nbytes
    segment = next(trainer.loader().epoch(trainer.epoch_plan()))
    row = trainer.split.X[0].nbytes + trainer.split.labels[0].nbytes
    assert segment.data.X.shape[0] == size // 8 // 2 // (row * BATCH) * BATCH


def test_rows_that_do_not_fit_come_in_blocks(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    expected = begin(rows=4000).run()
    send = DeviceLoader.__init__

    def refuse(self: DeviceLoader, split: Split, **settings: Any) -> None:
        if len(split.X) > 1000:
            raise MemoryError("no room for the rows")
        send(self, split, **settings)

    monkeypatch.setattr(DeviceLoader, "__init__", refuse)
    backend = select_backend("numpy")
    backend.device_name = "cuda:0"  # rows are sent there, as far as the run knows
    trainer = begin(rows=4000, backend=backend).run()
    assert trainer.memory.in_blocks
    assert trainer.memory.parts == 1
    assert "epoch 1 begins again with rows in blocks" in caplog.text
    np.testing.assert_array_equal(trainer.history.loss, expected.history.loss)


@pytest.mark.parametrize("members", [1, 3])
def test_evaluation_takes_fewer_rows_where_a_device_has_room_for_few(
    monkeypatch, members: int
) -> None:
    trainer = begin(members=members)
    backend, split = trainer.backend, trainer.split
    expected = evaluate(MODEL, trainer.parameters, split, backend=backend)
    probabilities = predict(MODEL, trainer.parameters, split.X, backend=backend)
    together = []
    rows_of = evaluation.rows_of
    monkeypatch.setattr(
        evaluation,
        "rows_of",
        lambda *given, **named: together.append(given[1]) or rows_of(*given, **named),
    )
    monkeypatch.setattr(evaluation, "UNCHECKED_BYTES", 0)
    row = evaluation.EVALUATED_UNIT_BYTES * sum(MODEL.layer_sizes) * members
    for free, rows in ((10 * row, 10), (0, 1), (10**9, ROWS)):
        together.clear()
        monkeypatch.setattr(backend, "free_memory", lambda free=free: free)
        found = evaluate(MODEL, trainer.parameters, split, backend=backend)
        np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-12)
        np.testing.assert_array_equal(found.accuracy, expected.accuracy)
        np.testing.assert_allclose(
            predict(MODEL, trainer.parameters, split.X, backend=backend), probabilities, rtol=1e-12
        )
        assert len(together) == 3 * -(-ROWS // rows)


class Lost(Exception):
    """As CuPy words it."""

    def __str__(self) -> str:
        return "cudaErrorIllegalAddress: an illegal memory access was encountered"


@pytest.mark.parametrize("compile", ["auto", "off"])
def test_a_gpu_that_is_gone_keeps_the_state_before(monkeypatch, compile: str) -> None:
    trainer = begin(compile=compile)
    kept: list[np.ndarray] = []

    def fail(*_: Any) -> None:
        raise Lost

    def unplug(trainer: Trainer) -> None:
        if trainer.epoch == 2:
            kept.append(trainer.last_good.parameters)
            monkeypatch.setattr(trainer.engine, "_compiled", None if compile == "off" else fail)
            monkeypatch.setattr(trainer.engine, "run_eagerly", fail)

    message = "numpy on cpu was lost in epoch 3, step 1 (cudaErrorIllegalAddress"
    with pytest.raises(DeviceLost, match=re.escape(message)) as caught:
        trainer.run([hearing(on_epoch=unplug)])
    assert "the state after 2 epochs is kept" in str(caught.value)
    assert trainer.last_good.epoch == 2
    np.testing.assert_array_equal(trainer.last_good.parameters, kept[0])


class OutOfMemoryError(RuntimeError):
    """PyTorch's."""


@pytest.mark.parametrize(
    ("error", "memory", "lost"),
    [
        (MemoryError(), True, False),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True, False),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying"), True, False),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), True, False),
        (Lost(), False, True),
        (RuntimeError("CUDA error: unspecified launch failure"), False, True),
        (RuntimeError("CUDA_ERROR_ECC_UNCORRECTABLE"), False, True),
        (RuntimeError("shapes do not match"), False, False),
        (OSError("unspecified launch failure of a spacecraft"), False, False),
        (KeyboardInterrupt(), False, False),
    ],
)
def test_errors_are_told_apart(error: BaseException, memory: bool, lost: bool) -> None:
    assert is_out_of_memory(error) == memory
    assert is_lost(error) == lost
