"""Matrix products through a cuBLAS handle of our own.

CuPy refuses its own cuBLAS calls while a stream is capturing (its issue 6290); cuBLAS itself
does not, if it has been given a workspace beforehand. The same handle serves eager steps, so that
both make the same bits.
"""

import contextlib
import ctypes
import functools
import importlib
import itertools
import re
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpmlp.compiler.layout import Place
from xpmlp.compiler.record import Untraceable

WORKSPACE = 32 * 2**20
"""Bytes of workspace: what NVIDIA recommends for Hopper; older GPUs need 4 MiB."""

LARGEST_INT = 2**31 - 1
"""The largest size that cuBLAS's 32-bit interface takes."""


class Operand(NamedTuple):
    """A matrix as cuBLAS sees it, column by column; all numbers count elements.

    `leading` lies between one column and the next, `stride` between one member and the next.
    `transposed` says that what is stored is the transpose of what is multiplied.
    """

    buffer: int
    offset: int
    leading: int
    stride: int
    transposed: bool


class Gemm(NamedTuple):
    """C = op(A) op(B), (m,k)(k,n) -> (m,n), for each of `members`, as one call of cuBLAS."""

    m: int
    n: int
    k: int
    A: Operand
    B: Operand
    C: Operand
    members: int


def gemms(A: Place, B: Place, C: Place) -> tuple[Gemm, ...]:
    """The calls of cuBLAS that make C = A B of matrices, or stacks of them, where they lie.

    BLAS stores by columns, we by rows, and a matrix of one is the transpose of a matrix of the
    other: so Cᵀ = Bᵀ Aᵀ is computed, in place, and nothing is transposed. Leading axes are
    members; one that A or B lacks, or has of length 1, is shared by all members.

    Raises `Untraceable` for a matrix whose elements lie neither along rows nor along columns.
    """
    members = C.shape[:-2]
    if C.shape[-2:] != (A.shape[-2], B.shape[-1]) or A.shape[-1] != B.shape[-2]:
        raise Untraceable(f"matmul of {A.shape} and {B.shape} into {C.shape}")
    if _operand(_transpose(C)).transposed:  # C lies by columns already: then so does the product
        return _by_columns(A, B, C, members)
    return _by_columns(_transpose(B), _transpose(A), _transpose(C), members)


def _transpose(place: Place) -> Place:
    *outer, down, across = place.strides
    shape = (*place.shape[:-2], place.shape[-1], place.shape[-2])
    return place._replace(shape=shape, strides=(*outer, across, down))


def _by_columns(A: Place, B: Place, C: Place, members: tuple[int, ...]) -> tuple[Gemm, ...]:
    a, b, c = (_operand(place) for place in (A, B, C))
    strides = [_member_strides(place, members) for place in (A, B, C)]
    *outer, (inner, *steps) = _collapse(members, strides)
    found = []
    for index in itertools.product(*(range(length) for length, *_ in outer)):
        placed = [
            operand._replace(
                offset=operand.offset
                + sum(i * level[1 + which] for i, level in zip(index, outer, strict=True)),
                stride=steps[which],
            )
            for which, operand in enumerate((a, b, c))
        ]
        sizes = (C.shape[-2], C.shape[-1], A.shape[-1])
        found.append(Gemm(*sizes, placed[0], placed[1], placed[2], inner))
    if any(max(*gemm[:3], gemm.members) > LARGEST_INT for gemm in found):
        raise Untraceable(f"matmul of {A.shape} and {B.shape}: larger than cuBLAS takes")
    return tuple(found)


def _operand(place: Place) -> Operand:
    """How a matrix lies: column by column, or its transpose does."""
    rows, columns = place.shape[-2:]
    down, across = place.strides[-2:]
    if rows == 1 or down == 1:
        leading = rows if columns == 1 else across
        if rows <= leading <= LARGEST_INT:
            return Operand(place.buffer, place.offset, leading, 0, transposed=False)
    if columns == 1 or across == 1:
        leading = columns if rows == 1 else down
        if columns <= leading <= LARGEST_INT:
            return Operand(place.buffer, place.offset, leading, 0, transposed=True)
    raise Untraceable(f"a {rows} x {columns} matrix with strides {down}, {across}: BLAS has none")


def _member_strides(place: Place, members: tuple[int, ...]) -> list[int]:
    missing = len(members) + 2 - len(place.shape)
    strides = [0] * missing
    for length, stride, wanted in zip(
        place.shape[:-2], place.strides[:-2], members[missing:], strict=True
    ):
        if length not in (1, wanted):
            raise Untraceable(f"matmul of members {place.shape[:-2]} into {members}")
        strides.append(0 if length == 1 else stride)
    return strides


