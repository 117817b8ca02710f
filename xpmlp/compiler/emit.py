"""Kernels as source text: the loops of each part, with its expressions written out.

Within a loop nest an expression stands where it is known: once a row if it does not depend on the
position along it, else in the loop. A reduction that needs another one (the sum of exponentials
needs the maximum) walks along the row again.
"""

import math
import re
from collections.abc import Iterable, Sequence

from xpmlp.compiler.expressions import c_type, cast, expression, identity, literal
from xpmlp.compiler.geometry import (
    THREADS,
    Geometry,
    columns_geometry,
    map_geometry,
    rows_geometry,
)
from xpmlp.compiler.group import Group, Grouping, LoopNest, group, source
from xpmlp.compiler.indexing import (
    Index,
    is_bracketed,
    linear_sum,
    names,
    operand_index,
    taken_index,
    unravel,
    whole,
)
from xpmlp.compiler.kernel_plan import KernelPlan, Launch, Node, Product
from xpmlp.compiler.prelude import C_HALF, CUDA, CUDA_HALF, C
from xpmlp.compiler.program import REDUCTIONS, VIEWS, Operation, Program, Scalar, Value
from xpmlp.compiler.record import Untraceable

_MOST_OF_INT = 2**30
"""Positions in arrays up to this size are `int`: the step after the last is still below 2^31."""

_NAME = re.compile(r"[a-z]\w*")


def kernel_plan(program: Program, *, language: str = "cuda") -> KernelPlan:
    """What it takes to run a program: as CUDA C++, or in the language "c" without a GPU.

    Raises `Untraceable` for what no kernel can do.
    """
    grouping = group(program)
    kernels: list[str] = []
    nodes: list[Node] = []
    for node in grouping.nodes:
        if isinstance(node, Operation):
            nodes.append(_product(grouping, node))
        else:
            text, launch = _kernel(grouping, node, len(nodes))
            kernels.append(text)
            nodes.append(launch)
    half, words = (CUDA_HALF, CUDA) if language == "cuda" else (C_HALF, C)
    uses_half = any(buffer.dtype == "float16" for buffer in grouping.layout.buffers) or any(
        "ROUND_HALF" in text for text in kernels
    )
    source_text = "\n".join([*([half] if uses_half else []), words, *kernels])
    return KernelPlan(grouping.program, grouping.layout, source_text, tuple(nodes))


def _product(grouping: Grouping, operation: Operation) -> Product:
    A, B = operation.values
    for value in (A, B):
        if value not in grouping.layout.places:
            raise Untraceable(f"a product of a view that takes a copy: {operation}")
    places = grouping.layout.places
    return Product(places[A], places[B], places[operation.result], A.dtype, operation.result.dtype)


def _kernel(grouping: Grouping, parts: Group, number: int) -> tuple[str, Launch]:
    """The text of the kernel of a group, and its launch."""
    bodies, first = [], 0
    writers = [_PartWriter(grouping, part) for part in parts]
    for writer in writers:
        body, blocks = writer.write(), writer.geometry.blocks
        if len(parts) > 1:
            lowest = f"BLOCK >= {first} && " if first else ""
            header = f"if ({lowest}BLOCK < {first + blocks}) {{"
        else:
            header = "{"
        made = "".join(f"// {item}\n" for item in writer.part.items.values())
        block = "BLOCK" if first == 0 else f"BLOCK - {first}"
        setting = f"const int block = {block}, blocks = {blocks};\n"
        bodies.append(f"{made}{header}\n{_indented(setting + body)}}}\n")
        first += blocks
    kinds = "_".join(dict.fromkeys(writer.geometry.kind for writer in writers))
    name = f"k{number:02}_{kinds}"
    written = set[int]().union(*(writer.written for writer in writers))
    used = sorted(written.union(*(writer.loaded for writer in writers)))
    parameters = []
    for buffer in used:
        dtype = grouping.layout.buffers[buffer].dtype
        memory = "half" if dtype == "float16" else c_type(dtype)
        constant = "" if buffer in written else "const "
        parameters.append(f"{constant}{memory} *__restrict__ b{buffer}")
    text = f"KERNEL({name}, {', '.join(parameters)})\n{{\n{_indented(''.join(bodies))}}}\n"
    return text, Launch(name, first, THREADS, tuple(used))


