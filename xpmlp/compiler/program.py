"""A step as data: which operations, on values of which shapes, in which order.

A program is what remains of a pure function when Python is taken away: every value is made once,
by one operation, and has a shape and a dtype that never change. What runs it (NumPy on buffers of
its own, kernels on a GPU) need not know what it computes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from xpmlp.compiler.operations import VIEWS
from xpmlp.compiler.scopes import NOWHERE, Phase


@dataclass(frozen=True)
class Value:
    """An array of the program: its place among the values, its shape and its dtype's name."""

    number: int
    shape: tuple[int, ...]
    dtype: str


class Scalar(NamedTuple):
    """A Python number as an operand; it never has a dtype of its own, as in the Array API."""

    value: bool | int | float


Operand: TypeAlias = Value | Scalar


@dataclass(frozen=True)
class Operation:
    """One operation: a function of the Array API by name, applied to operands.

    `options` are its static arguments (axis, shape, ...). `computes` is the dtype that operands
    are brought to before they meet: uint8 labels and int64 classes are compared as int64.
    `phase` says which part of the step it belongs to; what it does does not depend on it.
    """

    function: str
    operands: tuple[Operand, ...]
    result: Value
    computes: str
    options: tuple[tuple[str, Any], ...] = ()
    phase: Phase = field(default=NOWHERE, compare=False, repr=False)

    @property
    def values(self) -> Iterator[Value]:
        """The operands that are arrays."""
        return (operand for operand in self.operands if isinstance(operand, Value))

    def option(self, name: str) -> Any:
        """A static argument."""
        return dict(self.options)[name]

    def __str__(self) -> str:
        operands = [
            f"v{operand.number}" if isinstance(operand, Value) else repr(operand.value)
            for operand in self.operands
        ]
        options = [f"{name}={value!r}" for name, value in self.options]
        result = f"v{self.result.number}: {self.result.dtype}{list(self.result.shape)}"
        return f"{result} = {self.function}({', '.join([*operands, *options])})"


@dataclass(frozen=True)
class Program:
    """A pure function of (state, data) to (state, metrics), traced once.

    `state` and `data` are the values it is given; `new_state`, one for each of `state`, and
    `metrics` are those it leaves. Operations stand in an order in which they can be run.
    """

    state: tuple[Value, ...]
    data: tuple[Value, ...]
    operations: tuple[Operation, ...]
    new_state: tuple[Value, ...]
    metrics: tuple[Value, ...]
    makers: dict[Value, Operation] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        made = {operation.result: operation for operation in self.operations}
        object.__setattr__(self, "makers", made)

    @property
    def inputs(self) -> tuple[Value, ...]:
        """What the program is given."""
        return (*self.state, *self.data)

    @property
    def results(self) -> tuple[Value, ...]:
        """What the program leaves."""
        return (*self.new_state, *self.metrics)

    @property
    def next_number(self) -> int:
        """The number of the next value that a rewritten program can have."""
        return 1 + max((value.number for value in (*self.inputs, *self.makers)), default=-1)

    def base(self, value: Value) -> Value:
        """The value whose memory this one looks at: itself, unless an operation made it a view."""
        while (maker := self.makers.get(value)) is not None and maker.function in VIEWS:
            value = next(maker.values)
        return value

    def __str__(self) -> str:
        return "\n".join(str(operation) for operation in self.operations)


def needed(operations: Iterable[Operation], results: Iterable[Value]) -> tuple[Operation, ...]:
    """The operations that the results depend on, in their order."""
    wanted = set(results)
    kept = []
    for operation in reversed(list(operations)):
        if operation.result in wanted:
            kept.append(operation)
            wanted.update(operation.values)
    return tuple(reversed(kept))


def leaves(tree: Any) -> list[Any]:
    """The arrays of a nest of tuples (named or not), first to last; None holds none."""
    if tree is None:
        return []
    if isinstance(tree, tuple):
        return [leaf for branch in tree for leaf in leaves(branch)]
    return [tree]


def rebuild(tree: Any, new_leaves: Iterator[Any]) -> Any:
    """The same nest of tuples around other arrays."""
    if tree is None:
        return None
    if isinstance(tree, tuple):
        branches = [rebuild(branch, new_leaves) for branch in tree]
        return type(tree)(*branches) if hasattr(tree, "_fields") else tuple(branches)
    return next(new_leaves)
