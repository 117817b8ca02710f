"""What a table's columns, target and classes are called, and later tables held to it."""

import gzip
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.refusing import refusal_of
from xpmlp.data import Schema, class_count, load_data
from xpmlp.data.schema import NAMELESS
from xpmlp.data.tables import read_table

pytest.importorskip("pyarrow", reason="needs pyarrow (the extra `tables`)")

COUNT = 30
WIDTHS = np.arange(COUNT) / 4
SPECIES = [("oak", "ash", "elm")[row % 3] for row in range(COUNT)]
SCHEMA = Schema(("width", "height"), "species", ("ash", "elm", "oak"))


def lines(*columns: Any, delimiter: str = ",", decimal: str = ".") -> str:
    """The text of a table; the first of each column is its name."""
    rows = (map(str, row) for row in zip(*columns, strict=True))
    texts = ([cell.replace(".", decimal) for cell in row] for row in rows)
    return "\n".join(map(delimiter.join, texts)) + "\n"


def trees(**options: str) -> str:
    return lines(["width", *WIDTHS], ["height", *2 * WIDTHS], ["species", *SPECIES], **options)


def names_of(schema: Schema) -> tuple[Any, ...]:
    return schema.names, schema.target, schema.classes


def saved(path: Path, text: str) -> str:
    path.write_text(text, "utf-8")
    return str(path)


