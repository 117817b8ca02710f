"""`xpmlp sweep` and `xpmlp find-rate`: what they say, leave behind and refuse."""

import csv
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.watched import at_event
from xpmlp.recipes import load_recipe
from xpmlp.training import Trainer

pytestmark = pytest.mark.extended(keep=8)

OVER = ["--over", "optimizer.learning_rate=0.1,0.5"]


@pytest.fixture
def unswept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep leaves out its figure, which takes longer than all the rest."""
    monkeypatch.setattr("xpmlp.cli.sweep.plot_sweep", lambda *_: None)


@pytest.fixture(scope="session")
def small(data: Path) -> list[str]:
    """A sweep's options on the tiny data: 2 epochs of a small network."""
    settings = ("model.layer_sizes=16,8,10", "batch_size=4", "epochs=2", "validation=0.2")
    return [
        "sweep", "--backend", "numpy", "--data", str(data),
        *(word for text in settings for word in ("--set", text)),
    ]  # fmt: skip


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_sweep_ends_with_a_table_and_a_figure(command, small, tmp_path: Path) -> None:
    said = command(*small, *OVER, "--over", "model.activation=tanh,sigmoid", "--members", "2")
    assert said.status == 0, said
    assert [line for line in said.err.splitlines() if line.startswith("run")] == [
        "run 1 of 2: activation=tanh; 4 networks at once",
        "run 2 of 2: activation=sigmoid; 4 networks at once",
    ]
    _, head, *rows, measured, saved = said.out.splitlines()
    columns = ["learning_rate", "activation", "seeds", "validation accuracy", "validation loss"]
    assert [word.strip() for word in head.split("  ") if word.strip()] == columns
    assert len(rows) == 4
    losses = [float(row.split()[-3]) for row in rows]
    assert losses == sorted(losses)
    assert measured == "Measured on 20 validation rows; the test set was not used"
    rate, hidden, *_ = rows[0].split()
    data = small[small.index("--data") + 1]
    assert saved == (
        f"Saved in sweeps/lecture-1 (next: xpmlp train lecture --backend numpy --data {data} "
        "--set model.layer_sizes=16,8,10 --set batch_size=4 --set epochs=2 --set validation=0.2 "
        f"--set optimizer.learning_rate={rate} --set model.activation={hidden})"
    )
    place = tmp_path / "sweeps" / "lecture-1"
    assert sorted(path.name for path in place.iterdir()) == [
        "recipe.toml", "sweep.csv", "sweep.png",
    ]  # fmt: skip
    found = table(place / "sweep.csv")
    assert list(found[0]) == [
        "learning_rate", "activation", "seed", "validation_loss", "validation_accuracy",
    ]  # fmt: skip
    assert [row["seed"] for row in found] == ["11", "12"] * 4
    best = np.mean([float(row["validation_loss"]) for row in found[:2]])
    assert f"{best:.4g}" == rows[0].split()[-3]
    with Image.open(place / "sweep.png") as picture:
        assert picture.format == "PNG"
    assert load_recipe(str(place / "recipe.toml")).epochs == 2


@pytest.mark.usefixtures("unswept", "undrawn")
def test_next_command_trains_what_was_best(command, small) -> None:
    said = command(
        *small, "--over", "shuffle=true,false", "--over", "model.layer_sizes=[16,10],[16,9,10]"
    )
    assert said.status == 0
    words = said.out.splitlines()[-1].partition("(next: xpmlp ")[2].rstrip(")").split()
    assert sum(word.startswith("model.layer_sizes=") for word in words) == 1
    assert command(*words, "--quiet").status == 0


@pytest.mark.usefixtures("unswept")
def test_each_sweep_has_a_place_of_its_own(command, small, tmp_path: Path) -> None:
    for _ in range(2):
        assert command(*small, *OVER).status == 0
    assert command(*small, *OVER, "--out", "a/b c").status == 0
    found = sorted(str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("sweep.csv"))
    assert found == ["a/b c", "sweeps/lecture-1", "sweeps/lecture-2"]


@pytest.mark.usefixtures("unswept")
def test_rows_are_held_out_where_the_recipe_holds_out_none(command, small) -> None:
    said = command(*small, *OVER, "--set", "validation=0")
    assert "Measured on 10 validation rows" in said.out


@pytest.mark.usefixtures("unswept")
def test_test_set_is_not_looked_at(command, small, monkeypatch) -> None:
    from xpmlp.data import load_data

    class Tested(Exception):
        pass

    class Blind:
        def __init__(self, dataset) -> None:
            self.train, self.schema = dataset.train, dataset.schema
            self.where, self.weights = dataset.where, dataset.weights

        def __getattr__(self, name: str):
            raise Tested(name)

    monkeypatch.setattr(
        "xpmlp.recipes.recipe.load_data", lambda name, **given: Blind(load_data(name, **given))
    )
    assert command(*small, *OVER).status == 0


