"""Update rules: against PyTorch, against their papers, on every backend, for members and groups."""

import inspect
from typing import Any

import numpy as np
import pytest

from tests.optimizers.descents import RATES, RULES, descend, valley
from xpmlp import InputError
from xpmlp.backends import Backend
from xpmlp.optimizers import (
    OPTIMIZERS,
    WEIGHT_DECAY,
    adam,
    adam_outer_epsilon,
    lion,
    rmsprop,
    sgd,
    velocity_descent,
)
from xpmlp.optimizers.adaptive import one_minus_power

TOLERANCE = {"float64": 1e-12, "float32": 1e-6}

REFERENCES: dict[str, list[tuple[dict[str, float], str, dict[str, Any]]]] = {
    "sgd": [({}, "SGD", {})],
    "momentum": [
        ({}, "SGD", {"momentum": 0.9}),
        ({"momentum": 0.5}, "SGD", {"momentum": 0.5}),
        ({"momentum": 0.0}, "SGD", {}),
    ],
    "nesterov": [
        ({}, "SGD", {"momentum": 0.9, "nesterov": True}),
        ({"momentum": 0.6}, "SGD", {"momentum": 0.6, "nesterov": True}),
    ],
    "rmsprop": [
        ({}, "RMSprop", {"alpha": 0.9, "eps": 1e-7}),
        ({"rho": 0.99, "epsilon": 1e-3}, "RMSprop", {"alpha": 0.99, "eps": 1e-3}),
        ({"rho": 0.0, "epsilon": 1.0}, "RMSprop", {"alpha": 0.0, "eps": 1.0}),
    ],
    "adam": [
        ({}, "Adam", {}),
        ({"beta1": 0.5, "beta2": 0.9}, "Adam", {"betas": (0.5, 0.9)}),
        ({"beta1": 0.0, "beta2": 0.99}, "Adam", {"betas": (0.0, 0.99)}),
        ({"epsilon": 0.01}, "Adam", {"eps": 0.01}),
    ],
}  # fmt: skip
"""For each rule: hyperparameters, and PyTorch's name and hyperparameters for the same."""


def follow_torch(
    torch: Any, name: str, options: Any, start: np.ndarray, gradient: Any, rate: float, dtype: str
) -> np.ndarray:
    """The parameters after each of 100 steps of PyTorch's optimizer."""
    p = torch.nn.Parameter(torch.asarray(start.astype(dtype)))
    optimizer, way = getattr(torch.optim, name)([p], lr=rate, **options), []
    for t in range(100):
        p.grad = torch.asarray(gradient(p.detach().numpy(), t))
        optimizer.step()
        way.append(p.detach().numpy().copy())
    return np.array(way)


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("name", "options", "reference", "theirs"),
    [(name, *case) for name, cases in REFERENCES.items() for case in cases],
)
def test_rules_are_pytorchs(
    name: str, options: Any, reference: str, theirs: Any, dtype: str, torch: Any
) -> None:
    start, gradient = valley()
    rate = RATES[name]
    found = descend(OPTIMIZERS[name](**options), start, gradient, rate, dtype=dtype)
    expected = follow_torch(torch, reference, theirs, start, gradient, rate, dtype)
    assert found.dtype == dtype
    assert abs(expected[-1] - start).max() > 0.05
    atol = TOLERANCE[dtype] * abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=atol)


@pytest.mark.parametrize("options", [{}, {"beta1": 0.5, "beta2": 0.8}, {"beta1": 0.0}])
def test_lion_is_the_papers_algorithm_2(options: dict[str, float]) -> None:
    start, gradient = valley()
    found = descend(lion(**options), start, gradient, 0.003)
    beta1, beta2 = options.get("beta1", 0.9), options.get("beta2", 0.99)
    theta, m = start.copy(), np.zeros_like(start)
    for t in range(100):
        g = gradient(theta, t)
        c = beta1 * m + (1 - beta1) * g
        theta = theta - 0.003 * np.sign(c)
        m = beta2 * m + (1 - beta2) * g
        np.testing.assert_allclose(found[t], theta, rtol=0.0, atol=1e-12)


@pytest.mark.extended(keep=18)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", RULES)
def test_backends_agree(name: str, dtype: str, backend: Backend) -> None:
    start, gradient = valley()
    found = descend(RULES[name](), start, gradient, RATES[name], dtype=dtype, backend=backend)
    expected = descend(RULES[name](), start, gradient, RATES[name], dtype=dtype)
    assert found.dtype == dtype
    atol = TOLERANCE[dtype] * abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=atol)


@pytest.mark.extended(keep=9)
@pytest.mark.parametrize("name", RULES)
def test_members_learn_at_their_own_rates_as_if_alone(name: str, backend: Backend) -> None:
    start, gradient = valley()
    starts, rates = np.stack([start, -start, start]), RATES[name] * np.array([1.0, 0.5, 0.25])
    together = descend(RULES[name](), starts, gradient, rates[:, None], backend=backend)
    for member, rate in enumerate(rates):
        alone = descend(RULES[name](), starts[member], gradient, rate, backend=backend)
        np.testing.assert_allclose(together[:, member], alone, rtol=0.0, atol=1e-13)


