"""A tiny data set, one run trained on it, and the commands called in this process."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from xpmlp.cli.app import run
from xpmlp.data import write_idx

TRAIN, TEST, SIDE = 100, 40, 4


class Said(NamedTuple):
    status: int
    out: str
    err: str


Command = Callable[..., Said]


def write_data(directory: Path, *, images: str = "u1", classes: int = 10, seed: int = 0) -> Path:
    """Four IDX files: 4 x 4 images in which the pixel of the label is bright."""
    random = np.random.default_rng(seed)
    directory.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", TRAIN), ("t10k", TEST)):
        labels = random.integers(0, classes, count).astype(np.uint8)
        X = random.integers(0, 100, (count, SIDE * SIDE)).astype(np.uint8)
        X[np.arange(count), labels] = 255
        write_idx(directory / f"{part}-images-idx3-ubyte", X.reshape(-1, SIDE, SIDE).astype(images))
        write_idx(directory / f"{part}-labels-idx1-ubyte", labels)
    return directory


@pytest.fixture(autouse=True)
def _pipe_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What commands in this process write to, however wide the terminal of who runs the tests is.

    NO_COLOR and TERM stay as they are: no test may depend on them.
    """
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def make_data() -> Callable[..., Path]:
    """Writes a data set of 100 and 40 images into a directory of the test's own."""
    return write_data


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="session")
def tiny(data: Path) -> list[str]:
    """The options of a run that takes milliseconds: 2 epochs of 25 steps."""
    options = "--set model.layer_sizes=16,8,10 --batch-size 4 --epochs 2 --backend numpy"
    return ["train", *options.split(), "--data", str(data)]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny: list[str]) -> Path:
    """A run that tests read and never change."""
    path = tmp_path_factory.mktemp("runs") / "one"
    assert run([*tiny, "--quiet", "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def trained_members(tmp_path_factory: pytest.TempPathFactory, tiny: list[str]) -> Path:
    path = tmp_path_factory.mktemp("runs") / "three"
    assert run([*tiny, "--quiet", "--members", "3", "--out", str(path)]) == 0
    return path


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """A run for a test to change."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training leaves out its figure, which takes longer than all the rest."""
    monkeypatch.setattr("xpmlp.cli.train.plot_training", lambda *_: None)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: object) -> Said:
        capsys.readouterr()
        status = run([str(argument) for argument in arguments])
        return Said(status, *capsys.readouterr())

    return call


@pytest.fixture
def refused(command: Command, tmp_path: Path) -> Callable[..., str]:
    """Calls a command that must exit with 2, say one line and leave nothing behind; the line."""

    def call(*arguments: object, status: int = 2) -> str:
        before = sorted(tmp_path.rglob("*"))
        said = command(*arguments)
        assert said.status == status, said
        assert said.out == ""
        assert len(said.err.splitlines()) == 1, said.err
        assert said.err.startswith("xpmlp: ")
        assert "Traceback" not in said.err
        assert sorted(tmp_path.rglob("*")) == before
        return said.err

    return call
