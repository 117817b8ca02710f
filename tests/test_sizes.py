"""Functions and classes of the package stay small enough to read in one go."""

import ast
import runpy
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
code_lines: Callable[[str], set[int]] = runpy.run_path(str(ROOT / ".ci" / "lines"))["code_lines"]

FUNCTION_LINES, CLASS_LINES, PARAMETERS = 60, 250, 8

LONG_FUNCTIONS: set[str] = set()
LONG_CLASSES: set[str] = set()
MANY_PARAMETERS = {"network/mlp.py forward_backward", "run.py train"}
FREE_OF_PARAMETER_LIMIT = ("cli/", "estimators/")
"""Options of commands and scikit-learn's constructors are parameters by nature."""


def too_large(text: str) -> dict[str, list[str]]:
    """The names beyond each limit."""
    found: dict[str, list[str]] = {"functions": [], "classes": [], "parameters": []}
    code = code_lines(text)
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        count = len(code.intersection(range(node.lineno, (node.end_lineno or 0) + 1)))
        if isinstance(node, ast.ClassDef):
            found["classes"] += [node.name] * (count > CLASS_LINES)
            continue
        found["functions"] += [node.name] * (count > FUNCTION_LINES)
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names = [argument.arg for argument in given if argument.arg not in ("self", "cls")]
        found["parameters"] += [node.name] * (len(names) > PARAMETERS)
    return found


def test_definitions_beyond_a_limit_are_the_listed_ones() -> None:
    found: dict[str, set[str]] = {"functions": set(), "classes": set(), "parameters": set()}
    for path in (ROOT / "xpmlp").rglob("*.py"):
        name = path.relative_to(ROOT / "xpmlp").as_posix()
        for kind, names in too_large(path.read_text("utf-8")).items():
            if not (kind == "parameters" and name.startswith(FREE_OF_PARAMETER_LIMIT)):
                found[kind] |= {f"{name} {one}" for one in names}
    assert found == {
        "functions": LONG_FUNCTIONS,
        "classes": LONG_CLASSES,
        "parameters": MANY_PARAMETERS,
    }


def test_limits_are_the_last_allowed_sizes() -> None:
    def function(lines: int, parameters: int) -> str:
        names = ", ".join(f"p{number}" for number in range(parameters))
        body = "".join(f"        x = {number}\n" for number in range(lines - 1))
        return f"class A:\n    def f(self, {names}, **rest):\n        'Words.'\n\n{body}"

    assert not any(too_large(function(FUNCTION_LINES, PARAMETERS)).values())
    large = too_large(function(CLASS_LINES, PARAMETERS + 1))
    assert large == {"functions": ["f"], "classes": ["A"], "parameters": ["f"]}
