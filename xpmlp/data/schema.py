"""What a data set is: columns, target and classes, fitted once, kept with a run, held to later."""

import dataclasses
import itertools
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from xpmlp.data.image_rules import Images
from xpmlp.errors import InputError

log = logging.getLogger(__name__)

KINDS = ("number", "boolean", "category", "date", "pixel")

SCALINGS = ("none", "robust")

ONE_HOT_CATEGORIES = 32
"""The most categories that have an indicator each; of more, the place is a number."""

DATE_NUMBERS = ("year", "month", "weekday", "days")
"""What a date becomes: weekdays are 1 (Monday) to 7, days count from the first in training."""

MOST_DAYS = 1 << 40
"""The limit of a date, in days from 1970-01-01."""

SMOOTH_CLIP, LARGEST_SCALED = 3.0, 1e6
"""What scaled numbers stay below, and where they are cut first, so that no square overflows."""


@dataclass(frozen=True)
class Column:
    """A column of a table, and how its values become numbers.

    Parameters
    ----------
    name : str
        The name.
    kind : str, default 'number'
        One of `KINDS`.
    categories : tuple of str, default ()
        The values of a category, sorted.
    medians : tuple of float, default ()
        The median of each number that the column becomes, taken where a value is missing; by
        default missing values are refused.
    scales : tuple of float, default ()
        What each number less its median is multiplied with; by default numbers are not scaled.
    has_missing : bool, default False
        Whether values were missing in training: then an indicator follows the numbers.
    first_day : int, default 0
        The first date in training, in days since 1970-01-01.

    Raises
    ------
    InputError
        For an unknown kind, and for parts that contradict each other.

    Notes
    -----
    A scaled number is z / sqrt(1 + (z / 3)^2) with z = (value - median) / (q75 - q25), as in
    Holzmüller et al., "Better by default" (2024), appendix A.1. If the quartiles are equal, half
    the range is in their place; a constant becomes 0.

    Examples
    --------
    >>> from xpmlp.data import Column
    >>> Column("colour", "category", categories=("blue", "red")).encode(np.array(["red", None]))
    array([[0., 1.],
           [0., 0.]])
    """

    name: str
    kind: str = "number"
    categories: tuple[str, ...] = ()
    medians: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()
    has_missing: bool = False
    first_day: int = 0

    def __post_init__(self) -> None:
        numbers = [*self.medians, *self.scales]
        lengths = {len(self.medians), len(self.scales)} - {0}
        is_sound = (
            isinstance(self.name, str)
            and self.kind in KINDS
            and all(isinstance(one, str) for one in self.categories)
            and len(set(self.categories)) == len(self.categories)
            and (self.kind == "category") == bool(self.categories)
            and all(isinstance(one, float) and math.isfinite(one) for one in numbers)
            and lengths <= {0 if self.is_one_hot else len(self.number_names)}
            and (not self.scales or bool(self.medians))
            and all(one >= 0.0 for one in self.scales)
            and isinstance(self.first_day, int)
            and abs(self.first_day) < MOST_DAYS
        )
        if not is_sound:
            raise InputError(
                f"column {self.name!r}: its parts do not fit the kind {self.kind!r}; train again"
            )

    @property
    def is_one_hot(self) -> bool:
        """Whether each category has an indicator."""
        return self.kind == "category" and len(self.categories) <= ONE_HOT_CATEGORIES

    @property
    def number_names(self) -> tuple[str, ...]:
        """The numbers that the column becomes, but for the indicator of missing values."""
        if self.is_one_hot:
            return tuple(f"{self.name}={one}" for one in self.categories)
        if self.kind == "date":
            return tuple(f"{self.name}.{one}" for one in DATE_NUMBERS)
        return (self.name,)

    @property
    def encoded_names(self) -> tuple[str, ...]:
        """The numbers that the column becomes."""
        return (*self.number_names, *([f"{self.name} missing"] if self.has_missing else []))

    @property
    def takes_missing(self) -> bool:
        """Whether values may be missing: they have a median, or indicators."""
        return self.is_one_hot or bool(self.medians)

    def numbers(self, values: np.ndarray) -> np.ndarray:
        """Return the numbers before they are filled in and scaled.

        Parameters
        ----------
        values : ndarray of shape (n,)
            Numbers or truth values, text as objects, or datetime64.

        Returns
        -------
        ndarray of shape (n, m)
            Numbers, NaN where a value is missing; of a category its place, (n, 1).
        """
        if self.kind == "category":
            places = {name: float(place) for place, name in enumerate(self.categories)}
            found = map(places.get, values.tolist(), itertools.repeat(math.nan))
            return np.fromiter(found, np.float64, len(values))[:, None]
        if self.kind == "date":
            return _date_numbers(values, self.first_day)
        return values[:, None] if self.kind == "pixel" else values[:, None].astype(np.float64)

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Return what a network takes in place of the values.

        Parameters
        ----------
        values : ndarray of shape (n,)
            As `numbers` takes them.

        Returns
        -------
        ndarray of shape (n, width)
            The `encoded_names` as float64, or pixels as they are.
        """
        found = self.numbers(values)
        if self.kind == "pixel":
            return found
        is_missing = np.isnan(found)
        if self.is_one_hot:
            encoded = (found == np.arange(len(self.categories))).astype(np.float64)
        else:
            encoded = np.where(is_missing, self.medians, found) if self.medians else found
            if self.scales:
                with np.errstate(over="ignore", invalid="ignore"):
                    z = (encoded - self.medians) * self.scales
                z = np.clip(z, -LARGEST_SCALED, LARGEST_SCALED)
                encoded = z / np.sqrt(1.0 + (z / SMOOTH_CLIP) ** 2)
        return np.hstack([encoded, is_missing[:, :1]]) if self.has_missing else encoded


def _date_numbers(dates: np.ndarray, first_day: int) -> np.ndarray:
    """Year, month, weekday and days since the first, (n, 4); NaN where there is no date."""
    days = dates.astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    number = days.astype(np.int64)
    found = [
        months.astype("datetime64[Y]").astype(np.int64) + 1970,
        months.astype(np.int64) % 12 + 1,
        (number + 3) % 7 + 1,  # 1970-01-01 was a Thursday
        number - first_day,
    ]
    return np.where(np.isnat(days)[:, None], math.nan, np.stack(found, axis=1))


@dataclass(frozen=True)
class Schema:
    """The columns, the target and the classes of a data set.

    Parameters
    ----------
    columns : tuple of Column or str, default ()
        The columns that are the values of a row, in order; empty for images and arrays. A name
        alone stands for numbers as they are.
    target : str, default ''
        The column of the labels or targets, several between commas; empty for images and arrays.
    classes : tuple, default ()
        The classes in the order of the outputs; empty for numbers, and for classes that are
        integers from 0.
    images : Images, optional
        How images become rows.
    values : str, default ''
        `unit` if all numbers are fractions from 0 to 1, `whole` if they are integers from 0 to 16
        or more, as pixels are, else empty.

    Examples
    --------
    >>> from xpmlp.data import Schema
    >>> Schema(("length", "width"), "species", ("alba", "bella")).class_name(1)
    'bella'
    """

    columns: tuple[Any, ...] = ()
    target: str = ""
    classes: tuple[Any, ...] = ()
    images: Images = field(default_factory=Images)
    values: str = ""

    def __post_init__(self) -> None:
        columns = [Column(one) if isinstance(one, str) else one for one in self.columns]
        object.__setattr__(self, "columns", tuple(columns))
        is_sound = (
            len(set(self.names)) == len(columns)
            and isinstance(self.target, str)
            and isinstance(self.classes, tuple)
            and len(set(self.classes)) == len(self.classes)
            and self.values in ("", "unit", "whole")
        )
        if not is_sound:
            raise InputError(
                "schema: a name is there twice, or a part has the wrong type; train again"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(one.name for one in self.columns)

    @property
    def encoded_names(self) -> tuple[str, ...]:
        """The names of the numbers that a network takes, (l0,)."""
        return tuple(name for one in self.columns for name in one.encoded_names)

    @property
    def is_plain(self) -> bool:
        """Whether numbers are taken as they are, and so can be given as an array, too."""
        return all(
            one.kind not in ("category", "date") and not one.scales and not one.has_missing
            for one in self.columns
        )

    @property
    def takes_missing(self) -> bool:
        """Whether values of some column may be missing: the schema was fitted to a table."""
        return any(one.takes_missing for one in self.columns)

    @property
    def is_scaled(self) -> bool:
        """Whether some number is scaled."""
        return any(one.scales for one in self.columns)

    def class_name(self, number: int) -> Any:
        """Return the name of a class.

        Parameters
        ----------
        number : int
            Its number, from 0.

        Returns
        -------
        object
            The name; the number itself where classes have none, and of outputs beyond them.
        """
        return self.classes[number] if number < len(self.classes) else number

    def output_names(self, output: str, count: int) -> list[Any]:
        """Return what the outputs of a network are called.

        Parameters
        ----------
        output : str
            The output of the network.
        count : int
            The number of its outputs.

        Returns
        -------
        list
            Classes, or targets of several numbers or labels; numbers from 0 where they have no
            names.
        """
        if output == "softmax" or (output == "sigmoid" and count == 1):
            first = 1 if count == 1 else 0  # the one output is the probability of the second class
            return [self.class_name(first + place) for place in range(count)]
        targets = self.target.split(",") if self.target else []
        return targets if len(targets) == count else list(range(count))

    def encode(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return rows as a network takes them.

        Parameters
        ----------
        values : mapping of str to ndarray of shape (n,)
            The values of each column, as `Column.encode` takes them.

        Returns
        -------
        ndarray of shape (n, l0)
            Rows: uint8 if all columns are pixels, else floating-point numbers.
        """
        return np.hstack([one.encode(values[one.name]) for one in self.columns])

    def encode_array(self, X: np.ndarray, *, where: str) -> np.ndarray:
        """Return rows without names as a network takes them.

        Parameters
        ----------
        X : ndarray of shape (n, columns)
            The values of the columns, in their order.
        where : str
            The name that starts error messages.

        Returns
        -------
        ndarray of shape (n, l0)
            Rows; as they are where nothing is encoded.

        Raises
        ------
        InputError
            For another number of columns, for another scale, for columns of text and dates, and for
            columns numbered in another order (p1, p0): an array has none of their names.
        """
        if not any(one.takes_missing or one.kind == "pixel" for one in self.columns):
            return X
        rows = np.asarray(X[:]).reshape(len(X), -1)
        numbers = [re.search(r"\d+$", name) for name in self.names]
        order = [int(found[0]) for found in numbers if found]
        is_out_of_order = len(order) == len(self.columns) and order != sorted(set(order))
        is_text = any(one.kind in ("category", "date") for one in self.columns)
        if is_text or is_out_of_order or rows.shape[1] != len(self.columns):
            raise InputError(
                f"{where}: {rows.shape[1]} values a row without names, the network was trained on "
                f"{len(self.columns)} columns with names; give a CSV or Parquet file with them"
            )
        if len(order) < len(self.columns):
            shown = ", ".join(self.names[:8])
            log.warning("%s: without names, taken as the columns of training: %s", where, shown)
        check_scale(rows, self.values, where=where)
        if all(one.kind == "pixel" for one in self.columns):
            return rows
        return self.encode(dict(zip(self.names, rows.T, strict=True))).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """Return the schema as JSON has it.

        Returns
        -------
        dict
            Lists, texts and numbers; what has its default is left out.
        """
        columns = [
            {
                field.name: value
                for field in dataclasses.fields(Column)
                if (value := getattr(one, field.name)) != field.default
            }
            for one in self.columns
        ]
        return {
            "columns": columns,
            "target": self.target,
            "classes": list(self.classes),
            "images": dataclasses.asdict(self.images),
            "values": self.values,
        }

    @classmethod
    def from_json(cls, found: Any) -> "Schema":
        """Return the schema that `to_json` has written.

        Parameters
        ----------
        found : dict
            What was read from JSON.

        Returns
        -------
        Schema
            The schema.

        Raises
        ------
        InputError
            For anything else.
        """
        try:
            columns = []
            for one in found["columns"]:
                parts: Any = {key: tuple(v) if isinstance(v, list) else v for key, v in one.items()}
                columns.append(Column(**parts))
            images = Images(**found.get("images", {}))
            classes = tuple(found["classes"]) if isinstance(found["classes"], list) else None
            return cls(tuple(columns), found["target"], classes, images, found.get("values", ""))  # type: ignore[arg-type]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            said = f"{type(error).__name__}: {error}"
            raise InputError(f"schema: cannot be read ({said}); train again") from error


