"""`explain` is right if whoever computes with what it shows gets what the network gets."""

import itertools
import re

import numpy as np
import pytest
from matplotlib.mathtext import MathTextParser

from tests.reports.shown_formulas import TOKEN, compute
from xpmlp.algebra import ACTIVATIONS, LOSSES
from xpmlp.algebra.activations import SELU_LIMIT, SELU_SCALE
from xpmlp.algebra.normalization import EPSILON
from xpmlp.errors import InputError
from xpmlp.network import MLP, DropoutKeys, Mode, Objective
from xpmlp.network.layers import Dropout
from xpmlp.reports.explain import Explanation, explain
from xpmlp.reports.notation import as_latex

N = 6
WIDTHS = (5, 4, 4, 3)
RANDOM = np.random.default_rng(3)
PLAIN = Objective()
COMBINATIONS = [
    *((MLP(WIDTHS, hidden), PLAIN) for hidden in ACTIVATIONS),
    *((MLP(WIDTHS, "tanh", LOSSES[loss].output), Objective(loss)) for loss in LOSSES),
    *(
        (
            MLP(WIDTHS, "gelu", "softmax", normalization, residual),
            Objective(dropout=dropout, input_dropout=dropout, l1=0.01, l2=0.1, label_smoothing=0.2),
        )
        for normalization, residual, dropout in itertools.product(
            ("none", "batch", "layer", "rms"), (False, True), (0.0, 0.5)
        )
    ),
    (MLP((5, 3)), PLAIN),
    (MLP((5, 4, 1), output="sigmoid"), PLAIN),
]
IDS = [
    f"{model}-{model.activation}-{model.normalization}-{model.residual}-{objective.loss}-"
    f"{objective.dropout}"
    for model, objective in COMBINATIONS
]


def mode_of(objective: Objective) -> Mode:
    if not objective.has_noise:
        return Mode(is_training=True)
    key, step = np.array([7], np.int32), np.array([3], np.int32)
    counts = np.arange(N, dtype=np.int32), np.arange(max(WIDTHS), dtype=np.int32)
    rates = objective.input_dropout, objective.dropout
    return Mode(is_training=True, dropout=DropoutKeys(key, step, *counts, *rates))


def given(model: MLP, objective: Objective, parameters: np.ndarray) -> dict[str, object]:
    """What a reader of the slides has before the first step: data, parameters, constants, masks."""
    X = RANDOM.normal(size=(N, model.layer_sizes[0]))
    K = model.layer_sizes[-1]
    Y = np.eye(K)[RANDOM.integers(K, size=N)]
    if model.output in ("identity", "exp"):
        Y = RANDOM.uniform(0.5, 2.0, (N, K))
    elif model.output == "sigmoid":
        Y = RANDOM.uniform(0.1, 0.9, (N, K))
    values: dict[str, object] = {
        "X": X, "Y": Y, "N": float(N), "K": float(K), "s": objective.label_smoothing,
        "δ": objective.huber_delta, "q": objective.quantile, "ε": EPSILON, "π": np.pi,
        "λ₁": objective.l1, "λ₂": objective.l2, "λ": SELU_SCALE, "λα": SELU_LIMIT,
    }  # fmt: skip
    for name, part in model.unflatten(parameters, xp=np).items():
        letters, number = name.rstrip("0123456789"), name[len(name.rstrip("0123456789")) :]
        letter = {"gamma": "γ", "beta": "β"}.get(letters, letters)
        values[f"{letter}[{number}]"] = part
    _, saved = model.forward(parameters, X, mode_of(objective), xp=np)
    for layer, mask in model.chain.with_saved(saved):
        if isinstance(layer, Dropout) and mask is not None:
            values[f"mask[{layer.k}]"] = mask
    return values


def followed(found: Explanation, values: dict[str, object]) -> None:
    """Compute every matrix in the order in which it is shown."""
    axis = 0 if found.model.normalization == "batch" else 1
    for one in (*found.forward, *found.backward):
        compute(one.text, values, is_product=bool(one.factors))
        name = one.text.split(" ")[0]
        assert np.shape(values[name]) == one.shape or name.startswith("db"), one.text
        if name.startswith("Z[") and found.model.normalization != "none":
            number = name[1:]
            Z = np.asarray(values[name])
            mean, variance = Z.mean(axis, keepdims=True), Z.var(axis, keepdims=True)
            values[f"μ{number}"], values[f"variance{number}"] = mean, variance
            values[f"σ{number}"] = np.sqrt(variance + EPSILON)
            if found.model.normalization == "rms":
                values[f"σ{number}"] = np.sqrt((Z * Z).mean(axis, keepdims=True) + EPSILON)


