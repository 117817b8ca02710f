"""Which backend to use, and what this machine has."""

import importlib
import importlib.metadata
from typing import Any, NamedTuple

from xpmlp.backends.base import Backend, DeviceInfo, gpu_index
from xpmlp.checks import nearest
from xpmlp.errors import BackendUnavailable, InputError

BACKENDS = ("numpy", "cupy", "jax", "torch")
"""The backends by name, each a module of this folder."""


class BackendReport(NamedTuple):
    """What `survey` found about one backend.

    Attributes
    ----------
    name : str
        The name of the backend.
    version : str or None
        The installed version of its library.
    devices : tuple of DeviceInfo
        The devices it can use.
    cause : str or None
        Why it cannot run; None if it can.
    remedy : str or None
        What to do about it; None if it can run.

    Examples
    --------
    >>> from xpmlp.backends import BackendReport
    >>> BackendReport("cupy", None, (), "no GPU", "use backend='numpy'").usable
    False
    """

    name: str
    version: str | None
    devices: tuple[DeviceInfo, ...]
    cause: str | None
    remedy: str | None

    @property
    def usable(self) -> bool:
        """Whether the backend can run."""
        return self.cause is None


def select_backend(name: str = "auto", device: str | None = None) -> Backend:
    """Return a backend: an array library on a device.

    Parameters
    ----------
    name : str, default 'auto'
        `auto`, `numpy`, `cupy`, `jax` or `torch`. `auto` takes CuPy if a GPU runs a kernel and a
        matrix product, else NumPy; the backend's `reason` says why in one line.
    device : str, optional
        `cpu`, `cuda`, or `cuda:1` for the second GPU; by default the backend's first.

    Returns
    -------
    Backend
        The backend.

    Raises
    ------
    BackendUnavailable
        If a backend chosen by name cannot run, or `auto` with a GPU chosen; with the cause and the
        command that fixes it.
    InputError
        For an unknown name or device.

    Examples
    --------
    >>> xpmlp.select_backend("numpy")
    <Backend numpy on cpu>
    """
    known = "auto", *BACKENDS
    chosen, device = str(name).lower(), device.lower() if isinstance(device, str) else device
    if chosen not in known:
        hint = nearest(chosen, known)
        raise InputError(f"backend {name!r:.60} is unknown: {hint}use {', '.join(known)}")
    return _automatic(device) if chosen == "auto" else _open(chosen, device)


def survey() -> list[BackendReport]:
    """Report for each backend whether it can run on this machine, and why not.

    Returns
    -------
    list of BackendReport
        One for each backend.

    Examples
    --------
    >>> from xpmlp.backends import survey
    >>> [report.name for report in survey()]
    ['numpy', 'cupy', 'jax', 'torch']
    """
    return [_report(name) for name in BACKENDS]


def usable_backends() -> list[Backend]:
    """Return every backend that can run on this machine, on its first device.

    Returns
    -------
    list of Backend
        The backends, NumPy first.

    Examples
    --------
    >>> from xpmlp.backends import usable_backends
    >>> usable_backends()[0]
    <Backend numpy on cpu>
    """
    return [select_backend(report.name) for report in survey() if report.usable]


def _automatic(device: str | None) -> Backend:
    if device is not None:
        on_gpu = gpu_index(device) is not None
        backend = _open("cupy" if on_gpu else "numpy", device)
        backend.reason = f"{backend.name} on {backend.device_name}: --device asks for it"
        return backend
    try:
        backend = _open("cupy", None)
        backend.reason = f"cupy on {backend.device_name}: a GPU works here"
    except BackendUnavailable as unavailable:
        backend = _open("numpy", None)
        backend.reason = f"numpy on the cpu: {unavailable.cause} (see: xpmlp backends)"
    return backend


def _module(name: str) -> Any:
    return importlib.import_module(f"xpmlp.backends.{name}")


def _open(name: str, device: str | None) -> Backend:
    backend: Backend = _module(name).open_backend(device)
    return backend


def _report(name: str) -> BackendReport:
    try:
        _open(name, None)
        devices = tuple(_module(name).devices())
    except BackendUnavailable as error:
        return BackendReport(name, _version(name), (), error.cause, error.remedy)
    return BackendReport(name, _version(name), devices, None, None)


def _version(name: str) -> str | None:
    """The installed version, read from the metadata: a broken library need not be importable."""
    for provider in importlib.metadata.packages_distributions().get(name, ()):
        return importlib.metadata.version(provider)
    return None
