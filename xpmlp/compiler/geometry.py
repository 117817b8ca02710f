"""How the work of a kernel is divided over threads: the numbers that its speed depends on.

Every kernel has blocks of `THREADS` threads. A map gives an element to each thread. A reduction
along the last axis gives a row to each warp, or to each block where rows are long and few; one
along another axis gives a tile of neighbouring columns to each block, so that a warp reads
neighbouring memory, with several threads down each column.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

THREADS = 256
WARP = 32
MOST_BLOCKS = 4096
"""More blocks than any device runs at once: from here on each does several pieces of work."""

LONGEST_ROW = 8192
"""Longer rows are summed in pieces, by several blocks (32 elements a thread)."""

MANY_COLUMNS = 1024
"""From here on a tile is as wide as a warp; fewer columns get narrow tiles, for more blocks."""

Kind: TypeAlias = Literal["map", "rows", "columns"]


class Geometry(NamedTuple):
    """A kind of loop; who shares a row or column ("WARP", "BLOCK", "TILE"); columns a tile;
    and how many blocks there are."""

    kind: Kind
    team: str
    width: int
    blocks: int


def map_geometry(shape: Sequence[int]) -> Geometry:
    """For one thread an element."""
    return Geometry("map", "THREAD", 1, _blocks(math.prod(shape), THREADS))


def rows_geometry(rows: int, length: int) -> Geometry:
    """For reductions along the last axis, of this many rows."""
    if length <= 8 * WARP or (length <= LONGEST_ROW and rows >= MOST_BLOCKS):
        return Geometry("rows", "WARP", 1, _blocks(rows, THREADS // WARP))
    return Geometry("rows", "BLOCK", 1, _blocks(rows, 1))


def columns_geometry(columns: int) -> Geometry:
    """For reductions along another axis."""
    width = tile_width(columns)
    return Geometry("columns", "TILE", width, _blocks(columns, width))


def tile_width(columns: int) -> int:
    """Columns of a tile."""
    return WARP if columns >= MANY_COLUMNS else WARP // 4


def longest(columns: int, *, is_last: bool) -> int:
    """The longest axis that is reduced in one go; beside the last one, 32 elements a thread."""
    return LONGEST_ROW if is_last else WARP * THREADS // tile_width(columns)


def _blocks(work: int, a_block: int) -> int:
    return min(-(-work // a_block), MOST_BLOCKS)
