"""Recipes: what is written is read, and nothing unknown is believed."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from xpmlp.algebra import ACTIVATIONS
from xpmlp.backends import BACKENDS, select_backend
from xpmlp.errors import InputError
from xpmlp.recipes import Recipe, load_recipe, recipe_names

texts = st.text(st.characters(codec="utf-8"), max_size=20)
recipes = st.builds(
    Recipe,
    data=texts.filter(bool),
    layer_sizes=st.lists(st.integers(1, 2**28 - 1), min_size=2, max_size=6),
    hidden=st.sampled_from(sorted(ACTIVATIONS)),
    initial_weights=texts,
    epochs=st.integers(1, 2**62),
    batch_size=st.integers(1, 2**62),
    learning_rate=st.floats(0.0, exclude_min=True, allow_infinity=False),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**63 - 1),
    members=st.integers(1, 4096),
    dtype=st.sampled_from(["float32", "float64"]),
    backend=st.sampled_from(["auto", *BACKENDS]),
    device=texts,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(recipe=recipes)
def test_what_is_written_is_read(tmp_path: Path, recipe: Recipe) -> None:
    path = tmp_path / "config.toml"
    path.write_text(recipe.to_toml(), "utf-8")
    assert load_recipe(str(path)) == recipe


@given(recipe=recipes)
def test_a_change_changes_that_alone(recipe: Recipe) -> None:
    changed = recipe.replace({"epochs": 3})
    assert changed.epochs == 3
    assert changed.replace({"epochs": recipe.epochs}) == recipe


def recipe_or_message(*arguments: object, **options: object) -> Recipe | str:
    try:
        return load_recipe("lecture", *arguments, options)
    except InputError as error:
        return str(error)


@given(key=texts, value=texts)
def test_any_setting_is_taken_or_refused_in_words(key: str, value: str) -> None:
    assert recipe_or_message([f"{key}={value}"])


@given(name=st.sampled_from(sorted(Recipe.model_fields)), value=texts)
def test_any_value_is_taken_or_refused_by_name(name: str, value: str) -> None:
    found = recipe_or_message([f"{name}={value}"])
    assert isinstance(found, Recipe) or found.startswith(f"{name}=")


widths = st.text("0123456789,-+_ .x", max_size=12)


@given(hidden=texts | widths)
def test_any_hidden_widths_are_taken_or_refused_by_name(hidden: str) -> None:
    found = recipe_or_message([], hidden_sizes=hidden)
    if isinstance(found, Recipe):
        assert (found.layer_sizes[0], found.layer_sizes[-1]) == (784, 10)
    else:
        assert found.startswith("layer_sizes=784,")


def test_the_lecture_is_as_the_lecture_has_it() -> None:
    recipe = load_recipe("lecture")
    assert recipe_names() == ["lecture"]
    assert recipe.model.layer_sizes == (784, 64, 32, 10)
    assert recipe.model.hidden == "sigmoid"
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate) == (20, 64, 0.03)
    assert (recipe.shuffle, recipe.data, recipe.members) == (False, "mnist", 1)


def test_a_file_need_not_say_everything(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("epochs = 3\nlearning_rate = 1\n")
    assert load_recipe(str(tmp_path / "a.toml")) == Recipe(epochs=3, learning_rate=1.0)


def test_settings_then_options(tmp_path: Path) -> None:
    settings = ["epochs=3", "layer_sizes=20,5,4", "hidden = 'tanh'", "data=a b=c"]
    recipe = load_recipe("lecture", settings, {"epochs": 4, "hidden_sizes": "7, 6"})
    assert recipe.epochs == 4
    assert recipe.layer_sizes == [20, 7, 6, 4]
    assert recipe.hidden == "tanh"
    assert recipe.data == "a b=c"


def test_hidden_sizes_is_no_setting() -> None:
    with pytest.raises(InputError, match="'hidden_sizes' is unknown"):
        load_recipe("lecture", ["hidden_sizes=5"])


def test_seeds_count_up_member_by_member() -> None:
    assert Recipe(seed=5).seeds == 5
    assert Recipe(seed=5, members=3).seeds == [5, 6, 7]


def test_a_recipe_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError):
        Recipe().epochs = 3  # type: ignore[misc]


def test_resolved_is_what_will_run_wherever_it_is_read(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = Recipe(data="some/where", initial_weights="w.npz").resolved(select_backend("numpy"))
    assert recipe.data == str(tmp_path / "some/where")
    assert recipe.initial_weights == str(tmp_path / "w.npz")
    assert (recipe.backend, recipe.device) == ("numpy", "cpu")
    assert Recipe().resolved(select_backend("numpy")).data == "mnist"