NAMELESS = Schema()
"""That of arrays and images whose classes are integers."""


class Reading(NamedTuple):
    """How a data set is read.

    `target`, `drop` and `weights` name columns of a table, whose numbers are scaled by `scaling`.
    With the `schema` of a trained network its columns are found by name and its classes keep their
    numbers. `holds_out` says whether a tenth of the rows becomes the test set where there is none;
    else all rows are test rows. `images` is the rule of a trained network; by default the data
    decide.
    """

    target: str = ""
    drop: tuple[str, ...] = ()
    schema: Schema | None = None
    holds_out: bool = True
    scaling: str = "none"
    weights: str = ""
    images: Images | None = None

    @property
    def classes(self) -> tuple[Any, ...]:
        """The classes of the trained network, if it has names for them."""
        return self.schema.classes if self.schema else ()


AS_IS = Reading()
"""By default: nothing is chosen, and a tenth of the rows becomes the test set."""


VALUE_ROWS, FEWEST_GREYS = 4096, 16
"""The most rows that are looked at, and the smallest maximum of integers that may be pixels."""


def value_kind(X: Any) -> str:
    """Return what a schema's `values` are for these rows."""
    if not isinstance(X, np.ndarray) or not X.size or X.dtype == np.uint8:
        return ""
    rows = X[:: -(-len(X) // VALUE_ROWS)]
    rows = rows[np.isfinite(rows)] if X.dtype.kind == "f" else rows
    lowest, highest = rows.min(initial=0), rows.max(initial=0)
    are_whole = X.dtype.kind in "ui" or bool((rows == np.trunc(rows)).all())
    if lowest < 0 or (highest < FEWEST_GREYS if are_whole else highest > 1):
        return ""
    return "whole" if are_whole else "unit"


def check_scale(X: np.ndarray, values: str, *, where: str) -> None:
    """Refuse rows if they are integers and those of training, whose kind is given, were not."""
    found = value_kind(X)
    if found and values and found != values:
        trained = "integers" if values == "whole" else "numbers from 0 to 1"
        raise InputError(
            f"{where}: numbers from {X.min():g} to {X.max():g}, the network was trained on "
            f"{trained}; give them on the same scale"
        )


def class_count(labels: np.ndarray, schema: Schema) -> int | None:
    """Return the number of classes of labels; None if they are numbers.

    Integers are classes if they are 0 or more, leave few numbers out, and have five rows each on
    average; prices and years are numbers.

    Parameters
    ----------
    labels : ndarray of shape (n,) or (n, K)
        Labels or targets.
    schema : Schema
        Says whether classes have names.

    Returns
    -------
    int or None
        The number of classes, 2 or more.

    Examples
    --------
    >>> from xpmlp.data import Schema, class_count
    >>> class_count(np.array([0, 2, 1] * 5), Schema())
    3
    """
    if schema.classes:
        return len(schema.classes)
    if labels.ndim == 2 or labels.dtype.kind == "f":
        return None
    different, most = len(np.unique(labels)), int(labels.max())
    is_dense = labels.min() >= 0 and most < 2 * different + 10
    return max(2, most + 1) if is_dense and different <= max(2, len(labels) // 5) else None


TRAINED_WITH = "which the network was trained with"
"""What messages say of a column that a schema names."""


def check_columns(wanted: Sequence[str], columns: Sequence[str], *, where: str, what: str) -> None:
    """Raise `InputError` for the first column that a table does not have."""
    for name in wanted:
        if name not in columns:
            raise missing_column(name, columns, where=where, what=what)


def missing_column(name: str, columns: Sequence[str], *, where: str, what: str) -> InputError:
    """Return the error for a column that a table does not have."""
    shown = ", ".join(map(repr, columns[:12])) + (", ..." if len(columns) > 12 else "")
    return InputError(f"{where}: no column {name!r}, {what}; it has {shown}")


def unknown_class(label: Any, row: int, classes: Sequence[Any], *, where: str) -> InputError:
    """Return the error for a label that a network was not trained on."""
    return InputError(
        f"{where}: class {label!r} in row {row:,} is not one of the {len(classes)} trained on "
        f"({', '.join(map(repr, classes[:8]))}); leave such rows out"
    )


def class_numbers(labels: Sequence[Any], classes: Sequence[Any], *, where: str) -> np.ndarray:
    """Return the place (n,) of each label among the classes; `InputError` for any other label."""
    places = {label: number for number, label in enumerate(classes)}
    for row, label in enumerate(labels):
        if label not in places:
            raise unknown_class(label, row, classes, where=where)
    return np.array([places[label] for label in labels], np.int64)
