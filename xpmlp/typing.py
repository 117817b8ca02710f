"""Names for what the Array API standard leaves untyped.

The standard specifies arrays and namespaces by behaviour, and no released
package describes that behaviour to a type checker, so both are `Any` here.
The shapes stand in the docstrings, in the notation of `xpmlp.algebra`.
"""

from typing import Any, TypeAlias

Array: TypeAlias = Any
"""An array of any library that implements the Array API standard."""

Namespace: TypeAlias = Any
"""That library's namespace: the `xp` of the standard."""

DTYPES = ("float32", "float64")
"""What parameters are stored and trained in."""


def dtype_name(array: Array) -> str:
    """Return `float32` for the dtype of any library: torch's is written `torch.float32`."""
    return str(array.dtype).rpartition(".")[2]
