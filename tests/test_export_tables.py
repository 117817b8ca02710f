"""ONNX graphs of networks trained on tables: a named input for each column, encoded inside."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest

from tests.test_export import parameters_of
from xpmlp.data import Column, Schema
from xpmlp.data.fitting import fit_columns
from xpmlp.data.schema import DATE_NUMBERS
from xpmlp.data.table_files import open_table
from xpmlp.data.tables import read_table
from xpmlp.errors import InputError
from xpmlp.export import OPSET, export_onnx
from xpmlp.network import MLP
from xpmlp.training import predict

pytest.importorskip("pyarrow", reason="needs pyarrow (the extra `tables`)")

COUNT = 10_000
SCALINGS = ("none", "robust")
KINDS = ("number", "integer", "constant", "boolean", "category", "code", "date")


def values_of(kind: str, random: np.random.Generator, count: int = COUNT) -> Any:
    """The values of a column, as a data frame has them."""
    if kind == "number":
        return random.standard_t(1.5, count) * 40 - 7  # with outliers
    if kind == "integer":
        return random.integers(-3, 4, count)
    if kind == "constant":
        return np.full(count, 2.5)
    if kind == "boolean":
        return random.random(count) < 0.3
    if kind == "category":
        return random.choice([" ", "red", "dark blue", "gr\u00fcn", "Red", "a='b'"], count)
    if kind == "code":
        return np.array([f"{one:04d}" for one in random.integers(0, 300, count)], object)
    return np.datetime64("1999-12-25T13:00", "s") + random.integers(0, 10**9, count)


def frame_of(kinds: dict[str, str], *, has_missing: bool, count: int = COUNT) -> pd.DataFrame:
    """A table with columns of these names and kinds; a tenth of each may be missing."""
    random = np.random.default_rng(5)
    frame = pd.DataFrame({name: values_of(kind, random, count) for name, kind in kinds.items()})
    for name in frame if has_missing else []:
        is_missing = random.random(count) < 0.1
        if frame[name].dtype == bool:
            frame[name] = frame[name].astype("boolean")
        frame[name] = frame[name].mask(is_missing)
    return frame


def schema_of(frame: pd.DataFrame, scaling: str = "none", classes: tuple[Any, ...] = ()) -> Schema:
    """The schema fitted to all rows of a table."""
    table = open_table(frame)
    trains = np.ones(len(frame), bool)
    columns, *_ = fit_columns(table, list(frame.columns), trains, scaling=scaling)
    return Schema(columns, "target", classes)


def feed_of(frame: pd.DataFrame, session: onnxruntime.InferenceSession) -> dict[str, np.ndarray]:
    """The inputs of a graph, as the documentation makes them of a data frame without dates."""
    return {
        one.name: frame[one.name].to_numpy(object, na_value="")[:, None]
        if one.type == "tensor(string)"
        else frame[one.name].to_numpy("float64", na_value=np.nan)[:, None]
        for one in session.get_inputs()
    }


def with_date_numbers(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The table with the numbers of each date in its place, as pandas knows them."""
    frame = frame.copy()
    for column in schema.columns:
        if column.kind == "date":
            dates = frame.pop(column.name)
            first = pd.Timestamp(column.first_day, unit="D")
            numbers = (
                dates.dt.year, dates.dt.month, dates.dt.isocalendar().day,
                (dates.dt.normalize() - first).dt.days,
            )  # fmt: skip
            for name, values in zip(DATE_NUMBERS, numbers, strict=True):
                frame[f"{column.name}.{name}"] = values
    return frame


def session_of(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options)


def assert_same_predictions(
    frame: pd.DataFrame, schema: Schema, path: Path, *, members: int | None = None, **network: Any
) -> list[np.ndarray]:
    """What onnxruntime makes of the columns is what the network predicts of the encoded rows.

    To 1e-5, or of the largest where predictions are numbers; what the graph gives.
    """
    outputs = len(schema.classes) or 3
    model = MLP((len(schema.encoded_names), 8, outputs), **network)
    parameters = parameters_of(model, members)
    export_onnx(model, parameters, path, schema=schema)
    wanted = predict(model, parameters, read_table(frame, schema))
    session = session_of(path)
    given = session.run(None, feed_of(with_date_numbers(frame, schema), session))
    scale = max(1.0, float(np.abs(wanted).max()))
    assert wanted.shape == (len(frame), outputs)
    assert len(np.unique(wanted[:, 0])) > 1 or frame.nunique().max() == 1
    np.testing.assert_allclose(given[0] / scale, wanted / scale, rtol=0.0, atol=1e-5)
    return given


