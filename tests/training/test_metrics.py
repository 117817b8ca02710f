"""The metrics by name, beside scikit-learn's."""

import re
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

import xpmlp
from xpmlp import MLP, InputError, Split, evaluate
from xpmlp.training.metrics import METRICS, describe, kind_of, metrics_of

MODELS = {
    "binary": MLP((3, 1), output="sigmoid"),
    "two classes": MLP((3, 2)),
    "multiclass": MLP((3, 5)),
    "multilabel": MLP((3, 4), output="sigmoid"),
    "regression": MLP((3, 2), output="identity"),
    "counts": MLP((3, 1), output="exp"),
}


def scikit_learns(name: str, labels: np.ndarray, P: np.ndarray) -> dict[str, float]:
    """Every metric as scikit-learn has it, NaN where it says that it is not defined."""
    if kind_of(MODELS[name]) == "regression":
        return {
            "r2": metrics.r2_score(labels, P),
            "rmse": metrics.root_mean_squared_error(labels, P),
            "mae": metrics.mean_absolute_error(labels, P),
        }
    if kind_of(MODELS[name]) == "multilabel":
        P = P.astype(np.float64)
        return {
            "accuracy": metrics.accuracy_score(labels, P > 0.5),
            "f1": metrics.f1_score(labels, P > 0.5, average="macro", zero_division=np.nan),
            "auc": metrics.roc_auc_score(labels, P),
            "log_loss": sum(
                metrics.log_loss(one, np.stack([1 - p, p], axis=1), labels=[0, 1])
                for one, p in zip(labels.T, P.T, strict=True)
            ),
        }
    K = max(2, P.shape[1])
    if P.shape[1] == 1:
        P = np.concatenate([1.0 - P, P], axis=1)
    said, is_binary = P.argmax(axis=1), K == 2
    average = {"average": "binary" if is_binary else "macro", "zero_division": np.nan}
    several = {} if is_binary else {"multi_class": "ovr", "labels": range(K)}
    whole = len(np.unique(labels)) == K
    return {
        "accuracy": metrics.accuracy_score(labels, said),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, said),
        "f1": metrics.f1_score(labels, said, **average),
        "auc": metrics.roc_auc_score(labels, P[:, 1] if is_binary else P, **several)
        if whole
        else np.nan,
        "log_loss": metrics.log_loss(labels, P.astype(np.float64), labels=range(K)),
    }


