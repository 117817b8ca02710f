"""A program as a GPU runs it: kernels and matrix products, one after another, on static buffers."""

from dataclasses import dataclass
from typing import TypeAlias

from xpmlp.compiler.layout import Layout, Place
from xpmlp.compiler.program import Program


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel of the plan's source.

    `buffers` are the layout's buffers whose addresses the kernel takes, in its parameters' order;
    offsets and strides within them are in the source. `threads` run in each of `blocks`.
    """

    kernel: str
    blocks: int
    threads: int
    buffers: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.kernel}: {self.blocks} blocks"


@dataclass(frozen=True)
class Product:
    """One matrix product, C = A B, of matrices (or stacks of them) where they lie.

    `dtype` is that of A and B, `result_dtype` that of C.
    """

    A: Place
    B: Place
    C: Place
    dtype: str
    result_dtype: str

    def __str__(self) -> str:
        return f"product {self.A.shape} {self.B.shape} of {self.dtype} -> {self.result_dtype}"


Node: TypeAlias = Launch | Product


@dataclass(frozen=True)
class KernelPlan:
    """All that running a program on a GPU takes: source of the kernels, buffers, and the nodes."""

    program: Program
    layout: Layout
    source: str
    nodes: tuple[Node, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.nodes))
