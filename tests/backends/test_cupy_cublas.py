"""Products as cuBLAS is asked for them, on a pretended cuBLAS that works on raw memory."""

import ctypes
import gc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pretended_cupy import BATCHED_GEMM, GEMM, Pretended, PretendedCublas, PretendedCuPy

from xpmlp.backends.cupy import cublas
from xpmlp.backends.cupy.cublas import Cublas, CublasError, EagerNamespace, arithmetic, gemm_of
from xpmlp.compiler.layout import Place
from xpmlp.compiler.record import Untraceable

SIZES = st.integers(1, 5)


@st.composite
def matrices(draw: Any, rows: int, columns: int, members: tuple[int, ...], number: int) -> Any:
    """Memory and a place in it, by rows or by columns, with gaps, in a larger vector or not."""
    by_columns = draw(st.booleans())
    inner, outer = (rows, columns) if by_columns else (columns, rows)
    leading = inner + draw(st.integers(0, 3))
    size = outer * leading
    strides: list[int] = []
    for length in reversed(members):
        strides.insert(0, size)
        size = length * size + draw(st.sampled_from([0, 0, 7]))
    offset = draw(st.integers(0, 9))
    down, across = (1, leading) if by_columns else (leading, 1)
    place = Place(number, offset, (*members, rows, columns), (*strides, down, across))
    return np.full(offset + size, np.nan), place


def array_at(memory: np.ndarray, place: Place) -> np.ndarray:
    strides = tuple(8 * stride for stride in place.strides)
    return np.lib.stride_tricks.as_strided(memory[place.offset :], place.shape, strides)


def multiply(cupy: PretendedCuPy, places: list[Place], memory: list[np.ndarray]) -> None:
    handle = Cublas(cupy.machine.null, cupy, cupy.machine.library)
    buffers = [one.view(Pretended) for one in memory]
    handle.multiply(gemm_of(*places), buffers, arithmetic("float64", "float64"))
    cupy.machine.null.synchronize()


@given(data=st.data(), M=SIZES, K=SIZES, N=SIZES)
def test_products_of_any_layout_are_those_of_numpy(data: Any, M: int, K: int, N: int) -> None:
    members = data.draw(st.lists(st.integers(1, 3), max_size=1).map(tuple))

    def some(shape: tuple[int, ...]) -> tuple[int, ...]:
        """The members that an operand has: some from the last, or each shared by all."""
        kept = shape[data.draw(st.integers(0, len(shape))) :]
        return tuple(data.draw(st.sampled_from([1, length])) for length in kept)

    pairs = [
        data.draw(matrices(M, K, some(members), 0)),
        data.draw(matrices(K, N, some(members), 1)),
        data.draw(matrices(M, N, members, 2)),
    ]
    memory, places = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    A, B = map(array_at, memory[:2], places[:2])
    random = np.random.default_rng(0)
    A[...], B[...] = random.normal(size=A.shape), random.normal(size=B.shape)
    before = memory[2].copy()
    multiply(PretendedCuPy(), places, memory)
    expected = array_at(before, places[2])
    expected[...] = np.matmul(A, B)
    np.testing.assert_allclose(memory[2], before, rtol=1e-12)  # the gaps too


def test_layers_in_one_flat_vector_are_multiplied_where_they_lie() -> None:
    members, P, l_in, l_out, N = 3, 50, 4, 5, 6
    W = Place(0, 7, (members, l_in, l_out), (P, l_out, 1))
    A = Place(1, 0, (N, l_in), (l_in, 1))
    Z = Place(2, 0, (members, N, l_out), (N * l_out, l_out, 1))
    forward = gemm_of(A, W, Z)
    assert forward.members == members
    assert (forward.A.stride, forward.B.stride) == (P, 0)
    assert not forward.A.transposed
    assert not forward.B.transposed
    transposed = W._replace(shape=(members, l_out, l_in), strides=(P, 1, l_out))
    dA = Place(3, 0, (members, N, l_in), (N * l_in, l_in, 1))
    backward = gemm_of(Z, transposed, dA)
    assert backward.A.transposed
    assert (backward.m, backward.n, backward.k) == (l_in, N, l_out)


def test_layout_that_blas_cannot_take_is_refused() -> None:
    good = Place(0, 0, (4, 4), (4, 1))
    for strides in [(8, 2), (0, 1), (4, -1), (2, 1)]:
        with pytest.raises(Untraceable, match="BLAS has none"):
            gemm_of(good._replace(strides=strides), good, good)
    with pytest.raises(Untraceable, match="BLAS has none"):
        gemm_of(good, good, good._replace(strides=(9, 3)))
    with pytest.raises(Untraceable, match=r"matmul of \(4, 4\) and \(3, 4\)"):
        gemm_of(good, good._replace(shape=(3, 4)), good)
    long = Place(0, 0, (2**31, 2, 2), (4, 2, 1))
    with pytest.raises(Untraceable, match="larger than cuBLAS takes"):
        gemm_of(long, good._replace(shape=(2, 2), strides=(2, 1)), long)
    with pytest.raises(Untraceable, match="more than one axis of members"):
        gemm_of(*[Place(0, 0, (2, 3, 2, 2), (12, 4, 2, 1))] * 3)
    with pytest.raises(Untraceable, match="no product of int64"):
        arithmetic("int64", "int64")


