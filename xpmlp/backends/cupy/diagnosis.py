"""Why CuPy does not work on this machine, and how to fix it."""

import ctypes
import importlib.metadata
import sys
from typing import NamedTuple

CUDA13_DRIVER = 13000
"""The least CUDA version a driver must support for CUDA 13 wheels, as cuDriverGetVersion counts."""


class Findings(NamedTuple):
    """What is known when CuPy does not work: enough to say why and what would fix it.

    `wheels` are the installed distributions that provide `cupy`; `driver` the CUDA version that
    the NVIDIA driver supports (13000 for 13.0), 0 without a driver; `gpus` the GPUs that the
    driver shows, None if it cannot be asked; `error` what CuPy raised, if it was tried.
    """

    wheels: tuple[str, ...]
    driver: int
    gpus: int | None = None
    error: BaseException | None = None


def diagnose(findings: Findings) -> tuple[str, str]:
    """The cause in words and the command that would fix it, most fundamental cause first."""
    wheels, driver, gpus, error = findings
    extra = "cuda13" if driver >= CUDA13_DRIVER else "cuda12"
    install = f"pip install 'xpmlp[{extra}]'"
    if not driver:
        cause = "no NVIDIA driver is installed (libcuda cannot be loaded)"
        if not wheels:
            cause = "no NVIDIA driver and no CuPy are installed"
        remedy = "install NVIDIA's driver 580 or newer, then pip install 'xpmlp[cuda13]'"
        return cause, f"{remedy}; in a container, start it with --gpus all"
    if len(wheels) > 1:
        cause = f"{len(wheels)} CuPy packages are installed over each other ({', '.join(wheels)})"
        return cause, f"pip uninstall -y {' '.join(wheels)} && {install}"
    if gpus == 0:
        cause = "the NVIDIA driver shows no GPU"
        return cause, "check CUDA_VISIBLE_DEVICES; start a container with --gpus all"
    if not wheels:
        return "CuPy is not installed", install
    if "cuda13" in wheels[0] and driver < CUDA13_DRIVER:
        cause = (
            f"{wheels[0]} needs a driver for CUDA 13, this one supports CUDA "
            f"{driver // 1000}.{driver % 1000 // 10}"
        )
        return cause, f"pip uninstall -y {wheels[0]} && {install}; or install driver 580 or newer"
    said = " ".join(str(error).split()) or type(error).__name__
    if "InsufficientDriver" in said:
        return said, "install NVIDIA's newest driver, or the extra of an older CUDA (cuda12)"
    for library in ("nvrtc", "cublas", "cudart", "nvjitlink", "cuda_fp16.h", "cuda_runtime"):
        if library in said.lower():
            toolkit = f"pip install '{wheels[0]}[ctk]'"
            return f"CUDA's toolkit is incomplete, {library} cannot be used ({said})", toolkit
    return said, f"pip install --force-reinstall '{wheels[0]}[ctk]'"


def installed_wheels() -> tuple[str, ...]:
    """The names of the installed distributions that provide the module `cupy`."""
    providers = importlib.metadata.packages_distributions().get("cupy", ())
    return tuple(sorted(set(providers)))


def ask_driver() -> tuple[int, int | None]:
    """The CUDA version that NVIDIA's driver supports (0 without one) and how many GPUs it shows."""
    try:
        library = load_driver()
    except OSError:
        return 0, None
    version, count = ctypes.c_int(0), ctypes.c_int(0)
    if library.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return 0, None
    no_device = 100  # CUDA_ERROR_NO_DEVICE
    status = library.cuInit(0)
    if status == no_device:
        return version.value, 0
    if status != 0 or library.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return version.value, None
    return version.value, count.value


def load_driver() -> ctypes.CDLL:
    """NVIDIA's driver; raises `OSError` where there is none."""
    return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
