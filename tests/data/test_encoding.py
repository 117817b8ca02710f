"""How each kind of column becomes numbers, and what is fitted to the training rows."""

import dataclasses
import datetime
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.refusing import examples, refusal_of
from xpmlp.data import Column, Dataset, Schema, load_data
from xpmlp.data.fitting import MOST_CATEGORIES, RowSample
from xpmlp.data.schema import ONE_HOT_CATEGORIES
from xpmlp.data.tables import fit_frame, read_table
from xpmlp.errors import InputError

pa = pytest.importorskip("pyarrow", reason="needs pyarrow (the extra `tables`)")
parquet = pytest.importorskip("pyarrow.parquet")
pd = pytest.importorskip("pandas")

COUNT = 40
LABELS = ["no", "yes"] * (COUNT // 2)
DAYS = [datetime.date(2024, 2, 28) + datetime.timedelta(days=row) for row in range(COUNT)]


def table(**columns: Any) -> Any:
    return pd.DataFrame({**columns, "label": LABELS})


def load(frame: Any, **options: Any) -> Dataset:
    return load_data(frame, **options)


def column_of(values: Any, **options: Any) -> Column:
    """The column that is fitted to these values, all of them training rows."""
    found: Column = load_data(table(x=values), holds_out=False, **options).schema.columns[0]
    return found


def encoded(values: Any, **options: Any) -> np.ndarray:
    found: np.ndarray = load_data(table(x=values), holds_out=False, **options).test.X
    return found


def test_a_number_less_its_median_over_the_quartiles_is_clipped_smoothly() -> None:
    values = np.arange(COUNT) ** 2 / 4
    q25, q50, q75 = np.percentile(values, (25, 50, 75))
    z = (values - q50) / (q75 - q25)
    wanted = (z / np.sqrt(1 + (z / 3) ** 2)).astype(np.float32)
    found = encoded(values, scaling="robust")
    np.testing.assert_allclose(found[:, 0], wanted, rtol=1e-6)
    assert np.abs(encoded(values * 1e300, scaling="robust")).max() < 3.0


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([7.5] * COUNT, [0.0] * COUNT),
        ([0.0] * (COUNT - 1) + [8.0], [0.0] * (COUNT - 1) + [2 / math.sqrt(1 + 4 / 9)]),
        ([5e-324] * 20 + [0.0] * 20, [0.0] * COUNT),
    ],
)
def test_a_number_without_quartiles_is_divided_by_half_its_range(
    values: list[float], wanted: list[float]
) -> None:
    np.testing.assert_allclose(encoded(values, scaling="robust")[:, 0], wanted, rtol=1e-6)


def test_a_missing_value_has_the_median_also_where_none_was_missing_in_training() -> None:
    values = [float(row) for row in range(COUNT)]
    column = column_of(values)
    assert not column.has_missing
    schema = Schema((column,))
    found = read_table(pd.DataFrame({"x": [None, 3.0, math.nan]}), schema)
    assert found.tolist() == [[19.5], [3.0], [19.5]]
    gaps = column_of([None, *values[1:]])
    assert gaps.encoded_names == ("x", "x missing")
    assert read_table(pd.DataFrame({"x": [None, 3.0]}), Schema((gaps,))).tolist() == [
        [20.0, 1.0],
        [3.0, 0.0],
    ]


def test_a_category_has_an_indicator_for_each_value(caplog: pytest.LogCaptureFixture) -> None:
    column = column_of(["red", "blue"] * 19 + [None, "red"])
    assert column.encoded_names == ("x=blue", "x=red", "x missing")
    found = read_table(pd.DataFrame({"x": ["red", None, "green"]}), Schema((column,)))
    assert found.tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 1]]
    assert "1 values of column 'x', such as 'green', were not there in training" in caplog.text


def test_many_categories_are_their_places() -> None:
    names = [f"c{number:02d}" for number in range(ONE_HOT_CATEGORIES + 1)]
    values = (names * 2)[:COUNT]
    column = column_of(values)
    assert column.categories == tuple(names)
    assert encoded(values)[:, 0].tolist() == [names.index(one) for one in values]


def test_a_date_is_four_numbers() -> None:
    found = encoded(pd.to_datetime(pd.Series(DAYS)))
    for row, day in zip(found.tolist(), DAYS, strict=True):
        assert row == [day.year, day.month, day.isoweekday(), (day - DAYS[0]).days]