@pytest.mark.parametrize("shape", ["(P,)", "(E, P)", "(1,)"])
@pytest.mark.parametrize("name", RULES)
def test_parameters_may_have_rates_of_their_own(name: str, shape: str, backend: Backend) -> None:
    """With gradients that do not depend on the parameters, each entry goes a way of its own."""
    gradients = np.random.default_rng(6).normal(size=(20, 2, 6))
    rates = {
        "(P,)": np.geomspace(0.001, 0.1, 6),
        "(E, P)": np.geomspace(0.001, 0.1, 12).reshape(2, 6),
        "(1,)": np.array([0.01]),
    }[shape]
    given = np.broadcast_to(rates, (2, 6))

    def way(start: np.ndarray, rate: Any, which: Any, using: Backend | None) -> np.ndarray:
        return descend(
            RULES[name](), start, lambda p, t: gradients[t][which], rate, steps=20,
            backend=using,
        )  # fmt: skip

    found = way(np.ones((2, 6)), rates, ..., backend)
    for place in np.ndindex(2, 6):
        alone = way(np.ones(()), given[place], place, None)
        np.testing.assert_allclose(found[:, *place], alone, rtol=1e-12)


def test_sgd_is_the_lectures_update(backend: Backend) -> None:
    parameters, gradients, rate = (
        backend.asarray(np.array(values)) for values in ([1.0, 2.0], [4.0, -8.0], 0.25)
    )
    state = sgd().init(parameters, xp=backend.xp)
    updated, state = sgd().update(parameters, gradients, state, rate, xp=backend.xp)
    np.testing.assert_array_equal(backend.to_numpy(updated), [0.0, 4.0])
    assert state == ()


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("members", [(), (3,)])
def test_states_are_arrays_like_the_parameters(
    name: str, members: tuple[int, ...], backend: Backend
) -> None:
    """Of their dtype and on their device: `strict` refuses to mix either."""
    parameters = backend.asarray(np.ones((*members, 5)), "float32")
    state = RULES[name]().init(parameters, xp=backend.xp)
    assert isinstance(state, tuple)
    for field, array in state._asdict().items():
        assert array.dtype == parameters.dtype
        assert tuple(array.shape) == (() if field == "count" else (*members, 5))


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999, 0.999999])
def test_bias_corrections_keep_their_digits_in_float32(beta: float) -> None:
    for t in (1, 2, 3, 10, 1000, 10**6):
        found = one_minus_power(beta, np.asarray(t, np.float32), xp=np)
        assert found.dtype == "float32"
        assert float(found) == pytest.approx(1.0 if beta == 0.0 else 1.0 - beta**t, rel=3e-7)


def test_adam_counts_until_nothing_depends_on_it() -> None:
    """Where float32 counts no further, 1 - beta2^t is 1."""
    end = np.float32(2**24)
    assert end + np.float32(1.0) == end
    assert one_minus_power(0.999, end, xp=np) == 1.0


def test_a_parameter_without_gradients_stays_where_it_is() -> None:
    start, gradient = valley()
    for name in RULES:
        way = descend(RULES[name](), start, gradient, RATES[name], dtype="float32")
        np.testing.assert_array_equal(way[:, 7], np.float32(start[7]))


def test_hyperparameters_are_keywords_of_their_own_names() -> None:
    options = {name: list(inspect.signature(make).parameters) for name, make in OPTIMIZERS.items()}
    assert options == {
        "sgd": [],
        "momentum": ["momentum"],
        "nesterov": ["momentum"],
        "rmsprop": ["rho", "epsilon"],
        "adam": ["beta1", "beta2", "epsilon"],
        "adamw": ["beta1", "beta2", "epsilon"],
        "lion": ["beta1", "beta2"],
    }
    for make in (*OPTIMIZERS.values(), velocity_descent, adam_outer_epsilon):
        for parameter in inspect.signature(make).parameters.values():
            assert parameter.kind is parameter.KEYWORD_ONLY
    assert WEIGHT_DECAY.keys() <= OPTIMIZERS.keys()


NO_SHARES: list[Any] = [-0.1, 1.0, 2, float("nan"), float("inf"), "0.9", True, None]


@pytest.mark.parametrize("value", NO_SHARES)
@pytest.mark.parametrize(
    ("name", "option"),
    [(name, option) for name, make in OPTIMIZERS.items()
     for option in inspect.signature(make).parameters if option != "epsilon"],
)  # fmt: skip
def test_shares_that_are_none_are_refused(name: str, option: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{option}={value}: .* at least 0 and below 1"):
        OPTIMIZERS[name](**{option: value})


@pytest.mark.parametrize("value", [0.0, -1e-8, float("nan"), float("inf"), "1", False])
@pytest.mark.parametrize("make", [adam, adam_outer_epsilon, rmsprop])
def test_an_epsilon_that_is_none_is_refused(make: Any, value: Any) -> None:
    with pytest.raises(InputError, match=f"epsilon={value}: give a finite number above 0"):
        make(epsilon=value)


@pytest.mark.parametrize("make", [adam, adam_outer_epsilon, rmsprop])
def test_an_epsilon_that_the_precision_cannot_hold_is_refused(make: Any) -> None:
    optimizer = make(epsilon=1e-40)
    optimizer.init(np.ones(3), xp=np)
    with pytest.raises(InputError, match=r"epsilon=1e-40: float32 needs at least 1\.18e-38"):
        optimizer.init(np.ones(3, np.float32), xp=np)


def test_a_numpy_scalar_as_a_hyperparameter_promotes_nothing() -> None:
    start, gradient = valley()
    for name, option in (("momentum", "momentum"), ("rmsprop", "rho"), ("lion", "beta2")):
        optimizer = OPTIMIZERS[name](**{option: np.float64(0.9)})
        assert descend(optimizer, start, gradient, 0.01, steps=1, dtype="float32").dtype == "f4"
