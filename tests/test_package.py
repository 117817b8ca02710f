"""What holds for the package as a whole: names, start-up, types, layers."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import xpmlp

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "xpmlp").rglob("*.py"))
OPTIONAL = {
    "cupy", "jax", "torch", "sklearn", "matplotlib", "mpi4py", "onnx", "pydantic", "typer",
    "pyarrow", "pooch", "requests", "PIL", "jinja2", "tensorboard", "mlflow", "wandb",
}  # fmt: skip


def modules_after(code: str) -> set[str]:
    """The modules that a process has loaded after it imported xpmlp and ran this code."""
    program = f"import sys, xpmlp\n{code}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_public_names_are_these() -> None:
    for name in xpmlp.__all__:
        assert getattr(xpmlp, name) is not None
    assert set(dir(xpmlp)) == set(xpmlp.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Perceptron'"):
        _ = xpmlp.Perceptron


def test_every_public_name_is_documented() -> None:
    for name in xpmlp.__all__:
        value = getattr(xpmlp, name)
        if not isinstance(value, str):
            assert value.__doc__, name


def test_importing_loads_no_optional_library() -> None:
    assert not OPTIONAL & modules_after("")


@pytest.mark.parametrize(
    "use", ["xpmlp.MLP((4, 3)).initialize()", "xpmlp.train", "xpmlp.load_mnist"]
)
def test_using_numpy_loads_no_other_array_library(use: str) -> None:
    assert not OPTIONAL & modules_after(use)


def test_importing_is_quick() -> None:
    """At most 0.25 s, of which the best of five is no worse than the limit on a busy machine."""
    code = "import time; t = time.perf_counter(); import xpmlp; print(time.perf_counter() - t)"
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(5)
    ]
    assert min(seconds) <= 0.25


def test_every_module_says_what_it_is() -> None:
    for path in MODULES:
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path


def test_nothing_prints_but_the_command_line() -> None:
    for path in MODULES:
        if "cli" not in path.parts:
            tree = ast.parse(path.read_text("utf-8"))
            calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
            assert not [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]


def test_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "xpmlp/__init__.py"
    assert f"## {xpmlp.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_types_are_shipped() -> None:
    assert (ROOT / "xpmlp" / "py.typed").is_file()


UNPICKLERS = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled_evaluated_or_started(path: Path) -> None:
    """What SECURITY.md promises first."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [name.name for name in node.names]
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules = {name.partition(".")[0] for name in names}
            assert not modules & (UNPICKLERS | {"subprocess", "runpy"}), path
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec", "compile", "__import__"}, path
            elif isinstance(node.func, ast.Attribute):
                assert node.func.attr not in {"system", "popen", "execv", "spawnv"}, path
            for keyword in node.keywords:
                is_false = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                assert keyword.arg != "allow_pickle" or is_false, path


def test_training_reads_no_recipe() -> None:
    """Neither `train` nor what it loads needs what reads files and command lines."""
    code = (
        "X = [[0.0, 1.0], [1.0, 0.0]] * 8; "
        "xpmlp.train(xpmlp.MLP((2, 2)), X, [0, 1] * 8, epochs=1, verbose=0, backend='numpy')"
    )
    assert not {"pydantic", "tomli_w", "typer", "xpmlp.recipes"} & modules_after(code)
