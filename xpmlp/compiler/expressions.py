"""Types, numbers and elementwise operations in C, with NumPy's meaning.

float16 is computed as float and rounded.
"""

import math

import numpy as np

from xpmlp.compiler.operations import ELEMENTWISE
from xpmlp.compiler.program import Operation, Scalar
from xpmlp.compiler.record import Untraceable

C_TYPES = {
    "bool": "bool",
    "int8": "signed char", "int16": "short", "int32": "int", "int64": "long long",
    "uint8": "unsigned char", "uint16": "unsigned short", "uint32": "unsigned int",
    "uint64": "unsigned long long",
    "float16": "float", "float32": "float", "float64": "double",
}  # fmt: skip
"""The type of a variable; in memory float16 is `half`."""

_EXACT = frozenset(
    {"astype", "full", "positive", "where", "maximum", "minimum", "negative", "abs", "floor"}
)
"""Functions whose result needs no rounding if the operands did not."""


def c_type(dtype: str) -> str:
    """The C type of a variable of this dtype."""
    if dtype not in C_TYPES:
        raise Untraceable(f"no kernel holds {dtype}")
    return C_TYPES[dtype]


def literal(value: float, dtype: str) -> str:
    """A number in C, to the bit."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return "true" if value else "false"
    if kind in "iu":
        return _whole(int(value), dtype)
    with np.errstate(over="ignore"):
        rounded = float(np.dtype(dtype).type(value))
    is_double = dtype == "float64"
    if math.isnan(rounded):
        return "NAN_D" if is_double else "NAN_F"
    if math.isinf(rounded):
        text = "INF_D" if is_double else "INF_F"
        return text if rounded > 0 else f"(-{text})"
    text = repr(rounded) if is_double else f"{np.float32(rounded)!s}f"
    return f"({text})" if text.startswith("-") else text


def _whole(value: int, dtype: str) -> str:
    suffix = {"uint32": "u", "int64": "LL", "uint64": "ULL"}.get(dtype, "")
    if value >= 0:
        return f"{value}{suffix}"
    # The most negative number has no literal: C reads a minus before a number that is too large.
    return f"({value + 1}{suffix} - 1)"


def identity(function: str, dtype: str) -> str:
    """What a reduction starts from."""
    if function == "sum":
        return literal(0, dtype)
    sign = -1.0 if function == "max" else 1.0
    kind = np.dtype(dtype).kind
    if kind == "f":
        return literal(sign * math.inf, dtype)
    if kind == "b":
        return literal(sign > 0, dtype)
    limits = np.iinfo(dtype)
    return literal(limits.min if sign < 0 else limits.max, dtype)


def cast(text: str, given: str, wanted: str) -> str:
    """A variable of one dtype brought to another."""
    if given == wanted:
        return text
    if wanted == "bool":
        return f"({text} != 0)"
    if wanted == "float16":
        return text if given == "bool" else f"ROUND_HALF((float){text})"
    return text if c_type(given) == c_type(wanted) else f"({c_type(wanted)}){text}"


def expression(operation: Operation, operands: list[str]) -> str:
    """The C text of an elementwise operation on operands that have the dtype it computes in.

    The operands are variables or literals. Raises `Untraceable` where there is none.
    """
    function, dtype, result = operation.function, operation.computes, operation.result.dtype
    exponent = operation.operands[-1]
    is_square = function == "pow" and isinstance(exponent, Scalar) and exponent.value == 2
    texts = ELEMENTWISE["square" if is_square else function]
    kind, bits = np.dtype(dtype).kind, 8 * np.dtype(dtype).itemsize
    template = next((text for kinds, text in texts.items() if kind in kinds), None)
    if template is None or result not in (dtype, "bool"):
        raise Untraceable(f"no kernel computes {function} of {dtype} that gives {result}")
    text = template.format(
        **dict(zip("xyz", operands, strict=False)),
        t=c_type(dtype),
        u="unsigned long long" if bits == 64 else "unsigned int",  # shorter ones become int
        f="" if dtype == "float64" else "f",
        bits=bits,
    )
    if result == dtype == "float16" and function not in _EXACT:
        return f"ROUND_HALF({text})"
    return text