def drawn(name: str, n: int, seed: int, *, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions of a model; of few `levels` many predictions are equal."""
    model, random = MODELS[name], np.random.default_rng(seed)
    K, kind = model.layer_sizes[-1], kind_of(model)
    if kind == "regression":
        return random.normal(size=(n, K)), random.integers(0, levels, (n, K)) / levels
    steps = random.integers(0, levels + 1, (n, K))
    if model.output == "softmax":
        steps = steps + (steps.sum(axis=1, keepdims=True) == 0)
        return random.integers(0, K, n), steps / steps.sum(axis=1, keepdims=True)
    labels = random.integers(0, 2, (n, K))
    return labels[:, 0] if K == 1 else labels, steps / levels


def assert_as_scikit_learn(name: str, labels: np.ndarray, P: np.ndarray) -> None:
    found = metrics_of(MODELS[name], labels, P)
    with warnings.catch_warnings():  # of a class without rows or predictions
        warnings.simplefilter("ignore")
        expected = scikit_learns(name, labels, P)
    assert list(found) == list(expected)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("levels", [3, 10**6])
def test_metrics_agree_with_scikit_learn(name: str, levels: int) -> None:
    labels, P = drawn(name, 500, seed=1, levels=levels)
    assert_as_scikit_learn(name, labels, P)


@given(
    name=st.sampled_from(list(MODELS)),
    n=st.integers(2, 12),
    seed=st.integers(0, 2**32 - 1),
    levels=st.integers(1, 4),
)
def test_metrics_of_few_rows_agree_with_scikit_learn(
    name: str, n: int, seed: int, levels: int
) -> None:
    """Ties everywhere, and often a class that has no row or is never predicted."""
    labels, P = drawn(name, n, seed, levels=levels)
    assert_as_scikit_learn(name, labels, P)


def test_auc_of_equal_scores_is_a_half() -> None:
    found = metrics_of(MODELS["binary"], np.array([0, 1, 1]), np.full((3, 1), 0.3))
    assert found["auc"] == 0.5


def test_metrics_that_are_not_defined_are_nan() -> None:
    P = np.array([[0.1], [0.2]])
    found = metrics_of(MODELS["binary"], np.array([0, 0]), P)
    assert [name for name, value in found.items() if np.isnan(value)] == ["f1", "auc"]
    found = metrics_of(MODELS["counts"], np.array([0.1, 0.1, 0.1]), np.ones((3, 1)))
    assert [name for name, value in found.items() if np.isnan(value)] == ["r2"]
    found = metrics_of(MODELS["binary"], np.array([0, 1]), np.array([[0.1], [np.nan]]))
    assert list(found) == list(metrics_of(MODELS["binary"], np.array([0, 1]), P))
    assert np.isnan(list(found.values())).all()


def test_distributions_as_targets_count_as_their_likeliest_class() -> None:
    labels, P = drawn("multiclass", 50, seed=2, levels=9)
    soft = 0.8 * np.eye(5)[labels] + 0.04
    assert metrics_of(MODELS["multiclass"], soft, P) == metrics_of(MODELS["multiclass"], labels, P)


def test_describe() -> None:
    shown = [describe(name, 0.98765) for name in ("accuracy", "r2", "auc")]
    assert shown == ["accuracy 98.77%", "R² 0.9877", "AUC 0.9877"]
    assert describe("r2", np.nan) == "R² not defined (needs finite predictions, targets that vary)"


def test_every_metric_is_in_the_documentation() -> None:
    page = Path("docs/metrics.md").read_text("utf-8")
    named = re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE)
    assert named == list(METRICS)


# evaluate


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("members", [0, 3])
def test_evaluate_returns_every_metric(name: str, members: int, backend) -> None:
    model, (labels, _) = MODELS[name], drawn(name, 60, seed=3, levels=9)
    labels = np.abs(labels) if name == "counts" else labels
    split = Split(np.random.default_rng(4).normal(size=(60, 3)), labels)
    seeds = list(range(members)) if members else 0
    parameters = model.initialize(seeds, dtype="float64")
    found = evaluate(model, parameters, split, backend=backend, all_metrics=True)
    plain = evaluate(model, parameters, split, backend=backend)
    np.testing.assert_array_equal(found.tracked, plain.tracked)
    assert (plain.metrics, plain.ensemble_metrics) == ({}, {})
    Y_hat = model.predictions(parameters, split.X)
    for member in range(members):
        expected = metrics_of(model, labels, Y_hat[member])
        of_member = {key: values[member] for key, values in found.metrics.items()}
        assert of_member == pytest.approx(expected, rel=1e-9)
    if members:
        expected = metrics_of(model, labels, Y_hat.mean(axis=0))
        assert found.ensemble_metrics == pytest.approx(expected, rel=1e-9)
        assert found.ensemble_metrics[found.metric] == found.ensemble == plain.ensemble
    else:
        expected = metrics_of(model, labels, Y_hat)
        assert {key: float(one) for key, one in found.metrics.items()} == pytest.approx(expected)
        for key in expected:
            assert getattr(found, key) == found.metrics[key]
            assert f"{key}=" in repr(found)


def test_blocks_of_rows_do_not_change_the_metrics(monkeypatch, backend) -> None:
    split = Split(np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 5)
    parameters = MODELS["multiclass"].initialize([0, 1], dtype="float64")
    whole = evaluate(MODELS["multiclass"], parameters, split, backend=backend, all_metrics=True)
    monkeypatch.setattr(type(backend), "rows_at_once", 7)
    found = evaluate(MODELS["multiclass"], parameters, split, backend=backend, all_metrics=True)
    for name, values in whole.metrics.items():
        np.testing.assert_allclose(found.metrics[name], values, rtol=1e-12)


@pytest.fixture(scope="module")
def runs() -> SimpleNamespace:
    X = np.random.default_rng(0).normal(size=(60, 3))
    settings = {"epochs": 2, "batch_size": 20, "verbose": 0, "validation": 0.2}
    return SimpleNamespace(
        X=X,
        regression=xpmlp.train(MLP((3, 1), output="identity"), X, X[:, 1], **settings),
        classes=xpmlp.train(MLP((3, 2)), X, X[:, 1] > 0, **settings),
    )


def test_a_regression_has_r2_and_no_accuracy(runs) -> None:
    history, found = runs.regression.history, runs.regression.evaluate(runs.X, runs.X[:, 1])
    assert list(history) == [
        "loss", "r2", "validation_iteration", "validation_loss", "validation_r2"
    ]  # fmt: skip
    assert history.r2 is not None
    np.testing.assert_array_equal(history.r2, history["r2"])
    assert list(found.metrics) == ["r2", "rmse", "mae"]
    with pytest.raises(InputError, match=r"history\['accuracy'\]: .*use loss, r2"):
        history["accuracy"]
    for missing in (history, found):
        assert not hasattr(missing, "accuracy")
        with pytest.raises(AttributeError, match="use loss, r2"):
            _ = missing.accuracy


def test_classes_have_accuracy_and_no_r2(runs) -> None:
    history, found = runs.classes.history, runs.classes.evaluate(runs.X, runs.X[:, 1] > 0)
    assert "validation_accuracy" in history
    assert list(found.metrics) == ["accuracy", "balanced_accuracy", "f1", "auc", "log_loss"]
    np.testing.assert_allclose(found.log_loss, found.loss, rtol=1e-5)
    for missing in (history, found):
        with pytest.raises(AttributeError, match="use loss, accuracy"):
            _ = missing.r2


@pytest.mark.parametrize("kind", ["regression", "classes"])
def test_a_loaded_history_has_the_same_names(runs, kind: str, tmp_path: Path) -> None:
    run = getattr(runs, kind)
    run.save(tmp_path / "run")
    found = xpmlp.load(tmp_path / "run").history
    assert list(found) == list(run.history)
    assert found.metric == run.history.copy().metric == run.history.metric
    with np.load(tmp_path / "run" / "history.npz") as arrays:
        assert sorted(arrays) == sorted(run.history)