def test_a_failure_is_told_by_name() -> None:
    cupy = PretendedCuPy()
    cupy.machine.library.status = 15
    with pytest.raises(CublasError, match=r"cublasCreate_v2: CUBLAS_STATUS_NOT_SUPPORTED \(15\)"):
        Cublas(cupy.machine.null, cupy, cupy.machine.library)
    cupy.machine.library.status = 0
    handle = Cublas(cupy.machine.null, cupy, cupy.machine.library)
    cupy.machine.library.status = 13
    place = Place(0, 0, (2, 2), (2, 1))
    with pytest.raises(CublasError, match="cublasGemmEx: CUBLAS_STATUS_EXECUTION_FAILED"):
        handle.multiply(
            gemm_of(place, place, place),
            [cupy.empty(4, np.float32)],
            arithmetic("float32", "float32"),
        )


def test_eager_products_of_one_stream_share_a_workspace(cupy: PretendedCuPy) -> None:
    library, stream = cupy.machine.library, cupy.cuda.Stream()
    one, other = (EagerNamespace(cupy, cupy, precision="float32") for _ in range(2))
    assert library.streams == []  # none is made before it is needed
    A = cupy.asarray(np.ones((2, 2), np.float32))
    for _ in range(2):
        one.matmul(A, A)
        other.matmul(A, A)
        with stream:  # of another stream's the workspace may be in use still
            one.matmul(A, A)
    assert (library.streams, library.workspaces) == ([0, stream.ptr], [2**25] * 2)
    del one
    gc.collect()
    assert library.destroyed == 1
    del other
    gc.collect()
    assert library.destroyed == 2
    assert not cublas._shared


@pytest.mark.parametrize("precision", ["float32", "float64", "tf32", "float16"])
@pytest.mark.parametrize("shapes", [((0, 3), (3, 2)), ((2, 0), (0, 3)), ((4, 2, 3), (3, 0))])
def test_products_of_arrays_without_elements(
    cupy: PretendedCuPy, precision: str, shapes: tuple[tuple[int, ...], ...]
) -> None:
    xp = EagerNamespace(cupy, cupy, precision=precision)
    dtype = "float64" if precision == "float64" else "float32"
    A, B = (cupy.asarray(np.zeros(shape, dtype)) for shape in shapes)
    found = xp.matmul(A, B)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.get(), np.matmul(np.zeros(shapes[0]), np.zeros(shapes[1])))


def test_no_cublas_is_an_error_that_names_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    cublas.load_cublas.cache_clear()
    monkeypatch.setattr(cublas, "_candidates", lambda: ["libnone.so.1"])
    with pytest.raises(CublasError, match=r"no cuBLAS library can be loaded: libnone.so.1"):
        cublas.load_cublas()


def test_every_function_that_is_called_has_its_parameters_declared() -> None:
    """A pointer passed without a declared type is cut to 32 bits."""
    methods = {name for name in dir(PretendedCublas) if name.startswith("cublas")}
    assert methods - {"cublasGetStatusName"} == set(cublas._PARAMETERS)
    pointers = {"handle", "alpha", "atA", "atB", "beta", "atC"}
    for name, names in (("cublasGemmEx", GEMM), ("cublasGemmStridedBatchedEx", BATCHED_GEMM)):
        for argument, kind in zip(names, cublas._PARAMETERS[name], strict=True):
            wide = ctypes.c_longlong if argument in ("sA", "sB", "sC") else ctypes.c_int
            assert kind is (ctypes.c_void_p if argument in pointers else wide), (name, argument)


@pytest.mark.parametrize(
    ("precision", "dtype", "compute", "tolerance"),
    [
        ("float32", "float32", 68, 1e-6),
        ("tf32", "float32", 77, 1e-6),  # pretended: no tensor cores here
        ("float16", "float32", 68, 1e-2),
        ("float64", "float64", 70, 1e-14),
    ],
)
def test_eager_products_have_the_precision_asked_for(
    cupy: PretendedCuPy, precision: str, dtype: str, compute: int, tolerance: float
) -> None:
    xp = EagerNamespace(cupy, cupy, precision=precision)
    random = np.random.default_rng(1)
    W = cupy.asarray(random.normal(size=(3, 4, 5)), dtype)
    X = cupy.asarray(random.normal(size=(6, 4)), dtype)
    for A, B in [
        (X, W),
        (W, xp.matrix_transpose(W)),
        (X[:, ::2], W[..., 1:3, :]),
        (X[:1], W[0]),
        (X, W[None]),
    ]:
        found = xp.matmul(A, B)
        assert (found.dtype, found.shape) == (dtype, np.matmul(A, B).shape)
        np.testing.assert_allclose(found.get(), np.matmul(A, B), rtol=tolerance, atol=tolerance)
    assert set(cupy.machine.library.computed) == {compute}
    whole = cupy.asarray([[1, 2]])
    assert xp.matmul(whole, whole.T).get().tolist() == [[5]]
