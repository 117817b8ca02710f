"""Rows that come in blocks train the same network as rows that lie on the device."""

from typing import Any

import numpy as np
import pytest

from xpmlp import MLP, OptimizerConfig, Split, select_backend
from xpmlp.backends import Backend
from xpmlp.data import order
from xpmlp.training.batches import EpochPlan, fixed_data
from xpmlp.training.config import TrainConfig
from xpmlp.training.loaders import BatchLoader, DeviceLoader, StreamingLoader, make_loader
from xpmlp.training.state import first_state
from xpmlp.training.step import TrainingData, make_step

MODEL = MLP((6, 5, 3))
BATCH, ROWS = 8, 100  # 12 batches and some rows over


def split() -> Split:
    random = np.random.default_rng(0)
    return Split(random.integers(0, 255, (ROWS, 6), dtype=np.uint8), random.integers(0, 3, ROWS))


def feed_for(backend: Backend, limit: int | None) -> BatchLoader:
    return make_loader(
        split(), batch_size=BATCH, fixed=fixed(backend), backend=backend, limit=limit
    )


def fixed(backend: Backend) -> TrainingData:
    config = TrainConfig(batch_size=BATCH)
    return fixed_data(MODEL, split(), config, MODEL.initialize(), backend)


def train(
    backend: Backend, rows: BatchLoader, *, compiled: bool, first: int = 0
) -> list[np.ndarray]:
    """Two epochs, the first from a step on: parameters and all losses."""
    parameters = MODEL.initialize(0, backend=backend, dtype="float32")
    optimizer_config = OptimizerConfig(learning_rate=0.1)
    state: Any = first_state(
        MODEL, TrainConfig(optimizer_config=optimizer_config), parameters, backend
    )

    def make(*, xp: Any) -> Any:
        return make_step(MODEL, optimizer_config=optimizer_config, xp=xp)

    run, losses = None, []
    for epoch in range(2):
        numbers = order(ROWS, seed=1, epoch=epoch, shuffle=True)
        for data, steps, offset in rows.epoch(EpochPlan(numbers), done=first if epoch == 0 else 0):
            state = state._replace(offset=offset)
            if run is None:
                run = backend.eager(make, precision="float32")
                if compiled:
                    run = backend.compile(make, state, data, precision="float32")
            for count in (
                (1, steps - 1) if steps > 1 else (1,)
            ):  # a tick may end anywhere in a segment
                state, metrics = run(state, data, count)
                losses.append(backend.to_numpy(metrics.loss))
    return [backend.to_numpy(state.parameters), np.concatenate(losses)]


@pytest.mark.parametrize(("limit", "first"), [(1, 0), (700, 5)])
@pytest.mark.parametrize("compiled", [False, True])
def test_streamed_and_resident_rows_give_the_same_bits(
    backend: Backend, limit: int, first: int, compiled: bool
) -> None:
    if compiled and not backend.compiles:
        return
    streamed, resident = feed_for(backend, limit), feed_for(backend, None)
    assert isinstance(streamed, StreamingLoader)
    assert isinstance(resident, DeviceLoader)
    found = train(backend, streamed, compiled=compiled, first=first)
    expected = train(backend, resident, compiled=compiled, first=first)
    assert len(found[1]) == 24 - first
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_limit_decides() -> None:
    backend = select_backend("numpy")
    size = split().X.nbytes + split().labels.nbytes
    assert isinstance(feed_for(backend, size), DeviceLoader)
    assert isinstance(feed_for(backend, size - 1), StreamingLoader)
    assert isinstance(feed_for(backend, None), DeviceLoader)  # the host's memory is not measured


def test_a_device_with_little_memory_is_streamed_to(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = select_backend("numpy")
    size = split().X.nbytes + split().labels.nbytes
    for free, kind in ((size, StreamingLoader), (2 * size, DeviceLoader)):
        monkeypatch.setattr(backend, "free_memory", lambda free=free: free, raising=False)
        assert isinstance(feed_for(backend, None), kind)


def test_blocks_have_one_shape_and_fit_the_limit() -> None:
    backend = select_backend("numpy")
    rows = make_loader(split(), batch_size=BATCH, fixed=fixed(backend), backend=backend, limit=1000)
    segments = list(rows.epoch(EpochPlan(np.arange(ROWS))))
    assert [segment.steps for segment in segments] == [4, 4, 4]
    assert {segment.data.X.shape for segment in segments} == {(32, 6)}
    assert 2 * (segments[0].data.X.nbytes + segments[0].data.labels.nbytes) <= 1000
    small = make_loader(
        split(), batch_size=BATCH, fixed=fixed(backend), backend=backend, limit=1000, block=230
    )
    assert [segment.steps for segment in small.epoch(EpochPlan(np.arange(ROWS)), done=7)] == [
        2,
        2,
        1,
    ]
