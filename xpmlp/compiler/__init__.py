"""From a step in Python to a program that runs without it; pure, but for what runs on NumPy.

record.py      a step called once with placeholder arrays: its operations, written down
program.py     those operations as data
scopes.py      which part of which layer each belongs to
layout.py      where each value lives, so that a step allocates nothing
interpret.py   the program run by NumPy, to the bits of the step itself
partial.py     the program run through any Array API namespace
split.py       flat vectors taken apart, for a compiler that would copy them
precision.py   products in float16, where a run asks for them
prepare.py     the same program in the simpler form that kernels have
group.py       operations that one GPU kernel can do together, and the order of kernels
indexing.py    where an operation reads, as C expressions
geometry.py    how a kernel's work is divided over threads
expressions.py elementwise functions in C
prelude.py     the words that kernels are written in, for CUDA and for C
emit.py        the kernels' source
kernel_plan.py kernels and products in order, as a GPU is given them
"""

from xpmlp.compiler.interpret import Interpreter, TracedFunction
from xpmlp.compiler.partial import replay
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
    "replay",
]