# Divergence


def test_a_setting_that_diverges_is_told_and_harms_no_other(command, small) -> None:
    words = ["--set", "model.activation=relu", "--members", "2", "--out"]
    said = command(*small, "--over", "optimizer.learning_rate=0.05,1e35", *words, "both")
    assert said.status == 0
    first, second = said.out.splitlines()[2:4]
    assert first.split()[:2] == ["0.05", "2"]
    assert second.split() == ["1e+35", "2", "2", "of", "2", "diverged"]
    alone = command(*small, "--over", "optimizer.learning_rate=0.05", *words, "one")
    assert alone.out.splitlines()[2].split() == first.split()
    assert [row["validation_loss"] for row in table(Path("both/sweep.csv"))][2:] == ["nan", "nan"]


def test_sweep_in_which_all_diverge_fails(command, small) -> None:
    said = command(
        *small, "--over", "optimizer.learning_rate=1e34,1e35", "--set", "model.activation=relu"
    )
    assert said.status == 1
    assert said.err.splitlines()[-1] == (
        "xpmlp: every setting diverged: try smaller learning rates (saved in sweeps/lecture-1)"
    )
    assert said.out.count("diverged") == 2
    assert "next:" not in said.out
    assert Path("sweeps/lecture-1/sweep.png").exists()


# Interruption


@pytest.mark.usefixtures("unswept")
@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1, "stopped with 0 of 4 settings done; nothing is saved"),
        (2, "stopped with 2 of 4 settings done; these are saved in sweeps/lecture-1"),
    ],
)
def test_ctrl_c_keeps_what_was_finished(command, small, number, said) -> None:
    runs = []

    def interrupt(trainer: Trainer) -> None:
        runs.append(trainer)
        if len(runs) == number:
            signal.raise_signal(signal.SIGINT)

    with at_event("on_start", interrupt, command="sweep"):
        found = command(*small, *OVER, "--over", "model.activation=tanh,sigmoid")
    assert found.status == 130
    assert found.err.splitlines()[-1] == f"xpmlp: {said}"
    assert len(runs) == number
    assert Path("sweeps/lecture-1").exists() == (number > 1)
    if number > 1:
        rows = table(Path("sweeps/lecture-1/sweep.csv"))
        assert [row["activation"] for row in rows] == ["tanh", "tanh"]


# find-rate


@pytest.fixture(scope="session")
def search(data: Path) -> list[str]:
    words = (
        "find-rate --backend numpy --set model.layer_sizes=16,16,10 --set batch_size=100 --to 10 "
        "--set model.activation=tanh --set initializer=glorot_uniform --data"
    )
    return [*words.split(), str(data)]


def test_find_rate_draws_its_curve_and_says_the_next_command(
    command, search, tmp_path: Path, undrawn
) -> None:
    said = command(*search, "--steps", "100", "--out", "a b.png")
    assert said.status == 0, said
    found, others, *_, drawn = said.out.splitlines()
    rate = found.removeprefix("Begin with a learning rate of ").partition(":")[0]
    assert 0.001 < float(rate) <= 10.0  # the largest tried, where the loss does not rise again
    assert re.fullmatch(
        rf"It falls fastest at (\S+); the range to try is \1 to {rate}, and the recipe has 0\.03",
        others,
    )
    assert drawn.startswith("Drawn in a b.png (next: xpmlp train lecture --backend numpy --data ")
    assert drawn.endswith(f"--set optimizer.learning_rate={rate})")
    with Image.open(tmp_path / "a b.png") as picture:
        assert picture.format == "PNG"
    words = drawn.partition("(next: xpmlp ")[2].rstrip(")").split()
    assert command(*words, "--set", "epochs=1", "--quiet").status == 0


def test_find_rate_takes_one_network_of_several(command, search) -> None:
    settings = "--set members=2 --set optimizer.learning_rate=0.1,0.2 --set seed=1,2 --steps 100"
    assert command(*search, *settings.split()).status == 0
    assert Path("find-rate.png").exists()


def test_find_rate_does_not_invent_a_rate(command, search) -> None:
    said = command(*search, "--to", "1e-5", "--steps", "40")
    assert (said.status, said.out) == (2, "")
    assert said.err == (
        "xpmlp: the loss falls nowhere from 1e-06 to 1e-05, see find-rate.png: "
        "give other rates (--from, --to) or more --steps\n"
    )
