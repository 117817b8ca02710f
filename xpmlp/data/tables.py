"""Data sets in tables: CSV and Parquet, read block by block by pyarrow (extra `tables`)."""

import csv as csv_text
import io
import json
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpmlp.backends.base import host_memory
from xpmlp.checks import nearest
from xpmlp.data.conversion import class_numbers
from xpmlp.data.dataset import Dataset, dataset_of
from xpmlp.data.opening import FilePath, opened, shown
from xpmlp.data.schema import AS_IS, Reading, Schema, missing_column
from xpmlp.errors import InputError

TEXT, PACKED = (".csv", ".tsv"), ".gz"
SUFFIXES = (*TEXT, *(suffix + PACKED for suffix in TEXT), ".parquet")

PARTS = ("train", "test")

TARGETS = ("label", "class", "target")
"""Names of the target's column, the first that there is; else it is the last column."""

DELIMITERS = ",;\t|"

ROWS = 1 << 16
"""Rows of a block of a Parquet file; a CSV file's blocks are pyarrow's, of 1 MiB."""

HEAD = 1 << 16
"""Bytes of a CSV file in which its delimiter shows."""

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)
"""A number as text; what Python takes for one besides, such as 1_000 or infinity, is a name."""

ORDINAL = re.compile(r"[+-]?0\d+", re.ASCII)
"""Digits after a zero are a code, such as 010, which is another than 10."""

INDEX = ("", "Unnamed: 0")
"""What the first column is called where pandas wrote its index into a CSV file."""

log = logging.getLogger(__name__)


class Table(NamedTuple):
    """X (n, l0) and the target's column (n,) as it stands, numbers or text as objects, or None."""

    X: np.ndarray
    labels: np.ndarray | None
    columns: tuple[str, ...]
    target: str


class Layout(NamedTuple):
    """Which columns of a file are read: values in their order, and the target if it is there."""

    columns: tuple[str, ...]
    target: str

    @property
    def names(self) -> list[str]:
        return [*self.columns, *([self.target] if self.target else [])]


def is_table(path: Path) -> bool:
    """Whether a file's name ends as a table's does."""
    return path.name.lower().endswith(SUFFIXES)


def load_table(path: FilePath, name: str | None = None, *, reading: Reading = AS_IS) -> Dataset:
    """Load one CSV or Parquet file; a tenth of its rows becomes the test set.

    Every column but the target's is a value of X: a number, taken as it is, but that a Parquet file
    of uint8 alone has pixels from 0 to 255. Text labels become class numbers in sorted order.
    Raises `InputError` for missing values, with their row, and whatever else is no table of
    numbers.
    """
    return _dataset(path, [Path(path)], name or Path(path).name.partition(".")[0], reading)


def load_table_directory(
    path: FilePath, name: str | None = None, *, reading: Reading = AS_IS
) -> Dataset:
    """Load a directory with tables `train` and `test`; otherwise the same."""
    directory = Path(path)
    files = []
    for part in PARTS:
        found = [
            file
            for file in sorted(directory.iterdir())
            if is_table(file) and file.name.partition(".")[0] == part
        ]
        if len(found) != 1:
            raise InputError(
                f"{shown(path)}: {len(found) or 'no'} files {part}.csv or {part}.parquet; "
                "give one of them"
            )
        files.append(found[0])
    return _dataset(path, files, name or directory.resolve().name, reading)


def read_table(path: FilePath, schema: Schema) -> np.ndarray:
    """Return the rows (n, l0) of a table, its columns those that a network was trained on."""
    return _read(Path(path), Reading(schema=schema)).X


def _dataset(path: FilePath, files: Sequence[Path], name: str, reading: Reading) -> Dataset:
    """The data set of one table, or of one to train and one to test."""
    first = _read(files[0], reading)
    tables = [first, *(_read(file, _like(first, reading)) for file in files[1:])]
    # The column that the labels come from is named in every message.
    where = f"{shown(path)} (target: column {first.target!r})"
    found = []
    for file, table in zip(files, tables, strict=True):
        if table.labels is None:
            target = reading.schema.target if reading.schema else first.target
            raise missing_column(target, table.columns, where=shown(file), what="the target")
        found.append(table.labels)
    labels, classes = _numbered(found, reading.classes, where=where)
    train, *test = zip((one.X for one in tables), labels, strict=True)
    return dataset_of(
        name,
        train=train,
        test=test[0] if test else None,
        where=where,
        schema=Schema(first.columns, first.target, classes),
        holds_out=reading.holds_out,
    )


def _like(table: Table, reading: Reading) -> Reading:
    """How the second file is read: as the first was."""
    return reading._replace(schema=Schema(table.columns, table.target, reading.classes))


