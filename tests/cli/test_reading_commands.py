"""`xpmlp evaluate`, `predict` and `plot`: what they make of a run that is there."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from xpmlp.data import load_idx_directory, write_idx
from xpmlp.tensors import load_tensors, save_tensors

pytestmark = pytest.mark.extended(keep=8)


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """A run for a test to change."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))


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


def test_evaluate_refuses_other_data_than_the_network_takes(
    refused, trained: Path, tmp_path: Path, make_data
) -> None:
    assert "nowhere" in refused("evaluate", trained, "--data", "nowhere")
    other = make_data(tmp_path / "other")
    for part in ("train", "t10k"):
        write_idx(other / f"{part}-images-idx3-ubyte", np.zeros((40, 5, 5), np.uint8))
        write_idx(other / f"{part}-labels-idx1-ubyte", np.zeros(40, np.uint8))
    line = refused("evaluate", trained, "--data", other)
    assert "5 x 5 = 25 values, the network takes 16" in line


@pytest.mark.parametrize("options", [["--backend", "nunpy"], ["--device", "tpu"]])
def test_evaluate_refuses_what_cannot_compute(refused, trained: Path, options: list[str]) -> None:
    assert options[1] in refused("evaluate", trained, *options)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def _foreign(path: Path) -> None:
    save_file({"weight": np.zeros((2, 3), np.float32)}, path)


def _text(path: Path) -> None:
    path.write_text("what is this?")


def _not_finite(path: Path) -> None:
    tensors = load_file(path)
    tensors["W1"][0, 0] = np.nan
    metadata = '{"layer_sizes": [16, 8, 10], "hidden": "sigmoid", "output": "softmax", '
    save_file(tensors, path, metadata={"xpmlp": metadata + '"image_shape": [4, 4]}'})


def _without_shape(path: Path) -> None:
    save_file(load_file(path), path, metadata={"xpmlp": '{"layer_sizes": [16, 8, 10]}'})


def _another_shape(path: Path) -> None:
    metadata = '{"layer_sizes": [16, 9, 10], "hidden": "sigmoid", "output": "softmax", '
    save_file(load_file(path), path, metadata={"xpmlp": metadata + '"image_shape": [4, 4]}'})


def _strange_widths(path: Path) -> None:
    metadata = '{"layer_sizes": 5, "hidden": "sigmoid", "output": "softmax"}'
    save_file(load_file(path), path, metadata={"xpmlp": metadata})


def _no_json(path: Path) -> None:
    save_file(load_file(path), path, metadata={"xpmlp": "{"})


@pytest.mark.parametrize(
    "damage",
    [
        _cut, _foreign, _text, _not_finite, _without_shape, _another_shape, _strange_widths,
        _no_json, Path.unlink,
    ],
)  # fmt: skip
def test_a_damaged_model_is_refused(refused, copy: Path, damage) -> None:
    damage(copy / "model.safetensors")
    np.save("rows.npy", np.zeros((1, 16), np.uint8))
    for arguments in (("evaluate", copy), ("predict", copy, "rows.npy")):
        line = refused(*arguments)
        assert "model.safetensors: " in line
        assert "train again" in line


@pytest.mark.parametrize("name", ["evaluate", "plot", "predict"])
def test_a_place_without_a_run_is_refused(refused, tmp_path: Path, name: str) -> None:
    more = ["rows.npy"] if name == "predict" else []
    for place in (tmp_path, "nowhere", "x" * 300):
        line = refused(name, place, *more)
        assert str(place) in line
        assert "run directory" in line


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
    X = np.random.default_rng(3).integers(0, 256, (5, 16), dtype=np.uint8)
    np.save("rows.npy", X)
    expected = probabilities(trained, X)
    said = command("predict", trained, "rows.npy").out.splitlines()[1:-1]
    assert [row.split()[0] for row in said] == [f"rows.npy[{row}]" for row in range(5)]
    assert [int(row.split()[1]) for row in said] == expected.argmax(axis=1).tolist()


def test_predict_json_has_every_probability(command, trained: Path, pictures) -> None:
    X = np.random.default_rng(3).integers(0, 256, (2, 16), dtype=np.uint8)
    np.save("rows.npy", X)
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
    X = np.random.default_rng(3).integers(0, 256, (2, 16), dtype=np.uint8)
    np.save("rows.npy", X)
    found = json.loads(command("predict", trained_members, "rows.npy", "--json").out)
    expected = probabilities(trained_members, X).mean(axis=0)
    np.testing.assert_allclose([one["probabilities"] for one in found], expected, rtol=1e-4)


@pytest.mark.parametrize("output", ["identity", "exp"])
def test_predict_says_numbers(command, copy: Path, output: str) -> None:
    tensors, about = load_tensors(copy / "model.safetensors")
    save_tensors(copy / "model.safetensors", tensors, {**about, "output": output})
    X = np.random.default_rng(3).integers(0, 256, (2, 16), dtype=np.uint8)
    np.save("rows.npy", X)
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


def test_predict_says_all_or_nothing(refused, trained: Path, pictures, tmp_path: Path) -> None:
    good = pictures[0]
    np.save("wide.npy", np.zeros((2, 17), np.uint8))
    np.save("nan.npy", np.full((2, 16), np.nan))
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:60])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "text.npy").write_text("no rows")
    for name, said in (
        ("wide.npy", "17 values, the network takes 16"),
        ("nan.npy", "NaN or infinite"),
        ("objects.npy", "numbers"),
        ("cut.png", "truncated"),
        ("text.png", "not an image"),
        ("text.npy", "numpy.save"),
        ("nowhere.png", "No such file"),
        (".", "not a regular file"),
    ):
        line = refused("predict", trained, good, name)
        assert f"{name}: " in line
        assert said in line


def test_predict_refuses_pictures_where_training_had_none(
    command, refused, tiny, pictures, tmp_path: Path, make_data
) -> None:
    flat = make_data(tmp_path / "flat")
    for part, count in (("train", 100), ("t10k", 40)):
        X = np.zeros((count, 2, 2, 4), np.uint8)
        write_idx(flat / f"{part}-images-idx3-ubyte", X)
    assert command(*tiny, "--data", flat, "--out", "r").status == 0
    assert "give a .npy file" in refused("predict", "r", pictures[0])


# plot


def test_plot_draws_the_same_picture_again(command, copy: Path) -> None:
    picture = (copy / "training.png").read_bytes()
    (copy / "training.png").unlink()
    said = command("plot", copy)
    assert said == (0, f"{copy}/training.png (next: xpmlp report {copy})\n", "")
    assert (copy / "training.png").read_bytes() == picture


def test_plot_draws_elsewhere(command, trained: Path) -> None:
    said = command("plot", trained, "--out", "my picture.PNG").out
    assert said == f"my picture.PNG (next: xpmlp report {trained})\n"
    assert Path("my picture.PNG").read_bytes() == (trained / "training.png").read_bytes()


def test_plot_refuses_what_it_cannot_draw(refused, copy: Path, tmp_path: Path) -> None:
    assert "a.pdf: the figure is a PNG" in refused("plot", copy, "--out", "a.pdf")
    assert "cannot be written" in refused("plot", copy, "--out", "nowhere/a.png")
    np.savez(copy / "history.npz", loss=[], accuracy=[])
    assert "nothing to draw" in refused("plot", copy)
    np.savez(copy / "history.npz", loss=[1.0])
    assert "no accuracy" in refused("plot", copy)
    (copy / "history.npz").write_bytes(b"PK")
    assert "history.npz" in refused("plot", copy)
    (copy / "history.npz").unlink()
    assert "history.npz" in refused("plot", copy)
