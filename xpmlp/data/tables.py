"""Data sets in tables: CSV, Parquet and data frames (extra `tables`).

A table is read twice, so that it need not be in memory: once to fit its schema, once to encode its
rows.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpmlp.backends.base import host_memory
from xpmlp.checks import nearest
from xpmlp.data.dataset import Dataset, dataset_of, split_test_rows
from xpmlp.data.fitting import MOST_CATEGORIES, Fit, fit_columns
from xpmlp.data.opening import FilePath, shown
from xpmlp.data.schema import (
    AS_IS,
    TRAINED_WITH,
    Column,
    Reading,
    Schema,
    check_columns,
    check_scale,
    missing_column,
    unknown_class,
)
from xpmlp.data.table_files import Table, is_table, open_table
from xpmlp.errors import InputError

PARTS = ("train", "test")

TARGETS = ("label", "class", "target")
"""Names of the target's column, the first that there is; else it is the last column."""

CODE = r"^[+-]?0\d+$"
"""Digits after a zero are a code, such as 010, which is another than 10."""

LARGEST_EXACT = 2**53
"""From here on, float64 does not tell all integers apart."""

SAID = {
    "number": "a number",
    "boolean": "true or false",
    "date": "a date such as 2026-01-31",
    "pixel": "an integer from 0 to 255",
    "category": "text",
}
"""What messages call a value of each kind."""

log = logging.getLogger(__name__)


def load_table(path: FilePath, name: str | None = None, *, reading: Reading = AS_IS) -> Dataset:
    """Load one CSV or Parquet file; a tenth of its rows becomes the test set.

    Every column but the target's is part of a row, encoded as the schema says that is fitted to
    the training rows. Raises `InputError` for what cannot be read as a table.
    """
    return _dataset(path, [Path(path)], name or Path(path).name.partition(".")[0], reading)


def load_frame(frame: Any, *, reading: Reading = AS_IS) -> Dataset:
    """Load a data frame of pandas or polars; otherwise the same."""
    return _dataset("frame", [frame], "frame", reading)


def load_table_directory(
    path: FilePath, name: str | None = None, *, reading: Reading = AS_IS
) -> Dataset:
    """Load a directory with tables `train` and `test`; otherwise the same."""
    files = table_files_of(path)
    return _dataset(path, files, name or Path(path).resolve().name, reading)


def table_files_of(path: FilePath) -> list[Path]:
    """Return the tables in a directory, to train and to test."""
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
    return files


def read_table(source: Any, schema: Schema) -> np.ndarray:
    """Return the rows (n, l0) of a file or a frame, encoded as in training."""
    table = open_table(source)
    choose_columns(table, Reading(schema=schema))
    return _encode(table, schema)


def fit_frame(frame: Any) -> tuple[np.ndarray, Schema]:
    """Return the rows (n, l0) of a data frame without a target, and the schema fitted to them."""
    table = open_table(frame)
    index = _left_out_index(table)
    names = [name for name in table.types if name not in index]
    schema = Schema(fit_columns(table, names, np.ones(len(frame), bool)).columns)
    return _encode(table, schema), schema


class FittedTable(NamedTuple):
    """What is known of tables before their rows are encoded.

    `reason` says why the target is the target; `fit` is None if the schema was there before.
    """

    where: str
    tables: list[Table]
    labels: list["ReadLabels"]
    schema: Schema
    reason: str
    fit: Fit | None

    @property
    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        """Encoded rows (n, l0) of the sample, and their numbers (n,) among the labels."""
        if self.fit is None:
            return np.empty((0, 0)), np.empty(0, np.int64)
        rows = self.fit.sample.combine_chunks()
        values = {
            one.name: self.tables[0].values(rows.column(one.name).combine_chunks(), one.kind)
            for one in self.schema.columns
        }
        places = np.cumsum(self.labels[0].is_present) - 1
        return self.schema.encode(values), places[self.fit.rows]  # type: ignore[arg-type]


