"""CuPy's backend on a pretended CuPy: NumPy arrays that are fetched with `get`.

All but the GPU itself: selection, the proof, the current device, transfers, a run of training.
The same on a real GPU is what the tests with the mark `gpu` do.
"""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import xpmlp.backends.cupy as cupy_module
from xpmlp import MLP, BackendUnavailable, Split, select_backend, train


class Pretended(np.ndarray):
    """An array on the pretended GPU. That devices are not mixed is array-api-strict's to see."""

    def get(self) -> np.ndarray:
        return np.array(self.view(np.ndarray))


class PretendedDevice:
    """A device that is current inside its context."""

    current: list[int] = [0]  # noqa: RUF012

    def __init__(self, index: int) -> None:
        self.id = index

    def __enter__(self) -> "PretendedDevice":
        self.current.append(self.id)
        return self

    def __exit__(self, *_: object) -> None:
        self.current.pop()


class PretendedCuPy(ModuleType):
    """NumPy under CuPy's name."""

    def __init__(self, product_error: float = 0.0) -> None:
        super().__init__("cupy")
        runtime = SimpleNamespace(
            getDeviceCount=lambda: 2,
            getDeviceProperties=lambda _: {"name": b"Pretended", "totalGlobalMem": 2**30},
        )
        self.cuda = SimpleNamespace(Device=PretendedDevice, runtime=runtime)
        self.product_error = product_error

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(np, name)

    def asarray(self, host: Any, **options: Any) -> np.ndarray:
        options.pop("device", None)
        return np.asarray(host, **options).view(Pretended)

    def arange(self, *arguments: Any, **options: Any) -> np.ndarray:
        return np.arange(*arguments, **options).view(Pretended)

    def matmul(self, A: Any, B: Any) -> Any:
        return np.matmul(A, B) + self.product_error

    def stack(self, arrays: Any) -> np.ndarray:
        return np.stack([np.asarray(array) for array in arrays]).view(Pretended)


def pretend(monkeypatch: pytest.MonkeyPatch, cupy: ModuleType) -> None:
    monkeypatch.setattr(cupy_module, "ask_driver", lambda: (13000, 2))
    monkeypatch.setattr(cupy_module, "installed_wheels", lambda: ("cupy-cuda13x",))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "array_api_compat.cupy", cupy)


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


def test_training_goes_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, PretendedCuPy())
    backend = select_backend("cupy")
    random = np.random.default_rng(0)
    split = Split(random.integers(0, 255, (200, 6), dtype=np.uint8), random.integers(0, 3, 200))
    model = MLP((6, 5, 3))
    found = train(model, split, epochs=2, batch_size=8, backend=backend)
    expected = train(model, split, epochs=2, batch_size=8, backend=select_backend("numpy"))
    assert isinstance(found.parameters, Pretended)
    assert type(found.snapshot().parameters) is np.ndarray
    np.testing.assert_array_equal(found.snapshot().parameters, expected.parameters)
