"""Trained on one kind of data, asked about another: right or refused, as docs/data.md has it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from xpmlp.cli.app import run as command
from xpmlp.data import write_idx

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow", reason="needs pyarrow (the extra `tables`)")

DOCS = Path(__file__).parents[2] / "docs" / "data.md"
NAMES = np.array(["left", "top"])
SIDE, COUNT = 8, 60

IMAGES = np.random.default_rng(0).integers(0, 40, (2 * COUNT, SIDE, SIDE), np.uint8)
LABELS = np.arange(2 * COUNT) % 2
IMAGES[LABELS == 0, 1:-1, 1:3] += 190  # a bright bar that turns into the other if transposed
IMAGES[LABELS == 1, 1:3, 1:-1] += 190
TRAIN, TEST = slice(0, COUNT), slice(COUNT, None)
PIXELS = [f"p{number}" for number in range(SIDE * SIDE)]


def save_idx(place: Path, *, prefix: str = "", transposed: bool = False) -> None:
    place.mkdir()
    for part, rows in (("train", TRAIN), ("t10k", TEST)):
        images = IMAGES[rows].swapaxes(1, 2) if transposed else IMAGES[rows]
        write_idx(place / f"{prefix}{part}-images-idx3-ubyte", images)
        write_idx(place / f"{prefix}{part}-labels-idx1-ubyte", LABELS[rows].astype(np.uint8))


def save_npz(place: Path, images: np.ndarray) -> None:
    arrays = {"X_train": images[TRAIN], "X_test": images[TEST]}
    np.savez(place, y_train=LABELS[TRAIN], y_test=LABELS[TEST], **arrays)


def save_npy(place: Path) -> None:
    place.mkdir()
    for part, rows in (("train", TRAIN), ("test", TEST)):
        np.save(place / f"X_{part}.npy", IMAGES[rows])
        np.save(place / f"y_{part}.npy", LABELS[rows])


def save_folders(place: Path) -> None:
    for number, (image, name) in enumerate(zip(IMAGES, NAMES[LABELS], strict=True)):
        folder = place / ("train" if number < COUNT else "test") / name
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")


def save_tables(place: Path, save: Callable[[Any, Path], Any], ending: str, **changes: Any) -> None:
    place.mkdir()
    X = changes.pop("X", IMAGES).reshape(2 * COUNT, -1)
    frame = pd.DataFrame(X, columns=PIXELS).assign(label=LABELS).assign(**changes)
    save(frame[:COUNT], place / f"train{ending}")
    save(frame[COUNT:], place / f"test{ending}")


def to_csv(frame: Any, path: Path) -> None:
    frame.to_csv(path, index=False)


KINDS: dict[str, Callable[[Path], None]] = {
    "IDX": save_idx,
    "IDX of EMNIST": lambda place: save_idx(place, prefix="emnist-x-", transposed=True),
    "npz, bytes": lambda place: save_npz(place, IMAGES),
    "npz, 0 to 1": lambda place: save_npz(place, (IMAGES / 255).astype(np.float32)),
    "npz, 0 to 255": lambda place: save_npz(place, IMAGES.astype(np.float32)),
    "npy": save_npy,
    "folders": save_folders,
    "CSV": lambda place: save_tables(place, to_csv, ".csv"),
    "CSV, names": lambda place: save_tables(place, to_csv, ".csv", label=NAMES[LABELS]),
    "CSV, turned": lambda place: save_tables(
        place, lambda frame, path: frame[frame.columns[::-1]].to_csv(path, sep=";"), ".csv"
    ),
    "Parquet, bytes": lambda place: save_tables(
        place, lambda frame, path: frame.to_parquet(path), ".parquet"
    ),
    "Parquet, 0 to 255": lambda place: save_tables(
        place,
        lambda frame, path: frame.sample(frac=1, random_state=0).to_parquet(path),
        ".parquet",
        X=IMAGES.astype(np.float64),
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    for name, save in KINDS.items():
        save(folder / (name + (".npz" if name.startswith("npz") else "")))
    return folder


def place_of(folder: Path, name: str) -> str:
    return str(next(one for one in folder.iterdir() if one.name in (name, f"{name}.npz")))


@pytest.mark.parametrize("trained_on", KINDS)
def test_other_data_are_measured_right_or_refused(
    folder: Path, trained_on: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    settings = ["--hidden", "16", "--epochs", "60", "--learning-rate", "0.5", "--shuffle"]
    settings += ["--quiet", "--batch-size", "10", "--out", run]
    assert command(["train", "--data", place_of(folder, trained_on), *settings]) == 0
    found = []
    for asked in KINDS:
        capsys.readouterr()
        status = command(["evaluate", run, "--json", "--data", place_of(folder, asked)])
        said = capsys.readouterr()
        if status == 2:
            assert len(said.err.strip().splitlines()[-1:]) == 1
            found.append("refused")
        else:
            assert status == 0
            assert json.loads(said.out)["accuracy"] >= 0.95, f"{trained_on}: {asked}"
            found.append("right")
    [row] = re.findall(rf"^\| {re.escape(trained_on)} \|(.*)\|$", DOCS.read_text("utf-8"), re.M)
    assert [cell.strip() for cell in row.split("|")] == found


def test_table_of_the_docs_has_all_kinds() -> None:
    [heads] = re.findall(r"^\| trained on \|(.*)\|$", DOCS.read_text("utf-8"), re.M)
    assert [head.strip() for head in heads.split("|")] == list(KINDS)
