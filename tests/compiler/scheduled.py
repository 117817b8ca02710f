"""A kernel plan run on the CPU: its kernels compiled by gcc, its products by NumPy."""

import ctypes
import functools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xpmlp.compiler.emit import kernel_plan
from xpmlp.compiler.interpret import at
from xpmlp.compiler.kernel_plan import KernelPlan, Launch
from xpmlp.compiler.program import Program, leaves, rebuild

Kernel = Callable[[Launch, list[int]], None]


def compiler(name: str) -> str:
    found = shutil.which(name) or shutil.which("cc" if name == "gcc" else "c++")
    if found is None:
        pytest.skip(f"no C compiler: {name} is not installed")
    return found


def build(command: list[str], library: Path) -> ctypes.CDLL:
    made = subprocess.run(
        [*command, "-shared", "-fPIC", "-o", str(library), "-lm"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return ctypes.CDLL(str(library))


class Scheduled:
    """A program scheduled, with buffers, and run like an `Interpreter`.

    language "c" runs the serial bodies; "cuda" the very kernels of the GPU, each block as 256
    fibers, from the first to the last or `backwards`.
    """

    def __init__(
        self, program: Program, directory: Path, language: str = "c", *, backwards: bool = False
    ) -> None:
        self.kernel_plan: KernelPlan = kernel_plan(program, language=language)
        self.backwards = backwards
        self.run_kernel: Kernel = self._run_c if language == "c" else self._run_cuda
        self.library = build(self._command(directory, language), directory / "kernels.so")
        self.buffers = [
            np.zeros(buffer.size, buffer.dtype) for buffer in self.kernel_plan.layout.buffers
        ]

    def _command(self, directory: Path, language: str) -> list[str]:
        source = self.kernel_plan.source
        if language == "c":
            path = directory / "kernels.c"
            command = [compiler("gcc"), "-O1"]
        else:
            path = directory / "kernels.cpp"
            command = [compiler("g++"), "-O1", "-std=c++17", "-Wno-unknown-pragmas"]
            starters = "".join(
                f'extern "C" void start_{node.kernel}(int blocks, void **p, bool backwards)'
                f" {{ cpu::launch({node.kernel}, blocks, p, backwards); }}\n"
                for node in self.kernel_plan.nodes
                if isinstance(node, Launch)
            )
            header = Path(__file__).with_name("cuda_on_cpu.hpp").read_text()
            source = f"{header}\n{source}\n{starters}"
        path.write_text(source)
        return [*command, str(path)]

    def _run_c(self, launch: Launch, pointers: list[int]) -> None:
        kernel = getattr(self.library, launch.kernel)
        arguments = [ctypes.c_void_p(pointer) for pointer in pointers]
        for block in range(launch.blocks):
            kernel(block, *arguments)

    def _run_cuda(self, launch: Launch, pointers: list[int]) -> None:
        assert launch.threads == 256
        arguments = (ctypes.c_void_p * len(pointers))(*pointers)
        kernel = getattr(self.library, f"start_{launch.kernel}")
        kernel(launch.blocks, arguments, ctypes.c_bool(self.backwards))

    def run(self, state: Any, data: Any, count: int) -> tuple[Any, list[np.ndarray]]:
        program, places = self.kernel_plan.program, self.kernel_plan.layout.places
        array = functools.partial(at, buffers=self.buffers)
        for value, given in zip(program.inputs, [*leaves(state), *leaves(data)], strict=True):
            array(places[value])[...] = given
        metrics = [array(places[value]) for value in program.metrics]
        series = [np.empty((count, *metric.shape), metric.dtype) for metric in metrics]
        for step in range(count):
            for node in self.kernel_plan.nodes:
                if isinstance(node, Launch):
                    pointers = [self.buffers[number].ctypes.data for number in node.buffers]
                    self.run_kernel(node, pointers)
                else:
                    A, B, C = map(array, (node.A, node.B, node.C))
                    assert (A.dtype, C.dtype) == (node.dtype, node.result_dtype)
                    C[...] = np.matmul(A.astype(C.dtype), B.astype(C.dtype))
            for whole, metric in zip(series, metrics, strict=True):
                whole[step] = metric
        new_state = [array(places[value]).copy() for value in program.state]
        return rebuild(state, iter(new_state)), series
