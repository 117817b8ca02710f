"""Which part of which layer an operation of a traced step belongs to.

Whoever runs a step says with `mark` which part of it comes next; while a step is traced, each
operation is noted with the last mark before it. Outside of tracing, a mark does nothing, and costs
no more than the call of an empty function.
"""

from collections.abc import Callable
from typing import NamedTuple

from xpmlp.typing import Namespace


class Phase(NamedTuple):
    """A part of a step: of which layer, 1 being the first, or of none; and what it does."""

    layer: int | None
    name: str


NOWHERE = Phase(None, "the rest")
"""The phase of operations before the first mark."""


def marker(xp: Namespace) -> Callable[..., None]:
    """Return `mark(name, layer)`, which says which part of a step comes next."""
    is_traced = hasattr(type(xp), "mark")  # of the type: NumPy answers for a module by raising
    return xp.mark if is_traced else _nothing


def _nothing(name: str, layer: int | None = None) -> None:
    pass
