"""Checks of hyperparameters."""

import math
from typing import Any

from xpmlp.checks import check_range
from xpmlp.errors import InputError
from xpmlp.typing import Namespace


def check_fraction(**given: float) -> list[float]:
    """Numbers from 0 up to, but not including, 1, such as `beta1=0.9`; others are an InputError.

    They come back as Python's own: a NumPy scalar of another precision would promote arrays.
    """
    for name, value in given.items():
        check_range(name, value, least=0.0, below=1.0)
    return [float(value) for value in given.values()]


def check_unit(**given: float) -> list[float]:
    """Numbers from 0 up to and including 1, as `check_fraction` gives them back."""
    for name, value in given.items():
        check_range(name, value, least=0.0, below=math.inf)
        if value > 1.0:
            raise InputError(f"{name}={value}: give a finite number at least 0 and at most 1")
    return [float(value) for value in given.values()]


def check_positive(**given: float) -> list[float]:
    """Finite numbers above 0, such as `epsilon=1e-8`; others are an InputError."""
    for name, value in given.items():
        check_range(name, value, above=0.0, below=math.inf)
    return [float(value) for value in given.values()]


def check_epsilon(epsilon: float, dtype: Any, *, xp: Namespace) -> None:
    """Refuse an epsilon that is 0 in a precision: a pixel that is always black would be 0/0."""
    least = float(xp.finfo(dtype).smallest_normal)
    if epsilon < least:
        raise InputError(f"epsilon={epsilon}: {dtype} needs at least {least:.3g}")
