"""`xpmlp train`: what it prints, what it leaves behind, and that every option has its effect."""

import csv
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

import xpmlp
from tests.cli.watched import RUN_FILES, assert_same_run, on_a_terminal
from xpmlp.recipes import SETTINGS, by_name
from xpmlp.runs import RunDirectory

pytestmark = [pytest.mark.extended(keep=11), pytest.mark.usefixtures("undrawn")]

SUMMARY: dict[str, type] = {
    **dict.fromkeys(("backend", "device", "dtype", "version", "python", "platform"), str),
    **dict.fromkeys(("epochs", "steps", "seed"), int),
    **dict.fromkeys(("seconds", "seconds_per_step", "train_accuracy"), float),
    **dict.fromkeys(("test_accuracy", "test_loss"), float),
}


def config(run: Path) -> dict:
    """The settings of a run by name."""
    return by_name(tomllib.loads((run / "config.toml").read_text("utf-8")))[0]


def summary(run: Path) -> dict:
    return json.loads((run / "summary.json").read_text("utf-8"))


def metrics(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "metrics.csv").read_text("utf-8").splitlines()))


def model_bytes(run: Path) -> bytes:
    return (run / "model.safetensors").read_bytes()


# The run directory


def test_run_directory_is_complete(trained: Path) -> None:
    assert {entry.name for entry in trained.iterdir()} == set(RUN_FILES)


def test_summary_has_the_keys_that_other_programs_rely_on(trained: Path) -> None:
    found = summary(trained)
    assert {name: type(value) for name, value in found.items()} == SUMMARY
    assert found["steps"] == 50
    assert found["epochs"] == 2
    assert found["seed"] == 11
    assert found["version"] == xpmlp.__version__
    assert found["seconds_per_step"] == found["seconds"] / 50


def test_history_has_a_loss_per_iteration_and_an_accuracy_per_epoch(trained: Path) -> None:
    with np.load(trained / "history.npz") as history:
        assert history["loss"].shape == (50,)
        assert history["accuracy"].shape == (2,)
        assert history["accuracy"][-1] == summary(trained)["train_accuracy"]


def test_metrics_has_a_row_per_epoch(trained: Path) -> None:
    rows = metrics(trained)
    assert list(rows[0]) == ["epoch", "iterations", "loss", "accuracy"]
    assert [(row["epoch"], row["iterations"]) for row in rows] == [("1", "25"), ("2", "50")]
    with np.load(trained / "history.npz") as history:
        assert float(rows[1]["loss"]) == history["loss"][25:].mean(dtype=np.float64)
        assert float(rows[1]["accuracy"]) == history["accuracy"][1]


def test_model_has_its_architecture_as_metadata(trained: Path) -> None:
    tensors = load_file(trained / "model.safetensors")
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    assert shapes == {"W1": (16, 8), "b1": (8,), "W2": (8, 10), "b2": (10,)}
    with safe_open(trained / "model.safetensors", framework="numpy") as file:
        metadata = json.loads(file.metadata()["xpmlp"])
    assert metadata["layer_sizes"] == [16, 8, 10]
    assert metadata["hidden"] == "sigmoid"
    assert metadata["image_shape"] == [4, 4]


def test_picture_is_20_by_10_inches(trained: Path) -> None:
    with Image.open(trained / "training.png") as picture:
        assert picture.size == (2000, 1000)


def test_config_is_complete_and_its_paths_hold_from_anywhere(trained: Path, data: Path) -> None:
    found = config(trained)
    # Complete but for what this optimizer, schedule, loss and average have no use for.
    optional = {name for name, one in SETTINGS.items() if one.default is None}
    assert set(found) == set(SETTINGS) - optional | {"weight_decay"}
    assert found["data"] == str(data)
    assert found["backend"] == "numpy"


def test_config_can_be_trained_again(command, trained: Path, tmp_path: Path) -> None:
    assert command("train", trained / "config.toml", "--out", "again").status == 0
    assert_same_run(trained, tmp_path / "again")