def fit_table(path: FilePath, sources: Sequence[Any], reading: Reading) -> FittedTable:
    """Choose the columns of a table, or of one to train and one to test; fit the schema."""
    tables = [open_table(source) for source in sources]
    chosen = choose_columns(tables[0], reading)
    where = f"{shown(path)} (target: column {chosen.target!r})"
    labels, classes = read_labels(tables, chosen, reading.classes, where=where)
    if reading.schema and classes and not reading.classes:
        raise InputError(
            f"{where}: classes with names ({', '.join(map(repr, classes[:8]))}), the network was "
            "trained on numbers; give the target as in training"
        )
    schema, fit = reading.schema, None
    if schema is None:
        trains = labels[0].is_present.copy()
        if len(tables) == 1 and reading.holds_out:
            _, held = split_test_rows(labels[0].values, where=where)
            trains[np.flatnonzero(trains)[held]] = False
        fit = fit_columns(tables[0], chosen.columns, trains, scaling=reading.scaling)
        schema = Schema(fit.columns, chosen.target, classes, values=fit.values)
    for table in tables[1:]:
        choose_columns(table, Reading(schema=schema))
    return FittedTable(where, tables, labels, schema, chosen.reason, fit)


def _dataset(path: FilePath, sources: Sequence[Any], name: str, reading: Reading) -> Dataset:
    """The data set of one table, or of one to train and one to test."""
    found = fit_table(path, sources, reading)
    parts = []
    for table, labels in zip(found.tables, found.labels, strict=True):
        X = _encode(table, found.schema)
        parts.append((X if labels.is_present.all() else X[labels.is_present], labels.values))
    return dataset_of(
        name,
        train=parts[0],
        test=parts[1] if len(parts) > 1 else None,
        where=found.where,
        schema=found.schema,
        holds_out=reading.holds_out,
        weights=found.labels[0].weights,
    )


class Chosen(NamedTuple):
    """Which columns of a table are read, and for what."""

    columns: tuple[str, ...]
    targets: tuple[str, ...]
    weights: tuple[str, ...] = ()
    reason: str = "as in training"

    @property
    def target(self) -> str:
        """The targets as a schema names them."""
        return ",".join(self.targets)


def choose_columns(table: Table, reading: Reading) -> Chosen:
    """Return the columns that are values, targets and weights; the schema's if there is one."""
    where, names = table.where, list(table.types)
    if reading.schema:
        columns = reading.schema.names
        check_columns(columns, names, where=where, what=TRAINED_WITH)
        if not columns:
            raise InputError(
                f"{where}: the run does not record the columns of a table; give the kind of data "
                "that it was trained on"
            )
        targets = _targets(reading.schema.target, names)
        rest = [name for name in names if name not in columns]
        if not targets and rest:  # rows and labels were given apart
            targets = (_usual_target(rest),)
        return Chosen(columns, targets)
    targets = _targets(reading.target, names)
    weights = (reading.weights,) if reading.weights else ()
    index = _left_out_index(table, wanted=(*targets, *weights))
    for column in (*reading.drop, *targets, *weights):
        if column not in names:
            near = nearest(column, names)
            raise missing_column(column, names, where=where, what=f"{near}as asked".strip())
    rest = [name for name in names if name not in {*index, *reading.drop, *weights}]
    if len(rest) < 2:
        how = ", separated by , ; | or tabs" if table.is_text else ""
        raise InputError(
            f"{where}: {len(rest)} column, a table has values and a target; give at least two{how} "
            f"(it has {[one[:40] for one in rest]})"
        )
    reason = "as asked"
    if not targets:
        targets = (_usual_target(rest),)
        reason = "by its name" if targets[0] in TARGETS else "the last column"
    columns = tuple(name for name in rest if name not in targets)
    if not columns or not set(targets) <= set(rest):
        raise InputError(
            f"{where}: target {','.join(targets)} with {len(columns)} columns to predict it from; "
            "choose others (--target, --drop, --weights)"
        )
    return Chosen(columns, targets, weights, reason)


def _left_out_index(table: Table, wanted: Sequence[str] = ()) -> list[str]:
    """Return the columns with the index of pandas, but for those asked for, and say so."""
    index = [name for name in table.index if name not in wanted]
    if index:
        log.warning("%s: column %r is the index of pandas, and left out", table.where, index[0])
    return index


def _usual_target(names: Sequence[str]) -> str:
    return next((name for name in TARGETS if name in names), names[-1])


def _targets(target: str, names: Sequence[str]) -> tuple[str, ...]:
    """The columns of a target, one or several between commas; none if it is empty."""
    if not target or target in names:
        return (target,) if target else ()
    return tuple(name.strip() for name in target.split(","))


class ReadLabels(NamedTuple):
    """Labels (n,) or (n, K) of the rows that have one, and the weights (n,) of these rows."""

    values: np.ndarray
    is_present: np.ndarray
    weights: np.ndarray | None = None


