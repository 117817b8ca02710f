"""Every combination of parts has the gradient that independent derivatives have."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xpmlp import MLP, InputError, Objective, select_backend
from xpmlp.algebra import ACTIVATIONS, LOSSES
from xpmlp.backends import Backend
from xpmlp.gradcheck import Case, _random_case, gradcheck
from xpmlp.network import NORMALIZATIONS

pytestmark = pytest.mark.extended(keep=10)

rates = st.one_of(st.just(0.0), st.floats(0.05, 0.7))
strengths = st.one_of(st.just(0.0), st.floats(1e-3, 1.0))


@st.composite
def problems(draw: st.DrawFn) -> tuple[MLP, Objective]:
    widths = draw(st.lists(st.integers(1, 6), min_size=2, max_size=5))
    loss = draw(st.sampled_from(sorted(LOSSES)))
    output = LOSSES[loss].output
    options: dict[str, Any] = {
        "activation": draw(st.sampled_from(sorted(ACTIVATIONS))),
        "output": output,
        "normalization": draw(st.sampled_from(NORMALIZATIONS)),
    }
    if len(widths) > 3 and draw(st.booleans()):
        widths[2] = widths[1]
        options["residual"] = True
    classes = max(2, widths[-1])
    objective = Objective(
        loss=loss,
        label_smoothing=draw(rates) if output == "softmax" else 0.0,
        huber_delta=draw(st.floats(0.3, 2.0)),
        quantile=draw(st.floats(0.1, 0.9)),
        class_weights=tuple(draw(st.lists(st.floats(0.2, 3.0), min_size=classes, max_size=classes)))
        if output == "softmax" and widths[-1] > 1 and draw(st.booleans())
        else (),
        l1=draw(strengths),
        l2=draw(strengths),
        dropout=draw(rates),
        input_dropout=draw(rates),
    )
    return MLP(widths, **options), objective


def check(problem: tuple[MLP, Objective], seed: int, rows: int, autodiff: list[str]) -> None:
    model, objective = problem
    numpy = [select_backend("numpy")]
    for row in gradcheck(
        model, objective=objective, seed=seed, batch_size=rows, backends=numpy, autodiff=autodiff
    ):
        if "float32" not in row.method:
            assert row.agrees, (row, model, objective)


@settings(max_examples=200)
@given(problems(), st.integers(0, 2**32), st.integers(3, 9))
def test_by_directional_derivatives(problem: tuple[MLP, Objective], seed: int, rows: int) -> None:
    check(problem, seed, rows, [])


@pytest.mark.oracle
@pytest.mark.usefixtures("torch")
@settings(max_examples=100)
@given(problems(), st.integers(0, 2**32), st.integers(3, 9))
def test_by_autograd(problem: tuple[MLP, Objective], seed: int, rows: int) -> None:
    check(problem, seed, rows, ["torch"])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(problem=problems(), seed=st.integers(0, 2**32))
def test_every_backend_computes_the_same(
    backend: Backend, problem: tuple[MLP, Objective], seed: int
) -> None:
    if backend.name == "jax":
        return  # compiles every operation of every shape anew: `test_jax_computes_the_same` has it
    model, objective = problem
    for row in gradcheck(
        model, objective=objective, seed=seed, batch_size=6, backends=[backend], autodiff=()
    ):
        if "float64" in row.method:
            assert row.agrees, row


@pytest.mark.oracle
@pytest.mark.usefixtures("jax")
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_jax_computes_and_differentiates_the_same(normalization: str, loss: str) -> None:
    output = LOSSES[loss].output
    model = MLP(
        (5, 4, 4, 3), activation="gelu", output=output, normalization=normalization, residual=True
    )
    objective = Objective(loss=loss, dropout=0.3, input_dropout=0.2, l1=0.1, l2=0.1)
    jax = [select_backend("jax")]
    for row in gradcheck(model, objective=objective, backends=jax, autodiff=["jax"]):
        if "float64" in row.method or "autodiff" in row.method:
            assert row.agrees, row


@settings(max_examples=50)
@given(problem=problems(), seed=st.integers(0, 2**32))
def test_members_are_single_networks(problem: tuple[MLP, Objective], seed: int) -> None:
    """With dropout all of them would draw alike here, as they are given one key."""
    model, objective = problem
    case = _random_case(model, objective, seed, 6)
    vectors = model.initialize([seed, seed + 1, seed + 2], dtype="float64") / 2
    J, gradients = _loss_and_gradients(case, vectors)
    assert J.shape == (3,)
    for member, vector in enumerate(vectors):
        one_J, one = _loss_and_gradients(case, vector)
        np.testing.assert_allclose(J[member], one_J, rtol=1e-12)
        scale = max(1.0, np.abs(one).max())
        np.testing.assert_allclose(gradients[member], one, rtol=1e-9, atol=1e-12 * scale)


def _loss_and_gradients(case: Case, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return case.model.loss_and_gradients(
        vector,
        case.X,
        case.labels,
        objective=case.objective,
        weights=case.weights,
        mode=case.mode(select_backend("numpy")),
    )


@settings(max_examples=50)
@given(problem=problems(), seed=st.integers(0, 2**32))
def test_float32_stays_float32(problem: tuple[MLP, Objective], seed: int) -> None:
    model, objective = problem
    case = _random_case(model, objective, seed, 6)
    vector = model.initialize(seed, dtype="float32")
    labels = case.labels if case.labels.dtype.kind == "i" else case.labels.astype("float32")
    found = model.loss_and_gradients(
        vector,
        case.X.astype("float32"),
        labels,
        objective=objective,
        weights=None if case.weights is None else case.weights.astype("float32"),
        mode=case.mode(select_backend("numpy")),
    )
    assert {np.asarray(one).dtype.name for one in found} == {"float32"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "huber"}, "loss=huber: is for output=identity; with output=softmax use"),
        ({"loss": "poisson"}, "loss=poisson: is for output=exp; with output=softmax use"),
        ({"loss": "hubr"}, "did you mean huber"),
        ({"class_weights": (1.0, 2.0)}, "2 weights for 3 classes"),
        ({"class_weights": (1.0, 2.0, 3.0), "mixup": 0.2}, "a mixed row has no class"),
        ({"dropout": 1.0}, "dropout=1.0: give a finite number at least 0 and below 1"),
        ({"l2": -1.0}, "l2=-1.0: give a finite number at least 0"),
        ({"quantile": 0.0}, "quantile=0.0: give a finite number above 0 and below 1"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Objective(**changes).check("softmax", 3)


@pytest.mark.parametrize(("loss", "option"), [("huber", "huber_delta"), ("quantile", "quantile")])
def test_loss_given_as_value_takes_its_own_parameter(loss: str, option: str) -> None:
    Y, L = np.zeros((2, 1)), np.array([[4.0], [-3.0]])
    losses = [Objective(one, **{option: 0.2}).loss_for("identity") for one in (loss, LOSSES[loss])]
    found, expected = (one.forward(Y, L, xp=np)[0] for one in losses)
    assert found == expected != LOSSES[loss].forward(Y, L, xp=np)[0]


def test_loss_given_as_value_is_refused_for_another_output() -> None:
    with pytest.raises(InputError, match="loss: is for output=exp; with output=softmax use"):
        Objective(LOSSES["poisson"]).check("softmax", 3)


@pytest.mark.parametrize("output", ["identity", "exp"])
@pytest.mark.parametrize("changes", [{"class_weights": (1.0, 1.0)}, {"label_smoothing": 0.1}])
def test_numbers_have_no_classes(changes: dict[str, Any], output: str) -> None:
    with pytest.raises(InputError, match="an output of numbers has no classes"):
        Objective(**changes).check(output, 1)
