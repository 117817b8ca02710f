"""What the elementwise functions of the Array API are in C, with NumPy's meaning.

Integers wrap around (in C they may only where they are unsigned), a NaN goes through
`maximum`, a shift beyond the width leaves the sign. float16 is computed as float and rounded.
"""

import math

import numpy as np

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

_SYMBOLS = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/",
    "equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">",
    "greater_equal": ">=",
    "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^",
}  # fmt: skip

_MATHS = frozenset({"exp", "expm1", "log", "log1p", "tanh", "sin", "cos", "sqrt", "floor"})

_EXACT = frozenset(
    {"astype", "full", "positive", "where", "maximum", "minimum", "negative", "abs", "floor"}
)
"""Functions whose result needs no rounding if the operands did not."""

_OF_BOOLS = {"add": "|", "multiply": "&"}


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
    text = _untyped(operation, operands)
    if result == dtype == "float16" and function not in _EXACT:
        return f"ROUND_HALF({text})"
    if result not in (dtype, "bool"):
        raise Untraceable(f"{function} of {dtype} that gives {result}")
    return text


def _untyped(operation: Operation, operands: list[str]) -> str:
    function, dtype = operation.function, operation.computes
    kind = np.dtype(dtype).kind
    first, last = operands[0], operands[-1]
    if function in ("astype", "full", "positive"):
        return first
    if function == "where":
        return f"{first} ? {operands[1]} : {last}"
    if function in ("maximum", "minimum"):
        return f"{function.upper()}({first}, {last})"
    if function in _SYMBOLS:
        return _infix(function, dtype, first, last)
    if function in ("logical_and", "logical_or"):
        return f"({first} != 0) {'&&' if function == 'logical_and' else '||'} ({last} != 0)"
    if function == "logical_not" or (function == "bitwise_invert" and kind == "b"):
        return f"{first} == 0"
    if function == "bitwise_invert":
        return f"({c_type(dtype)})~{first}"
    if function in ("bitwise_left_shift", "bitwise_right_shift"):
        return _shift(operation, first, last)
    if function == "square":
        return _infix("multiply", dtype, first, first)
    if function == "pow":
        return _power(operation, first, last)
    if function == "isnan":
        return f"{first} != {first}"
    if function == "isfinite":
        return f"({first} - {first}) == 0"  # of an infinity or a NaN, that is a NaN
    if function in ("negative", "abs", "sign") and kind != "b":
        return _sign(function, dtype, first)
    if function == "floor" and kind != "f":
        return first
    if function in _MATHS and kind == "f":
        return f"{function}{'' if dtype == 'float64' else 'f'}({first})"
    raise Untraceable(f"no kernel computes {function} of {dtype}")


def _infix(function: str, dtype: str, first: str, last: str) -> str:
    kind, symbol = np.dtype(dtype).kind, _SYMBOLS[function]
    if kind == "b":
        symbol = _OF_BOOLS.get(function, symbol)
    elif kind in "iu" and function in ("add", "subtract", "multiply"):
        wide = _unsigned(dtype)
        return f"({c_type(dtype)})(({wide}){first} {symbol} ({wide}){last})"
    return f"{first} {symbol} {last}"


def _unsigned(dtype: str) -> str:
    """The type in which integers wrap around; short ones would be promoted to int."""
    return "unsigned long long" if np.dtype(dtype).itemsize == 8 else "unsigned int"


def _sign(function: str, dtype: str, x: str) -> str:
    kind = np.dtype(dtype).kind
    if function == "sign":
        step = f"({x} > 0) - ({x} < 0)"
        return f"{x} != {x} ? {x} : ({c_type(dtype)})({step})" if kind == "f" else step
    if kind == "f":
        if function == "abs":
            return f"{'fabs' if dtype == 'float64' else 'fabsf'}({x})"
        return f"-{x}"
    negated = f"({c_type(dtype)})(0 - ({_unsigned(dtype)}){x})"
    return negated if function == "negative" else x if kind == "u" else f"{x} < 0 ? {negated} : {x}"


def _shift(operation: Operation, x: str, by: str) -> str:
    dtype = operation.computes
    bits = 8 * np.dtype(dtype).itemsize
    if operation.function == "bitwise_left_shift":
        shifted, beyond = f"({c_type(dtype)})(({_unsigned(dtype)}){x} << {by})", "0"
    else:
        shifted = f"({c_type(dtype)})({x} >> {by})"
        beyond = f"({x} < 0 ? -1 : 0)" if np.dtype(dtype).kind == "i" else "0"
    operand = operation.operands[1]
    if isinstance(operand, Scalar):
        return shifted if 0 <= operand.value < bits else beyond
    return f"({_unsigned(dtype)}){by} < {bits} ? {shifted} : {beyond}"


def _power(operation: Operation, x: str, y: str) -> str:
    dtype, exponent = operation.computes, operation.operands[1]
    if isinstance(exponent, Scalar) and exponent.value == 2:
        return _infix("multiply", dtype, x, x)
    if np.dtype(dtype).kind != "f":
        return f"({c_type(dtype)})WHOLE_POWER({x}, {y})"
    return f"{'pow' if dtype == 'float64' else 'powf'}({x}, {y})"
