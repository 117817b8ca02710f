"""Tables as they are stored: CSV, Parquet and data frames, read block by block by pyarrow."""

import contextlib
import csv as csv_text
import functools
import io
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xpmlp.data.opening import opened, shown
from xpmlp.errors import InputError

TEXT, PACKED = (".csv", ".tsv"), ".gz"
SUFFIXES = (*TEXT, *(suffix + PACKED for suffix in TEXT), ".parquet")

DELIMITERS = ",;\t|"

MISSING = (
    "", "?", "None", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NULL", "null", "NaN", "nan",
    "-NaN", "-nan",
)  # fmt: skip
"""What stands in a CSV file for no value."""

BLOCK_ROWS, BLOCK_BYTES = 1 << 16, 4 << 20
"""The size of a block of a Parquet file or a frame, and of a CSV file."""

HEAD, LONGEST_LINE, MOST_COLUMNS = 1 << 16, 1 << 26, 50_000
"""Characters of a CSV file in which its delimiter shows, those of a header, and columns read."""

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)
"""A number as text."""

INVISIBLE = "\ufeff\u200b\u2060"
"""Characters without a width that programs put before names."""

INDEX = ("", "Unnamed: 0")
"""What the first column is called where pandas wrote its index into a CSV file."""

KINDS_IN_TEXT = ("number", "boolean", "date", "category")
"""What a column of a CSV file may hold; the first that fits all its values is its kind."""

ARROW_TYPES = {
    "number": "double",
    "pixel": "double",
    "boolean": "bool",
    "category": "string",
    "date": "timestamp[us]",
}
"""What the values of a column are converted to."""


def is_table(path: Path) -> bool:
    """Whether a file's name ends as a table's does."""
    return path.name.lower().endswith(SUFFIXES)


def has_tables(path: Path) -> bool:
    """Whether a path is a table, or a directory with one to train on."""
    if os.path.isdir(path):  # False, too, for a name that no file can have
        return any(map(is_table, path.glob("train.*")))
    return is_table(path)


def is_frame(data: Any) -> bool:
    """Whether this is a data frame, of pandas, polars or any library that speaks Arrow."""
    return hasattr(data, "to_numpy") and hasattr(data, "columns")


@dataclass(frozen=True)
class Table:
    """A table that is read any number of times, block by block.

    `types` are Arrow's, by column; `index` has the columns in which pandas keeps the rows' numbers.
    In text nothing has a type; `decimal` is the decimal point of its numbers.
    """

    where: str
    types: Mapping[str, Any]
    index: Sequence[str]
    read: Callable[[list[str]], Iterable[Any]]
    is_text: bool = False
    decimal: str = "."

    def blocks(self, names: Iterable[str]) -> Iterator[Any]:
        """Yield the columns of these names, a batch of Arrow at a time."""
        import pyarrow as pa

        with _refusing(self.where):
            for batch in self.read(list(names)):
                columns = [self._tidied(one) for one in batch.columns]
                yield pa.record_batch(columns, names=batch.schema.names)

    def _tidied(self, column: Any) -> Any:
        """Text, null where it stands for no value, in text files without spaces around it."""
        import pyarrow as pa
        from pyarrow import compute

        if pa.types.is_dictionary(column.type):
            return self._tidied(column.dictionary).take(column.indices)
        if not _is_text(column.type):
            return column
        text = column.cast(pa.string())
        if self.is_text:
            text = compute.utf8_trim_whitespace(text)
            is_missing = compute.is_in(text, value_set=pa.array(MISSING))
        else:
            is_missing = compute.equal(text, "")
        return compute.if_else(is_missing, None, text) if is_missing.true_count else text

    def kinds(self, name: str) -> tuple[str, ...]:
        """Return what a column may hold; the first that fits all its values is its kind."""
        import pyarrow as pa

        kind, types = self.types[name], pa.types
        if self.is_text:
            return KINDS_IN_TEXT
        if kind == pa.uint8():
            return ("pixel",)
        if types.is_boolean(kind):
            return ("boolean",)
        if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
            return ("number",)
        if _is_text(kind):
            return KINDS_IN_TEXT[1:]
        if types.is_dictionary(kind):
            return ("category",)
        if types.is_date(kind) or types.is_timestamp(kind):
            return ("date",)
        if types.is_null(kind):
            return ("number",)
        raise InputError(
            f"{self.where}: column {name!r} has elements of type {kind}, a network takes numbers, "
            f"text and dates; convert it or leave it out (--drop {name})"
        )

    def cast(self, column: Any, kind: str) -> Any:
        """Return a column of Arrow as one of a kind; None if some value is of another."""
        import pyarrow as pa
        from pyarrow import compute

        types = pa.types
        if kind == "date" and not (_is_text(column.type) or types.is_temporal(column.type)):
            return pa.nulls(len(column), pa.timestamp("us")) if types.is_null(column.type) else None
        if kind == "boolean" and (types.is_floating(column.type) or types.is_integer(column.type)):
            truths = pa.array([0, 1, None], column.type)
            if not compute.all(compute.is_in(column, value_set=truths)).as_py():
                return None
        if self.is_text and kind == "number":
            if self.decimal != ".":
                column = compute.replace_substring(column, self.decimal, ".")
        elif self.is_text and kind != "date":  # pandas writes integers as 1.0 if some are missing
            column = compute.replace_substring_regex(column, r"^([+-]?\d+)\.0$", r"\1")
        elif _is_text(column.type) and kind != "category":
            column = compute.utf8_trim_whitespace(column)
        zoned = [pa.timestamp("us", "UTC")] if kind == "date" else []
        for wanted in (ARROW_TYPES[kind], *zoned):
            with contextlib.suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
                return compute.cast(column, wanted, safe=False)
        return None

    def values(self, column: Any, kind: str) -> np.ndarray | None:
        """Return what `Column.encode` takes, (n,); None if some value is of another kind."""
        if kind == "pixel" and str(column.type) == "uint8" and not column.null_count:
            return column.to_numpy()  # type: ignore[no-any-return]
        found = self.cast(column, kind)
        if kind == "boolean" or (kind == "number" and found is None):  # 0 and 1 in another spelling
            truths = self.cast(column, "boolean")
            found = None if truths is None else truths.cast("uint8").cast("double")
        if found is None:
            return None
        values: np.ndarray = found.to_numpy(zero_copy_only=False)
        if kind != "pixel":
            return values
        are_bytes = (values >= 0) & (values <= 255) & (values == np.trunc(values))
        return values.astype(np.uint8) if are_bytes.all() else None


