"""How large activations and gradients are in each layer."""

import numpy as np
import pytest

from xpmlp.data import Split, order
from xpmlp.network import MLP, Objective
from xpmlp.recipes import load_recipe
from xpmlp.reports.flow import LayerFlow, first_batch, gradient_flow, verdict

RANDOM = np.random.default_rng(0)


def batch(model: MLP, n: int = 8) -> Split:
    width, classes = model.layer_sizes[0], model.layer_sizes[-1]
    return Split(RANDOM.normal(size=(n, width)), RANDOM.integers(classes, size=n))


def rms(Q: np.ndarray) -> float:
    return float(np.sqrt(np.mean(Q**2)))


def test_sizes_are_root_mean_squares_of_the_lectures_quantities() -> None:
    model = MLP((5, 4, 3))
    rows, parameters = batch(model), model.initialize(1, dtype="float64")
    (W1, b1), (W2, b2) = model.layers(parameters)
    A = 1 / (1 + np.exp(-(rows.X @ W1 + b1)))
    L = A @ W2 + b2
    Y_hat = np.exp(L) / np.exp(L).sum(axis=1, keepdims=True)
    dL = (Y_hat - np.eye(3)[rows.labels]) / len(rows.labels)
    dW1 = rows.X.T @ (dL @ W2.T * A * (1 - A))
    assert gradient_flow(model, parameters, rows) == [
        pytest.approx((1, rms(A), rms(W1), rms(dW1))),
        pytest.approx((2, rms(L), rms(W2), rms(A.T @ dL))),
    ]


def test_sizes_of_members_are_means() -> None:
    model = MLP((5, 4, 3))
    rows, seeds = batch(model), (1, 2, 3)
    together = gradient_flow(model, model.initialize(seeds), rows)
    alone = [gradient_flow(model, model.initialize(seed), rows) for seed in seeds]
    np.testing.assert_allclose(together, np.mean(alone, axis=0))


def test_sizes_have_no_dropout_but_penalties() -> None:
    model = MLP((5, 4, 3), normalization="batch")
    rows, parameters = batch(model), model.initialize(1)
    plain = gradient_flow(model, parameters, rows)
    noisy = Objective(dropout=0.5, input_dropout=0.5, mixup=1.0)
    assert gradient_flow(model, parameters, rows, noisy) == plain
    assert gradient_flow(model, parameters, rows, Objective(l2=10.0)) != plain


def sizes(*gradients: float) -> list[LayerFlow]:
    return [LayerFlow(number, 1.0, 1.0, one) for number, one in enumerate(gradients, start=1)]


@pytest.mark.parametrize(
    ("gradients", "said"),
    [
        ((1e-3, 1e-2, 1e-1), "Gradients reach every layer: 0.01 to 1 times the last layer's"),
        ((1e-6, 1e-3, 1e-1), "Gradients vanish: layer 1's are 1e-05 times the last layer's"),
        ((0.0, 1.0), "Gradients vanish: layer 1's are 0 while the last layer's are not"),
        ((5e3, 1e2, 1.0), "Gradients explode: layer 1's are 5e+03 times the last layer's"),
        ((float("inf"), 1.0), "Gradients are NaN or infinite: they explode"),
        ((float("nan"), 1.0), "Gradients are NaN or infinite: they explode"),
        ((0.0, 0.0), "All gradients are 0"),
        ((1.0, 0.0), "The last layer's gradients are 0"),
        ((0.5,), "One layer: its gradients are the loss's own"),
    ],
)
def test_one_sentence_says_what_is_wrong(gradients: tuple[float, ...], said: str) -> None:
    assert verdict(sizes(*gradients)).startswith(said)


@pytest.mark.parametrize(
    ("hidden", "depth", "normalization", "said"),
    [
        ("sigmoid", 12, "none", "vanish"),
        ("relu", 60, "batch", "explode"),  # Yang et al. 2019: 1.21 times a layer
        ("relu", 3, "batch", "reach every layer"),
    ],
)
def test_deep_networks_show_it(hidden: str, depth: int, normalization: str, said: str) -> None:
    model = MLP((6, *[16] * depth, 3), hidden, normalization=normalization)
    parameters = model.initialize(0, initializer="he_normal", dtype="float64")
    assert said in verdict(gradient_flow(model, parameters, batch(model, 64)))


@pytest.mark.parametrize("validation", [0.0, 0.2])
def test_batch_is_the_first_one_of_the_run(validation: float) -> None:
    recipe = load_recipe("lecture", [f"validation={validation}", "batch_size=7", "seed=5"], {})
    X = np.arange(100.0)[:, None]
    rows = first_batch(recipe, Split(X, np.arange(100)))
    assert rows.X[:, 0].tolist() == rows.labels.tolist()
    assert len(rows.labels) == 7
    if not validation:
        expected = order(100, seed=5, epoch=0, shuffle=recipe.shuffle)[:7]
        assert rows.labels.tolist() == expected.tolist()


def test_a_batch_is_normalised_by_its_own_mean_as_in_training() -> None:
    model = MLP((5, 4, 3), "identity", normalization="batch")
    parameters = model.initialize(1, dtype="float64")
    flow = gradient_flow(model, parameters, batch(model, 50))
    # gamma is 1 and beta 0: what comes out has a mean square of 1 but for epsilon.
    assert flow[0].activations == pytest.approx(1.0, abs=1e-4)