# What it prints


def test_train_prints_what_the_lecture_prints_and_where_the_run_lies(command, tiny) -> None:
    said = command(*tiny, "--out", "here")
    assert said.status == 0
    assert said.out.splitlines()[2:5] == [
        "W/B Shapes",
        "W1/B1: (16, 8)/(8,)",
        "W2/B2: (8, 10)/(10,)",
    ]
    assert said.out.startswith("numpy on cpu: asked for by name\n")
    assert "Test accuracy" in said.out
    assert "Run saved in here (next: xpmlp report here)" in said.out
    lines = said.err.splitlines()
    assert [line.split()[1] for line in lines] == ["1/2", "2/2"]
    assert all("loss" in line and "accuracy" in line and "samples/s" in line for line in lines)


def test_output_in_a_pipe_is_plain(command, tiny) -> None:
    said = command(*tiny)
    assert "\x1b" not in said.out + said.err
    assert "\r" not in said.out + said.err


def test_quiet_prints_nothing(command, tiny) -> None:
    assert command(*tiny, "--quiet") == (0, "", "")


def test_train_says_why_auto_took_a_backend(command, tiny) -> None:
    said = command(*tiny, "--backend", "auto")
    assert said.status == 0
    reason = said.out.splitlines()[0]
    assert reason.startswith(("numpy on the cpu: ", "cupy on cuda:"))
    assert config(Path("runs/lecture-1"))["backend"] in ("numpy", "cupy")  # not auto: it repeats


def test_a_terminal_gets_colour_and_a_bar_with_time_left(tiny) -> None:
    seen = on_a_terminal(*tiny)
    assert "\x1b[32mW/B Shapes\x1b[0m" in seen
    bar = seen.split("\r")[-2:]
    assert "epoch  " not in seen  # not even the first frame is empty
    assert any("2/2" in part for part in seen.split("\r")), bar
    assert "0:00:00\x1b[0m left" in seen
    assert "samples/s" in seen


def test_terminal_keeps_one_line_for_each_epoch(tiny) -> None:
    seen = on_a_terminal(*tiny, "--epochs", "3")
    kept = re.findall(r"epoch (\d)/3  loss [\d.]+  accuracy [\d.]+  [\d,]+ samples/s\r?\n", seen)
    assert kept == ["1", "2", "3"]


def test_rows_fit_80_columns(tiny) -> None:
    """The line of an epoch with validation, and the table of 10 classes."""
    seen = on_a_terminal(*tiny, "--set", "validation=0.2", TERM="dumb", COLUMNS="80")
    epochs = [line for line in seen.splitlines() if line.startswith("epoch ")]
    assert len(epochs) == 2
    assert all(line.endswith("samples/s") and "val loss" in line for line in epochs)
    np.save("rows.npy", np.zeros((3, 16), np.uint8))
    seen = on_a_terminal("predict", "runs/lecture-1", "rows.npy", TERM="dumb", COLUMNS="80")
    rows = [line for line in seen.splitlines() if line.startswith(("input", "rows.npy"))]
    assert [len(line.split()) for line in rows] == [12] * 4
    assert max(map(len, [*epochs, *rows])) <= 80


@pytest.mark.extended
def test_dumb_terminal_gets_lines(tiny) -> None:
    lines = [line for line in on_a_terminal(*tiny, TERM="dumb").splitlines() if "epoch " in line]
    assert [line.split()[1] for line in lines[:2]] == ["1/2", "2/2"]
    assert not any("━" in line for line in lines)


def test_terminal_shows_the_final_numbers_in_bold(tiny) -> None:
    assert "\x1b[1mTest accuracy" in on_a_terminal(*tiny)