class _Target(NamedTuple):
    """The target's columns in a table, as Arrow has them, where there is a value."""

    table: Table
    columns: list[Any]
    is_present: np.ndarray

    @classmethod
    def of(cls, table: Table, names: Sequence[str]) -> "_Target":
        check_columns(names, list(table.types), where=table.where, what="the target")
        columns = [_whole(table, name) for name in names]
        present = np.all([~np.asarray(one.is_null(nan_is_null=True)) for one in columns], axis=0)
        if not present.any():
            raise InputError(f"{table.where}: no rows; give a table with rows that have a target")
        if missing := int((~present).sum()):
            why = " (an empty cell, or a word such as NA or None)" if table.is_text else ""
            message = "%s: %s rows have no target%s, and are left out"
            log.warning(message, table.where, f"{missing:,}", why)
        return cls(table, [one.filter(present) for one in columns], present)

    def numbers(self) -> np.ndarray | None:
        """The numbers (n, K), if all are; text with codes such as 010 is none."""
        from pyarrow import compute

        found = []
        for column in self.columns:
            number = None if str(column.type) == "bool" else self.table.cast(column, "number")
            if number is None or (
                str(column.type) == "string"
                and compute.any(compute.match_substring_regex(column, CODE)).as_py()
            ):
                return None
            found.append(number.to_numpy(zero_copy_only=False))
            if np.abs(found[-1]).max() >= LARGEST_EXACT:
                different = compute.count_distinct(column).as_py()
                if len(np.unique(found[-1])) < different <= len(column) // 5:
                    return None
        return np.stack(found, axis=1)

    def places(self, classes: Sequence[Any]) -> np.ndarray:
        """The place (n,) of each label among the classes; `InputError` for any other label."""
        from pyarrow import compute

        names = compute.index_in(self.texts, value_set=_text_array(list(map(str, classes))))
        if names.null_count:
            first = int(np.argmax(np.asarray(names.is_null())))
            row = np.flatnonzero(self.is_present)[first]
            raise unknown_class(self.texts[first].as_py(), row, classes, where=self.table.where)
        return names.to_numpy().astype(np.int64)  # type: ignore[no-any-return]

    @property
    def texts(self) -> Any:
        """The labels as text; truth values as Python has them."""
        text = self.table.cast(self.columns[0], "category")
        truths = self.table.cast(text, "boolean")
        if truths is None or self.table.cast(text, "number") is not None:
            return text
        return _text_array([str(one) for one in truths.to_pylist()])


def read_labels(
    tables: Sequence[Table], chosen: Chosen, known: tuple[Any, ...] = (), *, where: str
) -> tuple[list[ReadLabels], tuple[Any, ...]]:
    """Return the labels of each table, and the classes if they have names.

    Numbers stay as they are; text is of the `known` classes, or of those of the first table,
    sorted. Rows without a label are left out, with a line. Only the first has weights.
    """
    targets = [_Target.of(table, chosen.targets) for table in tables]
    numbers = [target.numbers() for target in targets]
    classes = known
    if known or any(one is None for one in numbers):
        if len(chosen.targets) > 1:
            raise InputError(f"{where}: several targets are numbers; give one column of text")
        classes = known or tuple(sorted(targets[0].texts.unique().to_pylist()))
        if len(classes) > MOST_CATEGORIES:
            raise InputError(
                f"{where}: {len(classes):,} classes, at most {MOST_CATEGORIES:,} are learned; give "
                "another target (--target)"
            )
        values = [target.places(classes) for target in targets]
    else:
        values = [one for one in numbers if one is not None]
        if len(chosen.targets) == 1:
            are_integers = all(
                ((one == np.trunc(one)) & (np.abs(one) < LARGEST_EXACT)).all() for one in values
            )
            values = [one[:, 0].astype(np.int64 if are_integers else np.float64) for one in values]
    found = [ReadLabels(one, of.is_present) for one, of in zip(values, targets, strict=True)]
    weights = _weights(tables[0], chosen.weights, targets[0].is_present)
    return [found[0]._replace(weights=weights), *found[1:]], classes


