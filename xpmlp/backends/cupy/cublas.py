"""Matrix products through a cuBLAS handle of our own.

CuPy refuses its own cuBLAS calls while a stream is capturing (its issue 6290); cuBLAS itself
does not, if it has been given a workspace beforehand. The same handle serves eager steps, so that
both make the same bits.
"""

import contextlib
import ctypes
import functools
import importlib
import re
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpmlp.compiler.layout import Place
from xpmlp.compiler.record import Untraceable

WORKSPACE_BYTES = 32 * 2**20
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


def gemm_of(A: Place, B: Place, C: Place) -> Gemm:
    """The call of cuBLAS that makes C = A B of matrices, or a stack of them, where they lie.

    BLAS stores by columns, we by rows, and a matrix of one is the transpose of a matrix of the
    other: so Cᵀ = Bᵀ Aᵀ is computed, in place, and nothing is transposed. The leading axis is
    members; one that A or B lacks, or has of length 1, is shared by all members.

    Raises `Untraceable` for a matrix whose elements lie neither along rows nor along columns.
    """
    if C.shape[-2:] != (A.shape[-2], B.shape[-1]) or A.shape[-1] != B.shape[-2]:
        raise Untraceable(f"matmul of {A.shape} and {B.shape} into {C.shape}")
    if not _operand(_transpose(C)).transposed:  # else C lies by columns already
        A, B, C = _transpose(B), _transpose(A), _transpose(C)
    if len(C.shape) > 3:
        raise Untraceable(f"matmul of {A.shape} and {B.shape}: more than one axis of members")
    sizes = (C.shape[-2], C.shape[-1], A.shape[-1])
    members = C.shape[0] if len(C.shape) > 2 else 1
    if max(*sizes, members) > LARGEST_INT:
        raise Untraceable(f"matmul of {A.shape} and {B.shape}: larger than cuBLAS takes")
    return Gemm(*sizes, _operand(A), _operand(B), _operand(C), members)


def _transpose(place: Place) -> Place:
    *outer, down, across = place.strides
    shape = (*place.shape[:-2], place.shape[-1], place.shape[-2])
    return place._replace(shape=shape, strides=(*outer, across, down))


def _operand(place: Place) -> Operand:
    """How a matrix lies: column by column, or its transpose does."""
    *members, rows, columns = place.shape
    *strides, down, across = place.strides
    stride = strides[0] if members and members[0] > 1 else 0
    if rows == 1 or down == 1:
        leading = rows if columns == 1 else across
        if rows <= leading <= LARGEST_INT:
            return Operand(place.buffer, place.offset, leading, stride, transposed=False)
    if columns == 1 or across == 1:
        leading = columns if rows == 1 else down
        if columns <= leading <= LARGEST_INT:
            return Operand(place.buffer, place.offset, leading, stride, transposed=True)
    raise Untraceable(f"a {rows} x {columns} matrix with strides {down}, {across}: BLAS has none")


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
        self._workspace = workspace = cupy.empty(WORKSPACE_BYTES, np.uint8)
        handle = ctypes.c_void_p()
        self._call("cublasCreate_v2", ctypes.byref(handle))
        self._handle = handle
        # Not at the interpreter's end, when CUDA may be gone already and frees everything itself.
        weakref.finalize(self, self._library.cublasDestroy_v2, handle).atexit = False
        self._call("cublasSetMathMode", handle, 0)  # CUBLAS_DEFAULT_MATH
        self._call("cublasSetStream_v2", handle, stream.ptr)
        # After the stream: setting a stream puts the workspace back to cuBLAS's own.
        self._call("cublasSetWorkspace_v2", handle, workspace.data.ptr, workspace.nbytes)

    def multiply(self, gemm: Gemm, buffers: Sequence[Any], arithmetic: Arithmetic) -> None:
        """Queue a product of matrices, which lie in the buffers that its operands name."""
        A, B, C = (
            buffers[one.buffer].data.ptr + one.offset * buffers[one.buffer].itemsize
            for one in (gemm.A, gemm.B, gemm.C)
        )
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
        self._handles: set[Cublas] = set()  # kept alive

    def __getattr__(self, name: str) -> Any:
        return getattr(self._xp, name)

    def matmul(self, A: Any, B: Any, /) -> Any:
        """The product of matrices, or stacks of them, of floating-point numbers of one type."""
        result_dtype = A.dtype.name
        is_ours = A.dtype == B.dtype and result_dtype in ("float32", "float64")
        is_ours = is_ours and max(A.ndim, B.ndim) <= 3
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
            gemm = gemm_of(place_of(A, 0), place_of(B, 1), place_of(C, 2))
        except Untraceable:
            A, B = self._cupy.ascontiguousarray(A), self._cupy.ascontiguousarray(B)
            gemm = gemm_of(place_of(A, 0), place_of(B, 1), place_of(C, 2))
        handle = shared_cublas(self._cupy.cuda.get_current_stream(), self._cupy)
        self._handles.add(handle)
        handle.multiply(gemm, (A, B, C), arithmetic(dtype, result_dtype))
        return C