def test_a_column_without_values_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    found = load(table(x=[None] * COUNT, z=np.arange(COUNT)))
    assert found.schema.names == ("z",)
    assert "column 'x' has no values, and is left out" in caplog.text


def test_only_training_rows_are_looked_at() -> None:
    values = np.arange(COUNT).astype(float)
    plain = load(table(x=values, y=["a"] * COUNT))
    held = [int(row) for row in plain.test.X[:, 0]]
    values[held], names = 1e9, np.array(["a"] * COUNT, object)
    names[held] = "b"
    found = load(table(x=values, y=names))
    assert found.schema == plain.schema
    assert found.schema.columns[1].categories == ("a",)


def test_several_targets_and_weights() -> None:
    frame = table(x=np.arange(COUNT), a=np.arange(COUNT) / 2, w=np.ones(COUNT))
    frame["b"] = frame.a * 2
    found = load(frame, target="a,b", drop=["label"], weights="w")
    assert found.schema.target == "a,b"
    assert found.schema.names == ("x",)
    np.testing.assert_array_equal(found.train.labels, found.train.X * [0.5, 1.0])
    assert found.weights is not None
    assert found.weights.tolist() == [1.0] * len(found.train.labels)
    frame.loc[3, "w"] = -1.0
    assert "weight -1.0 in row 3, column 'w'" in refusal_of(load, frame, weights="w")


def test_schema_survives_json() -> None:
    frame = table(
        x=[None, *range(1, COUNT)], c=["red", "blue"] * 20, d=pd.to_datetime(pd.Series(DAYS))
    )
    schema = load(frame, scaling="robust").schema
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "numbers"},
        {"categories": ("a", "b")},
        {"medians": (1.0, 2.0)},
        {"medians": (math.inf,)},
        {"medians": (), "scales": (1.0,)},
        {"medians": ("1",)},
        {"first_day": 1.5},
        {"name": 3},
    ],
)
def test_a_column_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    column = Column("x", medians=(1.0,), scales=(2.0,))
    refusal_of(dataclasses.replace, column, **changes)


@pytest.mark.parametrize(
    "found",
    [
        None,
        [],
        {},
        {"columns": [{}], "target": "", "classes": [], "images": {}},
        {"columns": [{"name": "x", "median": 3}], "target": "", "classes": [], "images": {}},
        {"columns": [{"name": "x"}, {"name": "x"}], "target": "", "classes": [], "images": {}},
        {"columns": "xy", "target": "", "classes": [], "images": {}},
        {"columns": [], "target": 3, "classes": [], "images": {}},
    ],
)
def test_a_schema_edited_by_hand_is_refused(found: Any) -> None:
    refusal_of(Schema.from_json, found)


def test_names_of_rows_are_no_category() -> None:
    count = MOST_CATEGORIES + 1
    frame = pd.DataFrame({"id": [f"row {row}" for row in range(count)], "label": range(count)})
    said = refusal_of(load_data, frame, holds_out=False)
    assert f"column 'id' has more than {MOST_CATEGORIES:,} different texts" in said
    assert "--drop id" in said


@examples(30)
@given(cuts=st.lists(st.integers(0, 5000), max_size=6), count=st.integers(1, 5000))
def test_the_sample_does_not_depend_on_the_blocks(cuts: list[int], count: int) -> None:
    rows = np.arange(count)
    trains = rows % 3 > 0

    def sampled(edges: list[int]) -> tuple[Any, Any]:
        sample = RowSample(1 << 15)  # few rows
        for start, end in itertools.pairwise(edges):
            batch = pa.record_batch({"x": rows[start:end]})
            sample.add(batch, trains[start:end])
        return sample.finish()

    chosen, numbers = sampled(sorted({0, count, *(cut for cut in cuts if cut < count)}))
    again, same = sampled([0, count])
    assert chosen.equals(again)
    assert numbers.tolist() == same.tolist() == chosen.column("x").to_pylist()
    assert len(numbers) == min(1 << 10, int(trains.sum()))


KINDS = {
    "number": st.one_of(st.none(), st.floats(-1e6, 1e6).map(lambda one: round(one, 3))),
    "boolean": st.one_of(st.none(), st.booleans()),
    "category": st.one_of(
        st.none(), st.sampled_from(["red", "blue", "", "a,b", 'say "x"', "ü;\n|\tü"])
    ),
    "date": st.one_of(st.none(), st.dates(datetime.date(1900, 1, 1), datetime.date(2100, 1, 1))),
}