def _whole(table: Table, name: str) -> Any:
    """A column as one array of Arrow."""
    import pyarrow as pa

    blocks = [block.column(name) for block in table.blocks([name])]
    kind = table.types[name]
    if pa.types.is_nested(kind) or pa.types.is_temporal(kind) or pa.types.is_binary(kind):
        raise InputError(
            f"{table.where}: column {name!r} has labels of type {kind}; give text or numbers"
        )
    return pa.concat_arrays(blocks) if blocks else pa.array([], pa.string())


def _text_array(texts: list[str]) -> Any:
    import pyarrow as pa

    return pa.array(texts, pa.string())


def _weights(table: Table, names: Sequence[str], present: np.ndarray) -> np.ndarray | None:
    """The weights (n,) of the rows with a label; `InputError` for what is no weight."""
    if not names:
        return None
    column = _whole(table, names[0])
    found = table.cast(column, "number")
    weights = (
        np.full(len(column), np.nan) if found is None else found.to_numpy(zero_copy_only=False)
    )
    if not weights.any():
        raise InputError(f"{table.where}: all weights are 0, column {names[0]!r}; give some")
    wrong = present & ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"{table.where}: weight {column[row].as_py()!r} in row {row:,}, column {names[0]!r}; "
            "give numbers of 0 or more"
        )
    return weights[present]  # type: ignore[no-any-return]


def _encode(table: Table, schema: Schema) -> np.ndarray:
    """The rows (n, l0), encoded; they are counted, so as not to outgrow the memory."""
    limit = (host_memory() or 1 << 62) // 2
    blocks, done, taken = [], 0, 0
    unknown: dict[str, list[Any]] = {}
    for block in table.blocks(schema.names):
        values = {}
        for column in schema.columns:
            values[column.name] = _checked(table, block.column(column.name), column, before=done)
            if column.kind == "category":
                known = {None, *column.categories}
                strange = [one for one in values[column.name] if one not in known]
                if strange:
                    unknown.setdefault(column.name, [0, strange[0]])[0] += len(strange)
        if not done and schema.values:
            check_scale(np.stack(list(values.values()), axis=1), schema.values, where=table.where)
        X = schema.encode(values)
        blocks.append(X.astype(np.float32) if schema.is_scaled else X)
        done += block.num_rows
        taken += blocks[-1].nbytes
        if taken > limit:
            raise InputError(
                f"{table.where}: more than {limit:,} bytes of rows, half of this machine's memory; "
                "save them as X_train.npy and so on, which may be larger"
            )
    for name, (count, first) in unknown.items():
        log.warning(
            "%s: %s values of column %r, such as %r, were not there in training, and are taken as "
            "missing",
            table.where,
            f"{count:,}",
            name,
            first[:40],
        )
    if not done:
        raise InputError(f"{table.where}: no rows; give a table with rows")
    return _narrow(np.concatenate(blocks))


def _narrow(X: np.ndarray) -> np.ndarray:
    """As float32 if nothing is lost; then half the memory is won."""
    if X.dtype != np.float64:
        return X
    with np.errstate(all="ignore"):  # of numbers that float32 has not
        narrow = X.astype(np.float32)
    return narrow if (narrow == X).all() else X


def _checked(table: Table, column: Any, of: Column, *, before: int) -> np.ndarray:
    """The values (n,) of a column; `InputError` with the row of the first that it cannot have."""
    values = table.values(column, of.kind)
    if values is None:
        rows = (row for row in range(len(column)) if not _fits(table, column, row, of.kind))
        wrong = next(rows, 0)
        raise InputError(
            f"{table.where}: {str(column[wrong].as_py())[:40]!r} in row {before + wrong:,}, column "
            f"{of.name!r}, is not {SAID[of.kind]}, as all are in training; correct it, or train "
            f"without the column (--drop {of.name})"
        )
    bad, said = np.zeros(0, bool), ""
    if of.kind in ("number", "boolean"):
        bad, said = np.isinf(values), "an infinite value"
        if not bad.any() and not of.takes_missing:
            bad, said = np.isnan(values), "no value"
    elif not of.takes_missing:
        bad, said = np.asarray(column.is_null()), "no value"
    if bad.any():
        raise InputError(
            f"{table.where}: {said} in row {before + int(bad.argmax()):,}, column {of.name!r}; "
            "replace it or leave the row out"
        )
    return values


def _fits(table: Table, column: Any, row: int, kind: str) -> bool:
    """Whether one value is missing or of a kind."""
    one = column.slice(row, 1)
    return (bool(one.null_count) and kind != "pixel") or table.values(one, kind) is not None
