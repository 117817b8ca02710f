"""Which part of which layer an operation of a traced step belongs to.

Whoever runs a part of a step says so with `scope`; while a step is traced, each operation is noted
with the innermost scope that it was recorded in. Outside of tracing, a scope does nothing.
"""

import contextlib
from typing import NamedTuple

from xpmlp.typing import Namespace


class Phase(NamedTuple):
    """A part of a step: of which layer, 1 being the first, or of none; and what it does."""

    layer: int | None
    name: str


NOWHERE = Phase(None, "the rest")
"""The phase of operations outside of any scope."""

_NOTHING = contextlib.nullcontext()


def scope(
    xp: Namespace, name: str, layer: int | None = None
) -> contextlib.AbstractContextManager[None]:
    """Return the context in which operations of `xp` are recorded as this part of the step."""
    enter = getattr(type(xp), "scope", None)  # of the type: NumPy answers for a module by raising
    return _NOTHING if enter is None else enter(xp, Phase(layer, name))
