"""Sweeps: which settings become members, and that each comes to what it would by itself."""

import numpy as np
import pytest

from tests.callbacks import StopAt
from xpmlp.backends import select_backend
from xpmlp.data import Dataset, Split
from xpmlp.errors import InputError
from xpmlp.recipes import Recipe
from xpmlp.reports import plot_sweep
from xpmlp.runs import trainer_from_recipe
from xpmlp.sweeps import Outcome, check, grid, plan, sweep
from xpmlp.training import Callback, evaluate

pytestmark = pytest.mark.extended(keep=10)

RECIPE = Recipe(
    layer_sizes=[12, 8, 4],
    initializer="glorot_uniform",
    learning_rate=0.5,
    epochs=2,
    batch_size=8,
    shuffle=True,
    validation=0.25,
    seed=3,
    backend="numpy",
)


class TrainOnly(Dataset):
    """A data set that cannot be looked at where it must not be."""

    @property
    def test(self) -> Split:
        raise AssertionError("the test set was looked at")

    @test.setter
    def test(self, _: Split) -> None:
        pass


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 200)
    X = random.integers(0, 128, (200, 12), dtype=np.uint8)
    X[np.arange(200), labels] += 127  # something to learn
    made = object.__new__(TrainOnly)
    train = Split(X, labels)
    vars(made).update(name="toy", train=train, image_shape=(12,), where="toy")
    return made


BACKEND = select_backend("numpy")


def swept(dataset: Dataset, recipe: Recipe, **over: list) -> list[Outcome]:
    runs = plan(recipe, grid(over.items()))
    check(runs, dataset, BACKEND)
    return sweep(runs, dataset, BACKEND)


def by_itself(dataset: Dataset, recipe: Recipe) -> tuple[float, float]:
    trainer = trainer_from_recipe(recipe, dataset, BACKEND).run()
    assert trainer.validation_config.validation is not None
    found = evaluate(trainer.model, trainer.parameters, trainer.validation_config.validation)
    return float(found.loss), float(found.accuracy)


# The grid


def test_grid_has_every_combination_the_last_name_fastest() -> None:
    with pytest.raises(InputError, match="--over a: no values"):
        grid([("a", [])])
    found = grid([("a", [1, 2]), ("b", ["x", "y"])])
    assert found == [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}]


# The plan


def shapes(recipe: Recipe, **over: list) -> list[int]:
    return [len(run.seeds) for run in plan(recipe, grid(over.items()))]


def test_rates_decays_dropouts_and_seeds_are_members_of_one_run() -> None:
    over = {"learning_rate": [0.1, 0.2], "weight_decay": [0.0, 0.1]}
    over |= {"dropout": [0, 0.5], "input_dropout": [0.0, 0.1], "seed": [1, 2]}
    (run,) = plan(RECIPE, grid(over.items()))
    assert run.recipe.members == len(run.seeds) == 32
    assert run.recipe.learning_rate == [0.1] * 16 + [0.2] * 16
    assert run.recipe.dropout == ([0.0] * 4 + [0.5] * 4) * 4
    assert run.seeds == run.recipe.seed == [1, 2] * 16


def test_other_settings_have_a_run_each() -> None:
    assert shapes(RECIPE, activation=["relu", "tanh"]) == [1, 1]
    assert shapes(RECIPE, layer_sizes=[[12, 4], [12, 9, 4]], dropout=[0, 0.1, 0.2]) == [3, 3]
    runs = plan(RECIPE, grid([("learning_rate", [0.1, 0.2]), ("epochs", [1, 2])]))
    assert [run.recipe.epochs for run in runs] == [1, 2]
    assert [run.recipe.learning_rate for run in runs] == [[0.1, 0.2]] * 2


def test_plan_needs_validation_rows() -> None:
    """What else is refused, and how the command says it, is in tests/cli/test_refusals.py."""
    with pytest.raises(InputError, match=r"validation=0: .*validation rows"):
        plan(RECIPE.replace({"validation": 0.0}), [{"dropout": 0.1}])


