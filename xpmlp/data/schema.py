"""What a data set's columns, target and classes are called: kept with a run, held to later data."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from xpmlp.data.image_rules import Images
from xpmlp.errors import InputError


@dataclass(frozen=True)
class Schema:
    """The names of a data set: its columns, its target and its classes.

    Parameters
    ----------
    columns : tuple of str, default ()
        The columns that are the values of a row, in order; empty for images and arrays.
    target : str, default ''
        The column of the labels or targets; empty for images and arrays.
    classes : tuple, default ()
        The classes in the order of the outputs; empty for numbers, and for classes that are
        integers from 0.
    images : Images, optional
        How images become rows.

    Examples
    --------
    >>> from xpmlp.data import Schema
    >>> Schema(("length", "width"), "species", ("alba", "bella")).class_name(1)
    'bella'
    """

    columns: tuple[str, ...] = ()
    target: str = ""
    classes: tuple[Any, ...] = ()
    images: Images = field(default_factory=Images)

    def class_name(self, number: int) -> Any:
        """Return the name of a class.

        Parameters
        ----------
        number : int
            Its number, from 0.

        Returns
        -------
        object
            The name; the number itself where classes have none.
        """
        return self.classes[number] if self.classes else number


NAMELESS = Schema()
"""That of arrays and images whose classes are integers."""


class Reading(NamedTuple):
    """How a data set is read.

    `target` and `drop` name columns of a table. With the `schema` of a trained network its columns
    are found by name and its classes keep their numbers. `holds_out` says whether a tenth of the
    rows becomes the test set where there is none; else all rows are test rows. `images` is the rule
    of a trained network; by default the data decide.
    """

    target: str = ""
    drop: tuple[str, ...] = ()
    schema: Schema | None = None
    holds_out: bool = True
    images: Images | None = None

    @property
    def classes(self) -> tuple[Any, ...]:
        """The classes of the trained network, if it has names for them."""
        return self.schema.classes if self.schema else ()


AS_IS = Reading()
"""By default: nothing is chosen, and a tenth of the rows becomes the test set."""


def class_count(labels: np.ndarray, schema: Schema) -> int | None:
    """Return the number of classes that labels are of; None for targets that are numbers.

    Integers are classes if they are 0 or more, leave few numbers out, and have five rows each on
    average; prices and years are numbers.
    """
    if schema.classes:
        return len(schema.classes)
    if labels.ndim == 2 or labels.dtype.kind == "f":
        return None
    different, most = len(np.unique(labels)), int(labels.max())
    is_dense = labels.min() >= 0 and most < 2 * different + 10
    return max(2, most + 1) if is_dense and different <= max(2, len(labels) // 5) else None


def missing_column(name: str, columns: Sequence[str], *, where: str, what: str) -> InputError:
    """Return the error for a column that a table does not have."""
    shown = ", ".join(map(repr, columns[:12])) + (", ..." if len(columns) > 12 else "")
    return InputError(f"{where}: no column {name!r}, {what}; it has {shown}")