@pytest.mark.extended(keep=28)
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("has_missing", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_column(kind: str, has_missing: bool, scaling: str, tmp_path: Path) -> None:
    frame = frame_of({"x": kind}, has_missing=has_missing)
    schema = schema_of(frame, scaling)
    assert schema.columns[0].has_missing == has_missing
    assert schema.is_scaled == (scaling == "robust" and kind not in ("boolean", "category"))
    assert_same_predictions(frame, schema, tmp_path / "m.onnx", activation="tanh")


EVERYTHING = {
    f"{kind} {number}": kind for kind in KINDS for number in range(2)
}  # names have spaces, as tables do


@pytest.mark.extended(keep=8)
@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity"])
def test_table_of_everything(
    output: str, scaling: str, members: int | None, tmp_path: Path
) -> None:
    frame = frame_of(EVERYTHING, has_missing=True)
    frame["whole"] = frame_of({"whole": "number"}, has_missing=False)
    schema = schema_of(frame[[*frame.columns[::-1]]], scaling)
    path = tmp_path / "m.onnx"
    assert_same_predictions(
        frame, schema, path, members=members, output=output, normalization="batch"
    )
    made = onnx.load(path)
    assert [(one.domain, one.version) for one in made.opset_import] == [
        ("", OPSET), ("ai.onnx.ml", 3)
    ]  # fmt: skip
    notes = {one.key: one.value for one in made.metadata_props}
    dates = [column for column in schema.columns if column.kind == "date"]
    assert notes == {
        "input": "columns of a table, encoded in the graph",
        "members": str(members or 1),
        **{f"{one.name}.days": f"since {np.datetime64(one.first_day, 'D')}" for one in dates},
    }


def test_values_that_were_not_there_in_training_are_missing(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": ["x", "y", ""] * 20, "b": [f"{one}" for one in range(60)]})
    schema = schema_of(frame, "robust")
    assert [len(column.categories) for column in schema.columns] == [2, 60]
    later = pd.DataFrame({"a": ["x", "y", None, "never"], "b": ["7", "-1", None, "59"]})
    model = MLP((len(schema.encoded_names), 3))
    parameters = parameters_of(model)
    export_onnx(model, parameters, tmp_path / "m.onnx", schema=schema)
    wanted = predict(model, parameters, read_table(later, schema))
    given, _ = session_of(tmp_path / "m.onnx").run(
        None, {name: later[[name]].fillna("").to_numpy(object) for name in later}
    )
    np.testing.assert_allclose(given, wanted, rtol=0.0, atol=1e-6)
    assert not np.allclose(wanted[1], wanted[2])


def test_missing_value_first_seen_at_prediction_is_the_median(tmp_path: Path) -> None:
    frame = frame_of({"n": "number", "d": "date", "t": "boolean"}, has_missing=False)
    schema = schema_of(frame, "robust")
    later = frame_of({"n": "number", "d": "date", "t": "boolean"}, has_missing=True)
    model = MLP((len(schema.encoded_names), 3))
    parameters = parameters_of(model)
    export_onnx(model, parameters, tmp_path / "m.onnx", schema=schema)
    session = session_of(tmp_path / "m.onnx")
    given, _ = session.run(None, feed_of(with_date_numbers(later, schema), session))
    wanted = predict(model, parameters, read_table(later, schema))
    np.testing.assert_allclose(given, wanted, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_any_number_of_rows(rows: int, tmp_path: Path) -> None:
    frame = frame_of({"n": "number", "c": "category"}, has_missing=True, count=50)
    schema = schema_of(frame, "robust", ("left", "right"))
    model = MLP((len(schema.encoded_names), 2))
    export_onnx(model, parameters_of(model), tmp_path / "m.onnx", schema=schema)
    session = session_of(tmp_path / "m.onnx")
    every, names = session.run(None, feed_of(frame, session))
    given, label = session.run(None, feed_of(frame[:rows], session))
    assert given.shape == (rows, 2)
    np.testing.assert_allclose(given, every[:rows], rtol=0.0, atol=1e-6)
    assert label.tolist() == names[:rows].tolist()


def test_largest_numbers_overflow_in_neither(tmp_path: Path) -> None:
    frame = frame_of({"n": "number"}, has_missing=True)
    schema = schema_of(frame, "robust")
    frame.loc[:3, "n"] = [1.7e308, -1.7e308, 1e-320, -0.0]
    assert_same_predictions(frame, schema, tmp_path / "m.onnx")


@pytest.mark.parametrize("named", [False, True])
def test_label_is_the_name_of_the_class(named: bool, tmp_path: Path) -> None:
    frame = frame_of({"n": "number", "c": "category"}, has_missing=True)
    classes = ("gr\u00fcn", "No", 'it\'s "1"', "") if named else ()
    given, label = assert_same_predictions(
        frame, schema_of(frame, "robust", classes), tmp_path / "m.onnx"
    )
    places = given.argmax(axis=1)
    assert len(set(places)) > 1
    assert label.tolist() == ([classes[one] for one in places] if named else places.tolist())


def test_names_of_classes_without_columns(tmp_path: Path) -> None:
    """Rows that are no table are one input; truth values are named as Python does."""
    model = MLP((4, 2))
    found = export_onnx(
        model, parameters_of(model), tmp_path / "m.onnx", schema=Schema(classes=(False, True))
    )
    assert found.inputs == ("input float32 (N, 4)",)
    assert found.outputs == ("probabilities float32 (N, 2)", "label string (N)")
    X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    given, label = session_of(tmp_path / "m.onnx").run(None, {"input": X})
    assert label.tolist() == [str(bool(one)) for one in given.argmax(axis=1)]


def test_outputs_beyond_the_classes_are_numbered(tmp_path: Path) -> None:
    """As `predict` names them, if a network is wider than its data has classes."""
    model = MLP((2, 4))
    schema = Schema(("a", "b"), "c", ("no", "yes"))
    export_onnx(model, parameters_of(model), tmp_path / "m.onnx", schema=schema)
    X = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32) * 9
    given, label = session_of(tmp_path / "m.onnx").run(None, {"input": X})
    assert label.tolist() == [["no", "yes", "2", "3"][one] for one in given.argmax(axis=1)]
    assert set(label) & {"2", "3"}
    assert [schema.class_name(one) for one in range(4)] == ["no", "yes", 2, 3]


def test_columns_may_be_called_what_a_graph_calls_its_own(tmp_path: Path) -> None:
    """Weights, constants and results give way, and so do outputs, whose names change."""
    model = MLP((2, 8, 3))
    schema = schema_of(pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0]}))
    export_onnx(model, parameters_of(model), tmp_path / "plain.onnx", schema=schema)
    graph = onnx.load(tmp_path / "plain.onnx").graph
    taken = {one.name for one in graph.initializer} | {
        name for one in graph.node for name in one.output
    }
    assert {"W1", "medians", "label", "probabilities"} < taken
    kinds = dict.fromkeys(["input", "label_", *sorted(taken)], "number")
    frame = frame_of(kinds, has_missing=True, count=500)
    schema = schema_of(frame, "robust", ("p", "q", "r"))
    assert_same_predictions(frame, schema, tmp_path / "m.onnx")
    names = [one.name for one in session_of(tmp_path / "m.onnx").get_outputs()]
    assert names == ["probabilities_", "label__"]


