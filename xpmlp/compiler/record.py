"""Tracing: a step called once with placeholder arrays, and the program that it was.

The recording namespace has the functions of the Array API that a step may use. Its arrays know a
shape and a dtype; whatever is done with them is written down. Like JAX's, it is functional:
`p -= g` makes a new value and rebinds the name.
"""

import math
import operator
from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import Any, TypeAlias

import numpy as np

from xpmlp.compiler.operations import ELEMENTWISE, VIEWS
from xpmlp.compiler.ownership import with_own_memory
from xpmlp.compiler.program import (
    Operand,
    Operation,
    Program,
    Scalar,
    Value,
    leaves,
    needed,
    rebuild,
)
from xpmlp.compiler.scopes import NOWHERE, Phase
from xpmlp.typing import Namespace

Index: TypeAlias = int | slice | EllipsisType | None


class Untraceable(Exception):
    """The step does what no program can hold; the message says what."""


def record(
    make_step: Callable[..., Any], state: Any, data: Any, *, precision: str = "float32"
) -> Program:
    """The program of the step that `make_step(xp=...)` makes, for arrays like these.

    `state` and `data` are nests of tuples of arrays of any library, which are only asked for
    their shapes and dtypes. Of the precisions "float16" alone changes the program: the factors of
    float32 products are rounded to it, 11 bits as a GPU's matrix units have them. Their results,
    and all elementwise work, stay float32.

    Raises `Untraceable` for a step that waits for a number, or uses what the recording namespace
    lacks.
    """
    tape = Tape(precision)
    traced_state = rebuild(state, iter([tape.input(leaf) for leaf in leaves(state)]))
    traced_data = rebuild(data, iter([tape.input(leaf) for leaf in leaves(data)]))
    step = make_step(xp=RecordingNamespace(tape))
    new_state, metrics = step(traced_state, traced_data)

    def values(tree: Any) -> tuple[Value, ...]:
        return tuple(tape.array(leaf).value for leaf in leaves(tree))

    old, new = values(traced_state), values(new_state)
    for before, after in zip(old, new, strict=True):
        if (before.shape, before.dtype) != (after.shape, after.dtype):
            raise Untraceable(
                f"the step turns a {before.dtype} {before.shape} of the state into "
                f"{after.dtype} {after.shape}"
            )
    results = (*new, *values(metrics))
    program = Program(
        state=old,
        data=values(traced_data),
        operations=needed(tape.makers.values(), results),
        new_state=new,
        metrics=values(metrics),
    )
    if {program.base(value) for value in program.metrics} & set(old):
        raise Untraceable("a metric is the state before the step, which the step writes over")
    return with_own_memory(program)


class Tape:
    """What has been recorded so far. The same operation on the same values is written once."""

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self.makers: dict[Value, Operation] = {}  # in their order
        self.count = 0
        self.known: dict[object, Value] = {}
        self.phase = NOWHERE

    def new_value(self, shape: Sequence[int], dtype: Any) -> Value:
        self.count += 1
        return Value(self.count - 1, tuple(map(int, shape)), np.dtype(dtype).name)

    def input(self, leaf: Any) -> "TracedArray":
        return TracedArray(self.new_value(leaf.shape, _numpy_dtype(leaf.dtype)), self)

    def array(self, found: Any) -> "TracedArray":
        if not isinstance(found, TracedArray):
            raise Untraceable(f"the step returns a {type(found).__name__} in place of an array")
        return found

    def operand(self, given: Any) -> Operand:
        if isinstance(given, TracedArray):
            return given.value
        if isinstance(given, (bool, int, float)) and not isinstance(given, np.generic):
            return Scalar(given)
        if isinstance(given, np.generic):
            return Scalar(given.item())
        raise Untraceable(f"a {type(given).__name__} takes part in the step")

    def write(
        self,
        function: str,
        operands: Sequence[Any],
        shape: Sequence[int],
        dtype: Any,
        *,
        computes: Any = None,
        **options: Any,
    ) -> "TracedArray":
        given = tuple(map(self.operand, operands))
        computes = np.dtype(dtype if computes is None else computes).name
        # A set and a number may compare equal and yet differ (1 and 1.0 and True), hence repr.
        # Of a constant nothing else tells the shape.
        key = (function, repr(given), tuple(shape), computes, repr(options))
        if key not in self.known:
            result = self.new_value(shape, dtype)
            self.known[key] = result
            self.makers[result] = Operation(
                function, given, result, computes, tuple(options.items()), self.phase
            )
        return TracedArray(self.known[key], self)

    def elementwise(self, function: str, *operands: Any) -> "TracedArray":
        shape = np.broadcast_shapes(*(getattr(operand, "shape", ()) for operand in operands))
        kinds = [
            operand.dtype if isinstance(operand, TracedArray) else _kind(self.operand(operand))
            for operand in operands
        ]
        if function == "where":
            result = _result_type(kinds[1:])
            return self.write(function, operands, shape, result)
        try:
            *inputs, result = _UFUNCS[function].resolve_dtypes((*kinds, None))
        except TypeError as error:
            raise Untraceable(f"{function} of {', '.join(map(str, kinds))}: {error}") from error
        return self.write(function, operands, shape, result, computes=inputs[0])