def test_names_are_those_of_the_table(tmp_path: Path) -> None:
    assert names_of(load_data(saved(tmp_path / "a.csv", trees())).schema) == names_of(SCHEMA)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.CSV", {}),
        ("a.csv", {"delimiter": ";"}),
        ("a.csv", {"delimiter": ";", "decimal": ","}),
        ("a.tsv", {"delimiter": "\t"}),
        ("a.csv", {"delimiter": "|"}),
        ("a.csv.gz", {}),
    ],
)
def test_table_is_the_same_however_it_is_written(
    tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    plain = load_data(saved(tmp_path / "plain.csv", trees()))
    text, path = trees(**options), tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    found = load_data(str(path))
    assert found.schema == plain.schema
    assert found.digest == plain.digest
    assert found.name == "a"


def test_truth_values_are_0_and_1(tmp_path: Path) -> None:
    text = lines(["a", *[True, False] * 15], ["b", *["true", "false"] * 15], ["y", *[0, 1] * 15])
    X = read_table(saved(tmp_path / "a.csv", text), Schema(("a", "b"), "y"))
    np.testing.assert_array_equal(X, [[1, 1], [0, 0]] * 15)


def test_target_and_columns_can_be_chosen(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.csv", trees())
    found = load_data(path, target="height", drop=["species"])
    assert names_of(found.schema) == (("width",), "height", ())
    np.testing.assert_array_equal(found.train.labels.ravel(), 2 * found.train.X[:, 0])
    said = refusal_of(load_data, path, target="hight")
    assert "no column 'hight', did you mean height?" in said
    assert "no column 'id', as asked; it has 'width', 'height', 'species'" in refusal_of(
        load_data, path, drop=["id"]
    )


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_index_of_pandas_is_left_out(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = lines([name, *range(COUNT)], ["width", *WIDTHS], ["species", *SPECIES])
    assert load_data(saved(tmp_path / "a.csv", text)).schema.names == ("width",)
    assert "is the index of pandas, and left out" in caplog.text


def test_columns_of_a_trained_network_are_found_by_name(tmp_path: Path) -> None:
    text = lines(
        ["species", *SPECIES], ["more", *WIDTHS], ["height", *2 * WIDTHS], ["width", *WIDTHS]
    )
    path = saved(tmp_path / "a.csv", text)
    found = load_data(path, schema=SCHEMA, holds_out=False)
    np.testing.assert_array_equal(found.test.X, np.stack([WIDTHS, 2 * WIDTHS], axis=1))
    np.testing.assert_array_equal(found.test.X, read_table(path, SCHEMA))
    assert "no column 'depth', which the network was trained with" in refusal_of(
        load_data, path, schema=Schema(("width", "depth"), "species")
    )
    assert "the run does not record the columns of a table" in refusal_of(
        load_data, path, schema=NAMELESS
    )


def test_classes_of_a_trained_network_keep_their_numbers(tmp_path: Path) -> None:
    some = [one for one in SPECIES if one != "ash"]
    text = lines(["width", *WIDTHS[:20]], ["height", *WIDTHS[:20]], ["species", *some])
    found = load_data(saved(tmp_path / "a.csv", text), schema=SCHEMA, holds_out=False)
    assert found.test.labels.tolist() == [SCHEMA.classes.index(one) for one in some]
    path = saved(tmp_path / "b.csv", text.replace("elm", "fir"))
    assert "class 'fir' in row 1" in refusal_of(load_data, path, schema=SCHEMA)


def test_rows_without_target_can_be_predicted_and_not_measured(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.csv", lines(["height", 2.0], ["width", 1.0]))
    np.testing.assert_array_equal(read_table(path, SCHEMA), [[1.0, 2.0]])
    assert "no column 'species', the target" in refusal_of(load_data, path, schema=SCHEMA)


def test_codes_are_classes_of_their_own(tmp_path: Path) -> None:
    text = lines(["width", *WIDTHS], ["code", *["10", "010", "0010"] * 10])
    assert load_data(saved(tmp_path / "a.csv", text)).schema.classes == ("0010", "010", "10")


def test_all_rows_are_test_rows_where_none_are_held_out(tmp_path: Path) -> None:
    text = "\n".join(trees().splitlines()[:7])
    found = load_data(saved(tmp_path / "a.csv", text), schema=SCHEMA, holds_out=False)
    assert len(found.test.labels) == 6


@pytest.mark.parametrize(
    ("labels", "count"),
    [
        (np.arange(150) % 3, 3),
        (np.arange(150) % 3 + 1, 4),  # counted from 1
        (np.arange(10) % 2, 2),
        (np.arange(150) - 7, None),
        (np.arange(150) * 1000, None),
        (np.linspace(0.0, 1.0, 9), None),
        (np.zeros((9, 2)), None),
    ],
)
def test_integers_are_classes_or_numbers(labels: np.ndarray, count: int | None) -> None:
    assert class_count(labels, NAMELESS) == count


def test_folders_have_the_classes_of_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for part in ("train", "val", "test"):
        for name in ("left", "right"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(6):
                Image.new("L", (4, 4), number).save(tmp_path / part / name / f"{number}.png")
    assert load_data(str(tmp_path)).schema.classes == ("left", "right")
    assert "the folder val is not used" in caplog.text
    schema = Schema(classes=("up", "right", "left"))
    found = load_data(str(tmp_path / "train"), schema=schema, holds_out=False)
    assert found.test.labels.tolist() == [2] * 6 + [1] * 6
    said = refusal_of(load_data, str(tmp_path / "train"), schema=Schema(classes=("left", "up")))
    assert "right: a class that the network was not trained on" in said


@pytest.mark.parametrize("option", ["target", "drop", "weights"])
def test_columns_are_chosen_of_tables_alone(option: str) -> None:
    given = {option: ["a"] if option == "drop" else "a"}
    assert f"{option}=a: mnist has no columns" in refusal_of(load_data, "mnist", **given)


def test_classes_with_names_are_no_integers(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.csv", trees())
    said = refusal_of(load_data, path, schema=Schema(("width", "height"), "species"))
    assert "classes with names ('ash', 'elm', 'oak'), the network was trained on numbers" in said
    X = np.zeros((12, 2))
    np.savez(tmp_path / "a.npz", X=X, y=np.array(SPECIES[:12]))
    np.savez(tmp_path / "b.npz", X=X, y=np.arange(12) % 3)
    for name, schema in (("a.npz", NAMELESS), ("b.npz", Schema(classes=("ash", "elm", "oak")))):
        said = refusal_of(load_data, str(tmp_path / name), schema=schema)
        assert "give the classes as in training" in said


def test_weights_are_not_all_0_and_classes_not_endless(tmp_path: Path) -> None:
    text = lines(["width", *WIDTHS], ["w", *[0] * COUNT], ["species", *SPECIES])
    path = saved(tmp_path / "a.csv", text)
    assert "all weights are 0, column 'w'" in refusal_of(load_data, path, weights="w")
    count = 10_001
    text = lines(["x", *range(count)], ["y", *(f"n{row}" for row in range(count))])
    said = refusal_of(load_data, saved(tmp_path / "b.csv", text))
    assert "10,001 classes, at most 10,000 are learned" in said