@examples(60)
@given(data=st.data())
def test_a_table_is_the_same_in_every_format(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """CSV with any separator, encoding, line end and packing, Parquet and a data frame."""
    kinds = data.draw(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=4))
    columns: dict[str, Any] = {}
    for number, kind in enumerate(kinds):
        values = data.draw(st.lists(KINDS[kind], min_size=COUNT, max_size=COUNT))
        columns[f"x{number} {kind}"] = values
    columns["y"] = data.draw(
        st.sampled_from([LABELS, list(range(COUNT)), [row / 8 for row in range(COUNT)]])
    )
    frame = pd.DataFrame(columns)
    folder = tmp_path_factory.mktemp("same")
    separator = data.draw(st.sampled_from(",;\t|"))
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    ending = data.draw(st.sampled_from(["\n", "\r\n"]))
    name = "t.csv.gz" if encoding == "utf-8" and data.draw(st.booleans()) else "t.csv"
    text = {"sep": separator, "encoding": encoding, "lineterminator": ending, "index": False}
    frame.to_csv(folder / name, **text)
    stored = pa.table({name: pa.array(values) for name, values in columns.items()})
    parquet.write_table(stored, folder / "t.parquet")

    def outcome(source: Any) -> Any:
        try:
            found = load_data(source, scaling="robust")
        except InputError as error:
            return str(error).partition(":")[2][:10]
        return found.schema, found.digest

    wanted = outcome(str(folder / "t.parquet"))
    assert outcome(str(folder / name)) == wanted
    assert outcome(stored.to_pandas(date_as_object=True)) == wanted
    if not isinstance(wanted, str):
        X = read_table(str(folder / name), wanted[0])
        np.testing.assert_array_equal(X, read_table(stored.to_pandas(), wanted[0]))


def test_a_table_of_a_million_columns_is_one_line(tmp_path: Path) -> None:
    names = ",".join(f"c{number}" for number in range(1_000_000))
    (tmp_path / "wide.csv").write_text(f"{names}\n{names}\n")
    said = refusal_of(load_data, str(tmp_path / "wide.csv"))
    assert "1,000,000 columns, at most 50,000 are read" in said


def test_names_in_another_encoding_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("größe,label\n1,0\n".encode("latin-1") * 20)
    assert "cannot be read as a table" in refusal_of(load_data, str(tmp_path / "a.csv"))


def test_a_boolean_is_0_or_1_whatever_its_type() -> None:
    schema = Schema((column_of([True, False] * (COUNT // 2)),))
    for right in ([1, 0], [1.0, 0.0], [True, False], ["true", "False"]):
        assert read_table(pd.DataFrame({"x": right}), schema).tolist() == [[1.0], [0.0]]
    for wrong in ([5, 0], [0.3, 1.0], ["yes", "no"]):
        said = refusal_of(read_table, pd.DataFrame({"x": wrong}), schema)
        assert f"{str(wrong[0])!r} in row 0, column 'x', is not true or false" in said


@pytest.mark.parametrize("text", [["2026-01-31", "1999-12-01"], ["true", "false"]])
def test_text_of_frames_is_what_it_is_in_files(text: list[str], tmp_path: Path) -> None:
    frame = table(x=text * (COUNT // 2))
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert load_data(str(tmp_path / "a.csv")).schema == load(frame).schema


def test_the_index_that_pandas_wrote_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    frame = pd.DataFrame({"Unnamed: 0": range(COUNT), "x": range(COUNT), "label": LABELS})
    assert load(frame).schema.names == ("x",)
    shuffled = table(x=["a", "b"] * (COUNT // 2)).sample(frac=1, random_state=0)
    X, schema = fit_frame(shuffled[["x"]])
    assert schema.names == ("x",)
    assert X.shape == (COUNT, 2)
    assert caplog.text.count("is the index of pandas, and left out") == 2


def test_values_that_no_single_row_explains_are_one_line() -> None:
    dates = Schema((column_of(pd.to_datetime(pd.Series(DAYS))),))
    assert read_table(pd.DataFrame({"x": [None]}), dates).shape == (1, 4)
    pixels = Schema((Column("x", "pixel"),))
    nulls = pa.table({"x": pa.array([1, None], pa.uint8())})
    assert "is not an integer from 0 to 255" in refusal_of(
        read_table, nulls.to_pandas(types_mapper=pd.ArrowDtype), pixels
    )