def test_regression_of_several_numbers(tmp_path: Path) -> None:
    frame = frame_of({"n": "number", "d": "date"}, has_missing=True)
    for output in ("identity", "exp"):
        (given,) = assert_same_predictions(
            frame, schema_of(frame, "robust"), tmp_path / "m.onnx", output=output
        )
        assert given.dtype == np.float32


def test_export_says_what_a_graph_of_columns_takes(tmp_path: Path) -> None:
    frame = frame_of({"n": "number", "c": "category", "d": "date"}, has_missing=False)
    schema = schema_of(frame, classes=("a", "b", "c"))
    model = MLP((len(schema.encoded_names), 3))
    parameters = parameters_of(model)
    found = export_onnx(model, parameters, tmp_path / "m.onnx", schema=schema)
    dates = tuple(f"d.{one} float64 (N, 1)" for one in DATE_NUMBERS)
    assert found.inputs == ("n float64 (N, 1)", "c string (N, 1)", *dates)
    assert found.input == f"n float64 (N, 1), c string (N, 1), {dates[0]} and 3 more"
    assert found.outputs == ("probabilities float32 (N, 3)", "label string (N)")
    again = export_onnx(model, parameters, tmp_path / "again.onnx", schema=schema)
    assert again == found
    assert (tmp_path / "m.onnx").read_bytes() == (tmp_path / "again.onnx").read_bytes()


def test_numbers_as_they_are_stay_one_input(tmp_path: Path) -> None:
    """So do pixels: nothing is encoded."""
    model = MLP((2, 3))
    for schema in (Schema(("a", "b")), Schema((Column("a", "pixel"), Column("b", "pixel")))):
        found = export_onnx(model, parameters_of(model), tmp_path / "m.onnx", schema=schema)
        assert found.inputs == ("input float32 (N, 2)",)


def test_schema_that_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    category = Column("c", "category", ("x", "y"))
    model = MLP((4, 3))
    parameters = parameters_of(model)
    with pytest.raises(InputError, match=r"schema of 2 values a row, but .* takes 4; give that of"):
        export_onnx(model, parameters, path, schema=Schema((category,)))
    date = Column("d", "date", medians=(0.0,) * 4)
    same = Schema((date, "d.year", category, "n"))
    model = MLP((8, 3))
    for schema, name in ((same, "d.year"), (Schema((date, category, "", "n")), "")):
        with pytest.raises(InputError, match=f"column '{name}': each input .* name of its own"):
            export_onnx(model, parameters_of(model), path, schema=schema)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("field", ["LARGEST_SCALED", "SMOOTH_CLIP"])
def test_a_wrong_encoding_is_not_written(field: str, tmp_path, monkeypatch) -> None:
    frame = frame_of({"n": "number"}, has_missing=True)
    schema = schema_of(frame, "robust")
    model = MLP((2, 8, 3))
    monkeypatch.setattr(f"xpmlp.export.{field}", 1.0)
    with pytest.raises(InputError, match=r"m.onnx: the graph's predictions differ .* at most .*e-"):
        export_onnx(model, parameters_of(model), tmp_path / "m.onnx", schema=schema)
    assert not list(tmp_path.iterdir())
