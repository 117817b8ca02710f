"""Checks of a user's input: names, with suggestions; numbers, with their range; widths, seeds."""

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


def as_integer(value: Any, *, otherwise: int) -> int:
    """Return an integer of any library as Python's; `otherwise` for anything else."""
    try:
        return otherwise if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return otherwise


def check_integer(name: str, value: Any, *, least: int) -> int:
    """Return an integer of any library as Python's; raise `InputError` for others."""
    number = as_integer(value, otherwise=least - 1)
    if number < least:
        raise InputError(f"{name}={value}: give an integer of {least} or more")
    return number


def check_layer_sizes(layer_sizes: Iterable[int]) -> tuple[int, ...]:
    """Return the widths as Python's integers; raise `InputError` for invalid ones."""
    if not isinstance(layer_sizes, Iterable) or isinstance(layer_sizes, str):
        raise InputError(
            f"layer_sizes={layer_sizes}: give all widths as one sequence, such as (784, 64, 10)"
        )
    given = list(layer_sizes)
    shown = ",".join(map(str, given))
    if len(given) < 2:
        raise InputError(f"layer_sizes={shown}: give at least two widths, values in and classes")
    widths = tuple(as_integer(width, otherwise=0) for width in given)
    for position, width in enumerate(widths):
        if not 1 <= width < 2**28:
            raise InputError(
                f"layer_sizes={shown}: width {position} is {given[position]}; each is an integer "
                ">= 1 and less than 2**28"
            )
    return widths


def member_seeds(seeds: Iterable[int]) -> list[int]:
    """A seed for each member, as Python integers; `InputError` for none or an invalid one."""
    found = [check_integer("seed", seed, least=0) for seed in seeds]
    # Seeds that members count up from the largest that may be given go beyond it.
    if not found or max(found) >= 2**63 + len(found) - 1:
        shown = ",".join(map(str, found))
        raise InputError(f"seed={shown}: give at least one, each 0 or more and less than 2**63")
    return found


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