def _collapse(members: tuple[int, ...], strides: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """The member axes as few levels (length, stride of A, of B, of C), the innermost last."""
    levels: list[tuple[int, ...]] = []
    for length, *steps in zip(members, *strides, strict=True):
        if length == 1:
            continue
        if levels and all(
            outer == length * inner for outer, inner in zip(levels[-1][1:], steps, strict=True)
        ):
            levels[-1] = (levels[-1][0] * length, *steps)
        else:
            levels.append((length, *steps))
    return levels or [(1, 0, 0, 0)]


class Arithmetic(NamedTuple):
    """What cuBLAS computes with: cudaDataType of the operands and of the result,
    cublasComputeType_t, and the type of alpha and beta."""

    operands: int
    result: int
    compute: int
    scalar: type[ctypes.c_float] | type[ctypes.c_double]


# library_types.h: CUDA_R_32F 0, CUDA_R_64F 1, CUDA_R_16F 2. cublas_api.h: CUBLAS_COMPUTE_32F 68,
# CUBLAS_COMPUTE_64F 70, CUBLAS_COMPUTE_32F_FAST_TF32 77.
ARITHMETIC = {
    ("float32", "float32"): Arithmetic(0, 0, 68, ctypes.c_float),
    ("tf32", "float32"): Arithmetic(0, 0, 77, ctypes.c_float),
    ("float16", "float32"): Arithmetic(2, 0, 68, ctypes.c_float),
    ("float64", "float64"): Arithmetic(1, 1, 70, ctypes.c_double),
}
"""By the type of the operands and of the result. `tf32` are float32 in memory."""


def arithmetic(dtype: str, result_dtype: str) -> Arithmetic:
    """How operands of a type are multiplied; raises `Untraceable` for types that are not."""
    try:
        return ARITHMETIC[dtype, result_dtype]
    except KeyError:
        raise Untraceable(f"no product of {dtype} operands into {result_dtype}") from None


class CublasError(RuntimeError):
    """A call of cuBLAS that failed; says which, and its status by name."""


class Cublas:
    """A handle of cuBLAS that multiplies on one stream, with a workspace of its own there.

    Made on the stream, which is current then: the workspace is memory of CuPy's for that stream.
    """

    def __init__(self, stream: Any, cupy: Any, library: Any = None) -> None:
        self._library = library or load_cublas()
        self._stream = stream  # kept alive: no other stream gets its pointer
        self._workspace = workspace = cupy.empty(WORKSPACE, np.uint8)
        handle = ctypes.c_void_p()
        self._call("cublasCreate_v2", ctypes.byref(handle))
        self._handle = handle
        # Not at the interpreter's end, when CUDA may be gone already and frees everything itself.
        weakref.finalize(self, self._library.cublasDestroy_v2, handle).atexit = False
        self._call("cublasSetMathMode", handle, 0)  # CUBLAS_DEFAULT_MATH
        self._call("cublasSetStream_v2", handle, stream.ptr)
        # After the stream: setting a stream puts the workspace back to cuBLAS's own.
        self._call("cublasSetWorkspace_v2", handle, workspace.data.ptr, workspace.nbytes)

    def multiply(self, gemm: Gemm, A: int, B: int, C: int, arithmetic: Arithmetic) -> None:
        """Queue a product of the matrices at these addresses."""
        one, zero = _scalars(arithmetic.scalar)
        operands, result, compute, _ = arithmetic
        flags = (int(gemm.A.transposed), int(gemm.B.transposed))  # CUBLAS_OP_N 0, CUBLAS_OP_T 1
        default_algorithm = -1  # CUBLAS_GEMM_DEFAULT
        a, b, c = gemm.A, gemm.B, gemm.C
        if gemm.members == 1:
            self._call(
                "cublasGemmEx", self._handle, *flags, gemm.m, gemm.n, gemm.k,
                one, A, operands, a.leading, B, operands, b.leading,
                zero, C, result, c.leading, compute, default_algorithm,
            )  # fmt: skip
            return
        self._call(
            "cublasGemmStridedBatchedEx", self._handle, *flags, gemm.m, gemm.n, gemm.k,
            one, A, operands, a.leading, a.stride, B, operands, b.leading, b.stride,
            zero, C, result, c.leading, c.stride, gemm.members, compute, default_algorithm,
        )  # fmt: skip

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            found = self._library.cublasGetStatusName(status)
            raise CublasError(f"{name}: {found.decode()} ({status})")


@functools.cache
def _scalars(kind: type[ctypes.c_float] | type[ctypes.c_double]) -> tuple[Any, Any]:
    """alpha = 1 and beta = 0, in the host's memory."""
    return ctypes.byref(kind(1)), ctypes.byref(kind(0))


_shared: weakref.WeakValueDictionary[tuple[int, ...], Cublas] = weakref.WeakValueDictionary()


def shared_cublas(stream: Any, cupy: Any) -> Cublas:
    """Return the handle that eager products on this stream, the current one, share.

    Each thread has its own, since one pointer may stand for the default stream of each.
    """
    key = (cupy.cuda.Device().id, stream.ptr, threading.get_ident())
    if (found := _shared.get(key)) is None:
        found = _shared[key] = Cublas(stream, cupy)
    return found


_INT, _LONG, _POINTER, _SIZE = ctypes.c_int, ctypes.c_longlong, ctypes.c_void_p, ctypes.c_size_t

# As in cublas_api.h: cublasHandle_t is a pointer, all enumerations are int.
_PARAMETERS = {
    "cublasCreate_v2": (_POINTER,),
    "cublasDestroy_v2": (_POINTER,),
    "cublasSetMathMode": (_POINTER, _INT),
    "cublasSetStream_v2": (_POINTER, _POINTER),
    "cublasSetWorkspace_v2": (_POINTER, _POINTER, _SIZE),
    "cublasGemmEx": (
        _POINTER, _INT, _INT, _INT, _INT, _INT,
        _POINTER, _POINTER, _INT, _INT, _POINTER, _INT, _INT,
        _POINTER, _POINTER, _INT, _INT, _INT, _INT,
    ),
    "cublasGemmStridedBatchedEx": (
        _POINTER, _INT, _INT, _INT, _INT, _INT,
        _POINTER, _POINTER, _INT, _INT, _LONG, _POINTER, _INT, _INT, _LONG,
        _POINTER, _POINTER, _INT, _INT, _LONG, _INT, _INT, _INT,
    ),
}  # fmt: skip


@functools.cache
def load_cublas() -> ctypes.CDLL:
    """The cuBLAS that CuPy computes with; raises `CublasError` where none can be loaded."""
    tried = []
    for name in _candidates():
        try:
            library = ctypes.CDLL(name)
        except OSError as error:
            tried.append(str(error))
            continue
        for function, parameters in _PARAMETERS.items():
            getattr(library, function).argtypes = parameters
            getattr(library, function).restype = ctypes.c_int
        library.cublasGetStatusName.argtypes = (ctypes.c_int,)
        library.cublasGetStatusName.restype = ctypes.c_char_p
        return library
    raise CublasError(f"no cuBLAS library can be loaded: {'; '.join(tried)}")


def _candidates() -> Iterator[str]:
    """Where cuBLAS may be: what is loaded already comes first."""
    with contextlib.suppress(
        Exception
    ):  # an older CuPy does not bring it; it raises its own errors
        pathfinder = importlib.import_module("cuda.pathfinder")
        if path := pathfinder.load_nvidia_dynamic_lib("cublas").abs_path:
            yield path
    with contextlib.suppress(OSError), open("/proc/self/maps") as maps:
        yield from sorted(set(re.findall(r"/\S*/libcublas\.so[.\d]*", maps.read())))
    if sys.platform == "win32":
        yield from ("cublas64_13.dll", "cublas64_12.dll")
    else:
        yield from ("libcublas.so.13", "libcublas.so.12", "libcublas.so")


def place_of(array: Any, buffer: int = 0) -> Place:
    """The place of an array that starts where its buffer does."""
    strides = tuple(stride // array.itemsize for stride in array.strides)
    return Place(buffer, 0, array.shape, strides)


class EagerNamespace:
    """CuPy's namespace, but for `matmul`, which goes through our handle.

    So an eager step multiplies in the precision that was asked for, and with the very products
    of a compiled one.
    """

    def __init__(self, xp: Any, cupy: Any, *, precision: str) -> None:
        self._xp = xp
        self._cupy = cupy
        self._precision = precision
        self._handles: dict[int, Cublas] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._xp, name)

    def matmul(self, A: Any, B: Any, /) -> Any:
        """The product of matrices, or stacks of them, of floating-point numbers of one type."""
        result_dtype = A.dtype.name
        is_ours = A.dtype == B.dtype and result_dtype in ("float32", "float64")
        if not (is_ours and A.size and B.size):  # cuBLAS takes no matrix without elements
            return self._xp.matmul(A, B)
        dtype = result_dtype
        if dtype == "float32" and self._precision in ("tf32", "float16"):
            dtype = self._precision
        if dtype == "float16":
            A, B = A.astype(dtype), B.astype(dtype)
        members = np.broadcast_shapes(A.shape[:-2], B.shape[:-2])
        C = self._cupy.empty((*members, A.shape[-2], B.shape[-1]), result_dtype)
        try:
            calls = gemms(place_of(A, 0), place_of(B, 1), place_of(C, 2))
        except Untraceable:
            A, B = self._cupy.ascontiguousarray(A), self._cupy.ascontiguousarray(B)
            calls = gemms(place_of(A, 0), place_of(B, 1), place_of(C, 2))
        arrays = (A, B, C)
        stream = self._cupy.cuda.get_current_stream()
        if (handle := self._handles.get(stream.ptr)) is None:
            handle = self._handles[stream.ptr] = shared_cublas(stream, self._cupy)
        for gemm in calls:
            a, b, c = (address(arrays[one.buffer], one) for one in (gemm.A, gemm.B, gemm.C))
            handle.multiply(gemm, a, b, c, arithmetic(dtype, result_dtype))
        return C


def address(array: Any, operand: Operand) -> int:
    """Where an operand begins, in the device's memory."""
    start: int = array.data.ptr + operand.offset * array.itemsize
    return start