class _PartWriter:
    """Writes one part: `early` for what is known of a row before any loop, `lines` for the loops
    and what is known after them, `loop_lines` within the loop that is being written."""

    def __init__(self, grouping: Grouping, part: LoopNest) -> None:
        self.program, self.layout = grouping.program, grouping.layout
        self.part = part
        self.geometry = _geometry(part)
        self.rank = len(part.shape) + (part.axis is not None)
        self.axis_name = None if part.axis is None else names(self.rank)[part.axis]
        places = grouping.layout.places
        memory = [places[value].buffer for value in (*part.reads, *part.items) if value in places]
        sizes = [grouping.layout.buffers[buffer].size for buffer in memory]
        sizes += [math.prod(source(item).shape) for item in part.items.values()]
        self.integer = "int" if max(sizes) <= _MOST_OF_INT else "long long"
        self.early: list[str] = []
        self.late_names: set[str] = set()
        self.lines: list[str] = []
        self.loop_lines: list[str] = []
        self.known: dict[tuple[Value, Index], str] = {}
        self.known_in_loop: dict[tuple[Value, Index], str] = {}
        self.loop_names: set[str] = set()
        self.count = 0
        self.loaded: set[int] = set()
        self.written: set[int] = set()

    def write(self) -> str:
        """The text of the part's loops."""
        items = self.part.items.values()
        phases = {item.result: self._phase(item.result) for item in items}
        last = max(phases.values())
        for phase in range(1, last + 1):
            reductions = [
                item
                for item in items
                if item.function in REDUCTIONS and phases[item.result] == phase
            ]
            walked = [] if phase < last else [item for item in items if self._is_walked(item)]
            lengths = {self.part.loop(item.result): None for item in (*reductions, *walked)}
            for length in lengths:
                self._walk(
                    length,
                    [item for item in reductions if self.part.loop(item.result) == length],
                    [item for item in walked if self.part.loop(item.result) == length],
                )
        self._store_uniform([item for item in items if not self._is_walked(item)])
        return self._around([*self.early, *self.lines])

    def _is_walked(self, item: Operation) -> bool:
        return item.function not in REDUCTIONS and self.part.loop(item.result) > 0

    def _phase(self, result: Value) -> int:
        """In which walk along the row an item is computed: after those of all that it uses."""
        return 1 + max(
            (
                self._phase(used) - (self.part.items[used].function not in REDUCTIONS)
                for used in self.part.uses[result]
            ),
            default=0,
        )

    def _around(self, lines: list[str]) -> str:
        """The loop over elements, rows or tiles of columns around these lines."""
        kind, team, width, _ = self.geometry
        shape, total = self.part.shape, math.prod(self.part.shape)
        uniform = [name for name in names(self.rank) if name != self.axis_name]
        integer = self.integer
        flat = {"map": "element", "rows": "row", "columns": "column"}[kind]
        where = [
            f"const {integer} {name} = {position[1:-1] if is_bracketed(position) else position};"
            for name, position, length in zip(uniform, unravel(flat, shape), shape, strict=True)
            if length > 1
        ]
        start, step = {
            "THREAD": ("block * THREADS + THREAD", "blocks * THREADS"),
            "WARP": ("block * WARPS + WARP", "blocks * WARPS"),
            "BLOCK": ("block", "blocks"),
            "TILE": (f"block * TILE_WIDTH({width})", f"blocks * TILE_WIDTH({width})"),
        }[team]
        i = flat
        if kind == "columns":
            i = "tile"
            where[:0] = [
                f"const {integer} asked = tile + TILE_COLUMN({width});",
                f"const bool is_ours = asked < {total};",
                f"const {integer} column = is_ours ? asked : {total - 1};",
            ]
        head = f"for ({integer} {i} = {start}; {i} < {total}; {i} += {step}) {{"
        return f"{head}\n{_indented(_text([*where, *lines]))}}}\n"

    def _walk(self, length: int, reductions: list[Operation], stores: list[Operation]) -> None:
        """One loop along the axis: some reductions, and some results stored element by element."""
        assert self.axis_name is not None  # for the type checker # nosec B101
        self.loop_lines, self.known_in_loop, self.loop_names = [], {}, {self.axis_name}
        before: list[str] = []
        after: list[str] = []
        for item in reductions:
            operand = source(item)
            x = self._value(operand, whole(operand.shape, names(self.rank)))
            before_item, step, after_item = self._reduction(item, x)
            before += before_item
            self.loop_lines.append(step)
            after += after_item
        self._store(stores)
        team, width = self.geometry.team, self.geometry.width
        lane = f"TILE_LANE({width})" if team == "TILE" else f"{team}_LANE"
        lanes = f"TILE_LANES({width})" if team == "TILE" else f"{team}_LANES"
        i = self.axis_name
        head = f"for ({self.integer} {i} = {lane}; {i} < {length}; {i} += {lanes}) {{"
        self.lines += [*before, f"{head}\n{_indented(_text(self.loop_lines))}}}", *after]
        self.loop_names = set()

    def _reduction(self, item: Operation, x: str) -> tuple[list[str], str, list[str]]:
        """Text before, in and after the loop; afterwards every lane of the team has the result."""
        function, result, operand = item.function, item.result, source(item)
        team = self.geometry.team
        tile = f", {self.geometry.width}" if team == "TILE" else ""
        r = f"r{result.number}"
        self.late_names.add(r)
        self.known[result, self.part.index_of(result.shape)] = r
        if function == "argmax":
            start = identity("max", operand.dtype)
            before = [f"{c_type(operand.dtype)} m{r} = {start};", f"long long {r} = -1;"]
            step = f"SEE_MAX(m{r}, {r}, {x}, {self.axis_name})"
            return before, step, [f"{team}_ARGMAX(m{r}, {r}{tile})"]
        dtype = result.dtype
        before = [f"{c_type(dtype)} {r} = {identity(function, dtype)};"]
        x = cast(x, operand.dtype, dtype)
        larger = f"{function.upper()}IMUM({r}, {x})"
        step = f"{r} += {x};" if function == "sum" else f"{r} = {larger};"
        after = [f"{team}_{function.upper()}({r}{tile})"]
        if dtype == "float16":
            after.append(f"{r} = ROUND_HALF({r});")
        return before, step, after

    def _store(self, items: Iterable[Operation]) -> None:
        """Compute all, then store all: what is stored may overwrite what another one reads."""
        stores = []
        for item in items:
            index = self.part.index_of(item.result.shape)
            text = self._value(item.result, index)
            element = self._element(item.result, index, is_stored=True)
            is_half = item.result.dtype == "float16"
            stores.append(f"{element} = {f'STORE_HALF({text})' if is_half else text};")
        if self.geometry.kind == "columns" and self.loop_names:
            stores = [f"if (is_ours) {{\n{_indented(_text(stores))}}}"] if stores else []
        (self.loop_lines if self.loop_names else self.lines).extend(stores)

    def _store_uniform(self, items: list[Operation]) -> None:
        items = [item for item in items if item.result in self.layout.places]
        if not items:
            return
        if self.geometry.kind == "map":
            self._store(items)
            return
        for item in items:
            self._value(item.result, self.part.index_of(item.result.shape))
        team, width = self.geometry.team, self.geometry.width
        is_first = f"TILE_LANE({width}) == 0 && is_ours" if team == "TILE" else f"{team}_LANE == 0"
        computed, self.lines = self.lines, []
        self._store(items)
        wait = "WARP_WAIT" if team == "WARP" else "BLOCK_WAIT"  # all have read what is overwritten
        self.lines = [*computed, wait, f"if ({is_first}) {{\n{_indented(_text(self.lines))}}}"]

    def _value(self, value: Value, index: Index) -> str:
        """The variable, or number, that holds a value's element at this index."""
        key = (value, index)
        is_in_loop = any(name in self.loop_names for name in _NAME.findall(" ".join(index)))
        known = self.known_in_loop if is_in_loop else self.known
        if key in known:
            return known[key]
        maker = self.program.makers.get(value)
        if maker is not None and maker.function in VIEWS:
            (operand,) = maker.values
            known[key] = self._value(operand, operand_index(maker, operand, index))
            return known[key]
        dtype = value.dtype
        if value in self.part.reads:
            text = self._element(value, index)
            if dtype == "float16":
                text = f"LOAD_HALF({text})"
        elif maker is None or maker.function in REDUCTIONS:
            raise AssertionError(f"{value} is not yet known here")
        elif maker.function == "take":
            known[key] = self._taken(maker, index)
            return known[key]
        else:
            text = expression(maker, self._operands(maker, index))
        known[key] = self._define(c_type(dtype), text, f"v{value.number}", is_in_loop)
        return known[key]

    def _define(self, kind: str, text: str, name: str, is_in_loop: bool) -> str:
        self.count += 1
        name = f"{name}_{self.count}"
        line = f"const {kind} {name} = {text};"
        if is_in_loop:
            self.loop_lines.append(line)
            self.loop_names.add(name)
        elif self.late_names.isdisjoint(_NAME.findall(text)):
            self.early.append(line)  # what a row has to read comes while its first loop runs
        else:
            self.lines.append(line)
            self.late_names.add(name)
        return name

    def _operands(self, operation: Operation, index: Index) -> list[str]:
        texts = []
        for number, operand in enumerate(operation.operands):
            is_condition = operation.function == "where" and number == 0
            wanted = "bool" if is_condition else operation.computes
            if isinstance(operand, Scalar):
                texts.append(literal(operand.value, wanted))
            else:
                text = self._value(operand, operand_index(operation, operand, index))
                texts.append(cast(text, operand.dtype, wanted))
        return texts

    def _taken(self, take: Operation, index: Index) -> str:
        array, indices = take.values
        _, asked = taken_index(take, index, "")
        position = self._value(indices, asked)
        length = array.shape[take.option("axis")]
        is_in_loop = position in self.loop_names
        key = (indices, (*asked, f"of {length}"))
        known = self.known_in_loop if is_in_loop else self.known
        if key not in known:
            clipped = f"CLIP({position}, {length})"
            known[key] = self._define(self.integer, clipped, f"at{indices.number}", is_in_loop)
        where = "0" if length == 1 else known[key]
        return self._value(array, taken_index(take, index, where)[0])

    def _element(self, value: Value, index: Index, *, is_stored: bool = False) -> str:
        place = self.layout.places[value]
        (self.written if is_stored else self.loaded).add(place.buffer)
        terms = zip(index, place.strides, strict=True)
        return f"b{place.buffer}[{linear_sum(terms, place.offset)}]"


def _geometry(part: LoopNest) -> Geometry:
    if part.axis is None:
        return map_geometry(part.shape)
    if part.axis == len(part.shape):
        longest = max(part.loop(result) for result in part.items)
        return rows_geometry(math.prod(part.shape), longest)
    return columns_geometry(math.prod(part.shape))


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())