def test_terminal_wraps_messages_between_words(tiny) -> None:
    message = "x" * 30
    seen = on_a_terminal(*tiny, "--set", f"{message}=1", status=2, COLUMNS="40")
    lines = seen.splitlines()
    assert len(lines) > 1
    assert all(len(line) <= 40 for line in lines)
    assert " ".join(line.strip() for line in lines).count(message) == 1


@pytest.mark.extended
def test_terminal_keeps_json_and_the_next_command_whole(tiny) -> None:
    assert "lecture" in json.loads(on_a_terminal("recipes", "--json", COLUMNS="40"))
    seen = on_a_terminal(*tiny, "--out", "a-rather-long-name", COLUMNS="40")
    assert "(next: xpmlp report a-rather-long-name)\r\n" in seen


def test_no_color_is_respected(tiny) -> None:
    seen = on_a_terminal(*tiny, NO_COLOR="1")
    assert "W/B Shapes\r\n" in seen
    assert "\x1b[3" not in seen


def test_hints_can_be_pasted_into_a_shell(command, tiny) -> None:
    said = command(*tiny, "--out", "my [red]run[/red] :smile: ü")
    assert said.status == 0
    assert "Run saved in my [red]run[/red] :smile: ü (" in said.out
    assert "xpmlp report 'my [red]run[/red] :smile: ü'" in said.out


# Options


@pytest.mark.extended(keep=3)
@pytest.mark.parametrize(
    ("options", "setting", "value"),
    [
        ("--dtype float64", "dtype", "float64"),
        ("--epochs 3", "epochs", 3),
        ("--batch-size 50", "batch_size", 50),
        ("--learning-rate 0.5", "learning_rate", 0.5),
        ("--hidden 5,4,3", "layer_sizes", [16, 5, 4, 3, 10]),
        ("--seed 3", "seed", 3),
        ("--shuffle", "shuffle", True),
        ("--members 2", "members", 2),
        ("--set model.activation=tanh", "activation", "tanh"),
        ("--set optimizer.learning_rate=1", "learning_rate", 1.0),
        ("--set seed=7", "seed", 7),
        ("--set shuffle=true --no-shuffle --seed 5", "shuffle", False),
    ],
)
def test_an_option_is_written_down_and_changes_what_is_learnt(
    command, tiny, trained: Path, options: str, setting: str, value: object
) -> None:
    assert command(*tiny, *options.split(), "--out", "r").status == 0
    assert config(Path("r"))[setting] == value
    assert model_bytes(Path("r")) != model_bytes(trained)


def test_no_hidden_layer_at_all(command, tiny) -> None:
    assert command(*tiny, "--hidden", "", "--out", "r").status == 0
    assert config(Path("r"))["layer_sizes"] == [16, 10]


def test_dtype_is_that_of_the_parameters_and_the_losses(command, tiny) -> None:
    command(*tiny, "--dtype", "float64", "--out", "r")
    assert load_file("r/model.safetensors")["W1"].dtype == np.float64
    with np.load("r/history.npz") as history:
        assert history["loss"].dtype == np.float64


def test_device_is_kept(command, tiny) -> None:
    assert command(*tiny, "--device", "cpu", "--out", "r").status == 0
    assert config(Path("r"))["device"] == summary(Path("r"))["device"] == "cpu"


def test_an_option_is_stronger_than_set_and_set_than_the_file(command, tiny, tmp_path) -> None:
    (tmp_path / "mine.toml").write_text("epochs = 7\nseed = 1\nmembers = 2\n")
    train, *options = tiny
    settings = ["--set", "epochs=5", "--set", "seed=2", "--seed", "3"]
    assert command(train, "mine.toml", *options, *settings).status == 0
    found = config(tmp_path / "runs/mine-1")
    assert (found["epochs"], found["seed"], found["members"]) == (2, 3, 2)


def test_runs_without_out_are_numbered(command, tiny, tmp_path: Path) -> None:
    for _ in range(2):
        command(*tiny, "--quiet")
    assert {entry.name for entry in (tmp_path / "runs").iterdir()} == {"lecture-1", "lecture-2"}


