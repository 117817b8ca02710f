"""Update rules."""

import numpy as np
import pytest

from xpmlp import InputError
from xpmlp.backends import Backend
from xpmlp.optimizers import sgd


def test_sgd_is_the_lectures_update(backend: Backend) -> None:
    parameters, gradients = (
        backend.asarray(np.array([1.0, 2.0])),
        backend.asarray(np.array([4.0, -8.0])),
    )
    optimizer = sgd(0.25)
    state = optimizer.init(parameters, xp=backend.xp)
    updated, state = optimizer.update(parameters, gradients, state)
    np.testing.assert_array_equal(backend.to_numpy(updated), [0.0, 4.0])
    assert float(backend.to_numpy(state.learning_rate)) == 0.25


def test_members_may_have_rates_of_their_own(backend: Backend) -> None:
    parameters = backend.asarray(np.ones((2, 3)), "float32")
    optimizer = sgd([0.5, 0.25])
    state = optimizer.init(parameters, xp=backend.xp)
    updated, _ = optimizer.update(parameters, backend.asarray(np.ones((2, 3)), "float32"), state)
    found = backend.to_numpy(updated)
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, [[0.5] * 3, [0.75] * 3])


def test_the_rate_is_an_array_in_the_state(backend: Backend) -> None:
    """A Python number would be a constant of a compiled step."""
    parameters = backend.asarray(np.ones(3), "float32")
    state = sgd(0.1).init(parameters, xp=backend.xp)
    assert state.learning_rate.dtype == parameters.dtype
    assert state.learning_rate.shape == ()


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf"), [0.1, -0.1]])
def test_rates_that_are_none_are_refused(rate: float) -> None:
    with pytest.raises(InputError, match="above 0"):
        sgd(rate)