def _is_text(kind: Any) -> bool:
    return str(kind) in ("string", "large_string", "string_view")


@contextlib.contextmanager
def _refusing(where: str) -> Iterator[None]:
    """Turn what Arrow says of a table into `InputError`."""
    import pyarrow as pa

    try:
        yield
    except InputError:
        raise
    except (
        pa.ArrowException,
        csv_text.Error,
        OSError,
        TypeError,
        UnicodeError,
        ValueError,
        OverflowError,
    ) as error:
        cause = " ".join(str(error).split())[:300] or type(error).__name__
        if isinstance(error, UnicodeError):
            cause = f"not UTF-8 or UTF-16: {cause}"
        if "Empty CSV file" in cause:
            raise InputError(f"{where}: no rows; give a table with rows") from error
        raise InputError(
            f"{where}: cannot be read as a table ({cause}); fix it or save it again"
        ) from error


def open_table(source: Any) -> Table:
    """Open a file or a frame; `InputError` for whatever pyarrow cannot read as a table."""
    is_in_memory = is_frame(source)
    where = "frame" if is_in_memory else shown(source)
    if not is_in_memory:
        with opened(source):  # or refused
            pass
    try:
        import pyarrow as pa
    except ImportError as error:
        raise InputError(f"{where}: tables need pyarrow; pip install 'xpmlp[tables]'") from error
    with _refusing(where):
        if is_in_memory:
            return _open_frame(source, where, pa)
        if Path(source).name.lower().endswith(".parquet"):
            return _open_parquet(Path(source), where)
        return _open_csv(Path(source), where, pa)


def _open_frame(frame: Any, where: str, pa: Any) -> Table:
    if hasattr(frame, "iloc"):
        frame = frame.rename(columns=str)
    table = pa.table(frame)
    index = _index_of_pandas(table.schema)

    def read(names: list[str]) -> Iterable[Any]:
        return table.select(names).to_batches(BLOCK_ROWS)  # type: ignore[no-any-return]

    _refuse_twice(table.schema.names, where)
    return Table(where, _types(table.schema), index, read)


