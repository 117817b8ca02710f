"""`xpmlp evaluate`, `predict` and `plot`: what they make of a run that is there."""

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from sklearn import metrics

import xpmlp
from xpmlp.data import load_idx_directory
from xpmlp.tensors import load_tensors, save_tensors

pytestmark = pytest.mark.extended(keep=8)


def saved_rows(count: int) -> np.ndarray:
    X = np.random.default_rng(3).integers(0, 256, (count, 16), dtype=np.uint8)
    np.save("rows.npy", X)
    return X


def probabilities(run: Path, X: np.ndarray) -> np.ndarray:
    """The lecture's forward pass, from the saved tensors: (..., n, K)."""
    W = load_file(run / "model.safetensors")
    A = 1 / (1 + np.exp(-(X / 255 @ W["W1"] + W["b1"][..., None, :])))
    L = np.exp(A @ W["W2"] + W["b2"][..., None, :])
    return L / L.sum(axis=-1, keepdims=True)


# evaluate


def test_evaluate_says_what_training_found(command, trained: Path) -> None:
    found = json.loads((trained / "summary.json").read_text())
    said = command("evaluate", trained, "--backend", "numpy")
    assert said.err == ""
    first, *table, rows, after = said.out.splitlines()
    assert (
        first == f"Test accuracy {found['test_accuracy']:.2%}, test loss {found['test_loss']:.4f}"
    )
    measured = json.loads(command("evaluate", trained, "--json", "--backend", "numpy").out)
    assert [line.rsplit(maxsplit=1) for line in table] == [
        ["metric", "value"],
        ["balanced accuracy", f"{measured['balanced_accuracy']:.2%}"],
        ["F1", f"{measured['f1']:.2%}"],
        ["AUC", f"{measured['auc']:.4f}"],
        ["log loss", f"{measured['log_loss']:.4f}"],
    ]
    assert rows == "on 40 rows of tiny with numpy on cpu"
    assert after == f"(next: xpmlp report {trained})"


def test_evaluate_json_agrees_with_the_lectures_forward_pass(command, trained, data) -> None:
    said = json.loads(command("evaluate", trained, "--json", "--backend", "numpy").out)
    X, labels = load_idx_directory(data).test
    Y_hat = probabilities(trained, X)
    classes = Y_hat.argmax(axis=1)
    loss = pytest.approx(np.mean(-np.log(Y_hat[np.arange(40), labels])), rel=1e-5)
    assert said == {
        "data": "tiny",
        "rows": 40,
        "accuracy": pytest.approx(np.mean(classes == labels)),
        "balanced_accuracy": pytest.approx(metrics.balanced_accuracy_score(labels, classes)),
        "f1": pytest.approx(metrics.f1_score(labels, classes, average="macro")),
        "auc": pytest.approx(metrics.roc_auc_score(labels, Y_hat, multi_class="ovr")),
        "log_loss": loss,
        "loss": loss,
    }


def test_evaluate_takes_other_data(command, trained: Path, make_data, tmp_path: Path) -> None:
    other = make_data(tmp_path / "other", seed=9)
    said = json.loads(command("evaluate", trained, "--json", "--data", other).out)
    assert said["data"] == "other"
    assert said["loss"] != json.loads((trained / "summary.json").read_text())["test_loss"]