def _read(path: Path, reading: Reading) -> Table:
    """The rows of one file; `InputError` for whatever pyarrow cannot read as a table."""
    name = shown(path)
    with opened(path):  # or refused
        pass
    try:
        import pyarrow as pa
    except ImportError as error:
        raise InputError(f"{name}: tables need pyarrow; pip install 'xpmlp[tables]'") from error
    try:
        if path.name.lower().endswith(".parquet"):
            return _read_parquet(path, name, reading, pa)
        return _read_csv(path, name, reading, pa)
    except InputError:
        raise
    except (pa.ArrowException, OSError, UnicodeError, ValueError, OverflowError) as error:
        cause = " ".join(str(error).split())[:300] or type(error).__name__
        if "Empty CSV file" in cause:
            raise InputError(f"{name}: no rows; give a table with rows") from error
        raise InputError(
            f"{name}: cannot be read as a table of numbers ({cause}); fix it or save it again"
        ) from error


def _read_csv(path: Path, name: str, reading: Reading, pa: Any) -> Table:
    from pyarrow import csv

    delimiter, decimal = _dialect(path, pa)

    def blocks(**options: Any) -> Any:
        return csv.open_csv(
            _stream(path, pa),
            parse_options=csv.ParseOptions(delimiter=delimiter),
            convert_options=csv.ConvertOptions(decimal_point=decimal, **options),
        )

    with blocks() as reader:  # the first block has the names, and shows truth values and text
        guessed = {field.name: field.type for field in reader.schema}
        names = reader.schema.names
    if all(map(NUMBER.fullmatch, names)):
        raise InputError(
            f"{name}: the first line has numbers only, and is to name the columns; add a header"
        )
    index = names[:1] if names[0] in INDEX and not _is_wanted(names[0], reading) else []
    layout = _layout(names, index, reading, name)
    types = {
        column: pa.bool_() if pa.types.is_boolean(guessed[column]) else pa.float64()
        for column in layout.columns
    }
    is_text = [column for column in types if pa.types.is_string(guessed[column])]
    if layout.target:
        types[layout.target] = pa.string()
    try:
        if is_text:
            raise pa.ArrowInvalid(f"column {is_text[0]!r} has text")
        with blocks(
            column_types=types, include_columns=layout.names, strings_can_be_null=True
        ) as reader:
            return _collect(reader, layout, name, pa)
    except pa.ArrowInvalid:
        as_text = dict.fromkeys(layout.columns, pa.string())
        with blocks(column_types=as_text, include_columns=list(layout.columns)) as reader:
            _refuse_text(reader, layout.columns, decimal, name)
        raise


def _dialect(path: Path, pa: Any) -> tuple[str, str]:
    """Return the delimiter, which divides the first line into most columns, and the decimal point,
    a comma where that does not divide columns and stands within numbers."""
    with _stream(path, pa) as stream:
        head = stream.read(HEAD).decode("utf-8-sig", errors="replace")

    def lines(delimiter: str) -> Iterator[list[str]]:
        return csv_text.reader(io.StringIO(head), delimiter=delimiter)

    delimiter = max(DELIMITERS, key=lambda one: len(next(lines(one), [])))
    rows = [row for row, _ in zip(lines(delimiter), range(8), strict=False)]
    has_commas = any(re.fullmatch(r"[+-]?\d+,\d+", cell) for row in rows[1:] for cell in row)
    return delimiter, "," if delimiter != "," and has_commas else "."


def _stream(path: Path, pa: Any) -> Any:
    packed = "gzip" if path.name.lower().endswith(PACKED) else None
    return pa.input_stream(str(path), compression=packed)


def _refuse_text(reader: Any, columns: Sequence[str], decimal: str, where: str) -> None:
    """Name the first value that is no number, with its column and row."""
    done = 0
    for batch in reader:
        for column in columns:
            values = batch.column(column).to_pylist()
            # Truth values are written as words, and stand in a column of their own.
            are_truths = {str(one).lower() for one in values} <= {"true", "false", "", "none"}
            for row, value in enumerate(values, start=done):
                if value and not are_truths and not NUMBER.fullmatch(value.replace(decimal, ".")):
                    raise InputError(
                        f"{where}: text {value[:40]!r} in row {row:,}, column {column!r}; a "
                        f"network takes numbers: encode it, or leave the column out (drop)"
                    )
        done += batch.num_rows


def _read_parquet(path: Path, name: str, reading: Reading, pa: Any) -> Table:
    from pyarrow import parquet

    with parquet.ParquetFile(path, page_checksum_verification=True) as file:
        fields = file.schema_arrow
        of_pandas = json.loads((fields.metadata or {}).get(b"pandas", b"{}"))
        index = [
            one
            for one in of_pandas.get("index_columns", [])
            if isinstance(one, str) and one in fields.names and not _is_wanted(one, reading)
        ]
        layout = _layout(fields.names, index, reading, name)
        for column in layout.columns:
            if not _is_number(kind := fields.field(column).type, pa):
                raise InputError(
                    f"{name}: column {column!r} has elements of type {kind}, a network takes "
                    "numbers; convert it or leave it out (drop)"
                )
        batches = file.iter_batches(ROWS, columns=layout.names)
        return _collect(batches, layout, name, pa)


