"""Arrays travel to a device and back unchanged; runs of steps are runs of steps."""

from typing import Any

import numpy as np
import pytest

from xpmlp.backends import Backend, StepMetrics


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (3,), (0, 4), (2, 3, 4)])
def test_there_and_back(backend: Backend, dtype: str, shape: tuple[int, ...]) -> None:
    host = (np.arange(np.prod(shape, dtype=int)) % 251).reshape(shape).astype(dtype)
    found = backend.to_numpy(backend.asarray(host))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, host)


def test_a_copy_on_the_host_is_the_callers_own(backend: Backend) -> None:
    array = backend.asarray(np.zeros(3))
    host = backend.to_numpy(array)
    host += 1.0
    np.testing.assert_array_equal(backend.to_numpy(array), 0.0)


def test_read_only_and_strided_arrays_are_taken(backend: Backend) -> None:
    host = np.arange(12.0).reshape(3, 4)[:, ::2]
    host.flags.writeable = False
    np.testing.assert_array_equal(backend.to_numpy(backend.asarray(host)), host)


def test_a_dtype_can_be_asked_for(backend: Backend) -> None:
    array = backend.asarray(np.array([1.0, 1e-300]), "float32")
    assert array.dtype == backend.xp.float32
    np.testing.assert_array_equal(backend.to_numpy(array), [1.0, 0.0])


def test_float64_is_float64(backend: Backend) -> None:
    third = backend.to_numpy(backend.asarray(np.array([1.0])) / 3.0)
    assert third[0] == 1.0 / 3.0


@pytest.mark.parametrize("way", ["eager", "compile"])
def test_a_runner_takes_steps_and_stacks_what_they_report(backend: Backend, way: str) -> None:
    def make_step(*, xp):
        def step(state, data):
            state = state + data
            return state, StepMetrics(state * 2.0, state * 3.0)

        return step

    zero, one = backend.asarray(np.array(0.0)), backend.asarray(np.array(1.0))
    if way == "eager" or not backend.compiles:
        run = backend.eager(make_step, precision="float64")
    else:
        run = backend.compile(make_step, zero, one, precision="float64")
    state, metrics = run(zero, one, 4)
    assert float(backend.to_numpy(state)) == 4.0
    np.testing.assert_array_equal(backend.to_numpy(metrics.loss), [2.0, 4.0, 6.0, 8.0])
    np.testing.assert_array_equal(backend.to_numpy(metrics.metric_sum), [3.0, 6.0, 9.0, 12.0])
    state, metrics = run(state, one, 2)
    np.testing.assert_array_equal(backend.to_numpy(metrics.loss), [10.0, 12.0])


def test_another_library_chooses_its_threads_itself(backend: Backend) -> None:
    threads = backend.choose_threads([(2, 3, 4)], "float32")
    if backend.name != "numpy":
        assert threads == (0, False)
    with backend.threads(threads.number):
        assert backend.to_numpy(backend.asarray(np.ones(2))).sum() == 2.0


@pytest.mark.oracle
def test_jax_leaves_the_processs_settings_alone(jax: Any) -> None:
    from xpmlp import select_backend

    before = jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision
    with select_backend("jax").activate():
        assert jax.config.jax_enable_x64
    assert (jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision) == before
