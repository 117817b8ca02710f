"""Messages about a GPU that does not work: each cause with its own remedy, without a GPU."""

import pytest

from xpmlp.backends.cupy import Findings, ask_driver, diagnose, installed_wheels

CASES = {
    "nothing at all": (
        Findings((), 0),
        "no NVIDIA driver and no CuPy",
        "pip install 'xpmlp[cuda13]'",
    ),
    "no driver": (
        Findings(("cupy-cuda13x",), 0),
        "no NVIDIA driver is installed",
        "install NVIDIA's driver 580 or newer",
    ),
    "no cupy, new driver": (
        Findings((), 13000, 1),
        "CuPy is not installed",
        "pip install 'xpmlp[cuda13]'",
    ),
    "no cupy, old driver": (
        Findings((), 12040, 1),
        "CuPy is not installed",
        "pip install 'xpmlp[cuda12]'",
    ),
    "two wheels": (
        Findings(("cupy-cuda12x", "cupy-cuda13x"), 13000, 1),
        "2 CuPy packages are installed over each other (cupy-cuda12x, cupy-cuda13x)",
        "pip uninstall -y cupy-cuda12x cupy-cuda13x && pip install 'xpmlp[cuda13]'",
    ),
    "driver too old for CUDA 13": (
        Findings(("cupy-cuda13x",), 12040, 1, RuntimeError("cudaErrorInsufficientDriver")),
        "cupy-cuda13x needs a driver for CUDA 13, this one supports CUDA 12.4",
        "pip uninstall -y cupy-cuda13x && pip install 'xpmlp[cuda12]'",
    ),
    "no device": (
        Findings(("cupy-cuda13x",), 13000, 0),
        "the NVIDIA driver shows no GPU",
        "CUDA_VISIBLE_DEVICES",
    ),
    "driver too old for this 13.x": (
        Findings(("cupy-cuda13x",), 13000, 1, RuntimeError("cudaErrorInsufficientDriver: too old")),
        "cudaErrorInsufficientDriver: too old",
        "install NVIDIA's newest driver",
    ),
    "no NVRTC": (
        Findings(("cupy-cuda13x",), 13000, 1, RuntimeError("libnvrtc.so.13: cannot open\n file")),
        "nvrtc cannot be used (libnvrtc.so.13: cannot open file)",
        "pip install 'cupy-cuda13x[ctk]'",
    ),
    "no cuBLAS": (
        Findings(("cupy-cuda12x",), 13000, 1, ImportError("libcublas.so.12")),
        "cublas cannot be used",
        "pip install 'cupy-cuda12x[ctk]'",
    ),
    "anything else": (
        Findings(("cupy-cuda13x",), 13000, 1, RuntimeError()),
        "RuntimeError",
        "pip install --force-reinstall 'cupy-cuda13x[ctk]'",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_cause_has_its_remedy(case: str) -> None:
    findings, cause, remedy = CASES[case]
    found = diagnose(findings)
    assert cause in found[0]
    assert remedy in found[1]
    assert "\n" not in "".join(found)


def test_asking_changes_nothing_and_fails_softly() -> None:
    driver, gpus = ask_driver()
    assert driver >= 0
    assert gpus is None or gpus >= 0
    assert all(name.startswith("cupy") for name in installed_wheels())


def test_packages_that_only_use_cupy_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    providers = {"cupy": ["cupy-cuda13x"], "cupy_xarray": ["cupy-xarray"]}
    monkeypatch.setattr("importlib.metadata.packages_distributions", lambda: providers)
    assert installed_wheels() == ("cupy-cuda13x",)