def test_evaluate_shows_each_member_the_mean_the_spread_and_the_ensemble(
    command, trained_members: Path, data: Path
) -> None:
    said = command("evaluate", trained_members, "--backend", "numpy").out.splitlines()
    X, labels = load_idx_directory(data).test
    Y_hat = probabilities(trained_members, X)
    each = np.mean(Y_hat.argmax(axis=-1) == labels, axis=-1)
    ensemble = np.mean(Y_hat.mean(axis=0).argmax(axis=-1) == labels)
    for member in range(3):
        assert said[member].startswith(f"Member {member + 1}: test accuracy {each[member]:.2%}, ")
    assert said[3] == (
        f"Mean: test accuracy {each.mean():.2%} +- {each.std(ddof=1):.2%} (standard deviation)"
    )
    assert said[4] == f"Ensemble (averaged predictions): test accuracy {ensemble:.2%}"
    assert said[5].split() == ["metric", "mean", "standard", "deviation", "ensemble"]
    assert [line.split()[0] for line in said[6:10]] == ["balanced", "F1", "AUC", "log"]
    as_json = json.loads(command("evaluate", trained_members, "--json").out)
    assert as_json["member_accuracy"] == pytest.approx(each.tolist())
    assert as_json["ensemble_accuracy"] == pytest.approx(ensemble)
    assert as_json["accuracy"] == pytest.approx(each.mean())
    of_ensemble = metrics.roc_auc_score(labels, Y_hat.mean(axis=0), multi_class="ovr")
    assert as_json["ensemble_auc"] == pytest.approx(of_ensemble)
    assert as_json["auc_deviation"] == pytest.approx(np.std(as_json["member_auc"], ddof=1))


def test_evaluate_names_what_is_not_defined(command, trained: Path, tmp_path: Path) -> None:
    X, labels = np.zeros((4, 16), np.uint8), np.array([0, 0, 1, 1])
    np.savez(tmp_path / "two.npz", X_train=X, y_train=labels, X_test=X, y_test=labels)
    said = command("evaluate", trained, "--data", tmp_path / "two.npz")
    assert "AUC is not defined here: it needs finite predictions, rows of every class" in said.out
    found = json.loads(command("evaluate", trained, "--data", tmp_path / "two.npz", "--json").out)
    assert "auc" not in found
    assert {"balanced_accuracy", "f1", "log_loss"} <= set(found)


def test_a_regression_is_never_called_accurate(command, tmp_path: Path) -> None:
    """Its R² is below 0 here; in files, tables and pages it has its own name."""
    table = np.random.default_rng(0).normal(size=(60, 3))
    np.savetxt("t.csv", table, delimiter=",", header="a,b,price", comments="")
    options = ["--hidden", "4", "--epochs", "2", "--batch-size", "10", "--backend", "numpy"]
    options += ["--set", "model.output=identity", "--set", "validation=0.2", "--data", "t.csv"]
    said = [command("train", *options, "--out", tmp_path / name) for name in ("one", "two")]
    run, other = tmp_path / "one", tmp_path / "two"
    said.append(command("evaluate", run))
    assert re.search(r"^Test R² -?[\d.e+-]+, test loss", said[-1].out, flags=re.MULTILINE)
    assert re.search(r"^RMSE +[\d.e+]+$", said[-1].out, flags=re.MULTILINE)
    said.append(command("compare", run, other, "--out", tmp_path / "c.png"))
    assert "validation R²" in said[-1].out
    said.append(command("report", run))
    assert all(one.status == 0 for one in said), said
    texts = [one.out + one.err for one in said]
    texts += [(run / "metrics.csv").read_text(), (run / "report.html").read_text()]
    texts.append((run / "summary.json").read_text())
    assert not [text for text in texts if "accuracy" in text.lower()]
    summary = json.loads(texts[-1])
    assert {"train_r2", "validation_r2", "test_r2"} < set(summary)
    found = json.loads(command("evaluate", run, "--json").out)
    assert set(found) == {"data", "rows", "r2", "rmse", "mae", "loss"}
    assert found["r2"] == pytest.approx(summary["test_r2"])


def test_runs_of_0_1_0_have_r2_under_its_name(command, tmp_path: Path) -> None:
    golden = Path(__file__).parent.parent / "golden" / "runs" / "regression"
    run = Path(shutil.copytree(golden, tmp_path / "run"))
    written = json.loads((run / "summary.json").read_text())
    found = json.loads(command("compare", run, run, "--json", "--out", tmp_path / "c.png").out)[0]
    assert found["test_r2"] == written["test_accuracy"]
    assert not [name for name in found if "accuracy" in name]
    with np.load(run / "history.npz") as arrays:
        np.testing.assert_array_equal(xpmlp.load(run).history["r2"], arrays["accuracy"])
    assert "accuracy" not in xpmlp.load(run).history


