"""Bad input to `xpmlp train`: status 2, one line that names it and the remedy, nothing left."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from xpmlp.data import write_idx

pytestmark = [pytest.mark.extended(keep=17), pytest.mark.usefixtures("undrawn")]


def expect(line: str, *parts: str) -> None:
    for part in parts:
        assert part in line


# Data


@pytest.fixture
def broken(tmp_path: Path, make_data) -> Path:
    """A data set for a test to break."""
    return make_data(tmp_path / "broken")


IMAGES = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"


def _wrong_magic(path: Path) -> None:
    path.write_bytes(b"\x01\x02" + path.read_bytes()[2:])


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _oversized(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def _promises_everything(path: Path) -> None:
    path.write_bytes(b"\0\0\x08\x03" + b"\xff" * 12)


def _cut_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(path.read_bytes())[:-9])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("file", [IMAGES, LABELS, "t10k-images-idx3-ubyte"])
@pytest.mark.parametrize(
    "damage",
    [_wrong_magic, _truncated, _oversized, _promises_everything, _cut_gzip, _empty],
)
def test_a_broken_idx_file(refused, tiny, broken: Path, damage, file: str) -> None:
    damage(broken / file)
    expect(refused(*tiny, "--data", broken, "--out", "r"), file, "; ")


@pytest.mark.parametrize(
    ("file", "array", "said"),
    [
        (LABELS, np.zeros(99, np.uint8), ["100 rows and 99 labels", "one label per row"]),
        (LABELS, np.full(100, 10, np.uint8), ["label 10 in row 0", "9", "layer_sizes=16,8,11"]),
        (LABELS, np.full(100, -1, np.int8), ["label -1 in row 0", "renumber"]),
        (LABELS, np.zeros(100, np.float32), ["float32", "convert"]),
        (LABELS, np.zeros((100, 1), np.uint8), ["rank 2", "rank 1"]),
        (IMAGES, np.zeros((100, 5, 5), np.uint8), ["(5, 5)", "(4, 4)", "one shape"]),
        (IMAGES, np.zeros(100, np.uint8), ["rank 1", "at least rank 2"]),
        (IMAGES, np.zeros((0, 4, 4), np.uint8), ["(0, 4, 4)"]),
    ],
)
def test_files_that_do_not_fit_together(refused, tiny, broken: Path, file, array, said) -> None:
    write_idx(broken / file, array)
    expect(refused(*tiny, "--data", broken, "--out", "r"), broken.name, *said)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_data_that_are_no_numbers(refused, tiny, broken: Path, bad: float) -> None:
    X = np.zeros((100, 4, 4), np.float32)
    X[7, 2, 2] = bad
    write_idx(broken / IMAGES, X)
    line = refused(*tiny, "--data", broken, "--out", "r")
    expect(line, str(broken), "NaN or infinite", "row 7", "remove or replace")


def test_images_of_another_size_than_the_network_takes(refused, tiny) -> None:
    line = refused(*tiny, "--set", "model.layer_sizes=784,8,10", "--out", "r")
    expect(line, "4 x 4 = 16", "784", "--set model.layer_sizes=16,8,10")


def test_directories_without_data(refused, tiny, tmp_path: Path) -> None:
    expect(refused(*tiny, "--data", "nowhere"), "nowhere", "give a directory")
    (tmp_path / "empty").mkdir()
    expect(refused(*tiny, "--data", "empty"), "empty", IMAGES)
    expect(refused(*tiny, "--data", ""), "data=")
    (tmp_path / "file").write_text("")
    expect(refused(*tiny, "--data", "file"), "file", "give a directory")
    refused(*tiny, "--data", "x" * 300)


# Places


def test_a_place_that_holds_a_run(refused, tiny, trained: Path) -> None:
    expect(refused(*tiny, "--out", trained), str(trained), "--out", f"--resume {trained}")


@pytest.mark.parametrize("out", ["file", "file/below", "/proc/xpmlp", "/dev/null", "x" * 300])
def test_a_place_that_cannot_be_written(refused, tiny, tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("in the way")
    expect(refused(*tiny, "--out", out), out, "cannot be made", "--out")


def test_no_directory_is_left_where_not_even_the_settings_can_be_written(
    refused, tiny, monkeypatch
) -> None:
    def full(self: Path, *_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    expect(refused(*tiny, "--out", "r"), "r/config.toml", "No space left on device")


def test_runs_is_a_file(refused, tiny, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("in the way")
    expect(refused(*tiny), "runs: cannot be made", "--out")


# Settings


@pytest.mark.extended(keep=10)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--hidden 64,0,10", ["64,0,10", "width 2 is 0", ">= 1"]),
        ("--hidden=-5", ["-5", ">= 1"]),
        ("--hidden a,b", ["a,b", "integers", "64,32"]),
        ("--hidden 8,,8", ["8,,8", "integers"]),
        ("--hidden 99999999999999999999", ["layer_sizes=16,99999999999999999999,10", "less"]),
        ("--learning-rate -1", ["learning_rate=-1", "above 0"]),
        ("--learning-rate 0", ["learning_rate=0", "above 0"]),
        ("--learning-rate nan", ["learning_rate=nan", "finite"]),
        ("--learning-rate inf", ["learning_rate=inf", "finite"]),
        ("--learning-rate fast", ["learning_rate=fast", "number"]),
        ("--members 2 --learning-rate 0.1,-2", ["learning_rate=0.1,-2", "above 0"]),
        ("--learning-rate 0.1,0.2", ["learning_rate=0.1,0.2", "2 values", "--members 2"]),
        ("--set optimizer.learning_rate=[0.1,'x']", ["learning_rate=0.1,x", "number"]),
        ("--set optimizer.learning_rate=true", ["learning_rate=True", "number"]),
        ("--epochs -1", ["epochs=-1", "1"]),
        ("--epochs 0", ["epochs=0", "1"]),
        ("--epochs 1.5", ["epochs=1.5", "integer"]),
        ("--batch-size 0", ["batch_size=0", "1"]),
        ("--batch-size -4", ["batch_size=-4", "1"]),
        ("--batch-size 101", ["batch_size=101", "100"]),
        ("--seed -1", ["seed=-1", "0"]),
        ("--seed 99999999999999999999", ["seed=99999999999999999999", "less"]),
        ("--members 0", ["members=0", "1"]),
        ("--members 5000", ["members=5000", "4096"]),
        ("--dtype float16", ["dtype=float16", "numpy computes in float32 or float64"]),
        ("--dtype half", ["dtype='half'", "float32, float64"]),
        ("--compile yes", ["compile='yes'", "auto, require, off"]),
        ("--threads many", ["threads='many'", "integer"]),
        ("--backend nunpy", ["backend='nunpy'", "did you mean numpy?", "jax"]),
        ("--backend tensorflow", ["backend='tensorflow'", "auto, numpy, cupy, jax, torch"]),
        ("--device tpu", ["'tpu'", "cpu, cuda"]),
        ("--device cuda", ["'cuda'", "--backend cupy"]),
        ("--set epoch=3", ["'epoch'", "did you mean epochs?"]),
        ("--set epochs", ["--set epochs", "key=value"]),
        ("--set =3", ["setting ''"]),
        ("--set hidden_sizes=4", ["'hidden_sizes'", "unknown"]),
        ("--set model.activation=sigmod", ["sigmod", "did you mean sigmoid?"]),
        ("--set model.activation=[red]x[/red]", ["[red]x[/red]", "use identity, sigmoid, tanh"]),
        ("--set model.output=linear", ["linear", "softmax"]),
        ("--set seed=two", ["seed=two", "integer"]),
        ("--set seed=2.0", ["seed=2.0", "integer"]),
        ("--set seed=true", ["seed=True", "integer"]),
        ("--set shuffle=maybe", ["shuffle='maybe'", "true or false"]),
        ("--set model.layer_sizes=16", ["layer_sizes=16", "at least two widths"]),
        ("--set model.layer_sizes=5 --hidden 3", ["layer_sizes=5", "at least two widths"]),
        ("--set model.layer_sizes=[]", ["at least two widths"]),
        ("--set model.layer_sizes=[16,'x',10]", ["16,x,10", "integers"]),
        ("--set model.layer_sizes=[16,true,10]", ["16,True,10", "integers"]),
        ("--initial-weights nowhere.npz", ["nowhere.npz", "give an .npz file"]),
    ],
)
def test_a_setting_that_cannot_be(refused, tiny, options: str, said: list[str]) -> None:
    expect(refused(*tiny, *options.split(), "--out", "r"), *said)


def test_no_hidden_layer_where_the_widths_do_not_fit(refused, data) -> None:
    expect(refused("train", "--data", data, "--hidden", ""), "784", "layer_sizes=16,10")


def test_layers_beyond_the_memory(refused, tiny, monkeypatch) -> None:
    def allocate(*_: object) -> None:
        raise MemoryError("Unable to allocate 1 TiB")

    monkeypatch.setattr("xpmlp.cli.train.trainer_from_recipe", allocate)
    line = refused(*tiny, "--out", "r")
    expect(line, "out of memory (Unable to allocate 1 TiB)", "smaller layers")


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("lectur", ["'lectur'", "did you mean lecture?", ".toml"]),
        ("nonsense", ["'nonsense'", "lecture, modern"]),
        ("", ["recipe ''"]),
        ("nowhere.toml", ["nowhere.toml", "No such file", "give a .toml file"]),
    ],
)
def test_a_recipe_that_is_unknown(refused, tiny, recipe: str, said: list[str]) -> None:
    train, *options = tiny
    expect(refused(train, recipe, *options), *said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"epochs = \n", ["no valid TOML", "line 1"]),
        (b"epochs = 1\nepochs = 2\n", ["no valid TOML", "line 2"]),
        (b"\xff\xfe", ["no valid TOML", "utf-8"]),
        (b'epochs = "3"\n', ["epochs='3'", "integer"]),
        (b"epochs = 3.0\n", ["epochs=3.0", "integer"]),
        (b'learning_rate = "fast"\n', ["learning_rate=fast", "number"]),
        (b"epoch = 3\n", ["'epoch'", "did you mean epochs?"]),
        (b"[train]\nepochs = 3\n", ["'train'", "epochs"]),
        (b"layer_sizes = [16, 0, 10]\nseed = -2\n", ["width 1 is 0", "seed=-2"]),
    ],
)
def test_a_recipe_file_that_cannot_be(refused, tmp_path: Path, content, said) -> None:
    (tmp_path / "bad.toml").write_bytes(content)
    expect(refused("train", "bad.toml", "--out", "r"), "bad.toml: ", *said)


# Usage


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("train --nonsense", ["--nonsense", "xpmlp train --help"]),
        ("train one two", ["two"]),
        ("train --epochs", ["--epochs", "argument"]),
        ("trian", ["'trian'", "train"]),
        ("evaluate", ["RUN", "xpmlp evaluate --help"]),
        ("predict", ["RUN"]),
        ("predict somewhere", ["INPUT"]),
        ("plot", ["RUN"]),
        ("gradcheck --batch-size 0", ["--batch-size", "1"]),
        ("gradcheck --hidden 0", ["width 1 is 0"]),
        ("gradcheck nonsense", ["'nonsense'", "lecture"]),
        ("--nonsense", ["--nonsense"]),
    ],
)
def test_bad_usage(refused, arguments: str, said: list[str]) -> None:
    expect(refused(*arguments.split()), *said)


def test_no_command_shows_what_there_is(command) -> None:
    said = command()
    assert said.status == 0
    assert "gradcheck" in said.out
    assert said.err == ""


# Backends


def test_a_backend_that_cannot_run_is_status_3(refused, tiny, monkeypatch) -> None:
    monkeypatch.setattr("xpmlp.backends.cupy.ask_driver", lambda: (0, None))
    for options in (("--backend", "cupy"), ("--backend", "auto", "--device", "cuda")):
        line = refused(*tiny, *options, "--out", "r", status=3)
        expect(line, "cupy", "no NVIDIA driver", "pip install 'xpmlp[cuda13]'")


def test_a_line_break_in_a_name_breaks_no_line(refused, tiny) -> None:
    expect(refused(*tiny, "--data", "a\nb\x1b[31m"), "a\\nb")
    expect(refused("evaluate", "a\nb\x1b[31m"), "a\\nb\\x1b[31m")
