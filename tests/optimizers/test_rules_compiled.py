"""Update rules as programs: traced and interpreted they have the bits of the eager ones."""

from typing import Any

import numpy as np
import pytest

from tests.optimizers.descents import RATES, RULES
from xpmlp.compiler import Interpreter, leaves, record
from xpmlp.optimizers import Optimizer, average, clip_by_norm, clip_by_value, decay


def make_step(optimizer: Optimizer) -> Any:
    """A descent into a bowl with all that may stand around a rule, as the compiler takes a step."""

    def make(*, xp: Any) -> Any:
        def step(state: Any, data: Any) -> Any:
            parameters, rule, mean = state
            rate, weight_decay, target, weight = data
            gradients = (parameters - target) * (0.5 + target * target)
            loss = xp.sum(gradients * gradients)
            gradients = clip_by_norm(clip_by_value(gradients, 2.0, xp=xp), 3.0, xp=xp)
            parameters = decay(parameters, rate, weight_decay, xp=xp)
            parameters, rule = optimizer.update(parameters, gradients, rule, rate, xp=xp)
            return (parameters, rule, average(mean, parameters, weight, xp=xp)), (loss,)

        return step

    return make


@pytest.mark.extended(keep=18)
@pytest.mark.parametrize("rates", ["()", "(1,)", "(E, 1)", "(P,)", "(E, P)"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", RULES)
def test_programs_have_the_bits_of_the_eager_rules(name: str, dtype: str, rates: str) -> None:
    random = np.random.default_rng(3)
    shape = {"()": (), "(1,)": (1,), "(E, 1)": (2, 1), "(P,)": (50,), "(E, P)": (2, 50)}[rates]
    optimizer = RULES[name]()

    def given(array: Any) -> np.ndarray:
        return np.array(array, dtype)

    data = (
        given(RATES[name] * random.uniform(0.5, 1.0, shape)),
        given(0.01),
        given(random.normal(size=50)),
        given(0.1),
    )
    parameters = given(random.normal(size=(2, 50)))
    state = (parameters, optimizer.init(parameters, xp=np), parameters.copy())
    make = make_step(optimizer)
    found, (losses,) = Interpreter(record(make, state, data)).run(state, data, 30)
    step, expected = make(xp=np), []
    for _ in range(30):
        state, (loss,) = step(state, data)
        expected.append(loss)
    np.testing.assert_array_equal(losses, expected)
    for one, other in zip(leaves(found), leaves(state), strict=True):
        np.testing.assert_array_equal(one, other)