class TracedArray:
    """An array without numbers: shape, dtype, and the operators of the Array API."""

    def __init__(self, value: Value, tape: Tape) -> None:
        self.value = value
        self._tape = tape

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.value.dtype)

    @property
    def ndim(self) -> int:
        return len(self.value.shape)

    @property
    def size(self) -> int:
        return math.prod(self.value.shape)

    @property
    def device(self) -> None:
        return None

    def __array_namespace__(self, *, api_version: str | None = None) -> Namespace:
        return RecordingNamespace(self._tape)

    def __getitem__(self, index: Index | tuple[Index, ...]) -> "TracedArray":
        parts = index if isinstance(index, tuple) else (index,)
        for part in parts:
            if not (part is None or part is Ellipsis or type(part) in (int, slice)):
                raise Untraceable(f"indexing by {type(part).__name__}: use take or where")
        # An array of zero strides has any shape at no cost, and indexes as NumPy does.
        shape = np.broadcast_to(np.empty((), np.int8), self.shape)[parts].shape
        return self._tape.write("getitem", (self,), shape, self.dtype, index=parts)

    def __matmul__(self, other: "TracedArray") -> "TracedArray":
        return RecordingNamespace(self._tape).matmul(self, other)

    def _no_number(self, *_: object) -> Any:
        raise Untraceable("the step waits for a number: float(), int(), bool() or a loop over one")

    __bool__ = __float__ = __int__ = __index__ = __complex__ = __iter__ = __array__ = _no_number


