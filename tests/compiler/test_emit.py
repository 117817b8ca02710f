"""Kernels' source: compiled by gcc, it computes what the step does; CUDA's compilers accept it.

Two machines stand in for a GPU: the bodies as serial C, and the CUDA source itself with every
thread of a block as a fiber, so that warps, blocks and tiles really work together.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.compiler.cuda_compilers import Compile, compilers
from tests.compiler.lecture_step import LECTURE, lecture_step
from tests.compiler.random_steps import RandomStep, assert_same, run_eagerly
from tests.compiler.scheduled import Scheduled
from xpmlp.compiler import Interpreter, Untraceable, record
from xpmlp.compiler.emit import kernel_plan
from xpmlp.compiler.kernel_plan import Launch, Product
from xpmlp.compiler.precision import with_precision

pytestmark = pytest.mark.extended(keep=3)

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


@pytest.mark.extended(keep=3)
@pytest.mark.parametrize("members", [0, 3])
@pytest.mark.parametrize("hidden", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_lecture_s_step(dtype: str, hidden: str, members: int, tmp_path: Path) -> None:
    step = lecture_step(dtype=dtype, hidden=hidden, members=members)
    program = step.program()
    found = Scheduled(program, tmp_path).run(step.state, step.data, 5)
    wanted = Interpreter(program).run(step.state, step.data, 5)
    assert_same(found, wanted, TOLERANCE[dtype])
    np.testing.assert_array_equal(found[1][1], wanted[1][1])  # counts of hits are whole numbers


def test_the_lecture_s_network_at_its_size(tmp_path: Path) -> None:
    step = lecture_step(LECTURE, batch=64)
    program = step.program()
    found = Scheduled(program, tmp_path).run(step.state, step.data, 3)
    assert_same(found, Interpreter(program).run(step.state, step.data, 3), TOLERANCE["float32"])


def test_every_member_has_its_own_rate(tmp_path: Path) -> None:
    step = lecture_step(members=3, dtype="float64", rates=[0.1, 0.2, 0.3])
    program = step.program()
    found = Scheduled(program, tmp_path).run(step.state, step.data, 3)
    assert_same(found, Interpreter(program).run(step.state, step.data, 3), 1e-12)


@pytest.mark.parametrize("members", [0, 2])
def test_as_a_gpu_runs_it(members: int, tmp_path: Path) -> None:
    """And to the same bits whether threads and blocks run from the first to the last or back."""
    step = lecture_step(members=members)
    program = step.program()
    runs = []
    for backwards in (False, True):
        folder = tmp_path / str(backwards)
        folder.mkdir()
        scheduled = Scheduled(program, folder, "cuda", backwards=backwards)
        runs.append(scheduled.run(step.state, step.data, 3))
    assert_same(runs[0], Interpreter(program).run(step.state, step.data, 3), TOLERANCE["float32"])
    assert_same(runs[0], runs[1], 0.0)


def sums_of_all_sizes(*, xp: Any) -> Any:
    """Rows and columns that a warp, a block, a tile of either width or several blocks share."""

    def step(state: Any, data: Any) -> Any:
        (total,) = state
        found = []
        for x in data:
            for axis in (0, -1, None):
                found.append(xp.sum(x, axis=axis))  # noqa: PERF401
            centred = x - xp.mean(x, axis=-1, keepdims=True)
            found.append(xp.max(centred * centred, axis=0))
            found.append(xp.min(x - xp.max(x, axis=0), axis=-1))
            found.append(xp.argmax(x, axis=-1))
            found.append(xp.argmax(x, axis=0))
        return (total + xp.sum(data[0]),), tuple(found)

    return step


@pytest.mark.extended
@pytest.mark.parametrize("language", ["c", "cuda"])
def test_reductions_of_all_sizes(language: str, tmp_path: Path) -> None:
    r = np.random.default_rng(0)
    shapes = [(2100, 2), (3, 1500), (40, 1030), (1, 9000), (1, 9001), (40, 300)]
    data = tuple(r.standard_normal(shape) for shape in shapes)
    state = (np.asarray(0.0),)
    program = record(sums_of_all_sizes, state, data)
    found = Scheduled(program, tmp_path, language).run(state, data, 1)
    assert_same(found, run_eagerly(sums_of_all_sizes, state, data, 1), 1e-10)


@pytest.mark.extended
@pytest.mark.parametrize("language", ["c", "cuda"])
def test_fewer_blocks_than_work(
    language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpmlp.compiler.geometry.MOST_BLOCKS", 2)
    r = np.random.default_rng(0)
    data = tuple(r.standard_normal(shape) for shape in [(50, 30), (6, 300), (900, 3)])
    state = (np.asarray(0.0),)
    program = record(sums_of_all_sizes, state, data)
    scheduled = Scheduled(program, tmp_path, language)
    assert_same(
        scheduled.run(state, data, 1), run_eagerly(sums_of_all_sizes, state, data, 1), 1e-10
    )


def extremes(*, xp: Any) -> Any:
    def step(state: Any, data: Any) -> Any:
        (x,) = data
        last = xp.max(x, axis=-1), xp.min(x, axis=-1), xp.argmax(x, axis=-1)
        first = xp.max(x, axis=0), xp.min(x, axis=0), xp.argmax(x, axis=0)
        return state, (*last, *first, xp.maximum(x, 0.0), xp.minimum(x, x[::-1]))

    return step


@pytest.mark.parametrize("language", ["c", "cuda"])
@pytest.mark.parametrize("columns", [9, 600])
def test_the_first_maximum_and_nan_above_all(language: str, columns: int, tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 4, (9, columns)).astype(np.float64)
    x[1, 5], x[2, [3, 7]], x[3] = np.nan, np.nan, -np.inf
    x[4, 2], x[5, 8], x[6], x[7, columns - 1] = np.inf, -np.inf, np.nan, 9.0
    program = record(extremes, (), (x,))
    found = Scheduled(program, tmp_path, language).run((), (x,), 1)
    wanted = run_eagerly(extremes, (), (x,), 1)
    for ours, theirs in zip(found[1], wanted[1], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_arrays_beyond_the_reach_of_int_are_walked_with_64_bits() -> None:
    def make(*, xp: Any) -> Any:
        return lambda s, d: ((s[0] - d[0] * s[0][..., :1],), xp.sum(s[0], axis=0))

    huge = np.broadcast_to(np.float32(0), (3, 2**30))
    text = kernel_plan(record(make, (huge,), (huge,))).source
    kernels = text[text.index("KERNEL(k0") :]
    assert "const long long i1" in kernels
    assert not re.search(r"\bint (i\d|element|row|column|asked)\b", kernels)


# -- what runs on a GPU ----------------------------------------------------------------------------


def everything() -> dict[str, Any]:
    """Programs that between them use all words of the prelude."""
    data = np.zeros((5, 40)), np.zeros((300, 2000), np.float32), np.zeros((9, 9), np.float16)
    random = RandomStep(7, length=60)
    return {
        "lecture": lecture_step(LECTURE, batch=64).program(),
        "members in float64": lecture_step(LECTURE, members=2, dtype="float64").program(),
        "float16": with_precision(lecture_step(LECTURE).program(), "float16"),
        "reductions": record(sums_of_all_sizes, (np.asarray(0.0),), data),
        "random": record(random.make, random.state(), random.data()),
    }


@pytest.mark.extended
@pytest.mark.oracle
@pytest.mark.parametrize("name", everything())
def test_cuda_compilers_accept_the_source(name: str, tmp_path: Path) -> None:
    source = kernel_plan(everything()[name]).source
    compile_: Compile
    for compile_ in compilers(half="cuda_fp16" in source):
        compile_(source, tmp_path)


def test_a_schedule_is_what_a_gpu_needs() -> None:
    found = kernel_plan(lecture_step(LECTURE, batch=64).program())
    launches = [node for node in found.nodes if isinstance(node, Launch)]
    products = [node for node in found.nodes if isinstance(node, Product)]
    assert (len(launches), len(products)) == (7, 8)
    assert not found.layout.copies
    for launch in launches:
        assert f"KERNEL({launch.kernel}, " in found.source
        signature = found.source.split(f"KERNEL({launch.kernel}, ")[1].split(")")[0]
        named = [int(name) for name in re.findall(r"\bb(\d+)", signature)]
        assert tuple(named) == launch.buffers
        assert 0 < launch.blocks < 2**31
    for value in (*found.program.inputs, *found.program.results):
        assert value in found.layout.places
    for new, old in zip(found.program.new_state, found.program.state, strict=True):
        assert found.layout.places[new] == found.layout.places[old]
    assert str(found).splitlines()[:2] == [
        "k00_map: 196 blocks",
        "product (64, 784) (784, 64) of float32 -> float32",
    ]


def test_the_same_program_has_the_same_source() -> None:
    texts = {kernel_plan(lecture_step(LECTURE).program()).source for _ in range(2)}
    assert len(texts) == 1


def test_what_no_kernel_computes_is_refused() -> None:
    def make(*, xp: Any) -> Any:
        return lambda s, d: (s, (xp.negative(xp.abs(d[0])),))

    with pytest.raises(Untraceable, match="complex64"):
        kernel_plan(record(make, (), (np.zeros(3, np.complex64),)))
