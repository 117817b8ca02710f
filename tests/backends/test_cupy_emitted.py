"""Training by the very kernels that a GPU is given, on a pretended GPU that g++ makes of the CPU.

All but the card is real here: the step is recorded, grouped, emitted as CUDA, compiled, captured
in pretended graphs and replayed, with products by a pretended cuBLAS.
"""

import ctypes
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pretended_cupy import Pretended, PretendedCuPy, pretend

from tests.compiler.scheduled import build, compiler
from xpmlp import MLP, Split, select_backend
from xpmlp.training import train

MODEL = MLP((6, 5, 3))
HALF = """
typedef _Float16 half;
static inline float __half2float(half x) { return (float)x; }
static inline half __float2half_rn(float x) { return (half)x; }
"""
KERNEL_NAME = r"KERNEL\((\w+), "


class CompilingCuPy(PretendedCuPy):
    """A pretended CuPy whose modules are compiled for the CPU, each thread of a block as a
    fiber."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory

    def _module(self, code: str, options: tuple[str, ...], **_: Any) -> Any:
        assert options == ("-std=c++17",)
        names = [name for name in re.findall(KERNEL_NAME, code) if name != "name"]
        starters = "".join(
            f'extern "C" void start_{name}(int blocks, void **p)'
            f" {{ cpu::launch({name}, blocks, p, false); }}\n"
            for name in names
        )
        header = Path("tests/compiler/cuda_on_cpu.hpp").read_text()
        path = self.directory / "kernels.cpp"
        code = code.replace("#include <cuda_fp16.h>", HALF)
        path.write_text(f"{header}\n{code}\n{starters}")
        command = [compiler("g++"), "-O1", "-std=c++17", "-Wno-unknown-pragmas", str(path)]
        library = build(command, path.with_suffix(f".{len(list(self.directory.iterdir()))}.so"))
        return SimpleNamespace(get_function=lambda name: self._compiled(library, name))

    def _compiled(self, library: ctypes.CDLL, name: str) -> Callable[..., None]:
        start = getattr(library, f"start_{name}")

        def launch(grid: tuple[int], block: tuple[int], arguments: Sequence[Pretended]) -> None:
            assert block == (256,)
            given = list(arguments)
            self.machine.launched.append(name)

            def run() -> None:
                addresses = [array.ctypes.data for array in given]
                start(*grid, (ctypes.c_void_p * len(given))(*addresses))

            self.machine.put(run)

        return launch


@pytest.mark.extended(keep=1)
@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 1e-5), ("float64", 1e-12), ("float16", 1e-2)]
)
def test_emitted_kernels_train_as_numpy_does(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    precision: str,
    tolerance: float,
    members: int | None,
) -> None:
    cupy = CompilingCuPy(tmp_path)
    pretend(monkeypatch, cupy)
    random = np.random.default_rng(0)
    split = Split(random.integers(0, 255, (96, 6), dtype=np.uint8), random.integers(0, 3, 96))
    seed = 0 if members is None else range(members)
    options: dict[str, Any] = {"epochs": 2, "batch_size": 8, "shuffle": True, "seed": seed}
    found = train(
        MODEL, split, backend=select_backend("cupy"), dtype=precision, compile="require", **options
    )
    exact = precision if precision == "float64" else "float32"
    expected = train(MODEL, split, backend=select_backend("numpy"), dtype=exact, **options)
    np.testing.assert_allclose(found.history.loss, expected.history.loss, rtol=tolerance)
    parameters, close = found.snapshot().parameters, 10 * tolerance
    np.testing.assert_allclose(parameters, expected.parameters, rtol=close, atol=close)
    assert cupy.machine.launched
    assert "xpmlp.compiler.emit" in sys.modules