def test_paths_are_as_seen_from_where_the_command_runs(
    command, tiny, data: Path, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "a [b] ü").symlink_to(data)
    assert command(*tiny, "--data", "a [b] ü", "--out", "x/y/z").status == 0
    monkeypatch.chdir("/")
    assert command("train", tmp_path / "x/y/z/config.toml", "--out", tmp_path / "w").status == 0
    assert_same_run(tmp_path / "x/y/z", tmp_path / "w")


# Repeatable


def test_same_seed_gives_the_same_bytes_and_another_others(command, tiny, tmp_path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        command(*tiny, "--shuffle", "--seed", seed, "--out", name)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert model_bytes(tmp_path / "a") != model_bytes(tmp_path / "c")


def test_each_member_learns_what_its_seed_learns_alone(
    command, tiny, trained_members: Path, trained: Path
) -> None:
    together = load_file(trained_members / "model.safetensors")
    assert together["W1"].shape == (3, 16, 8)
    assert together["b2"].shape == (3, 10)
    command(*tiny, "--seed", "13", "--out", "third")
    for member, run in ((0, trained), (2, Path("third"))):
        alone = load_file(run / "model.safetensors")
        for name in alone:
            np.testing.assert_allclose(together[name][member], alone[name], rtol=1e-4, atol=1e-5)


def test_members_are_told_apart_in_every_file(trained_members: Path) -> None:
    with np.load(trained_members / "history.npz") as history:
        assert history["loss"].shape == (50, 3)
        assert history["accuracy"].shape == (2, 3)
    rows = metrics(trained_members)
    series = [f"{name}_{member}" for name in ("loss", "accuracy") for member in (1, 2, 3)]
    assert list(rows[0]) == ["epoch", "iterations", "loss", "accuracy", *series]
    found = summary(trained_members)
    assert SUMMARY.keys() < found.keys()
    assert len(found["member_test_accuracy"]) == 3
    assert np.mean(found["member_test_accuracy"]) == pytest.approx(found["test_accuracy"])


# Initial weights


def lectures_weights(**changes: np.ndarray) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    weights = {
        "W1": random.standard_normal((16, 8)),
        "B1": np.zeros(8),
        "W2": random.standard_normal((8, 10)),
        "B2": np.zeros(10),
    }
    return {**weights, **changes}


def test_training_starts_from_the_weights_it_is_given(command, tiny, tmp_path: Path) -> None:
    weights = lectures_weights()
    np.savez("weights.npz", **weights)
    options = ("--initial-weights", "weights.npz", "--dtype", "float64")
    # A rate so small that nothing is learnt: the initial weights are saved.
    assert command(*tiny, *options, "--learning-rate", "1e-300", "--out", "r").status == 0
    model = load_file("r/model.safetensors")
    for name, value in weights.items():
        np.testing.assert_allclose(model[name.replace("B", "b")], value, rtol=0, atol=1e-290)
    assert config(tmp_path / "r")["initial_weights"] == str(tmp_path / "weights.npz")


def test_members_start_from_weights_of_their_own(command, tiny) -> None:
    stacked = {name: np.stack([w, 2 * w]) for name, w in lectures_weights().items()}
    np.savez_compressed("weights.npz", **stacked)
    options = ("--initial-weights", "weights.npz", "--members", 2, "--learning-rate", 1e-30)
    assert command(*tiny, *options, "--out", "r").status == 0
    W1 = load_file("r/model.safetensors")["W1"]
    np.testing.assert_array_equal(W1, stacked["W1"].astype(np.float32))


def test_evaluate_loads_a_trained_model(trained: Path) -> None:
    model, parameters, image_shape, *_ = RunDirectory(trained).load_model()
    assert model.layer_sizes == (16, 8, 10)
    assert parameters.shape == (model.parameter_count,)
    assert image_shape == (4, 4)
