"""From a step in Python to a program that runs without it; pure, but for what runs on NumPy.

record.py      a step called once with placeholder arrays: its operations, written down
operations.py  the table of operations, elementwise ones with their text in C
program.py     a step's operations as data
scopes.py      which part of which layer each belongs to
ownership.py   copies, where a result or a part would lie in another value's memory
layout.py      where each value lives, so that a step allocates nothing
interpret.py   the program run by NumPy, to the bits of the step itself
partial.py     a part of the program run through any Array API namespace
split.py       the program run on parts of flat vectors, for a compiler that would copy them
prepare.py     the same program in the simpler form that kernels have
group.py       operations that one GPU kernel can do together, and the order of kernels
indexing.py    where an operation reads, as C expressions
geometry.py    how a kernel's work is divided over threads
expressions.py types, numbers and elementwise operations in C
prelude.cuh    the words that kernels are written in, for CUDA and for C
emit.py        the kernels' source
kernel_plan.py kernels and products in order, as a GPU is given them
"""

from xpmlp.compiler.interpret import Interpreter, TracedFunction
from xpmlp.compiler.program import Program, leaves, rebuild
from xpmlp.compiler.record import Untraceable, record

__all__ = [
    "Interpreter",
    "Program",
    "TracedFunction",
    "Untraceable",
    "leaves",
    "rebuild",
    "record",
]
