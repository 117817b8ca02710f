"""CuPy's backend on a pretended CuPy: selection, the proof, transfers, a run of training.

The same on a real GPU is what the tests with the mark `gpu` do.
"""

import logging
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from pretended_cupy import Pretended, PretendedCuPy, PretendedDevice, naive_plan, pretend

import xpmlp.backends.cupy as cupy_module
from xpmlp import MLP, BackendUnavailable, Split, select_backend
from xpmlp.training import loaders, train
from xpmlp.training.batches import EpochPlan
from xpmlp.training.step import TrainingData

MODEL = MLP((6, 5, 3))
FIXED = TrainingData(*[None] * 3, positions=np.arange(8), classes=np.arange(3))


def test_auto_takes_it_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, PretendedCuPy())
    backend = select_backend()
    assert (backend.name, backend.device_name) == ("cupy", "cuda:0")
    assert backend.reason == "cupy on cuda:0: a GPU works here"


def test_the_second_device_is_current_while_it_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, PretendedCuPy())
    backend = select_backend("cupy", "cuda:1")
    with backend.activate():
        backend.asarray(np.zeros(2))
        assert PretendedDevice.current[-1] == 1
    assert PretendedDevice.current == [0]
    with pytest.raises(BackendUnavailable, match="the driver shows 2 GPUs"):
        select_backend("cupy", "cuda:2")


def test_a_gpu_that_multiplies_wrongly_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, PretendedCuPy(product_error=0.5))
    assert select_backend().name == "numpy"
    with pytest.raises(BackendUnavailable, match="a 2 x 3 product came out as"):
        select_backend("cupy")


def test_devices_are_listed_with_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, PretendedCuPy())
    found = cupy_module.devices()
    assert [device.name for device in found] == ["cuda:0", "cuda:1"]
    assert found[0].memory == 2**30


def split() -> Split:
    random = np.random.default_rng(0)
    return Split(random.integers(0, 255, (200, 6), dtype=np.uint8), random.integers(0, 3, 200))


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize("compile", ["off", "require"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_training_goes_through_it(
    monkeypatch: pytest.MonkeyPatch, compile: str, shuffle: bool
) -> None:
    cupy = PretendedCuPy()
    pretend(monkeypatch, cupy)
    emit = SimpleNamespace(kernel_plan=lambda program: naive_plan(program, cupy.machine))
    monkeypatch.setitem(sys.modules, "xpmlp.compiler.emit", emit)
    options = {"epochs": 2, "batch_size": 8, "shuffle": shuffle}
    found = train(MODEL, split(), backend=select_backend("cupy"), compile=compile, **options)
    expected = train(MODEL, split(), backend=select_backend("numpy"), compile="off", **options)
    assert isinstance(found.parameters, Pretended)
    assert bool(cupy.machine.launched) == (compile == "require")
    assert type(found.snapshot().parameters) is np.ndarray
    np.testing.assert_allclose(
        found.snapshot().parameters, expected.parameters, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(found.history.loss, expected.history.loss, rtol=1e-5)
    np.testing.assert_array_equal(found.history.accuracy, expected.history.accuracy)


def test_what_cannot_be_captured_runs_step_by_step(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cupy = PretendedCuPy()
    pretend(monkeypatch, cupy)
    emit = SimpleNamespace(kernel_plan=lambda program: naive_plan(program, cupy.machine))
    monkeypatch.setitem(sys.modules, "xpmlp.compiler.emit", emit)
    monkeypatch.setattr(
        "pretended_cupy.PretendedStream.end_capture", lambda self: setattr(self, "captured", None)
    )
    with caplog.at_level(logging.WARNING):
        found = train(MODEL, split(), epochs=1, batch_size=8, backend=select_backend("cupy"))
    expected = train(MODEL, split(), epochs=1, batch_size=8, backend=select_backend("numpy"))
    np.testing.assert_allclose(
        found.snapshot().parameters, expected.parameters, rtol=1e-5, atol=1e-6
    )
    assert len(caplog.records) == 1
    assert "32 steps cannot be captured" in caplog.text


@pytest.mark.parametrize("is_eager", [False, True])
def test_streamed_blocks_are_those_of_the_order(
    monkeypatch: pytest.MonkeyPatch, is_eager: bool
) -> None:
    cupy = PretendedCuPy()
    pretend(monkeypatch, cupy)
    cupy.machine.is_eager = is_eager
    backend, whole = select_backend("cupy"), split()
    feed = loaders.make_loader(whole, batch_size=8, fixed=FIXED, backend=backend, limit=700)
    assert isinstance(feed, loaders.StreamingLoader)
    for seed in range(3):
        order, seen = np.random.default_rng(seed).permutation(200), []
        for segment in feed.epoch(EpochPlan(order), done=seed):
            size = 8 * segment.steps
            # Queued, not computed: what comes later must not be what is read here.
            kept = [cupy.empty((size, *x.shape[1:]), x.dtype) for x in segment.data[:2]]
            kept[0][...], kept[1][...] = segment.data.X[:size], segment.data.labels[:size]
            seen.append(kept)
            assert segment.data.X.flags.c_contiguous
        rows = order[8 * seed : 200]
        np.testing.assert_array_equal(np.concatenate([X.get() for X, _ in seen]), whole.X[rows])
        np.testing.assert_array_equal(
            np.concatenate([labels.get() for _, labels in seen]), whole.labels[rows]
        )


def test_a_block_is_there_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = PretendedCuPy()
    pretend(monkeypatch, cupy)
    whole = split()
    feed = loaders.make_loader(
        whole, batch_size=8, fixed=FIXED, backend=select_backend("cupy"), limit=700
    )
    first = next(feed.epoch(EpochPlan(np.arange(200))))
    np.testing.assert_array_equal(first.data.X[:8].get(), whole.X[:8])


@pytest.mark.parametrize("is_eager", [False, True])
def test_a_stream_that_is_left_can_be_taken_up_again(
    monkeypatch: pytest.MonkeyPatch, is_eager: bool
) -> None:
    cupy = PretendedCuPy()
    pretend(monkeypatch, cupy)
    cupy.machine.is_eager = is_eager
    backend, whole = select_backend("cupy"), split()
    feed = loaders.make_loader(whole, batch_size=8, fixed=FIXED, backend=backend, limit=700)
    kept = [cupy.empty((8, 6), np.uint8) for _ in range(2)]
    for rows, array in zip((np.arange(200), np.arange(200)[::-1]), kept, strict=True):
        segments = feed.epoch(EpochPlan(rows))
        array[...] = next(segments).data.X[:8]
        segments.close()  # as where an observer stops the run
    first, second = kept
    np.testing.assert_array_equal(first.get(), whole.X[:8])
    np.testing.assert_array_equal(second.get(), whole.X[:-9:-1])
