"""Rules of the algebra that hold for its source text."""

import ast
import inspect
from pathlib import Path

import pytest

import xpmlp.algebra

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


def test_the_folder_stays_under_300_lines_of_code() -> None:
    assert sum(map(code_lines, FILES)) < 300


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_library_is_named_and_products_go_through_xp(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            module = getattr(node, "module", None) or names[0]
            assert module.split(".")[0] in {"math", "typing", "xpmlp"}, module
        assert not isinstance(node, ast.MatMult), f"{path.name}: use xp.matmul"


def test_every_forward_has_its_backward_in_the_same_file() -> None:
    for name in ("dense", "sigmoid", "tanh", "relu", "softmax_cross_entropy"):
        forward = getattr(xpmlp.algebra, name)
        backward = getattr(xpmlp.algebra, f"{name}_backward")
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
