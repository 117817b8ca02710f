"""Networks trained on images: every later command makes rows of images as training did."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import xpmlp
from xpmlp.data import load_data, write_idx
from xpmlp.tensors import load_tensors, save_tensors

SIDE, COUNT = 6, 60
QUICK = (
    "--hidden 16 --epochs 30 --batch-size 10 --set optimizer.name=adam --learning-rate 0.01 "
    "--shuffle --quiet"
)


def train(command, data: Path | str, out: str) -> None:
    said = command("train", *QUICK.split(), "--backend", "numpy", "--data", data, "--out", out)
    assert said.status == 0, said.err


def accuracy(command, run: str, *more: object) -> float:
    found: dict[str, float] = json.loads(command("evaluate", run, "--json", *more).out)
    return found["accuracy"]


def answers(command, run: str, *inputs: object) -> list[Any]:
    said = command("predict", run, *inputs, "--json")
    return [one["class"] for one in json.loads(said.out)]


def forget_images(run: str) -> None:
    """Make it a run of before, which has no rule for images."""
    path = Path(run) / "model.safetensors"
    tensors, metadata = load_tensors(path)
    del metadata["schema"]
    save_tensors(path, tensors, metadata)


def sky(top: Path, greys: dict[str, int]) -> Path:
    """Noise around one grey for each class."""
    random = np.random.default_rng(0)
    for name, grey in greys.items():
        (top / name).mkdir(parents=True)
        for number in range(COUNT):
            image = np.clip(grey + 10 * random.normal(size=(SIDE, SIDE)), 0, 255)
            Image.fromarray(image.astype(np.uint8)).save(top / name / f"{number}.png")
    return top


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("greys", "says"),
    [
        (
            {"day": 200, "night": 55},
            "60 of 120 images have a light background; no image is inverted",
        ),
        (
            {"day": 200, "dusk": 160, "night": 55},
            "120 of 180 images have a light background; all images are inverted",
        ),
        (
            {"day": 250, "noon": 180},
            "120 of 120 images have a light background; all images are inverted",
        ),
        ({"dusk": 100, "night": 20}, ""),
    ],
)
def test_classes_that_differ_by_brightness(
    command, greys: dict[str, int], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    sky(Path("sky"), greys)
    train(command, "sky", "run")
    assert caplog.messages == ([f"sky: {says}"] if says else [])
    assert accuracy(command, "run") == 1.0
    assert accuracy(command, "run", "--data", "sky") == 1.0
    pictures = [Path("sky") / name / "0.png" for name in greys]
    assert answers(command, "run", *pictures) == list(greys)
    assert command("report", "run").status == 0
    # From Python the rule is kept, too.
    run = xpmlp.train(
        xpmlp.MLP((36, 16, len(greys)), activation="relu"), load_data("sky"), epochs=30,
        optimizer="adam", learning_rate=0.01, batch_size=10, shuffle=True, verbose=0,
    )  # fmt: skip
    run.save("saved")
    xpmlp.load("saved").save("again")
    for path in ("saved", "again"):
        assert answers(command, path, *pictures) == list(greys)


@pytest.mark.usefixtures("undrawn")
def test_a_run_without_a_rule_inverts_each_image(command) -> None:
    sky(Path("sky"), {"day": 200, "night": 55})
    train(command, "sky", "run")
    forget_images("run")
    assert accuracy(command, "run", "--data", "sky") == 0.5
    assert len(set(answers(command, "run", "sky/day/0.png", "sky/night/0.png"))) == 1


@pytest.mark.usefixtures("undrawn")
def test_images_unlike_those_of_training_are_named(
    command, caplog: pytest.LogCaptureFixture
) -> None:
    sky(Path("night"), {"blue": 20, "black": 100})
    sky(Path("day"), {"blue": 160, "black": 240})
    train(command, "night", "run")
    assert command("evaluate", "run", "--data", "day").status == 0
    Image.new("L", (9, 9), 20).save("large.png")
    assert command("predict", "run", "large.png").status == 0
    assert caplog.messages == [
        "day: a light background, in training it was dark; invert images that are negatives",
        "large.png: 9 x 9 pixels, scaled to 6 x 6",
    ]


def letters(directory: Path, prefix: str) -> np.ndarray:
    """IDX files of corners and of their transposes, two classes; the images, as stored."""
    random = np.random.default_rng(1)
    images = random.integers(0, 90, (200, SIDE, SIDE)).astype(np.uint8)
    labels = (np.arange(200) % 2).astype(np.uint8)
    images[0::2, 0, 1:5] = 250  # a line on top, as it is stored
    images[1::2, 1:5, 0] = 250  # a line on the left
    directory.mkdir()
    for part, rows in (("train", slice(0, 150)), ("test", slice(150, 200))):
        write_idx(directory / f"{prefix}{part}-images-idx3-ubyte", images[rows])
        write_idx(directory / f"{prefix}{part}-labels-idx1-ubyte", labels[rows])
    return images


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("prefix", "is_upright"), [("emnist-letters-", True), ("", False), ("kmnist-", False)]
)
def test_emnist_is_upright_for_every_command(
    command, prefix: str, is_upright: bool, caplog: pytest.LogCaptureFixture
) -> None:
    images = letters(Path("letters"), prefix)
    train(command, "letters", "run")
    said = "letters: EMNIST's files store images transposed; they are set upright"
    assert caplog.messages == [said] * is_upright
    for number in (0, 1):
        Image.fromarray(images[number].T if is_upright else images[number]).save(f"{number}.png")
    assert answers(command, "run", "0.png", "1.png") == [0, 1]
    assert accuracy(command, "run") == accuracy(command, "run", "--data", "letters") == 1.0
    forget_images("run")
    # A run of before took the images as they are stored, and still does.
    assert accuracy(command, "run") == (0.0 if is_upright else 1.0)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("images", [5, {"drawings": "cifar"}, {"light_share": "x"}, {"turn": True}])
def test_rule_edited_by_hand_is_refused(command, copy: Path, images: object) -> None:
    path = copy / "model.safetensors"
    tensors, metadata = load_tensors(path)
    schema: Any = metadata["schema"]
    save_tensors(path, tensors, {**metadata, "schema": {**schema, "images": images}})
    said = command("evaluate", copy)
    assert said.status == 2
    assert said.err.startswith(f"xpmlp: {path}: schema: cannot be read (")
    assert len(said.err.splitlines()) == 1
