"""The backends that every test of the algebra, the network and the training runs on."""

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import array_api_strict
import hypothesis
import numpy as np
import pytest

from xpmlp.backends import Backend, select_backend
from xpmlp.backends.cupy import ask_driver, installed_wheels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A busy machine is slow and an import takes a second: neither says anything about the code.
hypothesis.settings.register_profile("xpmlp", deadline=None, derandomize=True)
hypothesis.settings.load_profile("xpmlp")


class StrictBackend(Backend):
    """array-api-strict on its `device1`: whatever the standard lacks, or a mixture of devices,
    is an error there."""

    def __init__(self) -> None:
        device = array_api_strict.Device("device1")
        super().__init__("strict", array_api_strict, device, device_name="device1")

    @contextlib.contextmanager
    def activate(self) -> Iterator[None]:
        with (
            array_api_strict.ArrayAPIStrictFlags(
                boolean_indexing=False, data_dependent_shapes=False
            ),
            np.errstate(all="ignore"),
        ):
            yield


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-oracles",
        action="store_true",
        help="fail, instead of skipping, where torch or JAX is not installed",
    )


def _oracle(config: pytest.Config, name: str) -> None:
    if importlib.util.find_spec(name) is None:
        assert not config.getoption("--require-oracles"), f"{name} is not installed"
        pytest.skip(f"{name} is not installed (the extra `oracles` brings it)")


def gpu_backend() -> Backend:
    """CuPy's backend; only without a GPU or CuPy is the test skipped, and the reason says so."""
    driver, gpus = ask_driver()
    if not driver or gpus == 0:
        pytest.skip("no GPU: no NVIDIA driver, or none that shows a GPU")
    if not installed_wheels():
        pytest.skip("no GPU library: CuPy is not installed")
    return select_backend("cupy")


BACKENDS = [
    "numpy",
    "strict",
    pytest.param("torch", marks=pytest.mark.oracle),
    pytest.param("jax", marks=pytest.mark.oracle),
    pytest.param("cupy", marks=pytest.mark.gpu),
]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Each backend in turn, active."""
    name = request.param
    if name == "strict":
        chosen: Backend = StrictBackend()
    elif name == "cupy":
        chosen = gpu_backend()
    else:
        if name != "numpy":
            _oracle(request.config, name)
        chosen = select_backend(name)
    with chosen.activate():
        yield chosen


@pytest.fixture
def torch(request: pytest.FixtureRequest):
    """PyTorch as an oracle."""
    _oracle(request.config, "torch")
    return importlib.import_module("torch")


@pytest.fixture
def jax(request: pytest.FixtureRequest):
    """JAX as an oracle."""
    _oracle(request.config, "jax")
    return importlib.import_module("jax")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list["Figure"]:
    """The figures that were saved."""
    from matplotlib.figure import Figure

    figures = []

    def save(figure: "Figure", path: Path, **_: object) -> None:
        figures.append(figure)
        Path(path).write_bytes(b"picture")

    monkeypatch.setattr(Figure, "savefig", save)
    return figures