def _is_wanted(column: str, reading: Reading) -> bool:
    """Whether a column was asked for by name, or was trained on."""
    names = {reading.target, *(reading.schema.columns if reading.schema else ())}
    return bool(column) and column in names


def _layout(names: Sequence[str], index: Sequence[str], reading: Reading, where: str) -> Layout:
    """Choose the columns to read; `index` are those in which pandas keeps the rows' numbers."""
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{where}: two columns are called {twice!r}; rename one")
    if schema := reading.schema:
        for column in schema.columns:
            if column not in names:
                what = "which the network was trained with"
                raise missing_column(column, names, where=where, what=what)
        if not schema.columns:
            raise InputError(
                f"{where}: the network was not trained on a table, so its columns are not known; "
                "give the kind of data that it was trained on"
            )
        return Layout(schema.columns, schema.target if schema.target in names else "")
    if index:
        log.warning("%s: column %r is the index of pandas, and left out", where, index[0])
    for column in (*reading.drop, *([reading.target] if reading.target else [])):
        if column not in names:
            near = nearest(column, names)
            raise missing_column(column, names, where=where, what=f"{near}as asked".strip())
    rest = [name for name in names if name not in {*index, *reading.drop}]
    if len(rest) < 2:
        raise InputError(
            f"{where}: {len(rest)} column, a table has values and a target; give at least two"
        )
    named = next((name for name in TARGETS if name in rest), rest[-1])
    target = reading.target or named
    return Layout(tuple(name for name in rest if name != target), target)


def _collect(batches: Iterable[Any], layout: Layout, where: str, pa: Any) -> Table:
    """The batches of a file put together; they are counted, so as not to outgrow the memory."""
    limit = (host_memory() or 1 << 62) // 2
    blocks, labels, done, taken = [], [], 0, 0
    for batch in batches:
        _refuse_missing(batch, layout.names, done, where)
        blocks.append(np.stack([_numbers(batch.column(name)) for name in layout.columns], axis=1))
        if layout.target:
            labels.append(_label_values(batch.column(layout.target), where, layout.target, pa))
        done += len(blocks[-1])
        taken += blocks[-1].nbytes
        if taken > limit:
            raise InputError(
                f"{where}: more than {limit:,} bytes of rows, half of this machine's memory; "
                "save them as X_train.npy and so on, which may be larger"
            )
    if not done:
        raise InputError(f"{where}: no rows; give a table with rows")
    X = np.concatenate(blocks)
    if X.dtype == np.float64:
        with np.errstate(all="ignore"):  # of numbers that float32 has not
            narrow = X.astype(np.float32)
        if (narrow == X).all():
            X = narrow  # Nothing is lost, and half the memory won.
    return Table(X, np.concatenate(labels) if labels else None, layout.columns, layout.target)


def _refuse_missing(batch: Any, names: Sequence[str], before: int, where: str) -> None:
    """`before` rows have been read already."""
    for name in names:
        column = batch.column(name)
        if column.null_count:
            row = before + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            raise InputError(
                f"{where}: no value in row {row:,}, column {name!r}; fill it in or leave the row "
                "out"
            )


def _numbers(column: Any) -> np.ndarray:
    """A column without missing values, (n,); truth values are 0 and 1."""
    values: np.ndarray = column.to_numpy(zero_copy_only=False)
    return values.astype(np.int8) if values.dtype == bool else values  # not uint8: no pixels


def _is_number(kind: Any, pa: Any) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _label_values(column: Any, where: str, label: str, pa: Any) -> np.ndarray:
    """Numbers, or text as objects."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if _is_number(kind, pa) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _numbers(column)
    raise InputError(f"{where}: column {label!r} has labels of type {kind}; give text or integers")


def _numbered(
    columns: Sequence[np.ndarray], known: tuple[Any, ...], *, where: str
) -> tuple[list[np.ndarray], tuple[Any, ...]]:
    """Return the labels to train, and to test, as numbers, and the classes if they have names.

    Numbers stay as they are; text is of the `known` classes, or of those found, sorted.
    """
    if not known and all(map(_is_numeric, columns)):
        numbers = [one.astype(np.float64) if one.dtype == object else one for one in columns]
        are_integers = all((one == np.trunc(one)).all() for one in numbers)
        return [one.astype(np.int64 if are_integers else np.float64) for one in numbers], ()
    texts = [[str(value) for value in column] for column in columns]
    classes = known or tuple(sorted(set(texts[0])))
    names = [str(one) for one in classes]
    return [class_numbers(labels, names, where=where) for labels in texts], classes


def _is_numeric(column: np.ndarray) -> bool:
    """Whether labels are numbers; of codes such as 010 each is a class of its own."""
    if column.dtype != object:
        return True
    return all(map(NUMBER.fullmatch, column)) and not any(map(ORDINAL.fullmatch, column))
