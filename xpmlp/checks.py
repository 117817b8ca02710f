"""Checks of a user's input: names, with suggestions; numbers, with their range; widths, seeds."""

import dataclasses
import difflib
import math
import numbers
import operator
import sys
from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np

from xpmlp.display import LONGEST_VALUE, shortened
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
                f"{setting}={quoted(value)}: {nearest(str(value), known)}use {', '.join(known)}"
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
        raise InputError(f"{name}={shown(value)}: give an integer of {least} or more")
    return number


def check_boolean(name: str, value: Any) -> bool:
    """Return a boolean of any library as Python's; raise `InputError` for others."""
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"{name}={quoted(value)}: give True or False")
    return bool(value)


def check_kind(name: str, value: object, kind: type) -> None:
    """Refuse with `InputError` a value that is not an instance of a public class."""
    if not isinstance(value, kind):
        raise InputError(f"{name}={quoted(value)}: give an xpmlp.{kind.__name__}")


def plain(value: Any) -> Any:
    """Return a number of any library as Python's own, and a list or an array as a tuple."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return tuple(map(plain, value)) if type(value) in (list, tuple) else value


def check_fields(config: Any, **least: int) -> None:
    """Make the values of a frozen dataclass `plain`; raise `InputError` for booleans and integers
    that aren't, and for integers below 0 or what `least` says.

    Other ranges are for the class itself to check.
    """
    for one in dataclasses.fields(config):
        value = plain(getattr(config, one.name))
        if one.type is bool:
            value = check_boolean(one.name, value)
        elif one.type is int:
            value = check_integer(one.name, value, least=least.get(one.name, 0))
        object.__setattr__(config, one.name, value)


def check_layer_sizes(layer_sizes: Iterable[int]) -> tuple[int, ...]:
    """Return the widths as Python's integers; raise `InputError` for invalid ones."""
    layer_sizes = plain(layer_sizes)
    if not isinstance(layer_sizes, Iterable) or isinstance(layer_sizes, (str, Set)):
        raise InputError(
            f"layer_sizes={shown(layer_sizes)}: give all widths as one sequence, such as "
            "(784, 64, 10)"
        )
    given = list(layer_sizes)
    if len(given) < 2:
        raise InputError(
            f"layer_sizes={shown(given)}: give at least two widths, values in and classes"
        )
    widths = tuple(as_integer(width, otherwise=0) for width in given)
    for position, width in enumerate(widths):
        if not 1 <= width < 2**28:
            raise InputError(
                f"layer_sizes={shown(given)}: width {position} is {given[position]}; each is "
                "an integer >= 1 and less than 2**28"
            )
    return widths


def check_seed(seed: Any) -> int | tuple[int, ...]:
    """Return a seed, or one for each member, as Python integers; `InputError` for invalid ones."""
    seed = plain(seed)
    is_many = isinstance(seed, Iterable)
    found = tuple(check_integer("seed", one, least=0) for one in (seed if is_many else (seed,)))
    # Seeds that members count up from the largest that may be given go beyond it.
    if not found or max(found) >= 2**63 + len(found) - 1:
        raise InputError(
            f"seed={shown(found)}: give at least one, each 0 or more and less than 2**63"
        )
    return found if is_many else found[0]


def check_range(
    name: str,
    value: Any,
    *,
    below: float = math.inf,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = sys.float_info.max,
    many: bool = False,
) -> None:
    """Refuse with `InputError` a number that is out of range; `many`: or one of a tuple."""
    for number in value if many and isinstance(value, tuple) and value else (value,):
        is_number = isinstance(number, numbers.Real) and not isinstance(number, bool)
        if not (is_number and least <= number < below and above < number <= most):
            low = f"at least {least:g}" if least > -math.inf else f"above {above:g}"
            high = "" if below == math.inf else f" and below {below:g}"
            high = high if most == sys.float_info.max else f" and at most {most:g}"
            raise InputError(f"{name}={shown(value)}: give a finite number {low}{high}")


def check_fraction(**given: float) -> list[float]:
    """Return numbers of at least 0 and below 1, such as `beta1=0.9`; raise `InputError` for others.

    They are Python's own: a NumPy scalar of another precision would promote arrays.
    """
    return _checked(given, least=0.0, below=1.0)


def check_unit(**given: float) -> list[float]:
    """Return numbers from 0 to 1, as `check_fraction` does."""
    return _checked(given, least=0.0, most=1.0)


def check_positive(**given: float) -> list[float]:
    """Return finite numbers above 0, such as `epsilon=1e-8`, as `check_fraction` does."""
    return _checked(given, above=0.0)


def _checked(given: Mapping[str, float], **limits: Any) -> list[float]:
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
    text = ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
    return shortened(" ".join(text.splitlines()), LONGEST_VALUE)


def quoted(value: object) -> str:
    """A value of any type as Python writes it, in one short line."""
    return shortened(" ".join(repr(value).split()), LONGEST_VALUE)