def test_a_run_of_one_network_has_no_members() -> None:
    (run,) = plan(RECIPE, [{"learning_rate": 0.1}])
    assert run.recipe == RECIPE.replace({"learning_rate": 0.1})


@pytest.mark.parametrize(
    "changes", [{"patience": 2}, {"time_limit": 60.0}, {"schedule": "plateau"}]
)
def test_networks_that_would_touch_one_another_are_kept_apart(changes) -> None:
    recipe = RECIPE.replace(changes)
    assert shapes(recipe, learning_rate=[0.1, 0.2]) == [1, 1]
    (name, value), *_ = changes.items()
    assert shapes(RECIPE, learning_rate=[0.1, 0.2], **{name: [value]}) == [1, 1]


def test_members_of_the_recipe_are_seeds_of_every_setting() -> None:
    recipe = RECIPE.replace({"members": 3})
    first, second = plan(
        recipe, grid([("learning_rate", [0.1, 0.2]), ("activation", ["relu", "tanh"])])
    )
    for run in (first, second):
        assert run.seeds == [3, 4, 5] * 2
        assert run.recipe.learning_rate == [0.1] * 3 + [0.2] * 3
    recipe = recipe.replace({"seed": [9, 8, 7]})
    assert plan(recipe, [{"dropout": 0.1}])[0].seeds == [9, 8, 7]


# What comes of it. The data set's test part raises where it is looked at.


@pytest.mark.extended(keep=1)
@pytest.mark.parametrize(
    ("changes", "over"),
    [
        ({}, {"learning_rate": [0.05, 0.5]}),
        ({"members": 2}, {"weight_decay": [0.0, 0.1], "activation": ["relu", "tanh"]}),
        ({"members": 2}, {"dropout": [0, 0.3], "input_dropout": [0.0, 0.2]}),
        ({}, {"learning_rate": [0.05, 0.5], "patience": [1]}),
        (
            {"optimizer": "adamw", "learning_rate": 0.01, "normalization": "batch"},
            {"weight_decay": [0.0, 0.1], "dropout": [0.0, 0.2]},
        ),
        (
            {"average": "ema", "average_decay": 0.9, "restore_best": True, "monitor": "accuracy"},
            {"learning_rate": [0.05, 0.5], "epochs": [1, 3]},
        ),
        (
            {"schedule": "one_cycle", "mixup": 0.2, "label_smoothing": 0.1},
            {"learning_rate": [0.05, 0.5], "dropout": [0.0, 0.2]},
        ),
    ],
)
def test_each_setting_comes_to_what_it_does_by_itself_to_the_bit(dataset, changes, over) -> None:
    recipe = RECIPE.replace(changes)
    for outcome in swept(dataset, recipe, **over):
        single = recipe.replace({**outcome.settings, "members": 1})
        assert outcome.seeds[0] == single.seed
        found = (outcome.losses[0], outcome.accuracies[0])
        assert found == by_itself(dataset, single), outcome.settings


def test_seeds_tell_how_far_to_trust_a_difference(dataset: Dataset) -> None:
    low, high = swept(dataset, RECIPE.replace({"members": 3}), learning_rate=[0.05, 0.5])
    for outcome in (low, high):
        assert outcome.seeds == [3, 4, 5]
        assert len(set(outcome.losses)) == 3
        assert outcome.loss == outcome.losses.mean()
        assert outcome.accuracy == outcome.accuracies.mean()
    # The same seeds: all that two settings differ in is what was set.
    assert swept(dataset, RECIPE.replace({"members": 3}), learning_rate=[0.5])[0].loss == high.loss


def test_seeds_can_be_swept_too(dataset: Dataset) -> None:
    found = swept(dataset, RECIPE, seed=[3, 4])
    several = swept(dataset, RECIPE.replace({"members": 2}), learning_rate=[0.5])[0]
    assert [outcome.loss for outcome in found] == several.losses.tolist()


