"""Data sets in tables: the labels' column, classes, missing values, and files that are broken."""

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data import refusing
from tests.data.refusing import cut_or_flipped, examples, outcome
from xpmlp.data import Dataset, load_data

pytestmark = pytest.mark.extended(keep=14)

pa = pytest.importorskip("pyarrow", reason="needs pyarrow (the extra `tables`)")
parquet = pytest.importorskip("pyarrow.parquet")
csv = pytest.importorskip("pyarrow.csv")

COUNT = 30
COLUMNS = {
    "size": np.linspace(0.5, 4, COUNT),
    "rings": np.arange(COUNT) * 3,
    "species": np.array(["oak", "ash", "elm"] * (COUNT // 3)),
}


def save(path: Path, columns: dict[str, Any] = COLUMNS, **changes: Any) -> Path:
    table = pa.table(columns | changes)
    csv.write_csv(table, path) if path.suffix == ".csv" else parquet.write_table(table, path)
    return path


def load(path: Path) -> Dataset:
    return load_data(str(path))


refusal = functools.partial(refusing.refusal, load)


@pytest.fixture(params=[".csv", ".parquet"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"trees{request.param}"


@pytest.mark.parametrize("label", ["label", "class", "target"])
def test_column_of_labels_is_found_by_its_name(file: Path, label: str) -> None:
    columns = {("x" if name == "rings" else name): COLUMNS[name] for name in COLUMNS}
    columns[label] = columns.pop("species")
    columns["last"] = np.arange(COUNT)
    found = load(save(file, columns))
    assert found.where == f"{file} (target: column {label!r})"
    assert found.name == "trees"
    assert found.image_shape == (3,)
    assert found.train.X.shape == (27, 3)
    assert found.test.X.shape == (3, 3)
    assert sorted(found.test.labels.tolist()) == [0, 1, 2]  # Of each class a tenth.
    rows = dict(zip(columns["last"].tolist(), columns[label], strict=True))
    for X, number in zip(found.train.X, found.train.labels, strict=True):
        assert rows[int(X[2])] == ["ash", "elm", "oak"][number]
        assert X[1] == 3 * X[2]


def test_label_column_is_the_last_by_default(file: Path) -> None:
    columns = {"a": COLUMNS["size"], "Label": COLUMNS["rings"], "b": [0, 1] * 15}
    found = load(save(file, columns))
    assert found.where.endswith("(target: column 'b')")
    assert found.train.labels.dtype == np.int64
    assert set(found.train.labels.tolist()) == {0, 1}


def test_train_and_test_are_two_files(tmp_path: Path, file: Path) -> None:
    directory = tmp_path / "trees"
    directory.mkdir()
    columns = {"rings": COLUMNS["rings"], "species": COLUMNS["species"]}
    test = {"rings": [1, 2], "species": ["elm", "ash"]}
    save(directory / f"train{file.suffix}", columns)
    save(directory / f"test{file.suffix}", test)
    found = load(directory)
    assert found.name == "trees"
    np.testing.assert_array_equal(found.train.X[:, 0], COLUMNS["rings"])
    assert found.train.labels.tolist() == [2, 0, 1] * 10
    assert found.test.labels.tolist() == [1, 0]

    save(directory / f"test{file.suffix}", test | {"species": ["elm", "fir"]})
    assert "class 'fir' in row 1 is not one of the 3" in refusal(directory)
    save(directory / f"test{file.suffix}", {"ring": [1, 2], "species": ["elm", "ash"]})
    assert "no column 'rings', which the network was trained with; it has 'ring'" in refusal(
        directory
    )
    (directory / f"test{file.suffix}").unlink()
    assert "no files test.csv or test.parquet" in refusal(directory)


@pytest.mark.parametrize(
    ("labels", "kind", "first"),
    [
        (["7", "3"], np.int64, 7),
        (["7.0", "3"], np.int64, 7),
        (["7.5", "3"], np.float64, [7.5]),
        (["a7", "3"], np.int64, 1),
        (["1_0", "inf"], np.int64, 0),
    ],
)
def test_labels_are_numbers_if_all_of_them_are(
    file: Path, labels: list[str], kind: type, first: Any
) -> None:
    directory = file.parent / "two"
    directory.mkdir()
    for part in ("train", "test"):
        save(directory / f"{part}{file.suffix}", {"a": [1, 2], "label": labels})
    found = load(directory).train.labels
    assert found.dtype == kind
    assert found[0].tolist() == first


def test_numbers_are_kept_as_exactly_as_they_are(file: Path) -> None:
    found = load(save(file, {"a": np.arange(COUNT) + 2**40, "label": [0, 1] * 15}))
    assert sorted([*found.train.X.ravel(), *found.test.X.ravel()])[-1] == 2**40 + COUNT - 1
    found = load(save(file, {"a": np.arange(COUNT) / 2, "label": [0, 1] * 15}))
    assert found.train.X.dtype == (np.float32)


def test_bytes_in_parquet_are_pixels_and_truth_values_are_none(tmp_path: Path) -> None:
    pixels = {"a": np.arange(COUNT, dtype=np.uint8), "label": [0, 1] * 15}
    assert load(save(tmp_path / "a.parquet", pixels)).train.X.dtype == np.uint8
    truths = {"a": [True, False] * 15, "label": [False, True] * 15}
    found = load(save(tmp_path / "b.parquet", truths))
    assert set(found.train.X.ravel().tolist()) == {0.0, 1.0}
    assert found.schema.classes == ("False", "True")
    assert set(found.train.labels.tolist()) == {0, 1}


def test_categories_of_pandas(tmp_path: Path) -> None:
    columns = COLUMNS | {"class": pa.array(COLUMNS["species"]).dictionary_encode()}
    del columns["species"]
    found = load(save(tmp_path / "a.parquet", columns))
    assert sorted(found.test.labels.tolist()) == [0, 1, 2]


def test_a_missing_value_has_the_median_and_is_marked(file: Path) -> None:
    values = COLUMNS["size"].tolist()
    values[17] = None
    found = load(save(file, COLUMNS | {"size": values}))
    assert found.schema.encoded_names == ("size", "size missing", "rings")
    rows = np.concatenate([found.train.X, found.test.X])
    [row] = rows[rows[:, 1] == 1.0]
    assert row[0] == np.float32(found.schema.columns[0].medians[0])
    assert row[2] == COLUMNS["rings"][17]


def test_rows_without_a_target_are_left_out(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = COLUMNS["species"].tolist()
    labels[17] = None
    found = load(save(file, COLUMNS | {"species": labels}))
    assert re.search(r"1 rows have no target( \(.*\))?, and are left out", caplog.text)
    rings = np.concatenate([found.train.X, found.test.X])[:, 1]
    assert sorted(rings.tolist()) == [3 * row for row in range(COUNT) if row != 17]


def test_rows_are_counted_over_blocks(tmp_path: Path) -> None:
    count = 200_000  # Several blocks of each kind of file.
    values = np.arange(count) / 4
    columns = {"a": values, "b": values, "label": np.arange(count) % 2}
    for file in (tmp_path / "a.csv", tmp_path / "a.parquet"):
        assert load(save(file, columns)).train.X.shape == (count * 9 // 10, 2)
        late = [*values[:-1], np.inf]
        assert "an infinite value in row 199,999, column 'b'" in refusal(
            save(file, columns | {"b": late})
        )


def test_whole_numbers_first_and_fractions_later(tmp_path: Path) -> None:
    """The first block of a CSV file does not decide what the others may be."""
    file = tmp_path / "a.csv"
    lines = ["a,label", *["1,0"] * 400_000, "1.5,x"]
    file.write_text("\n".join(lines))
    found = load(file)
    assert 1.5 in np.concatenate([found.train.X, found.test.X])
    assert found.train.labels.max() == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "the file is empty"),
        ("a,label\n", "no rows"),
        ("a,label", "no rows; give a table"),
        ("label\n1\n", "1 column, a table has values and a target"),
        ("a,a,label\n1,2,3\n", "two columns are called 'a'"),
        ("1,2,3\n4,5,6\n", "the first line has numbers only"),
        ("a,label\n1,2\n3\n", "Expected 2 columns, got 1"),
        ("a,label\n" + "inf,2\n" * 10, "an infinite value in row 0, column 'a'"),
        ("a,label\n" + "nan,2\n" * 10, "no column but the target has values"),
        ("a,label\n" + "nan,\n" * 10, "no rows; give a table with rows that have a target"),
        ("a,label\n1,2\n3,4\n", "2 rows, of which a tenth"),
        ("a,label\n\udcff,2\n", "cannot be read as a table"),
    ],
)
def test_csv_files_that_are_no_tables(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(content.encode(errors="surrogateescape"))
    assert says in refusal(file)


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ([[1]] * COUNT, "column 'x' has elements of type list"),
        (pa.array([1] * COUNT, pa.time32("s")), "column 'x' has elements of type time32"),
    ],
)
def test_parquet_columns_of_other_types(tmp_path: Path, column: list[Any], says: str) -> None:
    file = save(tmp_path / "a.parquet", {"x": column, "label": [0, 1] * 15})
    assert says in refusal(file)
    file = save(tmp_path / "a.parquet", {"x": [0, 1] * 15, "label": [[1]] * COUNT})
    assert "column 'label' has labels of type list" in refusal(file)


def test_a_table_larger_than_half_the_memory(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpmlp.data.tables.host_memory", lambda: 100)
    assert "more than 50 bytes of rows, half of this machine's memory" in refusal(save(file))


def test_table_without_pyarrow_says_what_to_install(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(file)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert "pip install 'xpmlp[tables]'" in refusal(file)


@pytest.mark.extended(keep=1)
@examples(200)
@given(data=st.data())
def test_any_cut_or_flip(file: Path, data: st.DataObject) -> None:
    file.write_bytes(cut_or_flipped(data, save(file).read_bytes()))
    found = outcome(load, file)
    if not isinstance(found, str):
        assert len(found.train.X) == len(found.train.labels)
