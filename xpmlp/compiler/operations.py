"""The operations that a program can hold, stated once.

An elementwise operation is a ufunc of NumPy by its Array API name (but for `astype`, `full` and
`where`), and in C the text beside it here, with NumPy's meaning: integers wrap around, which in C
they may only where they are unsigned; a shift beyond the width leaves the sign.
"""

from collections.abc import Mapping

ANY, INTEGER = "biuf", "iu"
"""Letters of NumPy's kinds of dtypes."""

ELEMENTWISE: Mapping[str, Mapping[str, str]] = {
    "astype": {ANY: "{x}"},
    "full": {ANY: "{x}"},
    "positive": {ANY: "{x}"},
    "where": {ANY: "{x} ? {y} : {z}"},
    "add": {"f": "{x} + {y}", INTEGER: "({t})(({u}){x} + ({u}){y})", "b": "{x} | {y}"},
    "subtract": {"f": "{x} - {y}", INTEGER: "({t})(({u}){x} - ({u}){y})"},
    "multiply": {"f": "{x} * {y}", INTEGER: "({t})(({u}){x} * ({u}){y})", "b": "{x} & {y}"},
    "square": {"f": "{x} * {x}", INTEGER: "({t})(({u}){x} * ({u}){x})", "b": "{x} & {x}"},
    "divide": {"f": "{x} / {y}"},
    "pow": {"f": "pow{f}({x}, {y})", INTEGER: "({t})WHOLE_POWER({x}, {y})"},
    "negative": {"f": "-{x}", INTEGER: "({t})(0 - ({u}){x})"},
    "abs": {"f": "fabs{f}({x})", "i": "{x} < 0 ? ({t})(0 - ({u}){x}) : {x}", "u": "{x}"},
    "sign": {
        "f": "{x} != {x} ? {x} : ({t})(({x} > 0) - ({x} < 0))",
        INTEGER: "({x} > 0) - ({x} < 0)",
    },
    "floor": {"f": "floor{f}({x})", "biu": "{x}"},
    "maximum": {ANY: "MAXIMUM({x}, {y})"},
    "minimum": {ANY: "MINIMUM({x}, {y})"},
    "logical_and": {ANY: "({x} != 0) && ({y} != 0)"},
    "logical_or": {ANY: "({x} != 0) || ({y} != 0)"},
    "logical_not": {ANY: "{x} == 0"},
    "isnan": {ANY: "{x} != {x}"},
    "isfinite": {ANY: "({x} - {x}) == 0"},  # of an infinity or a NaN, the difference is a NaN
    "bitwise_and": {"biu": "{x} & {y}"},
    "bitwise_or": {"biu": "{x} | {y}"},
    "bitwise_xor": {"biu": "{x} ^ {y}"},
    "bitwise_invert": {INTEGER: "({t})~{x}", "b": "{x} == 0"},
    "bitwise_left_shift": {INTEGER: "({u}){y} < {bits} ? ({t})(({u}){x} << {y}) : 0"},
    "bitwise_right_shift": {
        "i": "({u}){y} < {bits} ? ({t})({x} >> {y}) : {x} < 0 ? -1 : 0",
        "u": "({u}){y} < {bits} ? ({t})({x} >> {y}) : 0",
    },
    **{
        name: {"f": f"{name}{{f}}({{x}})"}
        for name in ("exp", "expm1", "log", "log1p", "tanh", "sin", "cos", "sqrt")
    },
    **{
        name: {ANY: f"{{x}} {symbol} {{y}}"}
        for name, symbol in {
            "equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=",
            "greater": ">", "greater_equal": ">=",
        }.items()
    },
}  # fmt: skip
"""Operations whose result at an index depends on their operands at that index alone, and their
text by the kind of dtype they compute in: of operands x, y and z, its C type t, u the unsigned type
in which it wraps around, f the suffix of C's functions and its width in bits."""

VIEWS = frozenset({"matrix_transpose", "reshape", "getitem", "broadcast_to"})
"""Operations that only look at their operand's memory in another way."""

REDUCTIONS = frozenset({"sum", "max", "min", "argmax"})
"""Operations over an axis."""
