"""The machine: what it is, which of its cores are used, and how to keep it busy."""

import contextlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

LIBRARIES = (
    "xpmlp", "numpy", "scipy", "scikit-learn", "thinc", "jax", "jaxlib", "torch", "cupy-cuda12x",
    "cupy-cuda13x", "array-api-compat", "threadpoolctl",
)  # fmt: skip

KERNELS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_ENABLE_INSTRUCTIONS")
"""Those by which a BLAS is told to take this processor for another."""

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""The environment variables by which users limit threads."""


@contextlib.contextmanager
def limited(threads: int | None) -> Iterator[dict[str, Any]]:
    """BLAS and PyTorch held to a number of threads; yields what is pinned, in words and figures.

    None leaves every library its own choice. Enter it when all libraries are loaded:
    threadpoolctl does not see later ones.
    """
    pinned: dict[str, Any] = {"requested": threads}
    with contextlib.ExitStack() as stack:
        try:
            import threadpoolctl
        except ImportError:
            pinned["blas"] = "not limited: threadpoolctl is not installed"
        else:
            if threads is not None:
                stack.enter_context(threadpoolctl.threadpool_limits(threads))
            pinned["blas"] = [
                {
                    key: pool.get(key)
                    for key in ("internal_api", "version", "architecture", "num_threads")
                }
                for pool in threadpoolctl.threadpool_info()
            ]
        if torch := sys.modules.get("torch"):
            if threads is not None:
                stack.callback(torch.set_num_threads, torch.get_num_threads())
                torch.set_num_threads(threads)
            pinned["torch"] = torch.get_num_threads()
            pinned["torch_float32_precision"] = torch.get_float32_matmul_precision()
        if "jax" in sys.modules:
            pinned["jax"] = "its CPU pool has a thread for each schedulable core"
            pinned["jax_float32_precision"] = "highest"
        pinned["schedulable_cores"] = len(schedulable_cores())
        named = (*VARIABLES, *KERNELS)
        pinned["environment"] = {name: os.environ[name] for name in named if name in os.environ}
        yield pinned


def pin(threads: int) -> None:
    """Hold this process to some cores, before NumPy and JAX are imported and count them.

    JAX's CPU pool has no other switch; BLAS and torch are limited by name as well, by `limited`.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, schedulable_cores()[-threads:])
    for name in VARIABLES:
        os.environ[name] = str(threads)


def schedulable_cores() -> list[int]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))  # macOS and Windows cannot pin


@contextlib.contextmanager
def every_core_busy() -> Iterator[int]:
    """A process in an endless loop for each schedulable core; yields how many.

    They end with the context, and by themselves should this process be killed.
    """
    loop = "import os, sys\nwhile os.getppid() == int(sys.argv[1]):\n    sum(range(100_000))\n"
    command = [sys.executable, "-S", "-c", loop, str(os.getpid())]
    with contextlib.ExitStack() as stack:
        cores = schedulable_cores()
        for _ in cores:
            process = stack.enter_context(subprocess.Popen(command))
            stack.callback(process.kill)
        yield len(cores)


def describe_machine() -> dict[str, Any]:
    """CPU, cores, load, and the versions of everything that takes part."""
    versions = {}
    for library in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[library] = importlib.metadata.version(library)
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "numpy_blas": f"{blas['name']} {blas['version']}",
    }


def cpu_model() -> str:
    """The processor's name as Linux gives it, else what Python knows."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
