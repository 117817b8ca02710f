"""Arrays of any library as input and output, computed with where they lie.

Arrays on the host, whoever's they are, are read as NumPy's without a copy and go the way of all
input. Arrays on a device stay there: their rows never come to the host, and predictions are of the
same library on the same device.
"""

import functools
from typing import Any

import array_api_compat
import numpy as np

from xpmlp.backends.base import Backend
from xpmlp.backends.select import select_backend
from xpmlp.errors import BackendUnavailable
from xpmlp.typing import Array


@functools.cache
def opened(name: str, device: str | None) -> Backend:
    """The backend of this name, opened once: what it compiles for predictions is kept by it."""
    return select_backend(name, device)


def is_foreign(X: Any) -> bool:
    """Whether this is an array of the standard, but not NumPy's."""
    return array_api_compat.is_array_api_obj(X) and not isinstance(X, (np.ndarray, np.generic))


def is_on_device(X: Any) -> bool:
    """Whether it is an array that the host cannot read."""
    if not is_foreign(X):
        return False
    if array_api_compat.is_torch_array(X):
        return bool(X.device.type != "cpu")
    if array_api_compat.is_jax_array(X):
        return any(device.platform != "cpu" for device in X.devices())
    return True  # CuPy's, and those of libraries that nobody here knows


def on_host(X: Any) -> Any:
    """An array of another library on the host as NumPy's, sharing its memory where NumPy has its
    type; all else as it is."""
    if not is_foreign(X) or is_on_device(X):
        return X
    if array_api_compat.is_torch_array(X):
        X = X.detach()
    if "bfloat16" in str(X.dtype):  # NumPy has none; all of its numbers are float32's, too
        xp = array_api_compat.array_namespace(X)
        X = xp.astype(X, xp.float32)
    return np.from_dlpack(X)


def to_host(y: Any) -> Any:
    """A copy on the host of an array on a device; all else as `on_host` has it."""
    if not is_on_device(y):
        return on_host(y)
    return own_backend(y).to_numpy(y)


def choose_backend(X: Any, name: str, device: str | None) -> Backend:
    """What computes with these rows: the backend of this name, or `auto`.

    `auto` takes rows on the host to a GPU where one works. Rows on a device stay there: CuPy
    computes with them if it can, since it is the fastest, else the library whose they are.
    """
    if not is_on_device(X):
        return opened(name, device)
    own = own_backend(X)
    if name not in ("auto", own.name):
        return opened(name, device or own.device_name)
    if own.device_name.startswith("cuda") and name == "auto":
        try:
            return opened("cupy", own.device_name)
        except BackendUnavailable:
            pass
    return own


def own_backend(X: Array) -> Backend:
    """The backend of the library and the device that an array is of."""
    device = array_api_compat.device(X)
    if array_api_compat.is_cupy_array(X):
        return opened("cupy", f"cuda:{device.id}")
    if array_api_compat.is_torch_array(X):
        return opened("torch", str(device))
    if array_api_compat.is_jax_array(X):
        return opened("jax", "cpu" if device.platform == "cpu" else f"cuda:{device.id}")
    xp = array_api_compat.array_namespace(X)
    return Backend(xp.__name__, xp, device, device_name=str(device))


def adopted(X: Array, backend: Backend) -> Array:
    """An array on a device as the backend's, sharing its memory where both are on one device."""
    if array_api_compat.is_torch_array(X):
        X = X.detach()
    if array_api_compat.array_namespace(X) is array_api_compat.array_namespace(
        backend.xp.zeros(1, device=backend.device)
    ):
        return X
    if backend.device_name.startswith("cuda"):
        return backend.xp.from_dlpack(X)
    return backend.asarray(to_host(X))


def like(array: Array, X: Any, backend: Backend) -> Array:
    """What the backend has computed as an array of the library and device of X, where X is one."""
    if not is_foreign(X):
        return array if isinstance(array, np.ndarray) else backend.to_numpy(array)
    xp, device = array_api_compat.array_namespace(X), array_api_compat.device(X)
    if isinstance(array, np.ndarray):
        return xp.asarray(array, device=device)
    if array_api_compat.array_namespace(array) is xp:
        return array
    if is_on_device(X) and backend.device_name.startswith("cuda"):
        return xp.from_dlpack(array)
    return xp.asarray(backend.to_numpy(array), device=device)


def namespace_of(X: Any) -> str:
    """Whose array this is, and on which device, in words; `numpy` for all that becomes NumPy's."""
    if not is_foreign(X):
        return "numpy"
    return f"{array_api_compat.array_namespace(X).__name__} on {array_api_compat.device(X)}"