# predict


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    """The same stroke, light on dark and dark on light, of no size that the network knows."""
    grey = np.zeros((24, 16), np.uint8)
    grey[3:21, 6:9] = 255
    dark, light = tmp_path / "dark.png", tmp_path / "light [b] ü.png"
    Image.fromarray(grey).save(dark)
    Image.fromarray(255 - grey).save(light)
    return dark, light


def test_predict_takes_either_background(command, trained: Path, pictures) -> None:
    said = command("predict", trained, *pictures)
    assert said.status == 0
    header, *rows, _ = said.out.splitlines()
    assert header.split() == ["input", "class", *(f"P({number})" for number in range(10))]
    assert len(rows) == 2
    dark, light = (row.split()[-11:] for row in rows)
    assert dark == light
    assert int(dark[0]) == np.argmax(list(map(float, dark[1:])))
    assert math.isclose(sum(map(float, dark[1:])), 1, abs_tol=1e-3)
    for picture, row in zip(pictures, rows, strict=True):
        assert row.startswith(f"{picture} ")
        assert len(row) == len(header)  # the columns stand below each other


def test_predict_takes_rows(command, trained: Path) -> None:
    X = saved_rows(5)
    expected = probabilities(trained, X)
    said = command("predict", trained, "rows.npy").out.splitlines()[1:-1]
    assert [row.split()[0] for row in said] == [f"rows.npy[{row}]" for row in range(5)]
    assert [int(row.split()[1]) for row in said] == expected.argmax(axis=1).tolist()


def test_predict_json_has_every_probability(command, trained: Path, pictures) -> None:
    X = saved_rows(2)
    found = json.loads(command("predict", trained, pictures[1], "rows.npy", "--json").out)
    assert [(one["input"], one["row"]) for one in found] == [
        (str(pictures[1]), 0),
        ("rows.npy", 0),
        ("rows.npy", 1),
    ]
    for one, expected in zip(found[1:], probabilities(trained, X), strict=True):
        np.testing.assert_allclose(one["probabilities"], expected, rtol=1e-4)
        assert one["class"] == expected.argmax()


def test_predict_with_members_asks_the_ensemble(command, trained_members: Path) -> None:
    X = saved_rows(2)
    found = json.loads(command("predict", trained_members, "rows.npy", "--json").out)
    expected = probabilities(trained_members, X).mean(axis=0)
    np.testing.assert_allclose([one["probabilities"] for one in found], expected, rtol=1e-4)


@pytest.mark.parametrize("output", ["identity", "exp"])
def test_predict_says_numbers(command, copy: Path, output: str) -> None:
    tensors, about = load_tensors(copy / "model.safetensors")
    save_tensors(copy / "model.safetensors", tensors, {**about, "output": output})
    X = saved_rows(2)
    A = 1 / (1 + np.exp(-(X / 255 @ tensors["W1"] + tensors["b1"])))
    L = A @ tensors["W2"] + tensors["b2"]
    expected = np.exp(L) if output == "exp" else L
    found = json.loads(command("predict", copy, "rows.npy", "--json").out)
    assert [list(one) for one in found] == [["input", "row", "values"]] * 2
    np.testing.assert_allclose([one["values"] for one in found], expected, rtol=1e-4)
    header, *rows, _ = command("predict", copy, "rows.npy").out.splitlines()
    assert header.split() == ["input", *(f"Y({number})" for number in range(10))]
    np.testing.assert_allclose(
        [list(map(float, row.split()[1:])) for row in rows], expected, atol=1e-4
    )


# plot


def test_plot_draws_the_same_picture_again(command, copy: Path) -> None:
    picture = (copy / "training.png").read_bytes()
    (copy / "training.png").unlink()
    said = command("plot", copy)
    assert said == (0, f"{copy}/training.png (next: xpmlp report {copy})\n", "")
    assert (copy / "training.png").read_bytes() == picture


def test_plot_draws_elsewhere(command, trained: Path) -> None:
    said = command("plot", trained, "--out", "my figure.PNG").out
    assert said == f"my figure.PNG (next: xpmlp report {trained})\n"
    assert Path("my figure.PNG").read_bytes() == (trained / "training.png").read_bytes()
