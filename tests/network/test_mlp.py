"""The network: parameters as one vector, forward, backward, members, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpmlp import MLP, InputError, select_backend
from xpmlp.backends import Backend
from xpmlp.gradcheck import gradcheck
from xpmlp.network.layers import Dense

SMALL = MLP((6, 5, 4, 3))

architectures = st.builds(
    MLP,
    st.lists(st.integers(1, 6), min_size=2, max_size=5),
    activation=st.sampled_from(["sigmoid", "tanh", "relu"]),
)


def batch(model: MLP, rows: int = 7, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    X = random.uniform(size=(rows, model.layer_sizes[0]))
    return X, random.integers(0, model.layer_sizes[-1], rows)


def check(model: MLP, seed: int, rows: int, autodiff: list[str]) -> None:
    numpy = [select_backend("numpy")]
    for row in gradcheck(model, seed=seed, batch_size=rows, backends=numpy, autodiff=autodiff):
        if "float32" not in row.method:
            assert row.agrees, row


@given(architectures, st.integers(0, 2**32), st.integers(1, 9))
def test_every_architecture_passes_the_gradient_check(model: MLP, seed: int, rows: int) -> None:
    check(model, seed, rows, autodiff=[])


@pytest.mark.oracle
@pytest.mark.usefixtures("torch")
@given(architectures, st.integers(0, 2**32), st.integers(1, 9))
def test_every_architecture_agrees_with_autograd(model: MLP, seed: int, rows: int) -> None:
    check(model, seed, rows, autodiff=["torch"])  # JAX would compile anew for every shape


def test_the_lectures_network() -> None:
    model = MLP((784, 64, 32, 10))
    assert model.parameter_count == 52_650
    assert model.shapes == {
        "W1": (784, 64), "b1": (64,), "W2": (64, 32), "b2": (32,), "W3": (32, 10), "b3": (10,),
    }  # fmt: skip
    assert str(model) == "the network 784-64-32-10"


def test_initial_weights_are_the_lectures() -> None:
    model = MLP((784, 64, 32, 10))
    parts = model.unflatten(model.initialize(3, dtype="float64"))
    for name, part in parts.items():
        if name.startswith("b"):
            assert not part.any()
    W1 = parts["W1"]
    assert abs(W1.mean()) < 0.02
    assert abs(W1.std() - 1.0) < 0.02


def test_every_backend_and_dtype_starts_from_the_same_weights(backend: Backend) -> None:
    wide = SMALL.initialize(4, dtype="float64")
    for dtype in ("float32", "float64"):
        found = backend.to_numpy(SMALL.initialize(4, backend=backend, dtype=dtype))
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, wide.astype(dtype))


def test_seeds_make_members_and_each_is_what_its_seed_gives() -> None:
    members = SMALL.initialize(range(3, 6))
    assert members.shape == (3, SMALL.parameter_count)
    for row, seed in zip(members, (3, 4, 5), strict=True):
        np.testing.assert_array_equal(row, SMALL.initialize(seed))
    assert (members[0] != members[1]).any()


@given(architectures, st.sampled_from([(), (1,), (4,)]))
def test_flatten_undoes_unflatten(model: MLP, members: tuple[int, ...]) -> None:
    vector = np.random.default_rng(0).normal(size=(*members, model.parameter_count))
    parts = model.unflatten(vector)
    assert list(parts) == list(model.shapes)
    np.testing.assert_array_equal(model.flatten(parts), vector)


def test_layers_are_views_of_the_vector_on_numpy() -> None:
    parameters = SMALL.initialize(0)
    for W, b in SMALL.layers(parameters):
        assert np.shares_memory(W, parameters)
        assert np.shares_memory(b, parameters)


def test_forward_saves_what_the_lecture_keeps(backend: Backend) -> None:
    X, _ = batch(SMALL)
    parameters = SMALL.initialize(0, backend=backend, dtype="float64")
    L, saved = SMALL.forward(parameters, backend.asarray(X))
    entered = [A for layer, A in SMALL.chain.with_saved(saved) if isinstance(layer, Dense)]
    assert [tuple(A.shape) for A in entered] == [(7, 6), (7, 5), (7, 4)]
    (W1, B1), (W2, B2), (W3, B3) = SMALL.layers(SMALL.initialize(0, dtype="float64"))
    A1 = 1 / (1 + np.exp(-(X @ W1 + B1)))
    A2 = 1 / (1 + np.exp(-(A1 @ W2 + B2)))
    np.testing.assert_allclose(backend.to_numpy(L), A2 @ W3 + B3, rtol=1e-12)


def test_probabilities_sum_to_one(backend: Backend) -> None:
    X, _ = batch(SMALL)
    parameters = SMALL.initialize([0, 1], backend=backend)
    Y_hat = backend.to_numpy(SMALL.predictions(parameters, backend.asarray(X, "float32")))
    assert Y_hat.shape == (2, 7, 3)
    np.testing.assert_allclose(Y_hat.sum(axis=-1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("hidden", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_members_are_the_single_networks(backend: Backend, hidden: str, dtype: str) -> None:
    model = MLP((6, 5, 4, 3), activation=hidden)
    X, labels = batch(model)
    X_, labels_ = backend.asarray(X, dtype), backend.asarray(labels)
    together = model.loss_and_gradients(
        model.initialize(range(3), backend=backend, dtype=dtype), X_, labels_
    )
    assert tuple(together.loss.shape) == (3,)
    for e in range(3):
        alone = model.loss_and_gradients(
            model.initialize(e, backend=backend, dtype=dtype), X_, labels_
        )
        for ours, theirs in zip(together, alone, strict=True):
            found = backend.to_numpy(ours)[e]
            assert found.dtype == dtype
            tolerance = 1e-5 if dtype == "float32" else 1e-13
            np.testing.assert_allclose(
                found, backend.to_numpy(theirs), rtol=tolerance, atol=tolerance
            )


def test_extreme_weights_give_finite_losses_and_gradients(backend: Backend) -> None:
    X, labels = batch(SMALL)
    parameters = SMALL.initialize(0, backend=backend) * 1e4
    loss, gradients = SMALL.loss_and_gradients(
        parameters, backend.asarray(X, "float32"), backend.asarray(labels)
    )
    assert np.isfinite(backend.to_numpy(loss))
    assert np.isfinite(backend.to_numpy(gradients)).all()


def test_descent_in_three_lines() -> None:
    model = MLP((6, 16, 3), activation="tanh")
    X, labels = batch(model, rows=30)
    parameters = model.initialize(0, dtype="float64")
    first = model.loss_and_gradients(parameters, X, labels).loss
    for _ in range(200):
        loss, gradients = model.loss_and_gradients(parameters, X, labels)
        parameters -= 0.3 * gradients
    assert loss < 0.5 * first


def test_a_network_is_a_value() -> None:
    assert MLP([6, 3]) == MLP((6, 3))
    assert hash(MLP([6, 3])) == hash(MLP((6, 3)))
    with pytest.raises(AttributeError):
        MLP((6, 3)).activation = "relu"


def test_hidden_is_the_name_of_the_activation_in_0_1_0() -> None:
    with pytest.warns(DeprecationWarning, match="activation="):
        model = MLP((6, 5, 3), hidden="relu")
    assert model == MLP((6, 5, 3), activation="relu")
    assert model.activation == "relu"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((784,),), "at least two widths"),
        (((784, 0, 10),), "layer_sizes=784,0,10: width 1 is 0; each is an integer >= 1"),
        (((784, -3, 10),), "width 1 is -3"),
        (((784, 2.5, 10),), "width 1 is 2.5"),
        (((784, True, 10),), "width 1 is True"),
        (((4, 3), "swish"), "activation='swish': did you mean mish? use identity, sigmoid"),
        (((4, 3), "relu", "linear"), "output='linear'"),
    ],
)
def test_refusals_name_the_value_and_the_limit(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(InputError) as error:
        MLP(*arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_flatten_refuses_what_does_not_fit() -> None:
    parts = SMALL.unflatten(SMALL.initialize(0))
    with pytest.raises(InputError, match="no W2"):
        SMALL.flatten({name: part for name, part in parts.items() if name != "W2"})
    with pytest.raises(InputError, match="unknown W9"):
        SMALL.flatten({**parts, "W9": parts["W1"]})
    with pytest.raises(InputError, match=r"W2 has shape \(4, 5\), but .* takes \(5, 4\)"):
        SMALL.flatten({**parts, "W2": parts["W2"].T})


def test_vectors_and_labels_that_do_not_fit_are_refused() -> None:
    X, labels = batch(SMALL)
    parameters = SMALL.initialize(0, dtype="float64")
    for wrong in (parameters[:-1], MLP((6, 5, 4, 3, 2)).initialize(0)):
        with pytest.raises(InputError, match="parameters, but the network 6-5-4-3 has 74"):
            SMALL.forward(wrong, X)
    for shape in (labels[:, None, None], labels[:1]):
        with pytest.raises(InputError, match="give one per row"):
            SMALL.loss_and_gradients(parameters, X, shape)


def test_seeds_may_be_any_whole_numbers_and_nothing_else() -> None:
    expected = SMALL.initialize([0, 1])
    np.testing.assert_array_equal(SMALL.initialize(np.arange(2)), expected)
    np.testing.assert_array_equal(SMALL.initialize(np.int64(1)), expected[1])
    for wrong in (-1, [], [0, -1], 1.5):
        with pytest.raises(InputError, match="seed"):
            SMALL.initialize(wrong)
    with pytest.raises(InputError, match="use float32, float64"):
        SMALL.initialize(0, dtype="int32")