@pytest.mark.parametrize("others", [{"activation": ["relu"]}, {"restore_best": [True]}, {}])
def test_a_network_that_diverges_harms_no_other(dataset: Dataset, others) -> None:
    recipe = RECIPE.replace({"activation": "relu"})
    good, bad = swept(dataset, recipe, learning_rate=[0.05, 1e35], **others)
    assert (good.diverged, bad.diverged) == (0, 1)
    single = recipe.replace({name: values[0] for name, values in others.items()})
    assert (good.loss, good.accuracy) == by_itself(dataset, single.replace({"learning_rate": 0.05}))
    assert np.isnan([bad.loss, bad.accuracy]).all()


def test_all_may_diverge(dataset: Dataset) -> None:
    recipe = RECIPE.replace({"members": 2, "activation": "relu"})
    found = swept(dataset, recipe, learning_rate=[1e35], epochs=[1, 2])
    assert [outcome.diverged for outcome in found] == [2, 2]
    assert [outcome.seeds for outcome in found] == [[3, 4]] * 2


def test_a_time_limit_before_the_first_evaluation(dataset: Dataset) -> None:
    (outcome,) = swept(dataset, RECIPE.replace({"time_limit": 1e-9}), learning_rate=[0.1])
    assert np.isfinite(outcome.loss)


def test_a_sweep_that_is_stopped_has_the_runs_that_were_finished(dataset: Dataset) -> None:
    told = []

    def tell(run, number: int, count: int) -> list[Callback]:
        told.append((number, count, run.recipe.activation))
        return [StopAt(1)] if number == 2 else []

    runs = plan(RECIPE, grid([("activation", ["relu", "tanh", "sigmoid"])]))
    (outcome,) = sweep(runs, dataset, BACKEND, tell=tell)
    assert told == [(1, 3, "relu"), (2, 3, "tanh")]
    assert outcome.settings == {"activation": "relu"}


# Its figure


def row(label: str, *losses: float) -> tuple[str, np.ndarray, np.ndarray]:
    values = np.array(losses)
    return label, values, np.where(np.isnan(values), np.nan, 1.0 - values / 10.0)


def test_figure_has_a_point_for_each_network_and_the_best_stands_out(drawn, tmp_path) -> None:
    rows = [row("a=1", 0.5, 0.7), row("a=2", 0.2, 0.3), row("a=3", 0.1, np.nan)]
    plot_sweep(rows, tmp_path / "a.png")
    for axes, column in zip(drawn[0].axes, (2, 1), strict=True):
        points = [line for line in axes.lines if line.get_marker() == "o"]
        for place, (line, values) in enumerate(zip(points, rows, strict=True)):
            np.testing.assert_array_equal(line.get_xdata(), values[column])
            assert set(line.get_ydata()) == {place}
        assert [line.get_color() for line in points] == ["C0", "C1", "C0"]
        means = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "|"]
        np.testing.assert_allclose(means, [values[column].mean() for values in rows[:2]])
        assert [text.get_text() for text in axes.texts] == ["1 of 2 diverged"]
        assert axes.get_xscale() == "linear"
    assert [label.get_text() for label in drawn[0].axes[0].get_yticklabels()] == [
        "a=1", "a=2", "a=3",
    ]  # fmt: skip
    top, bottom = drawn[0].axes[0].get_ylim()[::-1]
    assert top < bottom  # the first row is at the top


def test_losses_far_apart_are_told_apart(drawn, tmp_path) -> None:
    plot_sweep([row("a=1", 0.5), row("a=2", 5e6)], tmp_path / "a.png")
    accuracy, loss = drawn[0].axes
    assert (accuracy.get_xscale(), loss.get_xscale()) == ("linear", "log")
    assert not [line for line in loss.lines if line.get_marker() == "|"]  # one seed has no mean


@pytest.mark.parametrize("values", [[np.nan], [np.nan, np.nan], [0.0], [0.0, 0.5]])
def test_any_outcome_can_be_drawn(tmp_path, values: list[float]) -> None:
    plot_sweep([row("a=1", *values)], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 0