class RecordingNamespace:
    """The Array API, as far as a step may use it, writing on a tape."""

    uint8, int32, uint32, int64 = map(np.dtype, ("uint8", "int32", "uint32", "int64"))
    float16, float32, float64 = map(np.dtype, ("float16", "float32", "float64"))
    pi, inf, nan, newaxis = math.pi, math.inf, math.nan, None
    isdtype, finfo, iinfo = staticmethod(np.isdtype), staticmethod(np.finfo), staticmethod(np.iinfo)

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def mark(self, name: str, layer: int | None = None) -> None:
        """Note what is recorded from here on as this part: see `xpmlp.compiler.scopes`."""
        self._tape.phase = Phase(layer, name)

    def __getattr__(self, name: str) -> Any:
        if name == "bool":  # as an attribute it would hide the builtin from the annotations below
            return np.dtype("bool")
        if name in ELEMENTWISE:
            return lambda *operands: self._tape.elementwise(name, *operands)
        if name.startswith("__"):
            raise AttributeError(name)
        raise Untraceable(f"xp.{name} has no counterpart in a program")

    def astype(self, x: TracedArray, dtype: Any, *, copy: bool = True) -> TracedArray:
        if x.dtype == dtype:
            return x
        return self._tape.write("astype", (x,), x.shape, dtype)

    def full(self, shape: Any, value: Any, *, dtype: Any = None, device: Any = None) -> TracedArray:
        shape = (shape,) if isinstance(shape, int) else shape
        dtype = np.asarray(value).dtype if dtype is None else dtype
        return self._tape.write("full", (value,), shape, dtype)

    def zeros_like(self, x: TracedArray, *, dtype: Any = None, device: Any = None) -> TracedArray:
        return self.full(x.shape, 0, dtype=dtype or x.dtype)

    def ones_like(self, x: TracedArray, *, dtype: Any = None, device: Any = None) -> TracedArray:
        return self.full(x.shape, 1, dtype=dtype or x.dtype)

    def sum(
        self, x: TracedArray, *, axis: Any = None, dtype: Any = None, keepdims: bool = False
    ) -> TracedArray:
        if dtype is None:
            dtype = x.dtype if x.dtype.kind == "f" else np.add.reduce(np.empty(0, x.dtype)).dtype
        return self._reduction("sum", x, axis, keepdims, dtype)

    def max(self, x: TracedArray, *, axis: Any = None, keepdims: bool = False) -> TracedArray:
        return self._reduction("max", x, axis, keepdims, x.dtype)

    def min(self, x: TracedArray, *, axis: Any = None, keepdims: bool = False) -> TracedArray:
        return self._reduction("min", x, axis, keepdims, x.dtype)

    def mean(self, x: TracedArray, *, axis: Any = None, keepdims: bool = False) -> TracedArray:
        total = self.sum(x, axis=axis, keepdims=keepdims)
        return self._tape.elementwise("divide", total, x.size // max(total.size, 1))

    def argmax(self, x: TracedArray, *, axis: Any = None, keepdims: bool = False) -> TracedArray:
        if not isinstance(axis, int):
            raise Untraceable("argmax without an axis")
        return self._reduction("argmax", x, axis, keepdims, np.int64)

    def _reduction(
        self, function: str, x: TracedArray, axis: Any, keepdims: Any, dtype: Any
    ) -> TracedArray:
        axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        axes = tuple(sorted(operator.index(one) % x.ndim for one in axes))
        shape = [
            1 if number in axes else length
            for number, length in enumerate(x.shape)
            if keepdims or number not in axes
        ]
        return self._tape.write(function, (x,), shape, dtype, axis=axes, keepdims=bool(keepdims))

    def take(self, x: TracedArray, indices: Any, /, *, axis: int | None = None) -> TracedArray:
        if not isinstance(indices, TracedArray) or indices.ndim != 1:
            raise Untraceable("take by anything but a vector of indices")
        if axis is None and x.ndim != 1:
            raise Untraceable("take without an axis")
        axis = (axis or 0) % x.ndim
        shape = (*x.shape[:axis], indices.shape[0], *x.shape[axis + 1 :])
        return self._tape.write("take", (x, indices), shape, x.dtype, axis=axis)

    def concat(self, arrays: Sequence[TracedArray], /, *, axis: int = 0) -> TracedArray:
        first = arrays[0]
        axis = axis % first.ndim
        length = sum(array.shape[axis] for array in arrays)
        shape = (*first.shape[:axis], length, *first.shape[axis + 1 :])
        dtype = _result_type([array.dtype for array in arrays])
        if any(array.dtype != dtype for array in arrays):
            raise Untraceable("concat of several dtypes")
        return self._tape.write("concat", arrays, shape, dtype, axis=axis)

    def matmul(self, a: TracedArray, b: TracedArray, /) -> TracedArray:
        if min(a.ndim, b.ndim) < 2 or a.shape[-1] != b.shape[-2] or a.dtype != b.dtype:
            raise Untraceable(f"matmul of {a.dtype} {a.shape} and {b.dtype} {b.shape}")
        shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
        dtype, factors = a.dtype, (a, b)
        if self._tape.precision == "float16" and dtype == "float32":
            factors = (self._rounded(a), self._rounded(b))
        return self._tape.write("matmul", factors, shape, dtype, computes=factors[0].dtype)

    def _rounded(self, x: TracedArray) -> TracedArray:
        """The array in float16. What is rounded, once, is the array that it is a view of: of the
        parameters all at a time."""
        maker = self._tape.makers.get(x.value)
        if maker is None or maker.function not in VIEWS:
            return self.astype(x, np.float16)
        (operand,) = maker.values
        whole = self._rounded(TracedArray(operand, self._tape))
        return self._tape.write(
            maker.function, (whole,), x.shape, np.float16, **dict(maker.options)
        )

    def matrix_transpose(self, x: TracedArray, /) -> TracedArray:
        shape = (*x.shape[:-2], x.shape[-1], x.shape[-2])
        return self._tape.write("matrix_transpose", (x,), shape, x.dtype)

    def reshape(self, x: TracedArray, /, shape: Sequence[int]) -> TracedArray:
        shape = np.broadcast_to(np.empty((), np.int8), x.shape).reshape(shape).shape
        return x if shape == x.shape else self._tape.write("reshape", (x,), shape, x.dtype)

    def expand_dims(self, x: TracedArray, /, *, axis: int = 0) -> TracedArray:
        axis = axis % (x.ndim + 1)
        return x[(*[slice(None)] * axis, None)]

    def broadcast_to(self, x: TracedArray, /, shape: Sequence[int]) -> TracedArray:
        return self._tape.write("broadcast_to", (x,), shape, x.dtype)


_UFUNCS: dict[str, np.ufunc] = {
    name: getattr(np, name) for name in ELEMENTWISE.keys() - {"astype", "full", "where"}
}

_OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "pow",
    "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift",
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater",
    "ge": "greater_equal",
}  # fmt: skip


def _define_operators() -> None:
    def binary(function: str) -> Callable[..., TracedArray]:
        return lambda self, other: self._tape.elementwise(function, self, other)

    def reflected(function: str) -> Callable[..., TracedArray]:
        return lambda self, other: self._tape.elementwise(function, other, self)

    for name, function in _OPERATORS.items():
        setattr(TracedArray, f"__{name}__", binary(function))
        setattr(TracedArray, f"__r{name}__", reflected(function))
    for name, function in (("neg", "negative"), ("abs", "abs"), ("invert", "bitwise_invert")):
        setattr(
            TracedArray, f"__{name}__", lambda self, f=function: self._tape.elementwise(f, self)
        )


_define_operators()


def _result_type(kinds: Sequence[Any]) -> np.dtype[Any]:
    """The dtype of arrays' dtypes and Python scalars' types together."""
    return np.result_type(*(kind(0) if isinstance(kind, type) else kind for kind in kinds))


def _kind(scalar: Operand) -> Any:
    """What NumPy resolves a Python scalar's part in an operation by."""
    kind = type(scalar.value) if isinstance(scalar, Scalar) else None
    return np.dtype(bool) if kind is bool else kind


def _numpy_dtype(dtype: Any) -> np.dtype[Any]:
    """NumPy's dtype for a library's: torch's is written `torch.float32`."""
    return np.dtype(str(dtype).rpartition(".")[2])
