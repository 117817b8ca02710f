"""CUDA source compiled for a GPU that need not be there: by nvcc, or by NVRTC, as CuPy does."""

import ctypes
import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Compile = Callable[[str, Path], None]
ARCHITECTURE = "sm_90"


def nvcc(source: str, directory: Path) -> None:
    path = directory / "kernels.cu"
    path.write_text(source)
    command = ["nvcc", f"-arch={ARCHITECTURE}", "-std=c++17", "-cubin", "-o", f"{path}bin", path]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr


def nvrtc(source: str, directory: Path) -> None:
    """The compiler that a program carries with it: no headers but its own and CUDA's."""
    library = ctypes.CDLL(str(_in_wheels("libnvrtc.so.*")))
    headers = _in_wheels("cuda_fp16.h")
    include = [f"--include-path={headers.parent}"] if headers else []
    options = [f"--gpu-architecture={ARCHITECTURE}", "--std=c++17", *include]
    program = ctypes.c_void_p()
    text = source.encode()
    assert library.nvrtcCreateProgram(ctypes.byref(program), text, b"k.cu", 0, None, None) == 0
    given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    failed = library.nvrtcCompileProgram(program, len(options), given)
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    assert failed == 0, log.value.decode()


def _in_wheels(pattern: str) -> Path | None:
    """A file of NVIDIA's Python packages."""
    spec = importlib.util.find_spec("nvidia")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    found = [path for folder in folders for path in Path(folder).rglob(pattern)]
    return min(found, default=None)


def compilers(*, half: bool) -> list[Compile]:
    """Those that are here; NVRTC compiles `half` only where CUDA's headers are installed too."""
    found: list[Compile] = [nvcc] if shutil.which("nvcc") else []
    if _in_wheels("libnvrtc.so.*") and (not half or _in_wheels("cuda_fp16.h")):
        found.append(nvrtc)
    if not found:
        pytest.skip("neither nvcc nor NVRTC is installed (the extra `dev` brings NVRTC)")
    return found
