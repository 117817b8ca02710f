"""Rules of the algebra that hold for its source text."""

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

import xpmlp.algebra
from xpmlp.algebra.activations import ACTIVATIONS
from xpmlp.algebra.losses import LOSSES

# The package's functions `dense` and `dropout` have the names of their modules.
dense, dropout, normalization, regularisers = (
    importlib.import_module(f"xpmlp.algebra.{name}")
    for name in ("dense", "dropout", "normalization", "regularisers")
)

FOLDER = Path(xpmlp.algebra.__file__).parent
FILES = sorted(FOLDER.glob("*.py"))


def code_lines(path: Path) -> int:
    """Lines that are neither blank, nor comment, nor docstring."""
    tree = ast.parse(path.read_text())
    documentation: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            documentation |= set(range(node.lineno, (node.end_lineno or 0) + 1))
    lines = enumerate(path.read_text().splitlines(), start=1)
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in documentation
        for number, line in lines
    )


def test_folder_stays_under_800_lines_of_code() -> None:
    """With the formulas and the ONNX operations of each function beside it."""
    assert sum(map(code_lines, FILES)) < 800


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_library_is_named_and_products_go_through_xp(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            module = getattr(node, "module", None) or names[0]
            assert module.split(".")[0] in {"collections", "math", "types", "typing", "xpmlp"}, (
                module
            )
        assert not isinstance(node, ast.MatMult), f"{path.name}: use xp.matmul"


def test_every_forward_has_its_backward_in_the_same_file() -> None:
    pairs: list[tuple[Any, Any]] = [
        *((one.forward, one.backward) for one in ACTIVATIONS.values()),
        *((one.forward, one.backward) for one in LOSSES.values()),
    ]
    for module, ending, names in (
        (dense, "_backward", ("dense",)),
        (normalization, "_backward", ("batch_norm", "layer_norm", "rms_norm")),
        (dropout, "_backward", ("dropout",)),
        (regularisers, "_gradient", ("l1_penalty", "l2_penalty")),
    ):
        pairs += [(getattr(module, name), getattr(module, name + ending)) for name in names]
    for forward, backward in pairs:
        assert backward.__name__.startswith(forward.__name__)
        assert inspect.getsourcefile(forward) == inspect.getsourcefile(backward)


def test_every_function_takes_xp_by_keyword_and_documents_itself() -> None:
    functions = [
        value
        for value in vars(xpmlp.algebra).values()
        if inspect.isfunction(value) and value.__module__.startswith("xpmlp.algebra")
    ]
    assert len(functions) >= 12
    for function in functions:
        parameter = inspect.signature(function).parameters["xp"]
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        assert inspect.getdoc(function), function
