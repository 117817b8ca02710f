"""Products with float16 factors: what is rounded, once, and that all else is float32."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.compiler.lecture_step import LECTURE, lecture_step
from tests.compiler.scheduled import Scheduled
from xpmlp.compiler import Interpreter, record
from xpmlp.compiler.emit import kernel_plan
from xpmlp.compiler.kernel_plan import Product
from xpmlp.compiler.precision import with_precision


@pytest.mark.parametrize("precision", ["float32", "tf32", "float64"])
def test_other_precisions_leave_the_program_as_it_is(precision: str) -> None:
    program = lecture_step().program()
    assert with_precision(program, precision) is program


def test_products_of_float64_stay_as_they_are() -> None:
    program = lecture_step(dtype="float64").program()
    assert with_precision(program, "float16").operations == program.operations


def test_only_factors_are_rounded_and_each_array_once() -> None:
    rounded = with_precision(lecture_step().program(), "float16")
    products = [one for one in rounded.operations if one.function == "matmul"]
    assert len(products) == 8
    for product in products:
        assert {value.dtype for value in product.values} == {product.computes} == {"float16"}
        assert product.result.dtype == "float32"
    casts = [one for one in rounded.operations if one.result.dtype == "float16"]
    sources = [next(one.values) for one in casts if one.function == "astype"]
    assert len(sources) == len(set(sources)) == 7  # all parameters, X, A1, A2, dL, dZ2 and dZ1
    assert rounded.state[0] in sources
    rest = [one for one in rounded.operations if one.result.dtype == "float64"]
    assert not rest


def test_a_product_is_that_of_the_rounded_factors() -> None:
    def make(*, xp: Any) -> Any:
        return lambda s, d: (s, (xp.matmul(d[0], xp.matrix_transpose(d[1])),))

    r = np.random.default_rng(0)
    data = tuple(r.standard_normal(shape).astype(np.float32) for shape in ((5, 30), (4, 30)))
    _, (found,) = Interpreter(with_precision(record(make, (), data), "float16")).run((), data, 1)
    A, B = (x.astype(np.float16).astype(np.float64) for x in data)
    np.testing.assert_allclose(found[0], A @ B.T, rtol=1e-6, atol=1e-6)
    assert np.abs(found[0] - data[0].astype(float) @ data[1].T).max() > 1e-5


@pytest.mark.parametrize("members", [0, 2])
def test_kernels_and_interpreter_agree(members: int, tmp_path: Path) -> None:
    step = lecture_step(members=members)
    program = with_precision(step.program(), "float16")
    _, found = Scheduled(program, tmp_path).run(step.state, step.data, 5)
    _, wanted = Interpreter(program).run(step.state, step.data, 5)
    _, exact = Interpreter(step.program()).run(step.state, step.data, 5)
    # one bit of float32 may turn the rounding of a factor over, which is 2^-11 of it
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-3)
    np.testing.assert_allclose(found[0], exact[0], rtol=1e-2)
    assert (found[0] != exact[0]).any()


def test_rounding_takes_no_node_of_its_own() -> None:
    found = kernel_plan(with_precision(lecture_step(LECTURE, batch=64).program(), "float16"))
    assert len(found.nodes) == 15
    products = [node for node in found.nodes if isinstance(node, Product)]
    assert {(node.dtype, node.result_dtype) for node in products} == {("float16", "float32")}
