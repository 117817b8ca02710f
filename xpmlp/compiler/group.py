"""A program's operations gathered into few kernels, and an order for kernels and products.

What has memory is what must: operands and results of matrix products, results of reductions that
another kernel reads, and what the step leaves. Every other value is an expression, computed again
wherever it is read. A *part* is one loop nest over such expressions; a *group* is parts that need
nothing of each other, launched as one kernel, each in blocks of its own.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from xpmlp.compiler.indexing import Index, names, operand_index, taken_index, whole
from xpmlp.compiler.layout import Layout, lay_out
from xpmlp.compiler.prepare import prepare, with_copies
from xpmlp.compiler.program import ELEMENTWISE, REDUCTIONS, Operation, Program, Value
from xpmlp.compiler.record import Untraceable

_T = TypeVar("_T")


@dataclass(eq=False)
class LoopNest:
    """One loop nest: a map over `shape`, or loops along `axis` for each index of `shape`.

    `items` are the operations that it computes for others, reductions and elementwise ones, by
    their results, and `uses` says from which of those results each is computed. `reads` holds
    whose memory it reads: at which index, and for which item.
    """

    shape: tuple[int, ...]
    axis: int | None
    level: int = 1
    items: dict[Value, Operation] = field(default_factory=dict)
    uses: dict[Value, set[Value]] = field(default_factory=dict)
    reads: dict[Value, set[tuple[Index, Value]]] = field(default_factory=dict)

    def fits(self, item: Operation) -> bool:
        """Whether the item is computed over the indices that this part has.

        A map takes in a reduction over one of its axes, and from then on walks along that axis.
        """
        if item.function in REDUCTIONS:
            shape, axis = reduced_shape(item)
            if self.axis is None:
                return len(self.shape) == len(shape) + 1 and without(self.shape, axis) == shape
            return (shape, axis) == (self.shape, self.axis)
        shape = item.result.shape
        if self.axis is None or len(shape) != len(self.shape) + 1:
            return shape == self.shape
        return without(shape, self.axis) == self.shape

    def loop(self, result: Value) -> int:
        """How long a walk along the axis computes this item; 0 where it is computed outside."""
        item = self.items[result]
        shape = source(item).shape
        if self.axis is None or len(shape) == len(self.shape):
            return 0
        length = shape[self.axis]
        return 0 if length == 1 and item.function not in REDUCTIONS else length

    def index_of(self, shape: Sequence[int]) -> Index:
        """Where an array of this shape is looked at: along all axes, or all but `axis`."""
        if self.axis is None or len(shape) > len(self.shape):
            return whole(shape, names(len(shape)))
        return whole(shape, without(names(len(self.shape) + 1), self.axis))


Group: TypeAlias = tuple[LoopNest, ...]


@dataclass(frozen=True)
class Grouping:
    """A program in the form that kernels have, where its values live, and what runs in order:
    groups of parts, and matrix products."""

    program: Program
    layout: Layout
    nodes: tuple[Group | Operation, ...]


def group(program: Program) -> Grouping:
    """Gather a program's operations into kernels.

    New state is written over the old one by the kernel that computes it, after all that read the
    old one. Where that cannot be, the state is computed elsewhere and copied at the end.
    """
    program = prepare(program)
    if any(math.prod(value.shape) == 0 for value in (*program.inputs, *program.makers)):
        raise Untraceable("an array without elements")
    copied: set[int] = set()
    while True:
        parts = _Parts(program, {program.new_state[number] for number in copied})
        layout = lay_out(program, parts.with_memory, reuse=False)
        written = {
            new: old
            for new, old in zip(program.new_state, program.state, strict=True)
            if new != old
        }
        blocked = {old for _, old in layout.copies} or _read_elsewhere(parts, written)
        if not blocked:
            try:
                return Grouping(program, layout, tuple(_in_order(parts, written)))
            except _Circle as circle:
                blocked = circle.states
        numbers = {program.state.index(old) for old in blocked} - copied
        if not numbers:
            raise Untraceable("a new state that can neither be written in place nor copied")
        copied |= numbers
        program = with_copies(program, sorted(numbers))


Walked: TypeAlias = tuple[dict[Value, set[Index]], set[Value]]
"""What memory an expression reads, at which indices, and the items of the part that it uses."""


class _Parts:
    """The parts of a program, made by taking its operations one after another.

    Every part, and every product, has a level above those of all that it reads, so that no two
    of them ever wait for each other.
    """

    def __init__(self, program: Program, copies: set[Value]) -> None:
        self.program = program
        self.copies = copies  # each in a part of its own, so that it can wait until the end
        self.parts: list[LoopNest] = []
        self.products: list[Operation] = []
        self.home: dict[Value, LoopNest] = {}
        self.levels = dict.fromkeys(program.inputs, 0)
        self.settled: set[Value] = set()  # read by others, so that their level cannot rise
        self.with_memory = self._must_have_memory()
        for operation in program.operations:
            if operation.function in ("matmul", "concat"):
                bases = set(map(program.base, operation.values))
                self.settled |= bases
                self.levels[operation.result] = 1 + max(map(self.level, bases))
                if operation.function == "matmul":
                    self.products.append(operation)
            elif operation.function in REDUCTIONS or operation.result in self.with_memory:
                self._add(operation)
        for part in self.parts:
            self.with_memory.update(part.reads)

    def _must_have_memory(self) -> set[Value]:
        base = self.program.base
        found = {base(value) for value in (*self.program.inputs, *self.program.results)}
        for operation in self.program.operations:
            if operation.function in ("matmul", "concat") or operation.result in self.copies:
                found |= {operation.result, *map(base, operation.values)}
        return found

    def level(self, value: Value) -> int:
        return self.home[value].level if value in self.home else self.levels[value]

    def _add(self, item: Operation) -> None:
        if item.function in REDUCTIONS:
            self._keep_rows(source(item))
        part = self._shared_part(item) or self._new_part(item)
        reads, uses = self._walk(item, part) or ({}, set())
        if item.function in REDUCTIONS and part.axis is None:
            part.shape, part.axis = reduced_shape(item)
        part.items[item.result] = item
        part.uses[item.result] = uses
        for value, indices in reads.items():
            part.reads.setdefault(value, set()).update((index, item.result) for index in indices)
        part.level = max(part.level, 1 + max(map(self.level, reads), default=0))
        self.settled.update(reads)
        self.home[item.result] = part

    def _keep_rows(self, operand: Value) -> None:
        """Where a number a row, computed from what a part knows, is reduced in its turn (the hits
        of a batch, from each row's argmax), let that part keep it, and not all it comes from."""
        maker = self.program.makers.get(operand)
        if operand in self.with_memory or maker is None or maker.function not in ELEMENTWISE:
            return
        part = self._shared_part(maker)
        if part and part.axis is not None and part.shape == operand.shape:
            found = self._walk(maker, part)
            if found and found[1]:
                self.with_memory.add(operand)
                self._add(maker)

    def _new_part(self, item: Operation) -> LoopNest:
        reduces = item.function in REDUCTIONS
        self.parts.append(
            LoopNest(*reduced_shape(item)) if reduces else LoopNest(item.result.shape, None)
        )
        return self.parts[-1]

    def _shared_part(self, item: Operation) -> LoopNest | None:
        """The part that makes what the item is computed from, or else one that reads the same.

        It must not have to wait for what the item reads, unless nothing waits for it yet.
        """
        sharing = None
        for part in reversed(self.parts):
            if not part.fits(item) or self.copies & {item.result, *part.items}:
                continue
            if (found := self._walk(item, part)) is None:
                continue
            reads, uses = found
            is_in_time = all(self.level(value) < part.level for value in reads)
            if uses and (is_in_time or self.settled.isdisjoint(part.items)):
                return part
            if is_in_time and any(math.prod(v.shape) > 1 and v in part.reads for v in reads):
                sharing = sharing or part
        return sharing

    def _walk(
        self, item: Operation, part: LoopNest
    ) -> tuple[dict[Value, set[Index]], set[Value]] | None:
        """The item's expression, down to memory; None where it would use an item of the part at
        another index than the one where the part is."""
        reads: dict[Value, set[Index]] = {}
        uses: set[Value] = set()
        pending = self._operands(item, part.index_of(item.result.shape))
        if item.function in REDUCTIONS:
            operand = source(item)
            pending = [(operand, whole(operand.shape, names(len(operand.shape))))]
        seen = set(pending)
        while pending:
            value, index = pending.pop()
            if value in part.items:
                if index != part.index_of(value.shape):
                    return None
                uses.add(value)
            elif value in self.home or value in self.levels:
                reads.setdefault(value, set()).add(index)
            else:
                found = set(self._operands(self.program.makers[value], index)) - seen
                pending += found
                seen |= found
        return reads, uses

    def _operands(self, operation: Operation, index: Index) -> list[tuple[Value, Index]]:
        if operation.function == "take":
            array, indices = operation.values
            _, asked = taken_index(operation, index, "")
            position = f"v{indices.number}[{', '.join(asked)}]"
            return [(array, taken_index(operation, index, position)[0]), (indices, asked)]
        if operation.function in REDUCTIONS:
            return []
        return [(value, operand_index(operation, value, index)) for value in operation.values]


def source(item: Operation) -> Value:
    """The value whose expression the item needs: what it reduces, or the item itself."""
    return next(item.values) if item.function in REDUCTIONS else item.result


def reduced_shape(reduction: Operation) -> tuple[tuple[int, ...], int]:
    """The shape of what is reduced without the axis, and the axis."""
    (axis,) = reduction.option("axis")
    return without(source(reduction).shape, axis), axis


def without(items: Sequence[_T], position: int) -> tuple[_T, ...]:
    """All items but one."""
    return (*items[:position], *items[position + 1 :])


def _read_elsewhere(parts: _Parts, written: dict[Value, Value]) -> set[Value]:
    """The old states of which the part that overwrites them reads other elements than it writes,
    or the same ones in another loop than the one that writes."""
    found = set()
    for new, old in written.items():
        part = parts.home[new]
        for index, reader in part.reads.get(old, ()):
            is_same_loop = part.loop(new) in (0, part.loop(reader))
            if index != part.index_of(new.shape) or not is_same_loop:
                found.add(old)
    return found


class _Circle(Exception):
    """A kernel would overwrite states that another one still reads, which waits for the first."""

    def __init__(self, states: set[Value]) -> None:
        super().__init__(states)
        self.states = states


def _in_order(parts: _Parts, written: dict[Value, Value]) -> Iterator[Group | Operation]:
    """Parts and products such that all is made before it is read, and read before it is
    overwritten; as few groups as that allows, since each product comes as soon as it can."""
    base = parts.program.base
    reads: dict[LoopNest | Operation, set[Value]] = {part: set(part.reads) for part in parts.parts}
    reads |= {product: set(map(base, product.values)) for product in parts.products}
    makers: dict[Value, set[LoopNest | Operation]] = {v: {part} for v, part in parts.home.items()}
    makers |= {product.result: {product} for product in parts.products}
    for operation in parts.program.operations:
        if operation.function == "concat":
            makers[operation.result] = {m for v in operation.values for m in makers[base(v)]}
    overwritten: dict[LoopNest | Operation, set[Value]] = {}
    for new, old in written.items():
        overwritten.setdefault(parts.home[new], set()).add(old)

    done: set[LoopNest | Operation] = set()
    while waiting := [node for node in reads if node not in done]:
        fed = [node for node in waiting if all(makers.get(v, set()) <= done for v in reads[node])]
        in_use = {
            node: {v for v in overwritten.get(node, ()) for other in waiting
                   if other is not node and v in reads[other]}
            for node in fed
        }  # fmt: skip
        ready = [node for node in fed if not in_use[node]]
        if not ready:
            raise _Circle(set().union(*in_use.values()))
        if products := [node for node in ready if isinstance(node, Operation)]:
            yield from products
            done.update(products)
        else:
            yield tuple(node for node in ready if isinstance(node, LoopNest))
            done.update(ready)