def _open_parquet(path: Path, where: str) -> Table:
    from pyarrow import parquet

    # Buffered ahead, whole groups of rows would lie in memory.
    opening = functools.partial(
        parquet.ParquetFile, path, pre_buffer=False, page_checksum_verification=True
    )
    with opening() as file:
        schema = file.schema_arrow

    def read(names: list[str]) -> Iterable[Any]:
        with opening() as file:
            yield from file.iter_batches(BLOCK_ROWS, columns=names)

    _refuse_twice(schema.names, where)
    return Table(where, _types(schema), _index_of_pandas(schema), read)


def _types(schema: Any) -> dict[str, Any]:
    return dict(zip(schema.names, schema.types, strict=True))


def _index_of_pandas(schema: Any) -> list[str]:
    said = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
    columns = [*said.get("index_columns", []), *(one for one in schema.names[:1] if one in INDEX)]
    return [one for one in columns if isinstance(one, str) and one in schema.names]


def _open_csv(path: Path, where: str, pa: Any) -> Table:
    from pyarrow import csv

    with _stream(path, pa) as stream:
        encoding = "utf-16" if stream.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    delimiter, decimal, given, rows = _dialect(path, encoding, pa)
    names = [name.strip().strip(INVISIBLE) for name in given]
    while names and not names[-1] and not any(any(row[len(names) - 1 :]) for row in rows):
        names.pop()  # each line ends with a delimiter
    if not names:
        raise InputError(f"{where}: the file is empty; give a table with a header and rows")
    if len(names) > MOST_COLUMNS:
        raise InputError(
            f"{where}: {len(names):,} columns, at most {MOST_COLUMNS:,} are read; save them as "
            "X_train.npy and so on"
        )
    _refuse_twice(names, where)
    values = {(place, cell.strip()) for row in rows for place, cell in enumerate(row)}
    texts = [one for one in enumerate(names) if not NUMBER.fullmatch(one[1])]
    same = [name for place, name in texts if name and (place, name) in values]
    if not texts or (same and len(texts) < len(names)):
        said = f"and {same[0][:40]!r}, a value of its column" if texts else "only"
        raise InputError(
            f"{where}: the first line has numbers {said}, and is to name the columns; add a header"
        )
    stored = dict(zip(names, given, strict=False))

    def scan(wanted: list[str], **options: Any) -> Iterable[Any]:
        columns = [stored[name] for name in wanted]
        with csv.open_csv(
            _stream(path, pa),
            read_options=csv.ReadOptions(block_size=BLOCK_BYTES, encoding=encoding, **options),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()),
                include_columns=columns,
            ),
        ) as reader:
            for batch in reader:
                yield batch.rename_columns(wanted)

    def read(wanted: list[str]) -> Iterable[Any]:
        try:
            yield from scan(wanted)
        except pa.ArrowInvalid:
            yield from scan(wanted, use_threads=False)  # fails again, and tells the row

    index = names[:1] if names[0] in INDEX else []
    return Table(
        where, dict.fromkeys(names, pa.string()), index, read, is_text=True, decimal=decimal
    )


def _dialect(path: Path, encoding: str, pa: Any) -> tuple[str, str, list[str], list[list[str]]]:
    """Return the delimiter, which divides the first line into most columns, the decimal point, a
    comma where that does not divide columns and stands within numbers, the first line, and more."""
    with _stream(path, pa) as stream:
        text = io.TextIOWrapper(
            stream, "utf-8-sig" if encoding == "utf-8" else encoding, newline=""
        )
        head = text.read(HEAD)
        head += text.readline(LONGEST_LINE) if "\n" not in head else ""
    if "\0" in head:
        raise UnicodeError("null characters")

    def lines(delimiter: str) -> Iterator[list[str]]:
        return filter(None, csv_text.reader(io.StringIO(head, newline=""), delimiter=delimiter))

    def columns(delimiter: str) -> int:
        try:
            return len(next(lines(delimiter), []))
        except csv_text.Error:  # a field longer than any name
            return 0

    delimiter = max(DELIMITERS, key=columns)
    names, *rows = itertools.chain(lines(delimiter), [[]])
    has_commas = any(re.fullmatch(r"[+-]?\d+,\d+", cell) for row in rows for cell in row)
    return delimiter, "," if delimiter != "," and has_commas else ".", names, rows


def _stream(path: Path, pa: Any) -> Any:
    with path.open("rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"  # whatever its name
    return pa.input_stream(str(path), compression="gzip" if is_packed else None)


def _refuse_twice(names: Sequence[str], where: str) -> None:
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise InputError(f"{where}: two columns are called {twice!r}; rename one")
