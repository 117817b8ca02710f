"""JAX: a run of steps is one jitted `lax.scan`, on the CPU or a GPU."""

import contextlib
import functools
from typing import Any, cast

import numpy as np

from xpmlp.backends.base import (
    Backend,
    DeviceInfo,
    Runner,
    Step,
    StepMetrics,
    gpu_index,
    host_memory,
)
from xpmlp.errors import BackendUnavailable, InputError
from xpmlp.typing import Array

INSTALL = "pip install 'xpmlp[jax]'"


class JaxBackend(Backend):
    """JAX on one device."""

    def activate(self) -> contextlib.AbstractContextManager[object]:
        """float64 is float64, and float32 products are not rounded to TF32 behind one's back.

        Both are JAX's own defaults turned off for the time of the context only.
        """
        import jax

        stack = contextlib.ExitStack()
        stack.enter_context(jax.enable_x64(True))
        stack.enter_context(jax.default_matmul_precision("highest"))
        stack.enter_context(jax.default_device(self.device))
        return stack

    def asarray(self, host: np.ndarray, dtype: str | None = None) -> Array:
        """The host's array on the device, never sharing memory that JAX would give away."""
        with self.activate():
            return self.xp.array(np.asarray(host, dtype=dtype), device=self.device)

    def to_numpy(self, array: Array) -> np.ndarray:
        """A copy on the host."""
        return np.array(array)

    def runner(self, step: Step) -> Runner:
        """`lax.scan` over the step, compiled once for each count of steps asked for."""
        import jax

        @functools.partial(jax.jit, static_argnums=2, donate_argnums=0)
        def run(state: Any, data: Any, count: int) -> tuple[Any, StepMetrics]:
            def body(carry: Any, _: None) -> tuple[Any, StepMetrics]:
                return step(carry, data)

            final, metrics = jax.lax.scan(body, state, length=count)
            return final, metrics

        return cast(Runner, run)


def open_backend(device: str | None) -> Backend:
    """JAX's backend, on its own default device if none is named."""
    try:
        import jax
        import jax.numpy as jnp

        if device is None:
            chosen = jax.devices()[0]
        else:
            index = gpu_index(device)
            chosen = jax.devices("cpu")[0] if index is None else jax.devices("gpu")[index]
    except (RuntimeError, IndexError) as error:  # no such device
        remedy = "use --device cpu, or pip install 'jax[cuda13]'"
        raise BackendUnavailable("jax", f"no device {device!r} ({error})", remedy) from error
    except InputError:
        raise
    except Exception as error:  # a broken installation fails in any way it likes
        raise BackendUnavailable("jax", f"jax cannot be imported ({error})", INSTALL) from error
    name = "cpu" if chosen.platform == "cpu" else f"cuda:{chosen.id}"
    return JaxBackend("jax", jnp, chosen, device_name=name)


def devices() -> list[DeviceInfo]:
    """The devices that JAX sees."""
    import jax

    found = []
    for device in jax.devices():
        if device.platform == "cpu":
            found.append(DeviceInfo("cpu", "host", host_memory()))
        else:
            memory = (device.memory_stats() or {}).get("bytes_limit")
            found.append(DeviceInfo(f"cuda:{device.id}", device.device_kind, memory))
    return found
