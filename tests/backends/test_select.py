"""Which backend is chosen, why, and the message where one cannot run."""

import importlib.metadata
import sys
from types import ModuleType

import numpy as np
import pytest

import xpmlp.backends.cupy as cupy_module
from xpmlp import BackendUnavailable, InputError, select_backend
from xpmlp.backends import BACKENDS, survey, usable_backends
from xpmlp.backends.base import gpu_index

NO_GPU = cupy_module.ask_driver()[0] == 0


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without an NVIDIA driver, also where there is one."""
    monkeypatch.setattr(cupy_module, "ask_driver", lambda: (0, None))


@pytest.mark.usefixtures("no_driver")
def test_auto_falls_back_to_the_cpu_and_says_why() -> None:
    backend = select_backend()
    assert (backend.name, backend.device_name) == ("numpy", "cpu")
    assert "no NVIDIA driver" in backend.reason
    assert "\n" not in backend.reason


@pytest.mark.usefixtures("no_driver")
def test_a_named_backend_that_cannot_run_says_why_and_what_would_help() -> None:
    with pytest.raises(BackendUnavailable) as error:
        select_backend("cupy")
    assert "no NVIDIA driver" in str(error.value)
    assert "pip install 'xpmlp[cuda13]'" in str(error.value)
    assert error.value.exit_status == 3


@pytest.mark.usefixtures("no_driver")
def test_auto_with_a_gpu_asked_for_does_not_fall_back() -> None:
    with pytest.raises(BackendUnavailable):
        select_backend("auto", "cuda:0")


def test_auto_on_the_cpu_is_numpy() -> None:
    assert select_backend("auto", "cpu").name == "numpy"


@pytest.mark.gpu
def test_auto_takes_a_gpu_that_works() -> None:
    if NO_GPU:
        pytest.skip("no GPU: no NVIDIA driver is installed")
    assert select_backend().name == "cupy"


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"did you mean cupy\? use auto, numpy, cupy, jax, torch"):
        select_backend("coppy")


@pytest.mark.parametrize(
    ("device", "index"),
    [(None, 0), ("cpu", None), ("cuda", 0), ("gpu", 0), ("cuda:3", 3), ("gpu:1", 1), ("2", 2)],
)
def test_names_of_devices(device: str | None, index: int | None) -> None:
    assert gpu_index(device) == index


@pytest.mark.parametrize("device", ["", "tpu", "cuda:", "cuda:x", "cuda:-1", ":1", "cpu:0"])
def test_other_devices_are_refused(device: str) -> None:
    with pytest.raises(InputError, match="use cpu, cuda"):
        gpu_index(device)


def test_numpy_refuses_a_gpu() -> None:
    with pytest.raises(InputError, match="use backend='cupy'"):
        select_backend("numpy", "cuda")


def test_cupy_refuses_the_cpu() -> None:
    with pytest.raises(BackendUnavailable, match="backend='numpy'"):
        select_backend("cupy", "cpu")


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_a_library_that_cannot_be_imported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"array_api_compat.{name}", raising=False)
    with pytest.raises(BackendUnavailable, match=rf"pip install 'xpmlp\[{name}\]'"):
        select_backend(name)


@pytest.mark.extended
def test_survey_has_a_row_for_each_and_a_remedy_where_needed() -> None:
    reports = {report.name: report for report in survey()}
    assert tuple(reports) == BACKENDS
    for report in reports.values():
        if report.usable:
            assert report.devices
            assert report.version
        else:
            assert report.cause
            assert report.remedy
            assert "\n" not in report.cause + report.remedy
    assert reports["numpy"].usable
    assert reports["numpy"].version == np.__version__
    assert {backend.name for backend in usable_backends()} == {
        name for name, report in reports.items() if report.usable
    }


class BrokenCuPy(ModuleType):
    """A CuPy that can be imported and fails at the first use, as with an old driver."""

    def __init__(self, error: Exception) -> None:
        super().__init__("cupy")
        self.error = error

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("cudaErrorUnknown: unknown error\nsecond line"),
        OSError("libnvrtc.so.13: cannot open shared object file"),
        ImportError("libcublas.so.13"),
        ArithmeticError("a 2 x 3 product came out as [[0]]"),
    ],
)
def test_auto_survives_any_breakage(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy_module, "ask_driver", lambda: (13000, 1))
    monkeypatch.setattr(cupy_module, "installed_wheels", lambda: ("cupy-cuda13x",))
    broken = BrokenCuPy(error)
    monkeypatch.setitem(sys.modules, "cupy", broken)
    monkeypatch.setitem(sys.modules, "array_api_compat.cupy", broken)
    backend = select_backend()
    assert backend.name == "numpy"
    assert "\n" not in backend.reason
    with pytest.raises(BackendUnavailable, match="pip install") as raised:
        select_backend("cupy")
    assert "\n" not in str(raised.value)


def test_a_missing_package_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "packages_distributions", dict)
    assert all(report.version is None for report in survey())
