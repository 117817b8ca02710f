"""`xpmlp recipes`, and that each recipe that is shipped trains in a short form."""

import json
from pathlib import Path

import numpy as np
import pytest

from xpmlp import load_mnist
from xpmlp.data import write_idx
from xpmlp.recipes import describe_recipe, load_recipe, recipe_names
from xpmlp.runs import RunDirectory

NAMES = ["keras-mnist-mlp", "lecture", "modern", "srivastava2014"]


def test_shipped_recipes_are_these() -> None:
    assert recipe_names() == NAMES


def test_recipes_are_listed_with_what_they_are_about(command) -> None:
    said = command("recipes")
    assert (said.status, said.err) == (0, "")
    lines = said.out.splitlines()
    assert [line for line in lines if not line.startswith(" ")][:-2] == NAMES
    assert lines[-2] == "Train one: xpmlp train NAME; change it: --set key=value"
    for name in NAMES:
        about, measured = describe_recipe(name)
        assert f"  {about}" in lines
        assert not measured or f"  Measured: {measured}" in lines
    assert "  Measured: " not in lines


def test_a_measured_result_is_shown(command, monkeypatch) -> None:
    monkeypatch.setattr("xpmlp.cli.recipes.describe_recipe", lambda _: ("About [it].", "98 %."))
    lines = command("recipes").out.splitlines()
    assert lines[:3] == ["keras-mnist-mlp", "  About [it].", "  Measured: 98 %."]


def test_json_has_the_same(command) -> None:
    said = command("recipes", "--json")
    assert (said.status, said.err) == (0, "")
    assert json.loads(said.out) == {name: describe_recipe(name)._asdict() for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_what_it_is_about_and_its_settings_fit_together(name: str) -> None:
    about, measured = describe_recipe(name)
    assert about.endswith(".")
    assert not about.startswith("#")
    assert not measured or measured.endswith(".")
    recipe = load_recipe(name)
    assert recipe.data == "mnist"
    assert recipe.layer_sizes[0] == 784
    assert recipe.layer_sizes[-1] == 10
    assert load_recipe(name, [f"epochs={recipe.epochs}"]) == recipe


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 500 and 100 images of MNIST as a data set of its own."""
    directory, mnist = tmp_path_factory.mktemp("digits"), load_mnist()
    for part, split, count in (("train", mnist.train, 500), ("t10k", mnist.test, 100)):
        images = split.X[:count].reshape(-1, 28, 28)
        write_idx(directory / f"{part}-images-idx3-ubyte", images)
        write_idx(directory / f"{part}-labels-idx1-ubyte", split.labels[:count].astype(np.uint8))
    return directory


@pytest.mark.extended(keep=1)
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", NAMES)
def test_a_short_form_of_each_recipe_trains(command, digits: Path, name: str) -> None:
    """As long as it takes, with 500 rows, until the loss has fallen; its other settings stay."""
    epochs = {"keras-mnist-mlp": 1, "lecture": 5, "modern": 4, "srivastava2014": 4}
    options = ["--set", f"epochs={epochs[name]}", "--set", "batch_size=25", "--members", "1"]
    said = command(
        "train", name, *options, "--data", digits, "--backend", "numpy", "--out", "short"
    )
    assert said.status == 0, said
    loss = RunDirectory(Path("short")).load_history().loss
    quarter = len(loss) // 4
    assert loss[-quarter:].mean() < 0.8 * loss[:quarter].mean()
    assert "Test accuracy" in said.out
