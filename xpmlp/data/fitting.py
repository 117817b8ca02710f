"""A schema fitted to the training rows of a table, in one pass and bounded memory.

Kinds, categories, missing values and the first date are those of every training row. Medians and
quartiles are those of all rows up to `SAMPLE_ROWS`, else of a random sample of as many.
"""

import logging
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from xpmlp.data.schema import Column, value_kind
from xpmlp.data.table_files import NUMBER, Table
from xpmlp.errors import InputError
from xpmlp.randomness import SAMPLE, generator

SAMPLE_ROWS, SAMPLE_VALUES = 1 << 16, 1 << 24
"""The most rows of the sample, and about the most values that it has."""

MOST_CATEGORIES = 10_000
"""Of more values than this a column of text is refused."""

LIKE_NUMBER, FEW_TEXTS = re.compile(r"[\s\d.,:;/%$€£¥+()TZ−'_-]*\d[\s\d.,:/%$€£¥()Z'_-]*"), 10
"""Text that was perhaps meant as a number or a date; columns with fewer values are not judged."""

log = logging.getLogger(__name__)


class RowSample:
    """The rows with the smallest of random numbers, drawn in order: all blocks give the same."""

    def __init__(self, columns: int) -> None:
        self.rows = max(1 << 10, min(SAMPLE_ROWS, SAMPLE_VALUES // max(1, columns)))
        self._random = generator(0, SAMPLE)
        self._keys = np.empty(0)
        self._limit = np.inf
        self._batches: list[Any] = []
        self._numbers = np.empty(0, np.int64)
        self._seen = 0

    def add(self, batch: Any, is_training: np.ndarray) -> None:
        """Take a batch of rows, of which these are training rows."""
        keys = self._random.random(batch.num_rows)
        chosen = np.flatnonzero((keys < self._limit) & is_training)
        self._batches.append(batch.take(chosen))
        self._keys = np.append(self._keys, keys[chosen])
        self._numbers = np.append(self._numbers, chosen + self._seen)
        self._seen += batch.num_rows
        if len(self._keys) > 2 * self.rows:
            self._prune()

    def _prune(self) -> Any:
        """Keep no more rows than the sample has, in their order."""
        import pyarrow as pa

        kept = np.sort(np.argsort(self._keys, kind="stable")[: self.rows])
        table = pa.Table.from_batches(self._batches).combine_chunks().take(kept)
        self._batches = table.to_batches()
        self._keys, self._numbers = self._keys[kept], self._numbers[kept]
        self._limit = self._keys.max(initial=0.0) if len(kept) == self.rows else np.inf
        return table

    def finish(self) -> tuple[Any, np.ndarray]:
        """Return the rows of the sample as a table of Arrow, and their numbers (n,)."""
        return self._prune(), self._numbers


class FoundColumn:
    """What the values of a column of a table turned out to be."""

    def __init__(self, name: str, kinds: tuple[str, ...], table: Table) -> None:
        self.name, self.kinds, self.table = name, kinds, table
        self.present = self.missing = 0
        self.categories: set[str] = set()
        self.first_day: int | None = None

    def add(self, values: Any, is_training: np.ndarray) -> None:
        """Take a block of rows, a column of Arrow, of which these are training rows."""
        missing = _count_missing(values, is_training)
        self.missing += missing
        self.present += int(np.count_nonzero(is_training)) - missing
        if self.kinds not in (("number",), ("boolean",), ("pixel",)):
            self._add_values(values.filter(is_training))

    def _add_values(self, values: Any) -> None:
        """Take training rows of a column whose values are looked at, and not only counted."""
        if len(self.kinds) > 1 and values.null_count < len(values):
            cast = self.table.cast
            self.kinds = tuple(one for one in self.kinds if cast(values, one) is not None)
        kind = self.kinds[0]
        if "category" in self.kinds and len(self.categories) <= MOST_CATEGORIES:
            texts = self.table.cast(values.unique(), "category")
            self.categories.update(texts.drop_null().to_pylist())
        if kind == "category" and len(self.categories) > MOST_CATEGORIES:
            about = _like_numbers(self.categories) or ", as names of rows have; convert it"
            raise InputError(
                f"{self.table.where}: column {self.name!r} has more than {MOST_CATEGORIES:,} "
                f"different texts{about}, or leave it out (--drop {self.name})"
            )
        if kind == "date" and values.null_count < len(values):
            dates = self.table.cast(values, "date").drop_null().to_numpy(zero_copy_only=False)
            day = int(dates.min().astype("datetime64[D]").astype(np.int64))
            self.first_day = day if self.first_day is None else min(day, self.first_day)

    def column(self, sample: Any, scaling: str) -> Column:
        """Return the column; `sample` has its values in the sample."""
        kind = self.kinds[0]
        if kind == "pixel":
            return Column(self.name, kind)
        categories = tuple(sorted(self.categories)) if kind == "category" else ()
        if about := _like_numbers(categories):
            log.warning("%s: column %r is text%s", self.table.where, self.name, about)
        plain = Column(self.name, kind, categories, first_day=self.first_day or 0)
        if plain.is_one_hot:
            return replace(plain, has_missing=self.missing > 0)
        values = self.table.values(sample.combine_chunks(), kind)
        if values is None:
            raise InputError(
                f"{self.table.where}: column {self.name!r} changed while it was read; train again"
            )
        quartiles = [_quartiles(one[np.isfinite(one)]) for one in plain.numbers(values).T]
        is_scaled = scaling == "robust" and kind != "boolean"
        return replace(
            plain,
            medians=tuple(one[2] for one in quartiles),
            scales=tuple(_scale(*one) for one in quartiles) if is_scaled else (),
            has_missing=self.missing > 0,
        )


def _like_numbers(texts: Collection[str]) -> str:
    """Say how to write numbers and dates, if most of these texts were perhaps meant as such."""
    alike = sum(bool(LIKE_NUMBER.fullmatch(one)) for one in texts)
    odd = next((one for one in sorted(texts) if not NUMBER.fullmatch(one)), "")
    if len(texts) < FEW_TEXTS or 2 * alike <= len(texts) or not odd:
        return ""
    return (
        f" such as {odd[:40]!r}, though most look like numbers or dates; write numbers as 1234.5, "
        "dates as 2026-01-31, and nothing for missing values"
    )


def _count_missing(values: Any, is_training: np.ndarray) -> int:
    """How many training rows have no value, or NaN."""
    import pyarrow as pa

    if pa.types.is_floating(values.type):
        missing = np.isnan(values.to_numpy(zero_copy_only=False))
    elif values.null_count:
        missing = np.asarray(values.is_null())
    else:
        return 0
    return int(np.count_nonzero(missing & is_training))


def _quartiles(numbers: np.ndarray) -> tuple[float, ...]:
    """Minimum, quartiles and maximum; zeros if there are no values."""
    if not len(numbers):
        return (0.0,) * 5
    return tuple(map(float, np.percentile(numbers, (0, 25, 50, 75, 100))))


def _scale(low: float, q25: float, _: float, q75: float, high: float) -> float:
    with np.errstate(over="ignore", divide="ignore"):
        for width in (np.float64(q75) - q25, 0.5 * (np.float64(high) - low)):
            if width > 0 and np.isfinite(scale := 1.0 / width) and scale:
                return float(scale)
    return 0.0


class Fit(NamedTuple):
    """Columns, how many values each misses, and a sample of the rows with their numbers (n,).

    `values` are a schema's, if all columns are numbers.
    """

    columns: tuple[Column, ...]
    missing: dict[str, int]
    sample: Any
    rows: np.ndarray
    values: str


def fit_columns(
    table: Table, names: Sequence[str], is_training: np.ndarray, *, scaling: str = "none"
) -> Fit:
    """Fit columns to the training rows of a table.

    `is_training` (n,) says which rows these are. A column without any value is left out, with a
    line.
    """
    kinds = {name: table.kinds(name) for name in names}
    if set(kinds.values()) != {("pixel",)}:
        kinds = {name: ("number",) if "pixel" in one else one for name, one in kinds.items()}
    sample = RowSample(len(kinds))
    found = [FoundColumn(name, may_be, table) for name, may_be in kinds.items()]
    done = 0
    for block in table.blocks(names):
        trains = is_training[done : done + block.num_rows]
        if len(trains) < block.num_rows:
            break
        done += block.num_rows
        sample.add(block, trains)
        for one in found:
            one.add(block.column(one.name), trains)
    if done < len(is_training):
        raise InputError(
            f"{table.where}: the target has {len(is_training):,} rows, other columns have not as "
            "many; save the file again"
        )
    chosen, numbers = sample.finish()
    if empty := [repr(one.name) for one in found if not one.present]:
        said = ", ".join(empty)
        log.warning("%s: column %s has no values, and is left out", table.where, said)
    columns = tuple(one.column(chosen.column(one.name), scaling) for one in found if one.present)
    if not columns:
        raise InputError(f"{table.where}: no column but the target has values; give some")
    values = ""
    if all(one.kind == "number" for one in columns):
        X = [table.values(chosen.column(one.name).combine_chunks(), one.kind) for one in columns]
        values = value_kind(np.stack(X, axis=1))  # type: ignore[arg-type]
    return Fit(columns, {one.name: one.missing for one in found}, chosen, numbers, values)
