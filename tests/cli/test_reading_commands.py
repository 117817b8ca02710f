"""`xpmlp evaluate`, `predict` and `plot`: what they make of a run that is there."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

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
    assert said.out.splitlines() == [
        f"Test accuracy {found['test_accuracy']:.2%}, test loss {found['test_loss']:.4f}",
        "on 40 rows of tiny with numpy on cpu",
        f"(next: xpmlp report {trained})",
    ]


def test_evaluate_json_agrees_with_the_lectures_forward_pass(command, trained, data) -> None:
    said = json.loads(command("evaluate", trained, "--json", "--backend", "numpy").out)
    X, labels = load_idx_directory(data).test
    Y_hat = probabilities(trained, X)
    assert said == {
        "data": "tiny",
        "rows": 40,
        "accuracy": pytest.approx(np.mean(Y_hat.argmax(axis=1) == labels)),
        "loss": pytest.approx(np.mean(-np.log(Y_hat[np.arange(40), labels])), rel=1e-5),
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
    assert said[4] == f"Ensemble (averaged probabilities): test accuracy {ensemble:.2%}"
    as_json = json.loads(command("evaluate", trained_members, "--json").out)
    assert as_json["member_accuracy"] == pytest.approx(each.tolist())
    assert as_json["ensemble_accuracy"] == pytest.approx(ensemble)
    assert as_json["accuracy"] == pytest.approx(each.mean())


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
