"""Checks of a user's input: names, with suggestions, and numbers, with their range."""

import difflib
import math
import numbers
import operator
from collections.abc import Iterable, Mapping
from typing import Any

from xpmlp.errors import InputError
from xpmlp.typing import Namespace


def closest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is nearest; empty if none is near."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), "")


def by_habit(table: Mapping[str, str]) -> dict[str, str]:
    """Return what to type for each name of other programs; `table` has those as words."""
    return {habit: instead for instead, habits in table.items() for habit in habits.split()}


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean NAME? ` if a known name is near, else nothing."""
    found = closest(name, known)
    return f"did you mean {found}? " if found else ""


def one_of(known: Iterable[str], **given: str) -> None:
    """Refuse with `InputError` a setting, `name=value`, whose value is unknown."""
    known = list(known)
    for setting, value in given.items():
        if not isinstance(value, str) or value not in known:
            raise InputError(
                f"{setting}={value!r}: {nearest(str(value), known)}use {', '.join(known)}"
            )


def check_integer(name: str, value: Any, *, least: int) -> int:
    """Return an integer of any library as Python's; raise `InputError` for others."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise InputError(f"{name}={value}: give an integer of {least} or more")
    return number


def check_range(
    name: str,
    value: object,
    *,
    below: float,
    least: float = -math.inf,
    above: float = -math.inf,
) -> None:
    """Refuse with `InputError` a number, or one of several, that is out of range."""
    for number in value if isinstance(value, (tuple, list)) else (value,):
        if (
            isinstance(number, bool)
            or not isinstance(number, numbers.Real)
            or not (least <= float(number) < below and float(number) > above)
        ):
            low = f"at least {least:g}" if least > -math.inf else f"above {above:g}"
            high = "" if below == math.inf else f" and below {below:g}"
            raise InputError(f"{name}={shown(value)}: give a finite number {low}{high}")


def check_fraction(**given: float) -> list[float]:
    """Return numbers of at least 0 and below 1, such as `beta1=0.9`; raise `InputError` for others.

    They are Python's own: a NumPy scalar of another precision would promote arrays.
    """
    return _checked(given, least=0.0, below=1.0)


def check_unit(**given: float) -> list[float]:
    """Return numbers from 0 to 1, as `check_fraction` does."""
    for name, value in given.items():
        if not isinstance(value, numbers.Real) or not 0.0 <= value <= 1.0:
            raise InputError(f"{name}={value}: give a finite number at least 0 and at most 1")
    return _checked(given, least=0.0, below=math.inf)


def check_positive(**given: float) -> list[float]:
    """Return finite numbers above 0, such as `epsilon=1e-8`, as `check_fraction` does."""
    return _checked(given, above=0.0, below=math.inf)


def _checked(given: Mapping[str, float], **limits: float) -> list[float]:
    for name, value in given.items():
        check_range(name, value, **limits)
    return [float(value) for value in given.values()]


def check_epsilon(epsilon: float, dtype: Any, *, xp: Namespace) -> None:
    """Raise for an epsilon that is 0 in a precision: a pixel that is always black would be 0/0."""
    least = float(xp.finfo(dtype).smallest_normal)
    if epsilon < least:
        raise InputError(f"epsilon={epsilon}: {dtype} needs at least {least:.3g}")


def shown(value: object) -> str:
    """A number, or several, as a user gives them."""
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
