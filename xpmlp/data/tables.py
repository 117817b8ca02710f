"""Data sets in tables: CSV and Parquet, read block by block by pyarrow (extra `tables`)."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpmlp.backends.base import host_memory
from xpmlp.data.conversion import class_numbers
from xpmlp.data.dataset import Dataset, dataset_of
from xpmlp.data.opening import FilePath, opened, shown
from xpmlp.errors import InputError

SUFFIXES = (".csv", ".parquet")

LABELS = ("label", "class", "target", "y")
"""Names of the column of labels, the first that there is; else it is the last column."""

ROWS = 1 << 16
"""Rows of a block of a Parquet file; a CSV file's blocks are pyarrow's, of 1 MiB."""

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)
"""A number as text; what Python takes for one besides, such as 1_000 or infinity, is a name."""


class Table(NamedTuple):
    """X (n, l0) and the labels' column (n,) as it stands: numbers, or text as objects."""

    X: np.ndarray
    labels: np.ndarray
    columns: tuple[str, ...]
    label: str


def load_table(path: FilePath, name: str | None = None) -> Dataset:
    """Load one `.csv` or `.parquet` file; a tenth of its rows becomes the test set.

    Every column but the labels' is a value of X: a number, taken as it is, but that a Parquet file
    of uint8 alone has pixels from 0 to 255. Text labels become class numbers in sorted order.
    Raises `InputError` for missing values, with their row, and whatever else is no table of
    numbers.
    """
    return _dataset(path, [Path(path)], name or Path(path).stem)


def load_table_directory(path: FilePath, name: str | None = None) -> Dataset:
    """Load a directory with `train.csv` and `test.csv`, or `.parquet`; otherwise the same."""
    directory = Path(path)
    files = []
    for part in ("train", "test"):
        found = [file for suffix in SUFFIXES if (file := directory / f"{part}{suffix}").is_file()]
        if len(found) != 1:
            raise InputError(
                f"{shown(path)}: {len(found) or 'no'} files {part}.csv or {part}.parquet; "
                "give one of them"
            )
        files.append(found[0])
    return _dataset(path, files, name or directory.resolve().name)


def _dataset(path: FilePath, files: Sequence[Path], name: str) -> Dataset:
    """The data set of one table, or of one to train and one to test."""
    tables = [_read(file) for file in files]
    # The column that the labels come from is named in every message.
    where = f"{shown(path)} (labels: column {tables[0].label!r})"
    here, *there = ((*one.columns, one.label) for one in tables)
    if there and here != there[0]:
        differing = sorted({*here} ^ {*there[0]}) or ["their order"]
        raise InputError(
            f"{where}: {files[0].name} and {files[1].name} differ in columns "
            f"({', '.join(map(repr, differing[:4]))}); give both the same"
        )
    labels = _numbered([one.labels for one in tables], where=where)
    train, *test = zip((one.X for one in tables), labels, strict=True)
    return dataset_of(name, train=train, test=test[0] if test else None, where=where)


def _read(path: FilePath) -> Table:
    """The rows of one file; `InputError` for whatever pyarrow cannot read as a table."""
    name = shown(path)
    with opened(path):  # or refused
        pass
    try:
        import pyarrow as pa
    except ImportError as error:
        raise InputError(f"{name}: tables need pyarrow; pip install 'xpmlp[tables]'") from error
    try:
        if Path(path).suffix == ".csv":
            return _read_csv(path, name, pa)
        return _read_parquet(path, name, pa)
    except InputError:
        raise
    except (pa.ArrowException, OSError, UnicodeError, ValueError, OverflowError) as error:
        cause = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(
            f"{name}: cannot be read as a table of numbers ({cause}); fix it or save it again"
        ) from error


def _read_csv(path: FilePath, name: str, pa: Any) -> Table:
    from pyarrow import csv

    # The first block has the names; its guesses at types are not used.
    with csv.open_csv(path) as reader:
        names = reader.schema.names
    label = _label_column(names, name)
    if all(map(NUMBER.fullmatch, names)):
        raise InputError(
            f"{name}: the first line has numbers only, and is to name the columns; add a header"
        )
    types = {column: pa.float64() for column in names if column != label}
    converting = csv.ConvertOptions(
        column_types=types | {label: pa.string()}, strings_can_be_null=True
    )
    with csv.open_csv(path, convert_options=converting) as reader:
        return _collect(reader, names, label, name, pa)


def _read_parquet(path: FilePath, name: str, pa: Any) -> Table:
    from pyarrow import parquet

    with parquet.ParquetFile(path, page_checksum_verification=True) as file:
        schema = file.schema_arrow
        label = _label_column(schema.names, name)
        for field in schema:
            if field.name != label and not _is_number(field.type, pa):
                raise InputError(
                    f"{name}: column {field.name!r} has elements of type {field.type}, a network "
                    "takes numbers; convert it or leave it out"
                )
        return _collect(file.iter_batches(ROWS), schema.names, label, name, pa)


def _label_column(names: Sequence[str], where: str) -> str:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{where}: two columns are called {twice!r}; rename one")
    if len(names) < 2:
        raise InputError(
            f"{where}: {len(names)} column, a table has values and labels; give at least two"
        )
    return next((name for name in LABELS if name in names), names[-1])


def _collect(
    batches: Iterable[Any], names: Sequence[str], label: str, where: str, pa: Any
) -> Table:
    """The batches of a file put together; they are counted, so as not to outgrow the memory."""
    columns = tuple(name for name in names if name != label)
    limit = (host_memory() or 1 << 62) // 2
    blocks, labels, done, taken = [], [], 0, 0
    for batch in batches:
        _refuse_missing(batch, names, done, where)
        blocks.append(np.stack([_numbers(batch.column(name)) for name in columns], axis=1))
        labels.append(_label_values(batch.column(label), where, label, pa))
        done += len(labels[-1])
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
    return Table(X, np.concatenate(labels), columns, label)


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


def _numbered(columns: Sequence[np.ndarray], *, where: str) -> list[np.ndarray]:
    """The labels to train, and to test, as numbers: as they are, or of a class in sorted order."""
    if all(map(_is_numeric, columns)):
        numbers = [one.astype(np.float64) if one.dtype == object else one for one in columns]
        are_integers = all((one == np.trunc(one)).all() for one in numbers)
        return [one.astype(np.int64 if are_integers else np.float64) for one in numbers]
    classes = sorted({str(value) for value in columns[0]})
    texts = [[str(value) for value in column] for column in columns]
    return [class_numbers(labels, classes, where=where) for labels in texts]


def _is_numeric(column: np.ndarray) -> bool:
    return column.dtype != object or all(map(NUMBER.fullmatch, column))
