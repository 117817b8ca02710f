"""JAX: a run of steps is one jitted `lax.scan`, on the CPU or a GPU."""

import contextlib
import functools
from typing import Any

import numpy as np

from xpmlp.backends.base import (
    Backend,
    DeviceInfo,
    Function,
    FunctionMaker,
    Runner,
    StepMaker,
    StepMetrics,
    gpu_index,
    host_memory,
)
from xpmlp.compiler import leaves, rebuild, record
from xpmlp.compiler.split import SplitProgram
from xpmlp.errors import BackendUnavailable, InputError, option
from xpmlp.typing import Array

INSTALL = "pip install 'xpmlp[jax]'"

FEWEST_SCAN_STEPS = 1024
"""Steps that a compiled run has room for; it is compiled anew only for longer ones."""


class JaxBackend(Backend):
    """JAX on one device."""

    proves = False  # the compiler is JAX's own; eager JAX would take seconds to compare it with
    overwrites = False

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

    def function(self, make: FunctionMaker) -> Function:
        """The function jitted: eager JAX takes longer to start a product than to compute it."""
        import jax

        jitted: Function = jax.jit(make(xp=self.xp))
        return jitted

    def synchronize(self, arrays: Any) -> None:
        """Wait until these arrays are computed."""
        import jax

        jax.block_until_ready(arrays)

    def compile(self, make_step: StepMaker, state: Any, data: Any, *, precision: str) -> Runner:
        """The step traced, its flat vectors taken apart, and a loop over it jitted.

        It is jitted once for all counts of steps up to a power of two.
        """
        import jax

        xp = self.xp
        program = record(make_step, state, data)
        split = SplitProgram(program, xp=xp)

        @functools.partial(jax.jit, static_argnums=3)
        def run(state: Any, data: Any, count: Any, room: int) -> tuple[Any, Any]:
            def body(index: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
                state, metrics = split.run(carry[0], leaves(data))
                return state, [
                    series.at[index].set(one) for series, one in zip(carry[1], metrics, strict=True)
                ]

            series = [xp.zeros((room, *metric.shape), metric.dtype) for metric in program.metrics]
            begun = split.take_apart(leaves(state))
            ended, series = jax.lax.fori_loop(0, count, body, (begun, series))
            return rebuild(state, iter(split.put_together(ended))), series

        def run_counted(state: Any, data: Any, count: int) -> tuple[Any, StepMetrics]:
            room = max(FEWEST_SCAN_STEPS, 1 << (count - 1).bit_length())
            state, series = run(state, data, count, room)
            return state, StepMetrics(*(self.to_numpy(values)[:count] for values in series))

        return run_counted


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
        remedy = f"use {option('device', 'cpu')}, or pip install 'jax[cuda13]'"
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