@pytest.mark.parametrize(("model", "objective"), COMBINATIONS, ids=IDS)
def test_the_shown_formulas_compute_what_the_network_computes(
    model: MLP, objective: Objective
) -> None:
    parameters = RANDOM.normal(size=model.size)
    values = given(model, objective, parameters)
    X, Y = np.asarray(values["X"]), np.asarray(values["Y"])
    mode = mode_of(objective)
    learned = model.forward_backward(parameters, X, Y, objective=objective, mode=mode, xp=np)

    followed(explain(model, objective, rows=N, dtype="float64"), values)

    assert values["J"] == pytest.approx(float(learned.J), rel=1e-12)
    for name, part in model.unflatten(learned.gradients, xp=np).items():
        letters = name.rstrip("0123456789")
        letter = {"gamma": "γ", "beta": "β"}.get(letters, letters)
        shown = values[f"d{letter}[{name[len(letters) :]}]"]
        # The algebra's GELU has a polynomial for the error function: see xpmlp/algebra/erf.py.
        tolerance = 1e-6 if model.activation == "gelu" else 1e-12
        np.testing.assert_allclose(
            np.broadcast_to(shown, part.shape), part, rtol=0.0, atol=tolerance, err_msg=name
        )


def test_a_mistake_in_a_formula_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from xpmlp.algebra import formulas

    model, objective = COMBINATIONS[1]
    wrong = formulas.Formulas(("A = 1 / (1 + exp(-Z))",), ("dZ = dA * A * (1 + A)",))
    monkeypatch.setitem(ACTIVATIONS, "sigmoid", ACTIVATIONS["sigmoid"]._replace(formulas=wrong))
    assert model.activation == "sigmoid"
    with pytest.raises(AssertionError, match=r"W1|W2"):
        test_the_shown_formulas_compute_what_the_network_computes(model, objective)


@pytest.mark.extended(keep=2)
@pytest.mark.parametrize(("model", "objective"), COMBINATIONS, ids=IDS)
def test_every_formula_is_tex_that_can_be_drawn(model: MLP, objective: Objective) -> None:
    found = explain(model, objective)
    parser = MathTextParser("path")
    for one in (*found.forward, *found.backward):
        latex = as_latex(one.text)
        parser.parse(f"${latex}$")
        assert latex.isascii()
        assert "[" not in latex.replace("^{[", "").replace(r"\prime [", ""), latex


@pytest.mark.extended(keep=3)
@pytest.mark.parametrize(("model", "objective"), COMBINATIONS, ids=IDS)
def test_symbols_are_those_of_the_formulas(model: MLP, objective: Objective) -> None:
    found = explain(model, objective)
    known = {letter.removesuffix("[k]") for key in found.symbols for letter in key.split(", ")}
    shown = set()
    for one in (*found.forward, *found.backward):
        shown |= set(one.text).intersection("*ᵀ′Σ")
        for match in TOKEN.finditer(one.text):
            name = (match["name"] or "").removeprefix("d/d")
            letters = re.sub(r"′|\[\d+\]", "", name)
            for letter in letters.split("/"):
                is_gradient = letter.startswith("d") and len(letter) > 1
                shown |= {"d", letter[1:]} if is_gradient else {letter} - {""}
    everyday = {"exp", "log", "tanh", "max", "min", "sqrt", "with"}
    assert shown - known <= everyday
    assert known <= shown | {"sum"}
    assert all(found.symbols.values())
    # Letters without a meaning of their own have an equation that defines them.
    local = [key for key, said in found.symbols.items() if said == "defined where they stand"]
    for letter in ", ".join(local).split(", ") if local else ():
        texts = (one.text for one in (*found.forward, *found.backward))
        assert any(re.search(rf"(^|, |with ){letter} = ", text) for text in texts), letter


def test_symbols_of_mixup_and_weights() -> None:
    objective = Objective(mixup=0.4, input_dropout=0.2)
    found = explain(MLP((5, 4, 3), "selu"), objective)
    assert found.forward[0].text == "X = λ₀ X + (1 - λ₀) X̃"
    assert found.symbols["X̃"] == "the rows of X in another order"
    assert found.symbols["λ₀"] == "drawn from Beta(0.4, 0.4); Y is mixed alike"
    assert found.symbols["λ"] == "1.0507"
    weighted = explain(MLP((5, 4, 3)), Objective(class_weights=(1.0, 2.0, 3.0)))
    assert weighted.symbols["weights"].startswith("each row counts by the weight of its class")


def test_the_lectures_network_has_the_lectures_shapes_and_costs() -> None:
    found = explain(MLP((784, 64, 32, 10)), rows=64)
    shapes = {
        one.text.partition(" ")[0]: (one.shapes, one.flops)
        for one in (*found.forward, *found.backward)
    }
    assert shapes["Z[1]"] == ("64×784 784×64 → 64×64", 2 * 64 * 784 * 64)
    assert shapes["dW[1]"] == ("784×64 64×64 → 784×64", 2 * 784 * 64 * 64)
    assert shapes["dA[1]"] == ("64×32 32×64 → 64×64", 2 * 64 * 32 * 64)
    assert shapes["J"] == ("1", 0)
    assert "dA[0]" not in shapes
    assert "dX" not in shapes
    # The FLOPs are those of the products that a training step computes.
    products = found.model.products(64)
    total = sum(one.flops for one in (*found.forward, *found.backward))
    assert total == sum(2 * rows * inner * columns for rows, inner, columns in products)
    assert found.itemsize * found.model.parameter_count == 210_600


def test_a_loss_of_ones_own_has_no_formulas() -> None:
    own = Objective(LOSSES["huber"]._replace(formulas=()))
    with pytest.raises(InputError, match=r"loss of one's own: .* give one of softmax_cross"):
        explain(MLP((5, 3), output="identity"), own)
