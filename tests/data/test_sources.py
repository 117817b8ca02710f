"""What a name or a path means is decided in one place, by what is there."""

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.refusing import refusal_of
from xpmlp.data import DATA_NAMES, load_data, write_idx

X = np.arange(120, dtype=np.uint8).reshape(20, 2, 3)
y = (np.arange(20) % 2).astype(np.uint8)


refusal = functools.partial(refusal_of, load_data)


def idx(path: Path) -> None:
    for part in ("train", "t10k"):
        write_idx(path / f"{part}-images-idx3-ubyte", X)
        write_idx(path / f"{part}-labels-idx1-ubyte", y)


def npy(path: Path) -> None:
    for name, array in (("X_train", X), ("y_train", y), ("X_test", X), ("y_test", y)):
        np.save(path / f"{name}.npy", array)


def tables(path: Path) -> None:
    for part in ("train", "test"):
        rows = [*X.reshape(20, 6).T.tolist(), y.tolist()]
        lines = [",".join(map(str, row)) for row in zip(*rows, strict=True)]
        (path / f"{part}.csv").write_text("\n".join(["a,b,c,d,e,f,label", *lines]))


def pictures(path: Path) -> None:
    for part in ("train", "test"):
        for number in range(20):
            folder = path / part / str(y[number])
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(X[number]).save(folder / f"{number}.png")


KINDS = (idx, npy, tables, pictures)


@pytest.mark.parametrize("kind", KINDS)
def test_a_directory_is_what_it_has(kind, tmp_path: Path) -> None:
    if kind is tables:
        pytest.importorskip("pyarrow", reason="needs pyarrow (the extra `tables`)")
    kind(tmp_path)
    (tmp_path / "README.md").write_text("a note")
    found = load_data(str(tmp_path))
    assert found.train.X.shape == (20, 6)
    assert sorted(found.train.labels.tolist()) == [0] * 10 + [1] * 10
    assert found.name == tmp_path.name
    assert found.where.startswith(str(tmp_path))


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("second", range(4))
def test_a_directory_that_has_two_is_refused(tmp_path: Path, first: int, second: int) -> None:
    if first < second:
        KINDS[first](tmp_path)
        KINDS[second](tmp_path)
        assert "put each data set into a directory of its own" in refusal(str(tmp_path))


def test_source_that_is_no_data_set_is_refused(tmp_path: Path) -> None:
    assert "no data set, it has nothing; give a directory" in refusal(str(tmp_path))
    np.save(tmp_path / "X_train.npy", X)
    assert "has 'X_train'; give files X_train" in refusal(str(tmp_path))
    nowhere = str(tmp_path / "nowhere.npz")
    assert refusal(nowhere).startswith(f"{nowhere}: No such file or directory; give a dir")
    (tmp_path / "a.xlsx").write_bytes(b"")
    message = refusal(str(tmp_path / "a.xlsx"))
    assert (
        "not a kind of file that is read; save a table as .csv or .parquet, or give a dir"
        in message
    )
    assert message.endswith(", or one of mnist, fashion-mnist, kmnist, emnist-balanced")
    for name in ("a\0b", "a" * 5000, ""):
        refusal(name)


def test_names_come_before_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    idx(tmp_path / "mnist")
    assert load_data("mnist").train.X.shape == (60_000, 784)
    assert load_data("./mnist").train.X.shape == (20, 6)
    assert DATA_NAMES == ("mnist", "fashion-mnist", "kmnist", "emnist-balanced")


def test_importing_loads_no_library_of_a_source() -> None:
    code = (
        "import sys, xpmlp.data; "
        "sys.exit(bool({'PIL', 'pyarrow', 'pooch', 'requests'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
